using System.Text;

namespace Sbox.Codecs;

/// <summary>A place in a LUKS1 header where the volume's key lies, under a passphrase.</summary>
/// <param name="IsActive">Whether there is one.</param>
/// <param name="Iterations">PBKDF2's count.</param>
/// <param name="Salt">PBKDF2's salt, 32 bytes.</param>
/// <param name="Offset">The first sector of the key's stripes.</param>
/// <param name="Stripes">Into how many the key is split; each is as long as the key.</param>
public sealed record Luks1Slot(bool IsActive, int Iterations, byte[] Salt, uint Offset, int Stripes);

/// <summary>The first 592 bytes of an encrypted disk of LUKS version 1. A sector has 512 bytes.</summary>
/// <param name="Cipher"><c>aes</c>, say.</param>
/// <param name="Mode"><c>xts-plain64</c>, say.</param>
/// <param name="Hash"><c>sha512</c>, say.</param>
/// <param name="PayloadOffset">The first sector of what is encrypted.</param>
/// <param name="KeyLength">Bytes of the volume's key.</param>
/// <param name="Digest">Tells the right key, 20 bytes.</param>
/// <param name="DigestSalt">The digest's salt, 32 bytes.</param>
/// <param name="DigestIterations">The digest's count.</param>
/// <param name="Slots">Eight.</param>
/// <remarks>After the LUKS1 On-Disk Format Specification 1.2.3: integers are most significant byte first, text ends with a NUL.</remarks>
public sealed record Luks1Header(
    string Cipher, string Mode, string Hash, uint PayloadOffset, int KeyLength, byte[] Digest, byte[] DigestSalt, int DigestIterations, IReadOnlyList<Luks1Slot> Slots)
{
    /// <summary>Bytes that it takes.</summary>
    public const int Size = 592;

    /// <summary>Bytes in a sector.</summary>
    public const int SectorSize = 512;

    private const string Format = "LUKS1 header";
    private const int SlotCount = 8, LongestKey = 128, MostStripes = 64_000, MostIterations = 500_000_000;
    private const uint Active = 0x00AC71F3;

    /// <summary>What a disk of LUKS, version 1 or 2, begins with.</summary>
    public static ReadOnlySpan<byte> Magic => [(byte)'L', (byte)'U', (byte)'K', (byte)'S', 0xBA, 0xBE];

    /// <summary>Reads one.</summary>
    /// <param name="bytes"><see cref="Size"/> bytes; borrowed for the call.</param>
    /// <exception cref="MalformedException">It is none, or of another version, or asks for more than anybody would.</exception>
    public static Luks1Header Parse(ReadOnlySpan<byte> bytes)
    {
        var reader = new SpanReader(bytes, Format);
        if (!reader.ReadBytes(6, "magic").SequenceEqual(Magic))
            throw reader.Malformed("magic", "LUKS", "something else");
        if (reader.ReadBytes(2, "version") is not [0, 1])
            throw reader.Malformed("version", "1", "another one");
        string cipher = Text(ref reader, "cipher"), mode = Text(ref reader, "mode"), hash = Text(ref reader, "hash");
        uint payload = reader.ReadUInt32BigEndian("payload offset");
        int key = Number(ref reader, "key length", LongestKey);
        byte[] digest = reader.ReadBytes(20, "digest").ToArray(), salt = reader.ReadBytes(32, "digest salt").ToArray();
        int iterations = Number(ref reader, "digest iterations", MostIterations);
        reader.ReadBytes(40, "uuid");
        var slots = new List<Luks1Slot>();
        for (int slot = 0; slot < SlotCount; slot++)
            slots.Add(Slot(ref reader));
        return new Luks1Header(cipher, mode, hash, payload, key, digest, salt, iterations, slots);
    }

    private static Luks1Slot Slot(ref SpanReader reader)
    {
        bool active = reader.ReadUInt32BigEndian("slot") == Active;
        uint iterations = reader.ReadUInt32BigEndian("slot iterations");
        byte[] salt = reader.ReadBytes(32, "slot salt").ToArray();
        uint offset = reader.ReadUInt32BigEndian("slot offset"), stripes = reader.ReadUInt32BigEndian("slot stripes");
        if (!active)
            return new Luks1Slot(false, 0, salt, 0, 0);
        return iterations is > 0 and <= MostIterations && stripes is > 0 and <= MostStripes
            ? new Luks1Slot(true, (int)iterations, salt, offset, (int)stripes)
            : throw reader.Malformed("slot", "iterations and stripes within reason", $"{iterations} and {stripes}");
    }

    private static int Number(ref SpanReader reader, string part, int most) => reader.ReadUInt32BigEndian(part) is var number && number is > 0 && number <= most
        ? (int)number
        : throw reader.Malformed(part, $"1 to {most}", $"{number}");

    private static string Text(ref SpanReader reader, string part)
    {
        ReadOnlySpan<byte> field = reader.ReadBytes(32, part);
        int end = field.IndexOf((byte)0);
        return Encoding.ASCII.GetString(end < 0 ? field : field[..end]);
    }
}
