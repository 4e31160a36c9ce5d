using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Delivery;

/// <summary>What is published, and how.</summary>
public sealed record PublishOptions
{
    /// <summary>The branches; all of the repository's own where none is named.</summary>
    public IReadOnlyList<string> Refs { get; init; } = [];

    /// <summary>How many older versions of each branch go along; -1 for all that are there.</summary>
    public int Depth { get; init; }

    /// <summary>From how many older versions of each branch a delta leads to the newest.</summary>
    public int DeltasFrom { get; init; } = 3;

    /// <summary>Whether one leads there from nothing.</summary>
    public bool DeltaFromNothing { get; init; } = true;

    /// <summary>Signs the summary: given its bytes, signatures by the name of the kind of key. Null: it is not signed.</summary>
    public Func<byte[], VariantDictionary>? Sign { get; init; }

    /// <summary>The trust documents that go along, by which what is published must be signed; null where there are none.</summary>
    public TrustHistory? Trust { get; init; }

    /// <summary>Nobody asked for them: where the place goes by none, and none is signed by enough yet or nobody who signs now may sign summaries by them, it is published without. They may be carried for others.</summary>
    public bool TrustMayWait { get; init; }

    /// <summary>Make a summary by this machine's clock also where the one that is there is of more than a day later: boxes that have taken that one take no older one.</summary>
    public bool SummaryMayGoBack { get; init; }

    /// <summary>Leave the new summary unsigned where the one that is there is signed.</summary>
    public bool Unsigned { get; init; }

    /// <summary>Have the place forget the branches that are there and not published now; their objects stay.</summary>
    public bool DropOthers { get; init; }

    /// <summary>Where "now" comes from.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>What a branch leads to there, and will.</summary>
/// <param name="Name">The branch.</param>
/// <param name="Old">Null where it is new.</param>
/// <param name="New">Where it will lead.</param>
public sealed record RefChange(string Name, Checksum? Old, Checksum New);

/// <summary>What publishing would do. Nothing was written for it, here or there.</summary>
/// <param name="Location">The place.</param>
/// <param name="Refs">The branches that are published, with where they lead.</param>
/// <param name="Changes">Those of them that are new there, or lead elsewhere.</param>
/// <param name="Objects">What is to be sent of files and directories.</param>
/// <param name="Commits">What is to be sent of commits, after all that they need.</param>
/// <param name="Others">Branches that are there and not published now; they stay, unless it was asked for otherwise.</param>
/// <param name="Deltas">The deltas that are to be sent.</param>
/// <param name="ToMake">Those of them that have to be made first.</param>
/// <param name="BytesAtMost">Bytes of the objects as they lie here: more than travel where they are not compressed yet; deltas are not counted.</param>
public sealed record PublishPlan(
    string Location, IReadOnlyDictionary<string, Checksum> Refs, IReadOnlyList<RefChange> Changes, IReadOnlyList<ObjectName> Objects,
    IReadOnlyList<Checksum> Commits, IReadOnlyDictionary<string, Checksum> Others, IReadOnlyList<DeltaName> Deltas, IReadOnlyList<DeltaName> ToMake, long BytesAtMost)
{
    /// <summary>The trust document that it goes by; null for none.</summary>
    public TrustDocument? Trust => Trusting?.Document;

    /// <summary>What boxes will make of it that its publisher may not expect, a line each.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>What was asked for, or what became of it where the repository is a mirror.</summary>
    internal PublishOptions How { get; init; } = new();

    /// <summary>The summary that is handed on as it is; null where one is made.</summary>
    internal MirroredSummary? Mirrored { get; init; }

    /// <summary>Of when its summary is to be.</summary>
    internal DateTimeOffset Moment { get; init; }

    /// <summary>The trust documents that go along; null where there are none.</summary>
    internal PublishedTrust? Trusting { get; init; }

    /// <summary>What is there now.</summary>
    internal PublishedState There { get; init; } = PublishedState.Nothing;

    /// <summary>The deltas that will be there, of those that were wanted.</summary>
    internal IReadOnlyCollection<DeltaName> Wanted { get; init; } = [];
}

/// <summary>What publishing does now.</summary>
public enum PublishStep
{
    /// <summary>Deltas are made here.</summary>
    Deltas,
    /// <summary>Files and directories are sent, then deltas, then commits.</summary>
    Objects,
    /// <summary>Branches and the summary are sent.</summary>
    Summary,
    /// <summary>Readers who took the signatures a moment ago are given time to take the summary that they belong to.</summary>
    Waiting,
}

/// <summary>How far publishing is.</summary>
/// <param name="Step">What is done now.</param>
/// <param name="Done">Files that were sent in this step, or deltas made.</param>
/// <param name="Total">Files that are to be.</param>
/// <param name="Bytes">Bytes that were sent in all.</param>
public readonly record struct PublishProgress(PublishStep Step, long Done, long Total, long Bytes)
{
    /// <summary>How far the delta is that is made now; null while none is.</summary>
    public DeltaProgress? Delta { get; init; }
}

/// <summary>What publishing did.</summary>
/// <param name="Plan">What was to be done.</param>
/// <param name="Files">Files that were sent.</param>
/// <param name="Bytes">Their bytes.</param>
/// <param name="IsSigned">Whether the summary there is signed now.</param>
public sealed record PublishReport(PublishPlan Plan, long Files, long Bytes, bool IsSigned);
