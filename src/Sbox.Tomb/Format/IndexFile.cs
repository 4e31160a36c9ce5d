using System.Text.Json;
using Sbox.Codecs;
using Sbox.Tomb.Crypto;

namespace Sbox.Tomb;

/// <summary>One pack as an index lists it.</summary>
/// <param name="Pack">The pack file.</param>
/// <param name="Blobs">What is in it.</param>
public sealed record IndexedPack(Checksum Pack, IReadOnlyList<PackEntry> Blobs);

/// <summary>A file of <c>index/</c>: which blobs are where, so that no pack has to be read to know.</summary>
public static class IndexFile
{
    /// <summary>A new file is begun after this many blobs, as in restic: each stays below 8 MiB.</summary>
    public const int BlobsAtMost = 50_000;

    private const string Format = "restic index";

    /// <summary>Reads an index's JSON; each pack is handed over as it is read, so that a large index is never there twice.</summary>
    /// <exception cref="MalformedException">It is none.</exception>
    public static void Parse(ReadOnlySpan<byte> json, Action<Checksum, IReadOnlyList<PackEntry>> onPack) => Parse(json, [], onPack);

    /// <summary>The same, with a list that is used for all packs: of many files it needs be made only once.</summary>
    internal static void Parse(ReadOnlySpan<byte> json, List<PackEntry> blobs, Action<Checksum, IReadOnlyList<PackEntry>> onPack) => JsonFields.Read(json, Format, (ref Utf8JsonReader reader) =>
    {
        JsonFields.Object(ref reader);
        while (JsonFields.Next(ref reader))
        {
            if (!reader.ValueTextEquals("packs"u8))
            {
                JsonFields.Skip(ref reader);
                continue;
            }

            if (!JsonFields.Array(ref reader))
                continue;
            while (JsonFields.NextElement(ref reader))
            {
                Checksum? pack = null;
                blobs.Clear();
                JsonFields.Object(ref reader);
                while (JsonFields.Next(ref reader))
                {
                    if (reader.ValueTextEquals("id"u8))
                        pack = JsonFields.Id(ref reader);
                    else if (reader.ValueTextEquals("blobs"u8))
                        ReadBlobs(ref reader, blobs);
                    else
                        JsonFields.Skip(ref reader);
                }

                onPack(pack ?? throw new MalformedException(Format, "id", "the id of a pack", "none"), blobs);
            }
        }

        return true;
    });

    /// <summary>The JSON of these packs.</summary>
    public static byte[] Write(IEnumerable<IndexedPack> packs)
    {
        var json = new GoJson();
        json.Raw("{\"packs\":["u8);
        bool first = true;
        foreach (IndexedPack pack in packs)
        {
            json.Raw(first ? "{\"id\":"u8 : ",{\"id\":"u8);
            first = false;
            json.Id(pack.Pack);
            json.Raw(",\"blobs\":["u8);
            for (int at = 0; at < pack.Blobs.Count; at++)
            {
                if (at > 0)
                    json.Raw(","u8);
                WriteBlob(json, pack.Blobs[at]);
            }

            json.Raw("]}"u8);
        }

        json.Raw("]}"u8);
        return json.Written.ToArray();
    }

    private static void WriteBlob(GoJson json, PackEntry blob)
    {
        json.Raw("{\"id\":"u8);
        json.Id(blob.Id);
        json.Raw(blob.Type == BlobType.Tree ? ",\"type\":\"tree\",\"offset\":"u8 : ",\"type\":\"data\",\"offset\":"u8);
        json.Number(blob.Offset);
        json.Raw(",\"length\":"u8);
        json.Number(blob.Length);
        if (blob.UncompressedLength != 0)
        {
            json.Raw(",\"uncompressed_length\":"u8);
            json.Number(blob.UncompressedLength);
        }

        json.Raw("}"u8);
    }

    private static BlobType Type(ref Utf8JsonReader reader)
    {
        reader.Read();
        return reader.ValueTextEquals("data"u8) ? BlobType.Data
            : reader.ValueTextEquals("tree"u8) ? BlobType.Tree
            : throw new MalformedException(Format, "type", "data or tree", $"'{reader.GetString()}'");
    }

    private static void ReadBlobs(ref Utf8JsonReader reader, List<PackEntry> blobs)
    {
        if (!JsonFields.Array(ref reader))
            return;
        while (JsonFields.NextElement(ref reader))
        {
            Checksum? id = null;
            BlobType? type = null;
            uint offset = 0, length = 0, plain = 0;
            JsonFields.Object(ref reader);
            while (JsonFields.Next(ref reader))
            {
                if (reader.ValueTextEquals("id"u8))
                    id = JsonFields.Id(ref reader);
                else if (reader.ValueTextEquals("type"u8))
                    type = Type(ref reader);
                else if (reader.ValueTextEquals("offset"u8))
                    offset = JsonFields.Small(ref reader);
                else if (reader.ValueTextEquals("length"u8))
                    length = JsonFields.Small(ref reader);
                else if (reader.ValueTextEquals("uncompressed_length"u8))
                    plain = JsonFields.Small(ref reader);
                else
                    JsonFields.Skip(ref reader);
            }

            if (id is not { } known || type is not { } kind || length < SealingKey.Overhead || length > Zstandard.MaximumSize || plain > Zstandard.MaximumSize)
                throw new MalformedException(Format, "blob", "id, type, and a length that can be", $"{id}, {type}, {length}, {plain} uncompressed");
            blobs.Add(new PackEntry(kind, known, offset, length, plain));
        }
    }
}
