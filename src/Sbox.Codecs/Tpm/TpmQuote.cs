using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Sbox.Codecs.Tpm;

/// <summary>What a TPM attests of its PCRs: TPMS_ATTEST of type quote, the bytes that it signs.</summary>
/// <param name="ExtraData">What its caller asked it to sign along: a nonce.</param>
/// <param name="Clock">Milliseconds that it was powered.</param>
/// <param name="ResetCount">How often it was reset: once a boot.</param>
/// <param name="FirmwareVersion">The TPM's own.</param>
/// <param name="Pcrs">Which PCRs of the SHA-256 bank, in order.</param>
/// <param name="Digest">SHA-256 over their values, one behind the other.</param>
/// <remarks>docs/formats/receipt.md, after the TPM 2.0 Library Specification, Part 2, 10.12. Big endian. Judge: <c>tpm2_checkquote</c>.</remarks>
public sealed record TpmQuote(byte[] ExtraData, ulong Clock, uint ResetCount, ulong FirmwareVersion, IReadOnlyList<int> Pcrs, Checksum Digest)
{
    private const string Format = "TPM quote";
    private const uint Magic = 0xFF544347; // TPM_GENERATED_VALUE: only the TPM itself makes bytes that begin so
    private const ushort Quote = 0x8018, Sha256 = 0x000B;

    /// <summary>Reads the bytes.</summary>
    /// <param name="bytes">All of them; borrowed for the call.</param>
    /// <exception cref="MalformedException">They are no quote of SHA-256 PCRs.</exception>
    public static TpmQuote Parse(ReadOnlySpan<byte> bytes)
    {
        var reader = new SpanReader(bytes, Format);
        if (reader.ReadUInt32BigEndian("magic") is var magic && magic != Magic)
            throw reader.Malformed("magic", $"{Magic:x8}", $"{magic:x8}");
        if (Short(ref reader, "type") is var type && type != Quote)
            throw reader.Malformed("type", $"{Quote:x4}, a quote", $"{type:x4}");
        Sized(ref reader, "qualified signer");
        byte[] extra = Sized(ref reader, "extra data").ToArray();
        ulong clock = reader.ReadUInt64BigEndian("clock");
        uint resets = reader.ReadUInt32BigEndian("reset count");
        reader.ReadUInt32BigEndian("restart count");
        reader.ReadByte("safe");
        ulong firmware = reader.ReadUInt64BigEndian("firmware version");
        if (reader.ReadUInt32BigEndian("selections") is var count && count != 1)
            throw reader.Malformed("selections", "one bank of PCRs", $"{count}");
        if (Short(ref reader, "bank") is var bank && bank != Sha256)
            throw reader.Malformed("bank", $"{Sha256:x4}, SHA-256", $"{bank:x4}");
        ReadOnlySpan<byte> selected = reader.ReadBytes(reader.ReadByte("selection size"), "selection");
        var pcrs = new List<int>();
        for (int pcr = 0; pcr < selected.Length * 8; pcr++)
        {
            if ((selected[pcr / 8] & (1 << (pcr % 8))) != 0)
                pcrs.Add(pcr);
        }

        ReadOnlySpan<byte> digest = Sized(ref reader, "PCR digest");
        if (digest.Length != Checksum.Size || reader.Remaining != 0)
            throw reader.Malformed("PCR digest", $"{Checksum.Size} bytes at the end", $"{digest.Length}, and {reader.Remaining} behind them");
        return new TpmQuote(extra, clock, resets, firmware, pcrs, Checksum.FromBytes(digest));
    }

    /// <summary>Whether a key signed the bytes of a quote: RSA with PKCS#1 v1.5, SHA-256.</summary>
    /// <param name="bytes">The bytes.</param>
    /// <param name="signature">The signature, without TPM's own frame.</param>
    /// <param name="key">The public key in PEM.</param>
    public static bool IsSignedBy(ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> signature, string key)
    {
        try
        {
            using var rsa = RSA.Create();
            rsa.ImportFromPem(key);
            return rsa.VerifyData(bytes, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        }
        catch (Exception no) when (no is CryptographicException or ArgumentException)
        {
            return false;
        }
    }

    private static ushort Short(ref SpanReader reader, string part) => BinaryPrimitives.ReadUInt16BigEndian(reader.ReadBytes(2, part));

    private static ReadOnlySpan<byte> Sized(ref SpanReader reader, string part) => reader.ReadBytes(Short(ref reader, part), part);
}
