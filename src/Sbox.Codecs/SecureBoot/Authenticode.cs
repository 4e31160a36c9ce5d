using System.Formats.Asn1;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace Sbox.Codecs.SecureBoot;

/// <summary>The signature by which firmware knows a program: PKCS#7 over the program's digest, small enough to be shipped apart from it.</summary>
/// <remarks>docs/formats/secure-boot.md, after Microsoft's "Windows Authenticode Portable Executable Signature Format".</remarks>
public static class Authenticode
{
    private const string IndirectData = "1.3.6.1.4.1.311.2.1.4";
    private const string PeImageData = "1.3.6.1.4.1.311.2.1.15";
    private static readonly Asn1Tag Context0 = new(TagClass.ContextSpecific, 0, isConstructed: true);
    private static readonly Asn1Tag Context2 = new(TagClass.ContextSpecific, 2, isConstructed: true);

    /// <summary>Signs a program's digest. The same signer gives the same bytes every time.</summary>
    /// <param name="digest">What <see cref="PeDigest"/> says of the program.</param>
    /// <param name="signer">Who signs.</param>
    public static byte[] Sign(Checksum digest, Signer signer) => SignedData.Enveloping(signer, IndirectData, Content(digest));

    /// <summary>Finds out who signed a program.</summary>
    /// <param name="signature">The signature.</param>
    /// <param name="digest">What <see cref="PeDigest"/> says of the program.</param>
    /// <param name="trusted">The certificates that may have signed, themselves.</param>
    /// <returns>The certificate; null where the signature is another program's, or nobody's who is trusted.</returns>
    /// <exception cref="MalformedException">It is no signature.</exception>
    public static X509Certificate2? Verify(ReadOnlyMemory<byte> signature, Checksum digest, IReadOnlyList<X509Certificate2> trusted) =>
        SignedData.Verify(signature, IndirectData, trusted) is var (content, signer) && DigestOf(content) is { } signed && signed == digest ? signer : null;

    /// <summary>The digest of the program that a signature is for; null where it is nobody's who is trusted.</summary>
    /// <exception cref="MalformedException">It is no signature.</exception>
    public static Checksum? SignedDigest(ReadOnlyMemory<byte> signature, IReadOnlyList<X509Certificate2> trusted) =>
        SignedData.Verify(signature, IndirectData, trusted) is var (content, _) ? DigestOf(content) : null;

    // SpcIndirectDataContent: what kind of thing was hashed, and its hash.
    private static byte[] Content(Checksum digest)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(PeImageData);
                using (writer.PushSequence())
                {
                    writer.WriteBitString([]);
                    using (writer.PushSequence(Context0))
                    using (writer.PushSequence(Context2))
                        // SpcString as [0] BMPString, implicitly; the words are those that every signing tool puts here.
                        writer.WriteOctetString(Encoding.BigEndianUnicode.GetBytes("<<<Obsolete>>>"), new Asn1Tag(TagClass.ContextSpecific, 0));
                }
            }

            using (writer.PushSequence())
            {
                SignedData.WriteSha256(writer);
                writer.WriteOctetString(digest.Span);
            }
        }

        return writer.Encode();
    }

    private static Checksum? DigestOf(byte[] content)
    {
        try
        {
            AsnReader sequence = new AsnReader(content, AsnEncodingRules.BER).ReadSequence();
            sequence.ReadSequence();
            AsnReader info = sequence.ReadSequence();
            info.ReadSequence();
            return info.ReadOctetString() is { Length: Checksum.Size } hash ? Checksum.FromBytes(hash) : null;
        }
        catch (AsnContentException broken)
        {
            throw new MalformedException("Authenticode signature", "SpcIndirectDataContent", "a digest", broken.Message);
        }
    }
}
