namespace Sbox.Integrity;

/// <summary>What the sentinel can find.</summary>
public enum FindingKind
{
    /// <summary>A protected path can be written.</summary>
    Writable,
    /// <summary>The read-only mark of a protected path's mount was taken away, though its file system still refuses writers.</summary>
    Loosened,
    /// <summary>Something is mounted over a protected path.</summary>
    Covered,
    /// <summary>A system extension is merged into the system.</summary>
    SystemExtension,
    /// <summary>The root of the whole system is another one.</summary>
    RootReplaced,
    /// <summary>The storage behind the system is mounted writable where it should not be.</summary>
    PhysicalWritable,
    /// <summary>The EFI system partition is mounted writable outside of an sbox operation.</summary>
    EspWritable,
    /// <summary>A writable mount of the storage behind the system was made without a place in the tree.</summary>
    DetachedWritable,
    /// <summary>A disk behind the system was opened for writing.</summary>
    DeviceOpened,
    /// <summary>A program that is not sbox entered the namespace in which sbox writes.</summary>
    NamespaceEntered,
    /// <summary>A kernel module was loaded that is not the system's.</summary>
    Module,
    /// <summary>A kernel was made ready to be started in place of this one.</summary>
    Kexec,
    /// <summary>What the kernel does, or starts by itself, was changed: a BPF program that looks into it, the program it starts for a crash, its memory.</summary>
    KernelChanged,
    /// <summary>A file with a set-user-id bit or capabilities appeared.</summary>
    SetUserId,
    /// <summary>The sentinel was stopped, killed or traced.</summary>
    SentinelAttacked,
    /// <summary>The sentinel's policy or unit was changed, or has a mistake.</summary>
    PolicyChanged,
    /// <summary>Something happened that the sentinel could not see or judge.</summary>
    Unseen,
    /// <summary>The self-test.</summary>
    Test,
}

/// <summary>How bad a finding is.</summary>
public enum Severity
{
    /// <summary>Not reported at all.</summary>
    Off,
    /// <summary>Written down.</summary>
    Notice,
    /// <summary>Everyone who is logged in is told.</summary>
    Alarm,
    /// <summary>The system is no longer what its owner approved.</summary>
    Critical,
}

/// <summary>What is done about a finding.</summary>
public enum Reaction
{
    /// <summary>Written to the journal.</summary>
    Journal,
    /// <summary>Shown on every terminal, and on the desktop of everyone who is logged in at one.</summary>
    Wall,
    /// <summary>Counted in the metrics file.</summary>
    Metrics,
    /// <summary>The program <c>hook</c> is started.</summary>
    Hook,
    /// <summary>The mount is made read-only again, or taken off.</summary>
    Undo,
    /// <summary>The program that did it is frozen, with its control group.</summary>
    Freeze,
    /// <summary>The program that did it is killed.</summary>
    Kill,
    /// <summary>Every open tomb is slammed: its users are ended, its keys wiped.</summary>
    CloseTombs,
    /// <summary>The machine reboots at once.</summary>
    Reboot,
}

/// <summary>A path that nobody may write or mount over.</summary>
/// <param name="Path">The path; everything below belongs to it.</param>
/// <param name="Storage">The directory of the physical root that is mounted there by right; null where the root itself carries the path.</param>
public sealed record ProtectedPath(string Path, string? Storage)
{
    /// <summary>The type of the file system that belongs at the path itself, where nothing else is asked of it; null where all of the above is.</summary>
    public string? Type { get; init; }
}

/// <summary>Storage behind the system.</summary>
/// <param name="Mount">Where it is mounted; its device is what is guarded.</param>
/// <param name="Writable">Directories in it that may be mounted writable, as patterns.</param>
public sealed record GuardedStorage(string Mount, IReadOnlyList<PathPattern> Writable);

/// <summary>Findings that are none.</summary>
/// <param name="Finding">Of which kind; null for any.</param>
/// <param name="Path">The path that the finding is about; null for any.</param>
/// <param name="Types">File system types; empty for any.</param>
/// <param name="Root">The directory of that file system; null for any.</param>
/// <param name="By">Programs of the sealed system that may do it; empty for any.</param>
/// <param name="OnlyOwnNamespace">Whether it is allowed only where the whole system does not see it.</param>
public sealed record Allowance(
    FindingKind? Finding, PathPattern? Path, IReadOnlyList<string> Types, PathPattern? Root, IReadOnlyList<string> By, bool OnlyOwnNamespace);

/// <summary>What is done about findings of one severity.</summary>
/// <param name="Do">Each step, in order.</param>
/// <param name="Hook">The program for <see cref="Reaction.Hook"/>.</param>
public sealed record ReactionPlan(IReadOnlyList<Reaction> Do, string? Hook);

/// <summary>Everything that the sentinel goes by; sbox-sentinel.d(5).</summary>
public sealed record SentinelPolicy
{
    /// <summary>What nobody may write or mount over.</summary>
    public IReadOnlyList<ProtectedPath> Protected { get; init; } = [];

    /// <summary>The storage behind the system.</summary>
    public IReadOnlyList<GuardedStorage> Storage { get; init; } = [];

    /// <summary>What is no finding.</summary>
    public IReadOnlyList<Allowance> Allowed { get; init; } = [];

    /// <summary>How bad each kind is, where it is not as by default.</summary>
    public IReadOnlyDictionary<FindingKind, Severity> Severities { get; init; } = new Dictionary<FindingKind, Severity>();

    /// <summary>What is done.</summary>
    public IReadOnlyDictionary<Severity, ReactionPlan> Reactions { get; init; } = new Dictionary<Severity, ReactionPlan>();

    /// <summary>Where set-user-id files are no finding.</summary>
    public IReadOnlyList<PathPattern> SetUserIdAllowed { get; init; } = [];

    /// <summary>The directory over which <c>sbox watch test</c> mounts; null where there is none.</summary>
    public string? TestPath { get; init; }

    /// <summary>Whether the owner's files may allow more than the tree's.</summary>
    public bool MayLoosen { get; init; }

    /// <summary>How bad a kind of finding is.</summary>
    public Severity SeverityOf(FindingKind kind) => Severities.TryGetValue(kind, out Severity severity) ? severity : DefaultSeverity(kind);

    /// <summary>What is done about a severity; journal and metrics where nothing is said.</summary>
    public ReactionPlan ReactionTo(Severity severity) =>
        Reactions.TryGetValue(severity, out ReactionPlan? plan) ? plan : new ReactionPlan([Reaction.Journal, Reaction.Metrics], null);

    private static Severity DefaultSeverity(FindingKind kind) => kind switch
    {
        FindingKind.Test => Severity.Notice,
        FindingKind.Loosened or FindingKind.PolicyChanged or FindingKind.SetUserId => Severity.Alarm,
        FindingKind.Unseen => Severity.Notice,
        _ => Severity.Critical,
    };
}
