using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>What a session did to a name.</summary>
public enum LedgerChange
{
    /// <summary>The disk has nothing by that name.</summary>
    New,
    /// <summary>The disk has other bytes, another owner, mode or kind.</summary>
    Changed,
    /// <summary>The disk has it still.</summary>
    Deleted,
}

/// <summary>One thing that a ghost forgets at power-off.</summary>
/// <param name="Path">Where it is, from the root: <c>/etc/hosts</c>, <c>/var/home/ann/letter</c>.</param>
/// <param name="Change">What was done to it.</param>
/// <param name="Kind">What it is now; of what was deleted, what the disk has.</param>
/// <param name="Bytes">What keeping it would write: a file's size; 0 for all else.</param>
/// <param name="From">For a directory that was renamed and is on the disk under its old name: that name, from the root. Else null.</param>
public sealed record LedgerEntry(string Path, LedgerChange Change, FileKind Kind, long Bytes, string? From = null)
{
    /// <summary>A directory so deep that what is in it was not looked at.</summary>
    public bool IsTooDeep { get; init; }

    /// <summary>
    /// Whether the session reads a directory that it renamed from here, or from below or above here: to change this on the disk would change, in
    /// the session, what has another name by now.
    /// </summary>
    public bool IsInUse { get; init; }

    /// <summary>Whether it is as the version that runs makes it at every boot where it is missing: then nobody loses it.</summary>
    public bool IsMadeAtBoot { get; init; }

    /// <summary>Why a disk cannot keep it now; null where it can.</summary>
    public string? Obstacle =>
        IsInUse ? "the session reads from there what it renamed; in a boot that is no ghost it can be deleted"
        : IsTooDeep ? "too deep to be looked into"
        : Change == LedgerChange.Deleted || Kind is FileKind.Regular or FileKind.Symlink or FileKind.Directory ? null
        : "neither file, link nor directory";
}
