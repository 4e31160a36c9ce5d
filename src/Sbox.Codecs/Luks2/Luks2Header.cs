using System.Buffers.Binary;
using System.Text;
using System.Text.Json;

namespace Sbox.Codecs.Luks2;

/// <summary>
/// The header of a LUKS2 volume that cryptsetup made, as far as one state of it must be left which cryptsetup cannot leave: everything is encrypted, and the note
/// that this is being done is still there. All else of a header is cryptsetup's to write.
/// </summary>
/// <param name="Sequence">Counts its writings.</param>
/// <param name="Binary">The first 4096 bytes, of either copy.</param>
/// <param name="Json">The JSON behind them, without the zeros that fill its 12288 bytes.</param>
/// <remarks>LUKS2 On-Disk Format Specification 1.1.1, 2 and 3. docs/formats/disk-tokens.md. Judge: cryptsetup.</remarks>
public sealed record Luks2Header(ulong Sequence, ReadOnlyMemory<byte> Binary, string Json)
{
    /// <summary>Bytes of one copy. The second one lies behind the first.</summary>
    public const int Length = 16384;

    private const int BinaryLength = 4096, SizeAt = 8, SequenceAt = 16, AlgorithmAt = 72, AlgorithmLength = 32, OffsetAt = 256, ChecksumAt = 448, ChecksumLength = 64;

    /// <summary>Reads the newer of those copies that are whole; null where none is, or its size or checksum is of another kind than cryptsetup's default.</summary>
    /// <param name="both">The volume's first 32768 bytes.</param>
    public static Luks2Header? Parse(ReadOnlySpan<byte> both)
    {
        if (both.Length < 2 * Length)
            return null;
        Luks2Header? first = ParseOne(both[..Length], [0x4C, 0x55, 0x4B, 0x53, 0xBA, 0xBE], 0), second = ParseOne(both[Length..(2 * Length)], [0x53, 0x4B, 0x55, 0x4C, 0xBA, 0xBE], Length);
        return second is null || first?.Sequence >= second.Sequence ? first : second;
    }

    /// <summary>
    /// The header of the volume when its encryption is over; null where there is something left to encrypt, or to be told of. cryptsetup 2.6 and 2.7, cut short after the last piece
    /// and before that note is gone, take it for the last piece still to be done, and refuse what they find.
    /// </summary>
    public Luks2Header? Ended()
    {
        using JsonDocument document = JsonDocument.Parse(Json);
        JsonElement root = document.RootElement;
        string[] encrypting = Names(root, "keyslots", static slot => Text(slot, "type") == "reencrypt" && Text(slot, "mode") == "encrypt");
        string[] segments = Names(root, "segments", static segment => !IsFlagged(segment)), flagged = Names(root, "segments", IsFlagged);
        string[] last = Names(root, "segments", static segment => Flags(segment) is ["backup-final"]), backups = Names(root, "segments", static segment => Flags(segment) is [var flag] && flag.StartsWith("backup-", StringComparison.Ordinal));
        // Any other flag is of a piece that is at work: what it says is nowhere else.
        if (encrypting is not [var slot] || segments is not ["0"] || last is not [var final] || backups.Length != flagged.Length)
            return null;
        JsonElement now = root.GetProperty("segments").GetProperty("0"), then = root.GetProperty("segments").GetProperty(final);
        if (Text(now, "type") != "crypt" || Text(now, "size") != "dynamic" || Text(now, "offset") is not { } offset || offset != Text(then, "offset"))
            return null; // it must begin where the volume's data will
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            Write(writer, root, slot, flagged);
        return new Luks2Header(Sequence, Binary, Encoding.UTF8.GetString(buffer.ToArray()));
    }

    /// <summary>Its bytes, a writing later.</summary>
    /// <param name="second">Of the second copy.</param>
    /// <returns><see cref="Length"/> bytes.</returns>
    /// <exception cref="MalformedException">The JSON is too long.</exception>
    public byte[] Next(bool second)
    {
        byte[] json = Encoding.UTF8.GetBytes(Json), bytes = new byte[Length];
        if (json.Length >= Length - BinaryLength)
            throw new MalformedException("luks2", "json", $"less than {Length - BinaryLength} bytes", $"{json.Length}");
        Binary.Span.CopyTo(bytes);
        json.CopyTo(bytes, BinaryLength);
        ReadOnlySpan<byte> magic = second ? [0x53, 0x4B, 0x55, 0x4C] : [0x4C, 0x55, 0x4B, 0x53];
        magic.CopyTo(bytes);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(SequenceAt), Sequence + 1);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(OffsetAt), second ? Length : 0UL);
        bytes.AsSpan(ChecksumAt, ChecksumLength).Clear();
        Sha256.Of(bytes).CopyTo(bytes, ChecksumAt);
        return bytes;
    }

    private static Luks2Header? ParseOne(ReadOnlySpan<byte> copy, ReadOnlySpan<byte> magic, ulong offset)
    {
        if (!copy.StartsWith(magic) || BinaryPrimitives.ReadUInt16BigEndian(copy[6..]) != 2 || BinaryPrimitives.ReadUInt64BigEndian(copy[SizeAt..]) != Length
            || BinaryPrimitives.ReadUInt64BigEndian(copy[OffsetAt..]) != offset || !copy.Slice(AlgorithmAt, AlgorithmLength).TrimEnd((byte)0).SequenceEqual("sha256"u8))
            return null;
        byte[] bytes = copy.ToArray();
        bytes.AsSpan(ChecksumAt, ChecksumLength).Clear();
        if (!copy.Slice(ChecksumAt, ChecksumLength).StartsWith(Sha256.Of(bytes)))
            return null;
        ReadOnlySpan<byte> json = copy[BinaryLength..];
        int end = json.IndexOf((byte)0);
        return new Luks2Header(BinaryPrimitives.ReadUInt64BigEndian(copy[SequenceAt..]), copy[..BinaryLength].ToArray(), Encoding.UTF8.GetString(end < 0 ? json : json[..end]));
    }

    // What cryptsetup itself leaves: without the slot that keeps the account, its digest, the segments that tell of before and after, and the requirement.
    private static void Write(Utf8JsonWriter writer, JsonElement root, string slot, string[] flagged)
    {
        writer.WriteStartObject();
        foreach (JsonProperty part in root.EnumerateObject())
        {
            writer.WriteStartObject(part.Name);
            foreach (JsonProperty each in part.Value.EnumerateObject())
            {
                switch (part.Name)
                {
                    case "keyslots" when each.Name == slot:
                    case "segments" when flagged.Contains(each.Name):
                    case "config" when each.Name == "requirements":
                    case "digests" when each.Value.GetProperty("keyslots").EnumerateArray().All(one => one.GetString() == slot):
                        break;
                    case "digests":
                        WriteDigest(writer, each, slot, flagged);
                        break;
                    default:
                        each.WriteTo(writer);
                        break;
                }
            }

            writer.WriteEndObject();
        }

        writer.WriteEndObject();
    }

    private static void WriteDigest(Utf8JsonWriter writer, JsonProperty digest, string slot, string[] flagged)
    {
        writer.WriteStartObject(digest.Name);
        foreach (JsonProperty each in digest.Value.EnumerateObject())
        {
            string[]? gone = each.Name switch { "keyslots" => [slot], "segments" => flagged, _ => null };
            if (gone is null)
            {
                each.WriteTo(writer);
                continue;
            }

            writer.WriteStartArray(each.Name);
            foreach (JsonElement name in each.Value.EnumerateArray().Where(name => !gone.Contains(name.GetString())))
                name.WriteTo(writer);
            writer.WriteEndArray();
        }

        writer.WriteEndObject();
    }

    private static string[] Names(JsonElement root, string part, Func<JsonElement, bool> which) =>
        [.. root.GetProperty(part).EnumerateObject().Where(each => which(each.Value)).Select(static each => each.Name)];

    private static bool IsFlagged(JsonElement segment) => segment.TryGetProperty("flags", out _);

    private static string[] Flags(JsonElement segment) => segment.TryGetProperty("flags", out JsonElement flags) ? [.. flags.EnumerateArray().Select(static flag => flag.GetString() ?? "")] : [];

    private static string? Text(JsonElement element, string name) => element.TryGetProperty(name, out JsonElement value) ? value.GetString() : null;
}
