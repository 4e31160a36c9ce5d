using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>The list of the deltas that make one commit, as a served repository has it in <see cref="DeltaName.IndexOf"/>: by it a pull knows which there are.</summary>
/// <remarks>docs/formats/static-delta.md.</remarks>
public static class DeltaIndex
{
    /// <summary>The file's bytes.</summary>
    /// <param name="deltas">The deltas, with the checksums of their superblocks.</param>
    public static byte[] ToBytes(IReadOnlyDictionary<DeltaName, Checksum> deltas) =>
        VariantDictionary.Empty.With(DeltaSuperblock.ListKey, ListOf(deltas).Variant).ToBytes();

    /// <summary>Reads the file.</summary>
    /// <exception cref="MalformedException">It is none.</exception>
    public static IReadOnlyDictionary<DeltaName, Checksum> Parse(ReadOnlySpan<byte> bytes) => DeltaStore.ParseList(VariantDictionary.Parse(bytes)[DeltaSuperblock.ListKey]);

    /// <summary>The list itself, by the names, as summaries have it too.</summary>
    internal static VariantDictionary ListOf(IEnumerable<KeyValuePair<DeltaName, Checksum>> deltas)
    {
        VariantDictionary list = VariantDictionary.Empty;
        foreach ((DeltaName name, Checksum superblock) in deltas.OrderBy(static item => $"{item.Key}", StringComparer.Ordinal))
            list = list.With($"{name}", GVariant.Of(superblock.ToArray()));
        return list;
    }
}
