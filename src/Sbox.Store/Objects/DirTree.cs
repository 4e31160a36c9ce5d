using System.Buffers;
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
    private const int MostNames = 512 * 1024; // of the smallest there are fewer in the largest object that is read

    // All of it is strings and bytes, which begin anywhere and are of any length.
    private static readonly (int Alignment, int FixedSize)[] Shape = [(1, 0), (1, 0), (1, 0)];

    /// <summary>Reads GVariant <c>(a(say)a(sayay))</c>: files, then directories.</summary>
    /// <param name="bytes">The whole object, 1 byte or more; borrowed for the call, never kept.</param>
    /// <exception cref="MalformedException">
    /// The bytes are no such GVariant in normal form, a name is no file name (empty, dots, with a slash), or a checksum is not 32 bytes.
    /// </exception>
    /// <remarks>docs/formats/dirtree.md, after libostree's ostree-core.h.</remarks>
    public static DirTree Parse(ReadOnlySpan<byte> bytes)
    {
        // By hand and not as a tree of values: this is what every command reads most of.
        Span<GVariantPart> lists = stackalloc GVariantPart[2], parts = stackalloc GVariantPart[3];
        GVariantFraming.Tuple(bytes, Shape.AsSpan(0, 2), lists, Format);
        ReadOnlySpan<byte> list = PartOf(bytes, lists[0]);
        GVariantPart[] items = Items(list);
        var files = new DirTreeFile[items.Length];
        for (int i = 0; i < files.Length; i++)
        {
            ReadOnlySpan<byte> file = PartOf(list, items[i]);
            GVariantFraming.Tuple(file, Shape.AsSpan(0, 2), parts, Format);
            files[i] = new DirTreeFile(CheckName(GVariantFraming.Text(PartOf(file, parts[0]), Format)), Checksum.FromBytes(PartOf(file, parts[1])));
        }

        list = PartOf(bytes, lists[1]);
        items = Items(list);
        var directories = new DirTreeDirectory[items.Length];
        for (int i = 0; i < directories.Length; i++)
        {
            ReadOnlySpan<byte> directory = PartOf(list, items[i]);
            GVariantFraming.Tuple(directory, Shape, parts, Format);
            directories[i] = new DirTreeDirectory(
                CheckName(GVariantFraming.Text(PartOf(directory, parts[0]), Format)),
                Checksum.FromBytes(PartOf(directory, parts[1])), Checksum.FromBytes(PartOf(directory, parts[2])));
        }

        return new DirTree(files, directories);
    }

    /// <summary>The object's bytes.</summary>
    public byte[] ToBytes()
    {
        var output = new ArrayBufferWriter<byte>(64 + (80 * Files.Count) + (120 * Directories.Count));
        var ends = new int[Math.Max(Files.Count, Directories.Count)];
        Span<int> inner = stackalloc int[2];
        for (int i = 0; i < Files.Count; i++)
        {
            int start = output.WrittenCount;
            inner[0] = Put(output, start, Files[i].Name);
            Put(output, start, Files[i].Content);
            GVariantWriter.Offsets(output, start, inner[..1], reversed: true);
            ends[i] = output.WrittenCount;
        }

        GVariantWriter.Offsets(output, 0, ends.AsSpan(0, Files.Count), reversed: false);
        int second = output.WrittenCount;
        for (int i = 0; i < Directories.Count; i++)
        {
            int start = output.WrittenCount;
            inner[0] = Put(output, start, Directories[i].Name);
            inner[1] = Put(output, start, Directories[i].Tree);
            Put(output, start, Directories[i].Meta);
            GVariantWriter.Offsets(output, start, inner, reversed: true);
            ends[i] = output.WrittenCount - second;
        }

        GVariantWriter.Offsets(output, second, ends.AsSpan(0, Directories.Count), reversed: false);
        GVariantWriter.Offsets(output, 0, [second], reversed: true);
        return output.WrittenSpan.ToArray();
    }

    /// <inheritdoc/>
    public bool Equals(DirTree? other) =>
        other is not null && Files.SequenceEqual(other.Files) && Directories.SequenceEqual(other.Directories);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Files.Count, Directories.Count);

    private static int Put(ArrayBufferWriter<byte> output, int start, string name)
    {
        if (name.Contains('\0', StringComparison.Ordinal))
            throw new ArgumentException("a GVariant string holds no NUL", nameof(name));
        GVariantWriter.Text(output, name);
        return output.WrittenCount - start;
    }

    private static int Put(ArrayBufferWriter<byte> output, int start, Checksum checksum)
    {
        output.Write(checksum.Span);
        return output.WrittenCount - start;
    }

    private static ReadOnlySpan<byte> PartOf(ReadOnlySpan<byte> bytes, GVariantPart part) => bytes.Slice(part.Start, part.Length);

    private static GVariantPart[] Items(ReadOnlySpan<byte> list) => GVariantFraming.Array(list, alignment: 1, fixedSize: 0, MostNames, Format)
        ?? throw new MalformedException(Format, "names", $"at most {MostNames}", "more");

    // A name that climbs out of its directory would let a commit write anywhere at checkout.
    private static string CheckName(string name) => name is not ("" or "." or "..") && !name.Contains('/', StringComparison.Ordinal)
        ? name
        : throw new MalformedException(Format, "name", "one component of a path", name.Contains('/', StringComparison.Ordinal) ? $"Invalid / in filename {name}" : $"'{name}'");
}
