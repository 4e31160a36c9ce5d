using System.Formats.Asn1;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Sbox.Codecs.SecureBoot;

/// <summary>
/// PKCS#7 SignedData with one RSA signer and SHA-256, as UEFI reads it. Nothing in it depends on when or where it was made.
/// </summary>
/// <remarks>docs/formats/secure-boot.md, after RFC 2315 and RFC 5652.</remarks>
internal static class SignedData
{
    public const string Data = "1.2.840.113549.1.7.1";
    public const string Oid = "1.2.840.113549.1.7.2";

    private const string Format = "PKCS#7 signature";
    private const string ContentTypeAttribute = "1.2.840.113549.1.9.3";
    private const string MessageDigestAttribute = "1.2.840.113549.1.9.4";
    private const string RsaEncryption = "1.2.840.113549.1.1.1";
    private static readonly Asn1Tag Context0 = new(TagClass.ContextSpecific, 0, isConstructed: true);

    /// <summary>Signs content that is not inside, without attributes: what firmware variables want.</summary>
    public static byte[] Detached(Signer signer, ReadOnlySpan<byte> content)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        Write(writer, signer, Data, content: default, attributes: default, signer.Sign(content));
        return writer.Encode();
    }

    /// <summary>Signs content that is inside, a SEQUENCE: what executables carry, ContentInfo around it.</summary>
    /// <param name="signer">Who signs.</param>
    /// <param name="contentType">The content's type.</param>
    /// <param name="content">The SEQUENCE with tag and length.</param>
    public static byte[] Enveloping(Signer signer, string contentType, byte[] content)
    {
        byte[] attributes = Attributes(contentType, SHA256.HashData(Inside(content)));
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(Oid);
            using (writer.PushSequence(Context0))
                Write(writer, signer, contentType, content, attributes, signer.Sign(attributes));
        }

        return writer.Encode();
    }

    /// <summary>Reads what <see cref="Enveloping"/>, or another signing tool, made, and checks it against certificates.</summary>
    /// <param name="der">ContentInfo and all that is in it.</param>
    /// <param name="contentType">The type that the content must have.</param>
    /// <param name="trusted">The certificates that may have signed, themselves; no chains are followed.</param>
    /// <returns>The content, and who signed it; null where none of the trusted did.</returns>
    /// <exception cref="MalformedException">It is no such signature.</exception>
    public static (byte[] Content, X509Certificate2 Signer)? Verify(ReadOnlyMemory<byte> der, string contentType, IReadOnlyList<X509Certificate2> trusted)
    {
        try
        {
            AsnReader outer = new AsnReader(der, AsnEncodingRules.BER).ReadSequence();
            Expect("content type", Oid, outer.ReadObjectIdentifier());
            AsnReader data = outer.ReadSequence(Context0).ReadSequence();
            data.ReadInteger();
            data.ReadSetOf();
            AsnReader content = data.ReadSequence();
            Expect("content", contentType, content.ReadObjectIdentifier());
            byte[] inner = content.ReadSequence(Context0).ReadEncodedValue().ToArray();
            while (data.PeekTag().TagClass == TagClass.ContextSpecific)
                data.ReadEncodedValue(); // certificates and revocation lists, which nobody has to believe
            AsnReader signers = data.ReadSetOf();
            while (signers.HasData)
            {
                if (Check(signers.ReadSequence(), contentType, inner, trusted) is { } signer)
                    return (inner, signer);
            }

            return null;
        }
        catch (AsnContentException broken)
        {
            throw new MalformedException(Format, "DER", "a SignedData", broken.Message);
        }
    }

    private static X509Certificate2? Check(AsnReader signer, string contentType, byte[] content, IReadOnlyList<X509Certificate2> trusted)
    {
        signer.ReadInteger();
        AsnReader id = signer.ReadSequence();
        ReadOnlyMemory<byte> issuer = id.ReadEncodedValue();
        ReadOnlyMemory<byte> serial = id.ReadIntegerBytes();
        Expect("digest algorithm", Sha256, signer.ReadSequence().ReadObjectIdentifier());
        byte[] attributes = signer.ReadEncodedValue().ToArray();
        signer.ReadSequence();
        byte[] signature = signer.ReadOctetString();

        // What is signed is the SET, though what stands here is tagged as [0].
        attributes[0] = 0x31;
        if (!Names(attributes, contentType, SHA256.HashData(Inside(content))))
            return null;
        return trusted.FirstOrDefault(certificate =>
            certificate.IssuerName.RawData.AsSpan().SequenceEqual(issuer.Span)
            && certificate.SerialNumberBytes.Span.SequenceEqual(serial.Span)
            && certificate.GetRSAPublicKey() is { } key
            && key.VerifyData(attributes, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1));
    }

    private static bool Names(byte[] attributes, string contentType, byte[] digest)
    {
        bool type = false, hash = false;
        AsnReader set = new AsnReader(attributes, AsnEncodingRules.BER).ReadSetOf();
        while (set.HasData)
        {
            AsnReader attribute = set.ReadSequence();
            string oid = attribute.ReadObjectIdentifier();
            AsnReader values = attribute.ReadSetOf();
            if (oid == ContentTypeAttribute)
                type = values.ReadObjectIdentifier() == contentType;
            else if (oid == MessageDigestAttribute)
                hash = values.ReadOctetString().AsSpan().SequenceEqual(digest);
        }

        return type && hash;
    }

    private const string Sha256 = "2.16.840.1.101.3.4.2.1";

    public static void WriteSha256(AsnWriter writer)
    {
        using (writer.PushSequence())
        {
            writer.WriteObjectIdentifier(Sha256);
            writer.WriteNull();
        }
    }

    private static void Write(
        AsnWriter writer, Signer signer, string contentType, ReadOnlySpan<byte> content, ReadOnlySpan<byte> attributes, byte[] signature)
    {
        using (writer.PushSequence())
        {
            writer.WriteInteger(1);
            using (writer.PushSetOf())
                WriteSha256(writer);
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(contentType);
                if (!content.IsEmpty)
                {
                    using (writer.PushSequence(Context0))
                        writer.WriteEncodedValue(content);
                }
            }

            using (writer.PushSetOf(Context0))
                writer.WriteEncodedValue(signer.Certificate.RawData);
            using (writer.PushSetOf())
                WriteSigner(writer, signer.Certificate, attributes, signature);
        }
    }

    private static void WriteSigner(AsnWriter writer, X509Certificate2 certificate, ReadOnlySpan<byte> attributes, byte[] signature)
    {
        using (writer.PushSequence())
        {
            writer.WriteInteger(1);
            using (writer.PushSequence())
            {
                writer.WriteEncodedValue(certificate.IssuerName.RawData);
                writer.WriteInteger(certificate.SerialNumberBytes.Span);
            }

            WriteSha256(writer);
            if (!attributes.IsEmpty)
            {
                byte[] tagged = attributes.ToArray();
                tagged[0] = 0xA0; // the SET as [0], implicitly
                writer.WriteEncodedValue(tagged);
            }

            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(RsaEncryption);
                writer.WriteNull();
            }

            writer.WriteOctetString(signature);
        }
    }

    private static byte[] Attributes(string contentType, byte[] digest)
    {
        var writer = new AsnWriter(AsnEncodingRules.DER);
        using (writer.PushSetOf())
        {
            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(ContentTypeAttribute);
                using (writer.PushSetOf())
                    writer.WriteObjectIdentifier(contentType);
            }

            using (writer.PushSequence())
            {
                writer.WriteObjectIdentifier(MessageDigestAttribute);
                using (writer.PushSetOf())
                    writer.WriteOctetString(digest);
            }
        }

        return writer.Encode();
    }

    // PKCS#7 hashes a content without its own tag and length.
    private static ReadOnlySpan<byte> Inside(byte[] content)
    {
        AsnDecoder.ReadSequence(content, AsnEncodingRules.BER, out int at, out int length, out _);
        return content.AsSpan(at, length);
    }

    private static void Expect(string part, string expected, string found)
    {
        if (found != expected)
            throw new MalformedException(Format, part, expected, found);
    }
}
