using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>What a summary is to say of a repository.</summary>
public sealed record SummaryContent
{
    /// <summary>Its branches, by the bytes of their names.</summary>
    public IReadOnlyDictionary<string, Checksum> Refs { get; init; } = new SortedDictionary<string, Checksum>(StringComparer.Ordinal);

    /// <summary>How it keeps its files.</summary>
    public RepositoryMode Mode { get; init; } = RepositoryMode.Archive;

    /// <summary>When it was changed last; whole seconds.</summary>
    public DateTimeOffset Modified { get; init; }

    /// <summary>Its deltas, with the checksums of their superblocks: for clients from before there were indexes.</summary>
    public IReadOnlyDictionary<DeltaName, Checksum> Deltas { get; init; } = new Dictionary<DeltaName, Checksum>();

    /// <summary>The trust document that goes with it; null for none.</summary>
    public long? TrustVersion { get; init; }

    /// <summary>More metadata, first of all.</summary>
    public VariantDictionary Additional { get; init; } = VariantDictionary.Empty;

    /// <summary>The bytes of a commit that a branch leads to; null for the repository's own.</summary>
    public Func<Checksum, byte[]>? CommitOf { get; init; }
}
