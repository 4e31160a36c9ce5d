using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Delivery;

/// <summary>
/// The file <c>summary.sig</c> while the summary beside it is replaced. Readers take the one and then the other, and no server gives them
/// both at once: so the signatures of the old and of the new are there together before the new summary is, and for some time after.
/// </summary>
/// <remarks>docs/decisions/0018-a-publication-is-never-half-seen.md.</remarks>
internal static class SummarySigning
{
    private const int KeptOfEachKind = 8;
    private static readonly GVariantType Bytes = GVariantType.Parse("ay");

    /// <summary>Before the new summary: what signs it, and after that what signs the one that is there.</summary>
    public static VariantDictionary Before(VariantDictionary there, VariantDictionary own) =>
        Joined(there, own, Kinds(there, own), static (old, ours) => ours.Concat(old), there);

    /// <summary>
    /// After it: the same, in another order. A reader that took these signatures with the old summary keeps both, and takes them for current
    /// until the signatures are other bytes.
    /// </summary>
    public static VariantDictionary After(VariantDictionary there, VariantDictionary own) =>
        Joined(there, own, Kinds(there, own).Reverse(), static (old, ours) => old.Concat(ours), own);

    private static IEnumerable<string> Kinds(VariantDictionary there, VariantDictionary own) => there.Keys.Concat(own.Keys).Distinct().Order(StringComparer.Ordinal);

    private static VariantDictionary Joined(
        VariantDictionary there, VariantDictionary own, IEnumerable<string> kinds, Func<IEnumerable<byte[]>, IEnumerable<byte[]>, IEnumerable<byte[]>> order, VariantDictionary ofGpg)
    {
        VariantDictionary joined = VariantDictionary.Empty;
        foreach (string kind in kinds)
        {
            // gpg, as libostree runs it, ends at the first signature that does not fit: these cannot be joined.
            if (kind == CommitSignatures.GpgKey)
            {
                joined = ofGpg[kind] is { } alone ? joined.With(kind, alone) : joined;
                continue;
            }

            IReadOnlyList<byte[]> ours = CommitSignatures.Of(own, kind);
            IEnumerable<byte[]> old = CommitSignatures.Of(there, kind)
                .Where(each => !ours.Any(known => known.AsSpan().SequenceEqual(each)))
                .TakeLast(Math.Max(0, KeptOfEachKind - ours.Count));
            joined = joined.With(kind, GVariant.Array(Bytes, [.. order(old, ours).Select(GVariant.Of)]));
        }

        return joined;
    }
}
