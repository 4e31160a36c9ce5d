using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Delivery;

/// <summary>What a published repository says of itself: the few files that change.</summary>
/// <param name="Config">Its config; null where nothing was published.</param>
/// <param name="SummaryBytes">The file <c>summary</c>; null where there is none.</param>
/// <param name="Signatures">The file <c>summary.sig</c>; empty where there is none.</param>
internal sealed record PublishedState(byte[]? Config, byte[]? SummaryBytes, VariantDictionary Signatures)
{
    /// <summary>Where nothing was published.</summary>
    public static PublishedState Nothing { get; } = new(null, null, VariantDictionary.Empty);

    /// <summary>The summary; null where there is none, or none that can be read: a new one takes its place.</summary>
    public Summary? Summary { get; } = Parsed(SummaryBytes, static bytes => Summary.Parse(bytes));

    /// <summary>Whether anything signs it.</summary>
    public bool IsSigned => Signatures.Keys.Any();

    /// <summary>The branches.</summary>
    public IReadOnlyDictionary<string, Checksum> Refs => Summary?.Refs ?? new SortedDictionary<string, Checksum>(StringComparer.Ordinal);

    /// <summary>The trust document that it goes by; null where it says none.</summary>
    public long? TrustVersion => Summary?.TrustVersion;

    /// <summary>Whether one who signs signed it before: nothing else that lies there may be signed again. Made anew and compared, which the place never sees.</summary>
    public bool IsSignedBy(Func<byte[], VariantDictionary> sign)
    {
        if (SummaryBytes is null || !IsSigned)
            return false;
        VariantDictionary again = sign(SummaryBytes);
        return again.Keys.Any(kind => CommitSignatures.Of(again, kind).Any(own => CommitSignatures.Of(Signatures, kind).Any(there => there.AsSpan().SequenceEqual(own))));
    }

    public static async Task<PublishedState> Read(IPlace place, CancellationToken cancel) => new(
        await place.TryRead("config", cancel).ConfigureAwait(false),
        await place.TryRead("summary", cancel).ConfigureAwait(false),
        Parsed(await place.TryRead("summary.sig", cancel).ConfigureAwait(false), static bytes => VariantDictionary.Parse(bytes)) ?? VariantDictionary.Empty);

    private static T? Parsed<T>(byte[]? bytes, Func<byte[], T> parse)
        where T : class
    {
        try
        {
            return bytes is null ? null : parse(bytes);
        }
        catch (MalformedException)
        {
            return null;
        }
    }
}
