using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Something about a repository is not as it was asked to be; the derived types say what, as properties.</summary>
/// <param name="message">One line: the path, then the finding.</param>
/// <param name="inner">What it follows from, if anything.</param>
public abstract class RepositoryException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>A directory is no repository, or none that can be read.</summary>
/// <param name="path">The directory.</param>
/// <param name="finding">What is missing or wrong there.</param>
/// <param name="inner">What it follows from, if anything.</param>
public sealed class NotARepositoryException(string path, string finding, Exception? inner = null)
    : RepositoryException($"{path}: not a repository: {finding}", inner)
{
    /// <summary>The directory.</summary>
    public string Path { get; } = path;
}

/// <summary>A repository is of a mode or version that is not handled.</summary>
/// <param name="path">The repository.</param>
/// <param name="setting">The key of its config.</param>
/// <param name="value">The value that is not handled.</param>
public sealed class UnsupportedRepositoryException(string path, string setting, string value)
    : RepositoryException($"{path}: repositories with {setting}={value} are not handled")
{
    /// <summary>The repository.</summary>
    public string Path { get; } = path;

    /// <summary>The key of its config.</summary>
    public string Setting { get; } = setting;

    /// <summary>The value that is not handled.</summary>
    public string Value { get; } = value;
}

/// <summary>No ref and no commit goes by that name.</summary>
/// <param name="path">The repository or URL.</param>
/// <param name="revision">What was asked for.</param>
/// <param name="orphan">The commit whose parent was asked for, and which has none; null where that is not it.</param>
public sealed class RefNotFoundException(string path, string revision, Checksum? orphan = null)
    : RepositoryException(orphan is null ? $"{path}: no ref or commit '{revision}'" : $"{path}: no commit '{revision}': {orphan} has no parent")
{
    /// <summary>The commit whose parent was asked for, and which has none; null where that is not it.</summary>
    public Checksum? Orphan { get; } = orphan;

    /// <summary>What was asked for.</summary>
    public string Revision { get; } = revision;
}

/// <summary>More than one commit's checksum begins with these digits.</summary>
/// <param name="path">The repository.</param>
/// <param name="prefix">The digits.</param>
public sealed class AmbiguousRevisionException(string path, string prefix)
    : RepositoryException($"{path}: several commits begin with '{prefix}'")
{
    /// <summary>The digits.</summary>
    public string Prefix { get; } = prefix;
}

/// <summary>A ref's name holds what libostree refuses in one, or its file holds no checksum.</summary>
/// <param name="refName">The name.</param>
/// <param name="finding">What is wrong with it.</param>
public sealed class InvalidRefException(string refName, string finding) : RepositoryException($"ref '{refName}': {finding}")
{
    /// <summary>The name.</summary>
    public string RefName { get; } = refName;

    /// <summary>What is wrong with it.</summary>
    public string Finding { get; } = finding;
}

/// <summary>An object that is needed is not there.</summary>
/// <param name="repository">Where it was looked for.</param>
/// <param name="name">Its name.</param>
public sealed class ObjectMissingException(string repository, ObjectName name)
    : RepositoryException($"{repository}: no object {name}")
{
    /// <summary>Its name.</summary>
    public ObjectName Name { get; } = name;
}

/// <summary>An object's bytes are not what its name says.</summary>
/// <param name="path">The object's path or URL.</param>
/// <param name="expected">Its name.</param>
/// <param name="found">What its bytes hash to; null where they could not even be read as an object.</param>
/// <param name="detail">What was wrong with them, where they could not be read.</param>
/// <param name="inner">What it follows from, if anything.</param>
public sealed class ObjectCorruptException(string path, ObjectName expected, Checksum? found, string? detail = null, Exception? inner = null)
    : RepositoryException(found is null ? $"{path}: {detail}" : $"{path}: the bytes hash to {found}, which is not its name", inner)
{
    /// <summary>The object's path or URL.</summary>
    public string Path { get; } = path;

    /// <summary>Its name.</summary>
    public ObjectName Expected { get; } = expected;

    /// <summary>What its bytes hash to; null where they could not be read as an object.</summary>
    public Checksum? Found { get; } = found;
}

/// <summary>A path is not in a commit's tree, or is of another kind than asked for.</summary>
/// <param name="commit">The commit.</param>
/// <param name="path">The path in its tree.</param>
/// <param name="finding">What was wrong: missing, or no directory.</param>
public sealed class TreePathException(Checksum commit, string path, string finding)
    : RepositoryException($"commit {commit}: {path}: {finding}")
{
    /// <summary>The commit.</summary>
    public Checksum Commit { get; } = commit;

    /// <summary>The path in its tree.</summary>
    public string TreePath { get; } = path;
}

/// <summary>A file has a mode that a repository in mode bare-user-only does not keep.</summary>
/// <param name="checksum">The object.</param>
/// <param name="mode">Its mode.</param>
/// <param name="refused">The bits that are too many.</param>
public sealed class CannotKeepException(Checksum checksum, Mode mode, uint refused) : RepositoryException(
    $"Content object {checksum}: invalid mode 0{Convert.ToString(mode.Bits, 8).PadLeft(4, '0')} with bits 0{Convert.ToString(refused, 8).PadLeft(4, '0')}")
{
    /// <summary>The object.</summary>
    public Checksum Checksum { get; } = checksum;

    /// <summary>The bits that are too many.</summary>
    public uint Refused { get; } = refused;
}

/// <summary>Something on disk cannot be put into a repository: a device, a name that is no UTF-8.</summary>
/// <param name="path">Where it is.</param>
/// <param name="finding">Why it cannot.</param>
public sealed class CannotCommitException(string path, string finding) : RepositoryException($"{path}: {finding}")
{
    /// <summary>Where it is.</summary>
    public string Path { get; } = path;
}

/// <summary>Writing on would leave less free space than <c>core.min-free-space-*</c> reserves.</summary>
/// <param name="path">The repository.</param>
/// <param name="needed">Bytes that were to be written.</param>
/// <param name="available">Bytes that may still be.</param>
/// <param name="source">Where those bytes came from; null where that is known.</param>
public sealed class NotEnoughSpaceException(string path, long needed, long available, string? source = null)
    : RepositoryException($"{path}: {needed} bytes are needed, {available} are left above the reserve of min-free-space{(source is null ? "" : $" (for {source})")}")
{
    /// <summary>The URL of what there is no room for; null where it is no single thing, or came from this machine.</summary>
    public string? Url { get; } = source;

    /// <summary>It was known before anything of it was fetched, from what the commits and deltas tell of their sizes: <see cref="Needed"/> is all that there is to write.</summary>
    public bool IsPlanned { get; init; }

    /// <summary>Bytes that deleting what nothing needs would free (<see cref="Repository.Prune"/>), where it was looked; null where it was not.</summary>
    public long? Prunable { get; init; }

    /// <summary>Bytes that were to be written.</summary>
    public long Needed { get; } = needed;

    /// <summary>Bytes that may still be.</summary>
    public long Available { get; } = available;
}

/// <summary>The disk does not take what is written: it is full, or broken.</summary>
/// <param name="path">The repository.</param>
/// <param name="refusal">The system's own words.</param>
internal sealed class CannotWriteException(string path, Exception refusal) : RepositoryException($"{path}: cannot be written to: {refusal.Message}", refusal);

/// <summary>Another process holds the repository's lock.</summary>
/// <param name="path">The lock's path.</param>
/// <param name="waited">How long it was waited for.</param>
public sealed class RepositoryBusyException(string path, TimeSpan waited)
    : RepositoryException($"{path}: held by another process for {waited.TotalSeconds:0} seconds")
{
    /// <summary>The lock's path.</summary>
    public string Path { get; } = path;
}

/// <summary>A checkout was to hardlink, and a repository of this mode has nothing to link to.</summary>
/// <param name="path">The repository.</param>
/// <param name="finding">Why, in libostree's words.</param>
public sealed class CannotLinkException(string path, string finding) : RepositoryException(finding)
{
    /// <summary>The repository.</summary>
    public string Path { get; } = path;
}

/// <summary>A commit's metadata names another composefs digest than its tree gives.</summary>
/// <param name="commit">The commit.</param>
/// <param name="expected">The digest in its metadata.</param>
/// <param name="found">The digest of the image that was made.</param>
public sealed class ComposefsDigestException(Checksum commit, Checksum expected, Checksum found)
    : RepositoryException($"commit {commit}: its composefs image has the digest {found}, which doesn't match expected digest {expected} of its metadata")
{
    /// <summary>The commit.</summary>
    public Checksum Commit { get; } = commit;

    /// <summary>The digest in its metadata.</summary>
    public Checksum Expected { get; } = expected;

    /// <summary>The digest of the image that was made.</summary>
    public Checksum Found { get; } = found;
}

/// <summary>A list of objects that was written aside for lack of memory came back changed: nothing may be decided by it.</summary>
/// <param name="path">The directory of the file, which has no name.</param>
/// <param name="finding">What is wrong with it.</param>
public sealed class NamesDamagedException(string path, string finding) : RepositoryException($"{path}: names of objects were written to a file without a name there: {finding}")
{
    /// <summary>The directory of the file.</summary>
    public string Path { get; } = path;

    /// <summary>What is wrong with it.</summary>
    public string Finding { get; } = finding;
}

/// <summary>A remote that the config does not have: nothing says where it is, nor what its commits must be signed with.</summary>
/// <param name="path">The repository.</param>
/// <param name="remote">The remote's name.</param>
public sealed class RemoteNotFoundException(string path, string remote) : RepositoryException($"{path}: Remote \"{remote}\" not found")
{
    /// <summary>The remote's name.</summary>
    public string Remote { get; } = remote;
}

/// <summary>Definitions of remotes cannot be read, or contradict each other, or one cannot be made.</summary>
/// <param name="path">The repository, or the file of <c>remotes.d</c>.</param>
/// <param name="finding">What is wrong there.</param>
/// <param name="inner">What it follows from, if anything.</param>
public sealed class RemotesException(string path, string finding, Exception? inner = null) : RepositoryException($"{path}: {finding}", inner)
{
    /// <summary>The repository, or the file of <c>remotes.d</c>.</summary>
    public string Path { get; } = path;

    /// <summary>What is wrong there.</summary>
    public string Finding { get; } = finding;
}

/// <summary>Directories are nested deeper than any path could name; only made on purpose, to exhaust whoever walks them.</summary>
/// <param name="where">The commit's tree, or the directory on disk.</param>
public sealed class TooDeepException(string where)
    : RepositoryException($"{where}: directories are nested more than {TreeDepth.Maximum} deep, which no path can name")
{
    /// <summary>The commit's tree, or the directory on disk.</summary>
    public string Where { get; } = where;
}

/// <summary>A pull could not fetch or trust something.</summary>
/// <param name="url">What was fetched.</param>
/// <param name="expected">What should have come.</param>
/// <param name="found">What came.</param>
/// <param name="inner">What it follows from, if anything.</param>
public sealed class PullException(string url, string expected, string found, Exception? inner = null)
    : RepositoryException($"{HttpTransport.Shown(url)}: expected {expected}, found {found}", inner)
{
    /// <summary>What was fetched; without a name and password, which an error would carry into the journal.</summary>
    public string Url { get; } = HttpTransport.Shown(url);

    /// <summary>What should have come.</summary>
    public string Expected { get; } = expected;

    /// <summary>What came.</summary>
    public string Found { get; } = found;

    /// <summary>The same in libostree's words, where scripts are known to look for them; null for <see cref="Exception.Message"/>.</summary>
    public string? Words { get; init; }

    /// <summary>Whether it is larger than it may be, whatever it is.</summary>
    internal bool IsTooLarge { get; init; }

    /// <summary>Whether another try, or another line, may bring it: nothing that came was wrong.</summary>
    internal bool IsOfTheNetwork { get; init; }

    /// <summary>Whether what came was wrong from its first bytes on: no accident of the network, and no word that there is none.</summary>
    internal bool IsOfBytes { get; init; }

    /// <summary>Whether what came is older than what is here, and nothing else is wrong with it.</summary>
    public bool IsOlder { get; init; }
}

/// <summary>Work was ended before its end, by one of libostree's hooks for tests.</summary>
/// <param name="hook">The hook, in libostree's words.</param>
public sealed class InterruptedException(string hook) : RepositoryException(hook);

/// <summary>A commit cannot be deleted, since something still leads to it.</summary>
/// <param name="commit">The commit.</param>
/// <param name="by">What does.</param>
public sealed class CommitInUseException(Checksum commit, string by) : RepositoryException($"Commit '{commit}' is referenced by '{by}'")
{
    /// <summary>The commit.</summary>
    public Checksum Commit { get; } = commit;
}
