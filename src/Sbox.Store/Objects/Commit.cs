using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>A tree at one time, with its subject and the commit before it.</summary>
/// <param name="Metadata">A dictionary <c>a{sv}</c>, in the order in which it was written.</param>
/// <param name="Parent">The commit before it; null for the first.</param>
/// <param name="Subject">One line.</param>
/// <param name="Body">More lines, or empty.</param>
/// <param name="Timestamp">Seconds since 1970 in UTC.</param>
/// <param name="RootTree">The names in the root directory.</param>
/// <param name="RootMeta">The root directory's owner and mode.</param>
public sealed record Commit(
    VariantDictionary Metadata, Checksum? Parent, string Subject, string Body, ulong Timestamp, Checksum RootTree, Checksum RootMeta)
{
    private const string Format = "commit";

    /// <summary>Names the refs that may lead to the commit, in its metadata.</summary>
    internal const string RefBinding = "ostree.ref-binding";

    /// <summary>The object's GVariant type.</summary>
    public static GVariantType Type { get; } = GVariantType.Parse("(a{sv}aya(say)sstayay)");

    /// <summary>What the timestamp says, in UTC.</summary>
    public DateTimeOffset Time => DateTimeOffset.FromUnixTimeSeconds((long)Math.Min(Timestamp, 253402300799));

    /// <summary>The <c>version</c> in the metadata, which releases carry; null where there is none.</summary>
    public string? Version => Metadata.GetString("version");

    /// <summary>The sizes of all its objects; null where the metadata has none.</summary>
    /// <exception cref="MalformedException">The metadata has something else.</exception>
    public IReadOnlyList<ObjectSize>? Sizes => Metadata[CommitSizes.Key] is { Type.Signature: "aay" } sizes ? [.. CommitSizes.Parse(sizes)] : null;

    /// <summary>The fs-verity digest of its tree's composefs image, <c>ostree.composefs.digest.v0</c> in the metadata; null where that is missing.</summary>
    public Checksum? ComposefsDigest =>
        Metadata["ostree.composefs.digest.v0"] is { Type.Signature: "ay", Bytes.Length: Checksum.Size } named ? Checksum.FromBytes(named.Bytes) : null;

    /// <summary>Whether a branch may lead here: it is among those that the metadata names, or the metadata names none.</summary>
    internal bool IsBoundTo(string branch) =>
        Metadata[RefBinding] is not { Type.Signature: "as" } bound || bound.Items.Any(item => item.Text == branch);

    /// <summary>Reads GVariant <c>(a{sv}aya(say)sstayay)</c>; the timestamp is most significant byte first.</summary>
    /// <param name="bytes">The whole object; borrowed for the call, never kept.</param>
    /// <exception cref="MalformedException">The bytes are no such GVariant in normal form, or a checksum is not 32 bytes.</exception>
    /// <remarks>docs/formats/commit.md, after libostree's ostree-core.h.</remarks>
    public static Commit Parse(ReadOnlySpan<byte> bytes)
    {
        IReadOnlyList<GVariant> items = GVariant.Parse(Type, bytes).Items;
        byte[] parent = items[1].Bytes;
        if (items[2].Items.Count > 0)
            throw new MalformedException(Format, "related objects", "none, as every libostree writes it", $"{items[2].Items.Count}");
        return new Commit(
            new VariantDictionary(items[0]),
            parent.Length == 0 ? null : Checksum.FromBytes(parent),
            items[3].Text, items[4].Text, BigEndian.From64(items[5]),
            Checksum.FromBytes(items[6].Bytes), Checksum.FromBytes(items[7].Bytes));
    }

    /// <summary>The object's bytes.</summary>
    public byte[] ToBytes() => ToVariant().ToBytes();

    /// <summary>The object as a GVariant, the timestamp's bytes as they are on disk.</summary>
    public GVariant ToVariant() => GVariant.Tuple(
        Metadata.Variant,
        GVariant.Of(Parent?.ToArray() ?? []),
        GVariant.Array(Type.Children[2].Children[0]),
        GVariant.Of(Subject), GVariant.Of(Body), BigEndian.Of(Timestamp),
        GVariant.Of(RootTree.ToArray()), GVariant.Of(RootMeta.ToArray()));

    /// <summary>The SHA-256 over root tree and root metadata, which <c>ostree show</c> calls ContentChecksum.</summary>
    public Checksum ContentChecksum => Checksum.Of([.. RootTree.Span, .. RootMeta.Span]);
}
