using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>What a served repository says of itself in its file <c>summary</c>: its refs.</summary>
/// <param name="Refs">Branches and what they lead to.</param>
/// <param name="Metadata">More, by names.</param>
/// <remarks>docs/formats/summary.md, after libostree's ostree-core.h.</remarks>
public sealed record Summary(IReadOnlyDictionary<string, Checksum> Refs, VariantDictionary Metadata)
{
    private static readonly GVariantType Type = GVariantType.Parse("(a(s(taya{sv}))a{sv})");

    /// <summary>Reads GVariant <c>(a(s(taya{sv}))a{sv})</c>: refs with their commits' size, checksum and metadata; then metadata.</summary>
    /// <exception cref="MalformedException">The bytes are none, or a checksum is not 32 bytes.</exception>
    public static Summary Parse(ReadOnlySpan<byte> bytes)
    {
        IReadOnlyList<GVariant> items = GVariant.Parse(Type, bytes).Items;
        var refs = new SortedDictionary<string, Checksum>(StringComparer.Ordinal);
        foreach (GVariant entry in items[0].Items)
            refs[entry.Items[0].Text] = Checksum.FromBytes(entry.Items[1].Items[1].Bytes);
        return new Summary(refs, new VariantDictionary(items[1]));
    }
}
