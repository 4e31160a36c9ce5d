using Sbox.Boot;
using Sbox.Codecs;

namespace Sbox.Sysroot;

/// <summary>How bad a finding is.</summary>
public enum FindingGrade
{
    /// <summary>Something its owner should know of; nothing is wrong.</summary>
    Note,
    /// <summary>The box boots, and something should be done.</summary>
    Warning,
    /// <summary>A version does not boot, or is not whole, or nothing can be upgraded.</summary>
    Broken,
}

/// <summary>Something that the doctor found.</summary>
/// <param name="Name">What kind it is; the same in every version of sbox.</param>
/// <param name="Grade">How bad it is.</param>
/// <param name="Path">The file, directory, link or variable.</param>
/// <param name="Found">What is so.</param>
/// <param name="Means">What follows from it.</param>
/// <param name="Mend">What mends it: what may be typed, or what a repair does.</param>
public sealed record DoctorFinding(string Name, FindingGrade Grade, string Path, string Found, string Means, string Mend)
{
    /// <summary>The steps of a repair; none where only its owner can mend it.</summary>
    internal IReadOnlyList<RepairStep> Repair { get; init; } = [];

    /// <summary>Whether a repair mends it.</summary>
    public bool CanBeFixed => Repair.Count > 0;
}

/// <summary>What the doctor saw at one look.</summary>
/// <param name="Path">The sysroot.</param>
/// <param name="Findings">The worst first.</param>
public sealed record DoctorReport(string Path, IReadOnlyList<DoctorFinding> Findings)
{
    /// <summary>Whether nothing is to be done.</summary>
    public bool IsHealthy => Findings.All(static finding => finding.Grade == FindingGrade.Note && !finding.CanBeFixed);

    /// <summary>What a repair would do, in its order.</summary>
    public RepairPlan Plan => new([.. Findings.SelectMany(static finding => finding.Repair).Distinct()
        .OrderBy(static step => step.Kind).ThenByDescending(static step => step.OnEsp).ThenBy(static step => step.Path, StringComparer.Ordinal)]);
}

/// <summary>A repair before anything is done: to be printed, tested and refused.</summary>
/// <param name="Steps">In their order.</param>
public sealed record RepairPlan(IReadOnlyList<RepairStep> Steps)
{
    /// <summary>The plan for people, one line a step.</summary>
    public override string ToString() => string.Concat(Steps.Select(static step => $"{step.What}\n"));
}

/// <summary>The kinds of steps, in the order in which they are done: each can be the last before a power cut.</summary>
public enum RepairKind
{
    /// <summary>A copy is kept of what a later step replaces.</summary>
    CopyAside,
    /// <summary>Something is moved to where nothing looks.</summary>
    SetAside,
    /// <summary>A file that sbox itself left half-written is removed.</summary>
    Remove,
    /// <summary>A merge of /etc that was cut short is finished.</summary>
    FinishEtc,
    /// <summary>Names that a deployment's tree lacks are made from its commit.</summary>
    RestoreTree,
    /// <summary>A deployment's /etc is made from its defaults.</summary>
    RestoreEtc,
    /// <summary>A deployment's composefs image is made from its commit.</summary>
    RestoreImage,
    /// <summary>A stateroot's /var is made.</summary>
    MakeVar,
    /// <summary>The boot entries and their links are made anew.</summary>
    RewriteBoot,
    /// <summary>A unified kernel image is made anew.</summary>
    RewriteUki,
    /// <summary>The EFI partition is led to what is deployed.</summary>
    PublishEsp,
    /// <summary>The refs that keep deployed commits are set.</summary>
    SetRefs,
    /// <summary>The firmware forgets a variable.</summary>
    Forget,
    /// <summary>Something that boots until here, as far as the firmware knows, is moved to where nothing looks.</summary>
    SetAsideLast,
}

/// <summary>One step of a repair.</summary>
/// <param name="Kind">What is done.</param>
/// <param name="Path">With what; from the sysroot's root, or the EFI partition's.</param>
/// <param name="What">The same as a sentence.</param>
public sealed record RepairStep(RepairKind Kind, string Path, string What)
{
    /// <summary>Whether the path is on the EFI partition.</summary>
    public bool OnEsp { get; init; }

    internal DeploymentName? Deployment { get; init; }

    internal Checksum? Digest { get; init; }
}

/// <summary>What a repair did.</summary>
/// <param name="Done">The steps that were done.</param>
/// <param name="Failed">Those that could not be, with the reason.</param>
/// <param name="Aside">Where what was taken away is now, from the sysroot's root; null where nothing was.</param>
public sealed record RepairReport(IReadOnlyList<RepairStep> Done, IReadOnlyList<(RepairStep Step, string Reason)> Failed, string? Aside);

/// <summary>What is to be repaired is no longer what was shown.</summary>
/// <param name="path">The sysroot.</param>
/// <param name="step">A step that was not shown.</param>
public sealed class RepairChangedException(string path, RepairStep step) : SysrootException($"{path}: what is to be done is more than what was shown: {step.What}")
{
    /// <summary>The step.</summary>
    public RepairStep Step { get; } = step;
}
