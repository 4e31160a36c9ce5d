using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Sbox.Codecs.Uki;

namespace Sbox.Codecs.SecureBoot;

/// <summary>
/// A TPM gives out a secret that is bound to a public key when that key has signed the state which it is in. These are such signatures, of the
/// states that a unified kernel image leads to: the UKI carries them in <c>.pcrsig</c>, and the public key in <c>.pcrpkey</c>.
/// </summary>
/// <remarks>docs/formats/pcr-policy.md, after the TPM 2.0 library specification (TPM2_PolicyPCR) and systemd-measure(1).</remarks>
public static class PcrPolicy
{
    private const uint PolicyPcrCommand = 0x17F, OneSelection = 1;
    private const ushort Sha256Algorithm = 0x000B;

    /// <summary>
    /// The moments in which a secret may be given out: by systemd in an initrd; after it; and by systemd on a root that sbox-root alone made, which
    /// measures no phase before. Later ones (<c>sysinit</c>, <c>ready</c>) get no signature: what runs then has no need to open a disk again.
    /// </summary>
    public static IReadOnlyList<string[]> Moments { get; } = [["enter-initrd"], ["enter-initrd", "leave-initrd"], []];

    /// <summary>The policy's digest for register 11 with this value.</summary>
    public static byte[] Digest(Checksum register)
    {
        // digest' = H(digest || command || selection || H(values)); the digest begins as zeros.
        var message = new byte[32 + 4 + 4 + 2 + 1 + 3 + 32];
        Span<byte> at = message.AsSpan(32);
        BinaryPrimitives.WriteUInt32BigEndian(at, PolicyPcrCommand);
        BinaryPrimitives.WriteUInt32BigEndian(at[4..], OneSelection);
        BinaryPrimitives.WriteUInt16BigEndian(at[8..], Sha256Algorithm);
        at[10] = 3; // bytes of the bit map
        at[11 + (BootMeasurement.Register / 8)] = 1 << (BootMeasurement.Register % 8);
        SHA256.HashData(register.ToArray()).CopyTo(at[14..]);
        return SHA256.HashData(message);
    }

    /// <summary>The text of <c>.pcrsig</c>: one signature for each menu entry and moment; the same key gives the same bytes.</summary>
    /// <param name="uki">The image, without signatures and with the key's <see cref="PublicPem"/>.</param>
    /// <param name="key">Signs: SHA-256, PKCS#1 version 1.5.</param>
    public static string Sign(ReadOnlyMemory<byte> uki, RSA key)
    {
        string print = Convert.ToHexStringLower(SHA256.HashData(key.ExportRSAPublicKey()));
        var text = new StringBuilder("{\"sha256\":[");
        foreach (Checksum entry in BootMeasurement.OfEntries(UnifiedKernelImage.Read(uki)))
        {
            foreach (string[] moment in Moments)
            {
                byte[] policy = Digest(moment.Aggregate(entry, BootMeasurement.After));
                string signature = Convert.ToBase64String(key.SignData(policy, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1));
                text.Append(text[^1] == '[' ? "" : ",").Append(CultureInfo.InvariantCulture,
                    $"{{\"pcrs\":[{BootMeasurement.Register}],\"pkfp\":\"{print}\",\"pol\":\"{Convert.ToHexStringLower(policy)}\",\"sig\":\"{signature}\"}}");
            }
        }

        return text.Append("]}\n").ToString();
    }

    /// <summary>The text of <c>.pcrpkey</c>: PEM, SubjectPublicKeyInfo.</summary>
    public static string PublicPem(RSA key) => key.ExportSubjectPublicKeyInfoPem() + "\n";
}
