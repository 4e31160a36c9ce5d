using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>What a superblock says of the smaller delta beside it, which leads from and to the same commits.</summary>
/// <param name="Checksum">SHA-256 of its superblock.</param>
/// <param name="Size">Bytes of its parts, and of what they leave to be fetched by itself.</param>
/// <param name="Recompressed">Bytes that whoever applies it must compress.</param>
internal sealed record RecompressingDelta(Checksum Checksum, long Size, long Recompressed)
{
    private static readonly GVariantType Type = GVariantType.Parse("(aytt)");

    // A second, on each processor: what xz's usual level does on a machine of today.
    private const double CompressedPerSecond = 4_000_000;

    /// <summary>Whether bytes that need not come would take longer than what must be compressed for that.</summary>
    /// <param name="saved">How many need not come.</param>
    /// <param name="rate">How many come a second.</param>
    /// <param name="processors">How many compress.</param>
    public bool IsSooner(double saved, double rate, int processors) => saved / rate > Recompressed / (CompressedPerSecond * Math.Min(processors, Recompressor.AtOnce));

    /// <summary>As the metadata of a superblock has it, its numbers most significant byte first.</summary>
    public GVariant Variant => GVariant.Tuple(GVariant.Of(Checksum.ToArray()), BigEndian.Of((ulong)Size), BigEndian.Of((ulong)Recompressed));

    /// <summary>Reads it; null for what is none, as one of a later day may be.</summary>
    public static RecompressingDelta? From(GVariant said)
    {
        if (!said.Type.Equals(Type) || said.Items[0].Bytes is not { Length: Checksum.Size } checksum)
            return null;
        return new RecompressingDelta(Checksum.FromBytes(checksum), (long)Math.Min(BigEndian.From64(said.Items[1]), long.MaxValue), (long)Math.Min(BigEndian.From64(said.Items[2]), long.MaxValue));
    }
}
