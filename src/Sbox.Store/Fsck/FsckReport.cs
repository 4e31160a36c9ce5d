using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>What <see cref="Repository.Fsck"/> shall do.</summary>
public sealed record FsckOptions
{
    /// <summary>Delete what is corrupt, and mark the commits that miss it as partial, so that a pull fetches it again.</summary>
    public bool Delete { get; init; }

    /// <summary>Check that commits with a <c>ostree.ref-binding</c> name every ref that leads to them, and the collection likewise.</summary>
    public bool VerifyBindings { get; init; }

    /// <summary>Check that the refs which commits name lead to them.</summary>
    public bool VerifyBackRefs { get; init; }

    /// <summary>Leave a tombstone for each parent that is not there, and for each commit that is deleted from now on.</summary>
    public bool AddTombstones { get; init; }
}

/// <summary>What is wrong with an object or ref.</summary>
public enum FsckProblemKind
{
    /// <summary>A commit needs it and it is not there.</summary>
    Missing,
    /// <summary>Its bytes are not what its name says, or no such object at all.</summary>
    Corrupt,
    /// <summary>It could not be read (a failing disk, no permission, no descriptors left): nothing is known of its bytes, and nothing is done to it.</summary>
    Unreadable,
    /// <summary>A commit's directories are nested deeper than any path could name, so nothing writes it out.</summary>
    TooDeep,
    /// <summary>A ref leads to no commit, or its file holds no checksum.</summary>
    BrokenRef,
    /// <summary>A ref leads to a commit that is bound to other refs, or to another collection.</summary>
    WrongBinding,
    /// <summary>A commit names a ref that is not there.</summary>
    MissingRef,
}

/// <summary>One finding.</summary>
/// <param name="Kind">What is wrong.</param>
/// <param name="Subject">The object or ref.</param>
/// <param name="Object">The object, where it is one.</param>
/// <param name="Detail">The finding in words.</param>
public sealed record FsckProblem(FsckProblemKind Kind, string Subject, ObjectName? Object, string Detail)
{
    /// <summary>What a corrupt object's bytes hash to; null where they could not be read as an object.</summary>
    public Checksum? Found { get; init; }

    /// <summary>The commits that need the object.</summary>
    public IReadOnlyList<Checksum> Commits { get; init; } = [];
}

/// <summary>What was checked and found.</summary>
/// <param name="Commits">Commits whose trees were walked.</param>
/// <param name="PartialCommits">Commits known to be incomplete: a pull was cut short, or only metadata was asked for.</param>
/// <param name="Objects">Objects whose bytes were read and hashed.</param>
/// <param name="Problems">What is wrong; empty for a whole repository.</param>
public sealed record FsckReport(int Commits, int PartialCommits, long Objects, IReadOnlyList<FsckProblem> Problems)
{
    /// <summary>Whether nothing was found wrong.</summary>
    public bool IsWhole => Problems.Count == 0;

    /// <summary>Those of <see cref="PartialCommits"/> that an earlier check found to be so, and no pull has mended since.</summary>
    public int BrokenBefore { get; init; }

    /// <summary>Commits that are not there and got a tombstone.</summary>
    public IReadOnlyList<Checksum> Tombstones { get; init; } = [];

    /// <summary>Commits that this check marked as partial, so that a pull mends them.</summary>
    public IReadOnlyList<Checksum> MarkedPartial { get; init; } = [];
}

/// <summary>How far a check has come.</summary>
/// <param name="Checked">Objects checked.</param>
/// <param name="Total">Objects to check.</param>
public readonly record struct FsckProgress(long Checked, long Total);
