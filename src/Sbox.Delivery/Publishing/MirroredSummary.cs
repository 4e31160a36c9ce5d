using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Delivery;

/// <summary>
/// The signed summary of a repository that is a mirror of everything. Whoever keeps one has none of the keys, and hands on what its source signed: as it is, with the branches that it names and no other.
/// </summary>
/// <param name="Bytes">The file <c>summary</c>.</param>
/// <param name="Signatures">The file <c>summary.sig</c>.</param>
internal sealed record MirroredSummary(byte[] Bytes, VariantDictionary Signatures)
{
    /// <summary>What it says.</summary>
    public Summary Parsed { get; } = Summary.Parse(Bytes); // signed by who is believed: it can be read

    /// <summary>The place may forget branches also where nobody signed what names them: it was asked for.</summary>
    public bool MayDropUnsigned { get; private init; }

    /// <summary>The repository's own, where its documents believe it and it names just what is published; null elsewhere.</summary>
    public static MirroredSummary? Of(Repository repository, TrustDocument document, IReadOnlyDictionary<string, Checksum> refs)
    {
        string summary = Path.Combine(repository.Path, "summary"), beside = summary + ".sig";
        if (!File.Exists(summary) || !File.Exists(beside))
            return null;
        byte[] bytes = File.ReadAllBytes(summary), signatures = File.ReadAllBytes(beside);
        if (document.WhoSigned(document.Summary, bytes, TrustDocument.SignaturesIn(signatures)).Count < document.Summary.Threshold)
            return null;
        var mirrored = new MirroredSummary(bytes, VariantDictionary.Parse(signatures));
        var named = mirrored.Parsed.Refs;
        return named.Count == refs.Count && named.All(item => refs.TryGetValue(item.Key, out Checksum here) && here == item.Value) ? mirrored : null;
    }

    /// <summary>What is published then: its signatures in place of new ones, no branch beside its own, and no delta made here, where it names the source's.</summary>
    public (PublishOptions Options, MirroredSummary Summary) Into(PublishOptions options) => (
        options with
        {
            Sign = bytes => bytes.AsSpan().SequenceEqual(Bytes) ? Signatures : VariantDictionary.Empty, DropOthers = true, DeltasFrom = 0, DeltaFromNothing = false,
        },
        this with { MayDropUnsigned = options.DropOthers });
}
