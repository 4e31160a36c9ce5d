using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>Something about a tomb that stops the work; the kinds below say what.</summary>
/// <param name="message">The place and the finding.</param>
/// <param name="cause">What it came from, where there is such.</param>
public abstract class TombException(string message, Exception? cause = null) : IOException(message, cause);

/// <summary>There is no tomb there.</summary>
/// <param name="location">The place.</param>
/// <param name="finding">What was found instead.</param>
public sealed class NotATombException(string location, string finding) : TombException($"{location}: no tomb: {finding}")
{
    /// <summary>The place.</summary>
    public string Location { get; } = location;
}

/// <summary>There is a tomb where a new one was to be made.</summary>
/// <param name="location">The place.</param>
public sealed class TombExistsException(string location) : TombException($"{location}: there is a tomb already")
{
    /// <summary>The place.</summary>
    public string Location { get; } = location;
}

/// <summary>No key of the tomb opens with this password.</summary>
/// <param name="location">The tomb.</param>
/// <param name="tried">How many keys were tried.</param>
/// <param name="damaged">Key files that could not be tried: the password may be one of theirs.</param>
public sealed class WrongPasswordException(string location, int tried, IReadOnlyList<DamagedFile> damaged)
    : TombException($"{location}: wrong password: none of the tomb's {tried} {(tried == 1 ? "key" : "keys")} opens with it"
        + string.Concat(damaged.Select(static each => $"; {each.File.Path} could not be tried: {each.What}")))
{
    /// <summary>How many keys were tried.</summary>
    public int Tried { get; } = tried;

    /// <summary>Key files that could not be tried.</summary>
    public IReadOnlyList<DamagedFile> Damaged { get; } = damaged;
}

/// <summary>The place where the tomb is kept did not do what it was asked.</summary>
/// <param name="location">The tomb, or the file in it.</param>
/// <param name="finding">What it said.</param>
/// <param name="isTransient">Whether the same may work a little later.</param>
/// <param name="cause">What it came from.</param>
public class BackendException(string location, string finding, bool isTransient, Exception? cause = null) : TombException($"{location}: {finding}", cause)
{
    /// <summary>The tomb, or the file in it.</summary>
    public string Location { get; } = location;

    /// <summary>What it said.</summary>
    public string Finding { get; } = finding;

    /// <summary>Whether the same may work a little later.</summary>
    public bool IsTransient { get; } = isTransient;

    /// <summary>Whether a few seconds may be enough for that: no use to try at once again where somebody has to do something first.</summary>
    public virtual bool PassesByItself => IsTransient;
}

/// <summary>There is no room for more where the tomb is kept.</summary>
/// <param name="location">The tomb, or the file in it.</param>
/// <param name="finding">What it said.</param>
/// <param name="cause">What it came from.</param>
public sealed class PlaceFullException(string location, string finding, Exception? cause = null) : BackendException(location, finding, isTransient: false, cause);

/// <summary>A file of the tomb is not there.</summary>
/// <param name="location">The tomb.</param>
/// <param name="file">The file.</param>
public sealed class StoredFileMissingException(string location, StoredFile file) : BackendException($"{location}: {file.Path}", "it is not there", isTransient: false)
{
    /// <summary>The file.</summary>
    public StoredFile File { get; } = file;
}

/// <summary>The disk that a file of the tomb lies on cannot read it, or the part that was asked for.</summary>
/// <param name="location">The tomb.</param>
/// <param name="file">The file.</param>
/// <param name="cause">What the disk said.</param>
public sealed class StoredFileUnreadableException(string location, StoredFile file, Exception? cause = null)
    : BackendException($"{location}: {file.Path}", "the disk cannot read it: it may be failing", isTransient: false, cause)
{
    /// <summary>The file.</summary>
    public StoredFile File { get; } = file;
}

/// <summary>Bytes of the tomb are not what was written.</summary>
/// <param name="location">The tomb.</param>
/// <param name="what">The file in it, and the blob where it is one.</param>
/// <param name="finding">What is wrong with them.</param>
public sealed class TombDamagedException(string location, string what, string finding) : TombException($"{location}: {what}: {finding}")
{
    /// <summary>The file in it, and the blob where it is one.</summary>
    public string What { get; } = what;

    /// <summary>What is wrong.</summary>
    public string Finding { get; } = finding;
}

/// <summary>The tomb's index knows no pack that holds a blob.</summary>
/// <param name="location">The tomb.</param>
/// <param name="type">Its type.</param>
/// <param name="id">The blob.</param>
public sealed class BlobMissingException(string location, BlobType type, Checksum id) : TombException($"{location}: the {(type == BlobType.Tree ? "tree" : "data")} blob {id} is in no pack of the index")
{
    /// <summary>The blob.</summary>
    public Checksum Id { get; } = id;

    /// <summary>Its type.</summary>
    public BlobType Type { get; } = type;
}

/// <summary>Nothing of what was to be saved is there, or can be read: no snapshot was written.</summary>
/// <param name="unsaved">What was named, and what the kernel said of it.</param>
public sealed class NothingSavedException(IReadOnlyList<Unsaved> unsaved)
    : TombException($"nothing was saved: {string.Join("; ", unsaved.Select(static each => $"{each.Path}: {each.Reason}"))}")
{
    /// <summary>What was named, and what the kernel said of it.</summary>
    public IReadOnlyList<Unsaved> Unsaved { get; } = unsaved;
}

/// <summary>Another program works on the tomb.</summary>
/// <param name="location">The tomb.</param>
/// <param name="holder">Its lock.</param>
public sealed class TombLockedException(string location, LockRecord holder) : TombException($"{location}: locked {(holder.Exclusive ? "exclusively " : "")}by {holder}")
{
    /// <summary>Its lock.</summary>
    public LockRecord Holder { get; } = holder;
}

/// <summary>The lock under which the work was done is gone: this machine slept, or was cut off for so long that others took it for stale.</summary>
/// <param name="location">The tomb.</param>
public sealed class TombLockLostException(string location) : TombException($"{location}: the lock is gone: this machine slept, or was cut off, for so long that others took it for stale");

/// <summary>No snapshot of that name.</summary>
/// <param name="location">The tomb.</param>
/// <param name="wanted">What was asked for.</param>
/// <param name="finding">Why it leads to none.</param>
public sealed class SnapshotNotFoundException(string location, string wanted, string finding) : TombException($"{location}: snapshot '{wanted}': {finding}")
{
    /// <summary>What was asked for.</summary>
    public string Wanted { get; } = wanted;
}
