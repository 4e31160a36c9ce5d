using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>What an object is; libostree's numbers.</summary>
public enum ObjectType
{
    /// <summary>A regular file or symbolic link with its metadata.</summary>
    File = 1,
    /// <summary>The names in a directory.</summary>
    DirTree = 2,
    /// <summary>Who owns a directory and what may be done in it.</summary>
    DirMeta = 3,
    /// <summary>A tree at one time, with its subject and parent.</summary>
    Commit = 4,
    /// <summary>What is left of a commit that was deleted on purpose.</summary>
    TombstoneCommit = 5,
    /// <summary>Metadata beside a commit, not part of its checksum: signatures.</summary>
    CommitMeta = 6,
}

/// <summary>An object's name: what it is and the checksum of its content.</summary>
/// <param name="Checksum">The SHA-256 (for <see cref="ObjectType.CommitMeta"/>: the commit's).</param>
/// <param name="Type">What it is.</param>
public readonly record struct ObjectName(Checksum Checksum, ObjectType Type)
{
    private static readonly ObjectType[] Types = Enum.GetValues<ObjectType>();

    /// <summary>Where it lies below <c>objects/</c>: <c>44/6a0e....dirmeta</c>.</summary>
    public string LoosePath(RepositoryMode mode)
    {
        string extension = Extension(Type, mode);
        return string.Create(Checksum.Size * 2 + 2 + extension.Length, (Checksum, extension), static (text, name) =>
        {
            Convert.TryToHexStringLower(name.Checksum.Span, text[1..], out _);
            (text[0], text[1], text[2]) = (text[1], text[2], '/');
            text[65] = '.';
            name.extension.CopyTo(text[66..]);
        });
    }

    /// <summary><c>446a0e....dirmeta</c>, as libostree's messages have it.</summary>
    public override string ToString() => $"{Checksum}.{Extension(Type, RepositoryMode.Bare)}";

    /// <summary>Reads a name from <c>objects/XX/</c>; false for anything that is no object of this mode.</summary>
    public static bool TryParse(string directory, string fileName, RepositoryMode mode, out ObjectName name)
    {
        name = default;
        int dot = fileName.IndexOf('.', StringComparison.Ordinal);
        Span<char> digits = stackalloc char[64];
        if (dot != 62 || directory.Length != 2)
            return false;
        directory.CopyTo(digits);
        fileName.AsSpan(0, dot).CopyTo(digits[2..]);
        if (!Checksum.TryParse(digits, out Checksum checksum))
            return false;
        foreach (ObjectType type in Types)
        {
            if (fileName.AsSpan(dot + 1).SequenceEqual(Extension(type, mode)))
            {
                name = new ObjectName(checksum, type);
                return true;
            }
        }

        return false;
    }

    private static string Extension(ObjectType type, RepositoryMode mode) => type switch
    {
        ObjectType.File => mode == RepositoryMode.Archive ? "filez" : "file",
        ObjectType.DirTree => "dirtree",
        ObjectType.DirMeta => "dirmeta",
        ObjectType.Commit => "commit",
        ObjectType.TombstoneCommit => "tombstone-commit",
        ObjectType.CommitMeta => "commitmeta",
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "no object type"),
    };
}
