namespace Sbox.Store;

/// <summary>What <see cref="Repository.Prune"/> shall delete.</summary>
public sealed record PruneOptions
{
    /// <summary>Keep what refs lead to only; false keeps every commit, and deletes what none of them needs.</summary>
    public bool RefsOnly { get; init; } = true;

    /// <summary>Parents of each ref's commit to keep; -1 for all.</summary>
    public int Depth { get; init; } = -1;

    /// <summary>Branches with depths of their own.</summary>
    public IReadOnlyDictionary<string, int> BranchDepths { get; init; } = new Dictionary<string, int>();

    /// <summary>Only these branches lose commits by <see cref="Depth"/> and <see cref="KeepYoungerThan"/>; the others keep all. None: every branch does.</summary>
    public IReadOnlyList<string> OnlyBranches { get; init; } = [];

    /// <summary>Of each ref's history, keep what is younger than this, however deep; the commit that a ref leads to in any case.</summary>
    public DateTimeOffset? KeepYoungerThan { get; init; }

    /// <summary>Delete only commits, not what they alone need.</summary>
    public bool CommitsOnly { get; init; }

    /// <summary>A commit to delete, before all else; refused where a ref leads to it.</summary>
    public Codecs.Checksum? DeleteCommit { get; init; }

    /// <summary>Delete nothing, only report.</summary>
    public bool DryRun { get; init; }

    /// <summary>Commits to keep with their trees, though no ref leads to them (those that are deployed, say).</summary>
    public IReadOnlyList<Codecs.Checksum> Keep { get; init; } = [];
}

/// <summary>What was deleted.</summary>
/// <param name="ObjectsTotal">Objects that there were.</param>
/// <param name="ObjectsDeleted">Objects that nothing needed.</param>
/// <param name="BytesFreed">Bytes of those, without what lay beside commits (their detached metadata): as libostree counts.</param>
public sealed record PruneReport(long ObjectsTotal, long ObjectsDeleted, long BytesFreed);
