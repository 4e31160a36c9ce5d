using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>A file or symbolic link in a directory.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Content">Its file object.</param>
public readonly record struct DirTreeFile(string Name, Checksum Content);

/// <summary>A directory in a directory.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Tree">The names in it.</param>
/// <param name="Meta">Its owner and mode.</param>
public readonly record struct DirTreeDirectory(string Name, Checksum Tree, Checksum Meta);

/// <summary>The names in a directory, sorted by their bytes; its owner and mode live in the dirmeta beside it.</summary>
/// <param name="Files">Files and symbolic links.</param>
/// <param name="Directories">Directories.</param>
public sealed record DirTree(IReadOnlyList<DirTreeFile> Files, IReadOnlyList<DirTreeDirectory> Directories)
{
    private const string Format = "dirtree";
    private static readonly GVariantType Type = GVariantType.Parse("(a(say)a(sayay))");
    private static readonly GVariantType FileType = Type.Children[0].Children[0];
    private static readonly GVariantType DirectoryType = Type.Children[1].Children[0];

    /// <summary>Reads GVariant <c>(a(say)a(sayay))</c>: files, then directories.</summary>
    /// <param name="bytes">The whole object, 1 byte or more; borrowed for the call, never kept.</param>
    /// <exception cref="MalformedException">
    /// The bytes are no such GVariant in normal form, a name is no file name (empty, dots, with a slash), or a checksum is not 32 bytes.
    /// </exception>
    /// <remarks>docs/formats/dirtree.md, after libostree's ostree-core.h.</remarks>
    public static DirTree Parse(ReadOnlySpan<byte> bytes)
    {
        IReadOnlyList<GVariant> items = GVariant.Parse(Type, bytes).Items;
        var files = new DirTreeFile[items[0].Items.Count];
        for (int i = 0; i < files.Length; i++)
        {
            IReadOnlyList<GVariant> file = items[0].Items[i].Items;
            files[i] = new DirTreeFile(CheckName(file[0].Text), Checksum.FromBytes(file[1].Bytes));
        }

        var directories = new DirTreeDirectory[items[1].Items.Count];
        for (int i = 0; i < directories.Length; i++)
        {
            IReadOnlyList<GVariant> directory = items[1].Items[i].Items;
            directories[i] = new DirTreeDirectory(
                CheckName(directory[0].Text), Checksum.FromBytes(directory[1].Bytes), Checksum.FromBytes(directory[2].Bytes));
        }

        return new DirTree(files, directories);
    }

    /// <summary>The object's bytes.</summary>
    public byte[] ToBytes() => GVariant.Tuple(
        GVariant.Array(FileType, [.. Files.Select(static file =>
            GVariant.Tuple(GVariant.Of(file.Name), GVariant.Of(file.Content.ToArray())))]),
        GVariant.Array(DirectoryType, [.. Directories.Select(static directory =>
            GVariant.Tuple(GVariant.Of(directory.Name), GVariant.Of(directory.Tree.ToArray()), GVariant.Of(directory.Meta.ToArray())))])).ToBytes();

    /// <inheritdoc/>
    public bool Equals(DirTree? other) =>
        other is not null && Files.SequenceEqual(other.Files) && Directories.SequenceEqual(other.Directories);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Files.Count, Directories.Count);

    // A name that climbs out of its directory would let a commit write anywhere at checkout.
    private static string CheckName(string name) => name is not ("" or "." or "..") && !name.Contains('/', StringComparison.Ordinal)
        ? name
        : throw new MalformedException(Format, "name", "one component of a path", name.Contains('/', StringComparison.Ordinal) ? $"Invalid / in filename {name}" : $"'{name}'");
}
