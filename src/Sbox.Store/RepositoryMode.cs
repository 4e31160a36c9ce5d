namespace Sbox.Store;

/// <summary>How a repository keeps its file objects. All of libostree's modes are named; <see cref="Repository.Open(string, string?)"/> says which it handles.</summary>
public enum RepositoryMode
{
    /// <summary><c>bare</c>: files as they are checked out, with owner, mode and xattrs.</summary>
    Bare,
    /// <summary><c>archive-z2</c>: metadata and compressed content in one file, for serving over HTTP.</summary>
    Archive,
    /// <summary><c>bare-user</c>: files of the user's own, their metadata in an xattr.</summary>
    BareUser,
    /// <summary><c>bare-user-only</c>: files of the user's own, without owner or xattrs.</summary>
    BareUserOnly,
    /// <summary><c>bare-split-xattrs</c>: as bare, xattrs in objects of their own.</summary>
    BareSplitXattrs,
}

/// <summary>The names of modes in <c>core.mode</c>.</summary>
public static class RepositoryModes
{
    /// <summary>The name that libostree writes.</summary>
    public static string Name(this RepositoryMode mode) => mode switch
    {
        RepositoryMode.Bare => "bare",
        RepositoryMode.Archive => "archive-z2",
        RepositoryMode.BareUser => "bare-user",
        RepositoryMode.BareUserOnly => "bare-user-only",
        RepositoryMode.BareSplitXattrs => "bare-split-xattrs",
        _ => throw new ArgumentOutOfRangeException(nameof(mode), mode, "no repository mode"),
    };

    /// <summary>Whether symbolic links are kept as such.</summary>
    internal static bool KeepsLinks(this RepositoryMode mode) => mode is RepositoryMode.Bare or RepositoryMode.BareUserOnly or RepositoryMode.BareSplitXattrs;

    /// <summary>The mode by a name, <c>archive</c> included; null for a name that libostree does not know.</summary>
    public static RepositoryMode? TryParse(string name) => name switch
    {
        "bare" => RepositoryMode.Bare,
        "archive-z2" or "archive" => RepositoryMode.Archive,
        "bare-user" => RepositoryMode.BareUser,
        "bare-user-only" => RepositoryMode.BareUserOnly,
        "bare-split-xattrs" => RepositoryMode.BareSplitXattrs,
        _ => null,
    };
}
