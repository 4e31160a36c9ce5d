using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Integrity;

/// <summary>How a box is verified.</summary>
public sealed record VerifyOptions
{
    /// <summary>Read and hash every byte; else only metadata, and of files what the kernel tells without reading.</summary>
    public bool Deep { get; init; }

    /// <summary>Take only what nobody else wants of processor and disk.</summary>
    public bool Idle { get; init; }

    /// <summary>Where a deep check keeps how far it has come; null for nowhere.</summary>
    public string? StateFile { get; init; }

    /// <summary>Begin anew, whatever the state file says.</summary>
    public bool Restart { get; init; }

    /// <summary>How often the state is written down.</summary>
    public TimeSpan SaveEvery { get; init; } = TimeSpan.FromSeconds(5);

    /// <summary>Where "now" comes from.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>How far a check has come.</summary>
/// <param name="Objects">Objects looked at.</param>
/// <param name="TotalObjects">Objects to look at.</param>
/// <param name="Bytes">Bytes of content behind those looked at.</param>
/// <param name="TotalBytes">Bytes of content behind all.</param>
public readonly record struct VerifyProgress(long Objects, long TotalObjects, long Bytes, long TotalBytes);

/// <summary>A deployment's composefs image.</summary>
/// <param name="Deployment">Which deployment.</param>
/// <param name="Verdict">Whether it is what it should be.</param>
/// <param name="Says">One sentence.</param>
/// <param name="Digest">Its digest; null where there is none.</param>
public sealed record ImageLook(DeploymentName Deployment, Verdict Verdict, string Says, Checksum? Digest);

/// <summary>An object that is wrong, or could not be looked at.</summary>
/// <param name="Problem">What is wrong.</param>
/// <param name="Verdict">Wrong; or unchecked, where this process may not look.</param>
/// <param name="Paths">Where deployed trees have it; a few of them.</param>
public sealed record ObjectFault(FsckProblem Problem, Verdict Verdict, IReadOnlyList<string> Paths);

/// <summary>What was checked on a box's disk, and found.</summary>
/// <param name="Deep">Whether every byte was to be read.</param>
/// <param name="Images">The composefs images.</param>
/// <param name="Faults">Objects that are wrong, or could not be looked at.</param>
public sealed record VerifyReport(bool Deep, IReadOnlyList<ImageLook> Images, IReadOnlyList<ObjectFault> Faults)
{
    /// <summary>Objects that deployments need.</summary>
    public long Objects { get; init; }

    /// <summary>Objects whose bytes were read and hashed, an earlier part of a resumed check included.</summary>
    public long Read { get; init; }

    /// <summary>Files whose bytes the kernel holds to a digest that fits their image; not read.</summary>
    public long Held { get; init; }

    /// <summary>Files of whose bytes nothing is known.</summary>
    public long Unseen { get; init; }

    /// <summary>Bytes of content that were read, an earlier part included.</summary>
    public long Bytes { get; init; }

    /// <summary>When the check that was resumed had begun; null for one that began now.</summary>
    public DateTimeOffset? ResumedFrom { get; init; }

    /// <summary>How long this run took.</summary>
    public TimeSpan Took { get; init; }

    /// <summary>What was not checked, a line each.</summary>
    public IReadOnlyList<string> Unchecked { get; init; } = [];

    /// <summary>What it comes to.</summary>
    public Verdict Verdict => Images.Select(static image => image.Verdict)
        .Concat(Faults.Select(static fault => fault.Verdict))
        .Concat(Unchecked.Select(static _ => Verdict.Unchecked))
        .Worst();
}
