namespace Sbox.Store;

/// <summary>What <see cref="Repository.Fsck"/> shall do.</summary>
public sealed record FsckOptions
{
    /// <summary>Delete what is corrupt, and mark the commits that miss it as partial, so that a pull fetches it again.</summary>
    public bool Delete { get; init; }

    /// <summary>Check that commits with a <c>ostree.ref-binding</c> name every ref that leads to them.</summary>
    public bool VerifyBindings { get; init; }
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
    /// <summary>A ref leads to a commit that is bound to other refs.</summary>
    WrongBinding,
}

/// <summary>One finding.</summary>
/// <param name="Kind">What is wrong.</param>
/// <param name="Subject">The object or ref.</param>
/// <param name="Object">The object, where it is one.</param>
/// <param name="Detail">The finding in words.</param>
public sealed record FsckProblem(FsckProblemKind Kind, string Subject, ObjectName? Object, string Detail);

/// <summary>What was checked and found.</summary>
/// <param name="Commits">Commits whose trees were walked.</param>
/// <param name="PartialCommits">Commits known to be incomplete: a pull was cut short, or only metadata was asked for.</param>
/// <param name="Objects">Objects whose bytes were read and hashed.</param>
/// <param name="Problems">What is wrong; empty for a whole repository.</param>
public sealed record FsckReport(int Commits, int PartialCommits, long Objects, IReadOnlyList<FsckProblem> Problems)
{
    /// <summary>Whether nothing is wrong.</summary>
    public bool IsWhole => Problems.Count == 0;
}

/// <summary>How far a check has come.</summary>
/// <param name="Checked">Objects checked.</param>
/// <param name="Total">Objects to check.</param>
public readonly record struct FsckProgress(long Checked, long Total);
