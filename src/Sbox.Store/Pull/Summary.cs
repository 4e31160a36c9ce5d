using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>What a served repository says of itself in its file <c>summary</c>: its refs.</summary>
/// <param name="Refs">Branches and what they lead to.</param>
/// <param name="Metadata">More, by names.</param>
/// <remarks>docs/formats/summary.md, after libostree's ostree-core.h.</remarks>
public sealed record Summary(IReadOnlyDictionary<string, Checksum> Refs, VariantDictionary Metadata)
{
    private const string CollectionMap = "ostree.summary.collection-map";

    /// <summary>The file's GVariant type.</summary>
    internal static readonly GVariantType Type = GVariantType.Parse("(a(s(taya{sv}))a{sv})");

    private static readonly GVariantType MapType = GVariantType.Parse("a{sa(s(taya{sv}))}");

    /// <summary>The collection that <see cref="Refs"/> belong to; null for none.</summary>
    public string? CollectionId => Metadata.GetString("ostree.summary.collection-id");

    /// <summary>The deltas that it lists, with the checksums of their superblocks.</summary>
    /// <exception cref="MalformedException">The list is none.</exception>
    public IReadOnlyDictionary<DeltaName, Checksum> Deltas => DeltaStore.ParseList(Metadata[DeltaSuperblock.ListKey]);

    /// <summary>When it was written, as it says itself; null where it does not.</summary>
    public DateTimeOffset? Modified => Metadata["ostree.summary.last-modified"] is { Type.Signature: "t" } time
        ? DateTimeOffset.FromUnixTimeSeconds((long)Math.Min(BigEndian.From64(time), LastSecond))
        : null;

    /// <summary>The trust document that was there when it was made, as it says itself; null where it does not.</summary>
    public long? TrustVersion => Metadata[TrustDocument.SummaryKey] is { Type.Signature: "t" } version ? (long)Math.Min(BigEndian.From64(version), long.MaxValue) : null;

    private const ulong LastSecond = 253402300799; // of the year 9999

    /// <summary>The refs of a collection: the summary's own, or those that it lists of others.</summary>
    /// <exception cref="MalformedException">The list is none.</exception>
    internal IReadOnlyDictionary<string, Checksum> RefsOf(string collection)
    {
        if (collection == CollectionId)
            return Refs;
        return ListOf(collection) is { } list ? Read(list) : new SortedDictionary<string, Checksum>(StringComparer.Ordinal);
    }

    /// <summary>The refs that a pull of a collection takes; of all that belong to none where the summary says no collection, or none is asked for.</summary>
    internal IReadOnlyDictionary<string, Checksum> RefsFor(string? collection) => collection is not null && CollectionId is not null ? RefsOf(collection) : Refs;

    /// <summary>When the commits of a collection's refs were made, in seconds of Unix time, by ref; without those of which the summary does not say.</summary>
    internal Dictionary<string, ulong> TimesOf(string collection)
    {
        var times = new Dictionary<string, ulong>();
        foreach (GVariant entry in (collection == CollectionId ? List : ListOf(collection))?.Items ?? [])
        {
            if (new VariantDictionary(entry.Items[1].Items[2])["ostree.commit.timestamp"] is { Type.Signature: "t" } time)
                times[entry.Items[0].Text] = BigEndian.From64(time);
        }

        return times;
    }

    private GVariant? List { get; init; }

    private GVariant? ListOf(string collection)
    {
        GVariant? map = Metadata[CollectionMap];
        if (map is not null && map.Type.Signature != MapType.Signature)
            throw new MalformedException("summary", CollectionMap, MapType.Signature, map.Type.Signature);
        return map?.Items.FirstOrDefault(each => each.Items[0].Text == collection)?.Items[1];
    }

    /// <summary>Reads GVariant <c>(a(s(taya{sv}))a{sv})</c>: refs with their commits' size, checksum and metadata; then metadata.</summary>
    /// <exception cref="MalformedException">The bytes are none, or a checksum is not 32 bytes.</exception>
    public static Summary Parse(ReadOnlySpan<byte> bytes)
    {
        IReadOnlyList<GVariant> items = GVariant.Parse(Type, bytes).Items;
        return new Summary(Read(items[0]), new VariantDictionary(items[1])) { List = items[0] };
    }

    private static SortedDictionary<string, Checksum> Read(GVariant list)
    {
        var refs = new SortedDictionary<string, Checksum>(StringComparer.Ordinal);
        foreach (GVariant entry in list.Items)
            refs[entry.Items[0].Text] = Checksum.FromBytes(entry.Items[1].Items[1].Bytes);
        return refs;
    }
}
