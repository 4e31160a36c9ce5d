using System.Buffers.Binary;
using System.Formats.Asn1;
using System.Text;
using Sbox.Codecs.SecureBoot;
using Sbox.Codecs.Tests.Composefs;
using Sbox.Judges;

namespace Sbox.Codecs.Tests.SecureBoot;

public sealed class EfiVariablesTests : IDisposable
{
    private static readonly Guid Owner = new("11111111-2222-3333-4444-123456789abc");
    private static readonly DateTimeOffset Time = new(2026, 11, 23, 5, 6, 7, TimeSpan.Zero);
    private readonly Signer key = Keys.Make("PK");
    private readonly Scratch scratch = new();

    public void Dispose()
    {
        key.Dispose();
        scratch.Dispose();
    }

    [Fact]
    public void A_signature_list_is_the_one_that_efitools_make()
    {
        string output = Path.Combine(scratch.Path, "list");
        Judge.OnPath("cert-to-efi-sig-list").Run("-g", $"{Owner}", Certificate(), output);
        Assert.Equal(File.ReadAllBytes(output), EfiSignatureList.Of(key.Certificate, Owner));
    }

    [Fact]
    public void The_certificates_of_several_lists_are_read_back()
    {
        using Signer other = Keys.Make("other");
        byte[] lists = [.. EfiSignatureList.Of(key.Certificate, Owner), .. EfiSignatureList.Of(other.Certificate, Owner)];
        Assert.Equal([key.Certificate, other.Certificate], EfiSignatureList.Certificates(lists));
        for (int length = 1; length < lists.Length; length++)
        {
            if (length != lists.Length / 2 || lists.Length % 2 != 0)
                Assert.True(IsRefusedOrShorter(lists[..length]), $"{length} bytes of {lists.Length}");
        }
    }

    [Fact]
    public void A_signed_variable_is_the_one_that_efitools_make_but_for_the_certificates_wrapping()
    {
        byte[] list = EfiSignatureList.Of(key.Certificate, Owner);
        string output = Path.Combine(scratch.Path, "auth");
        Judge.OnPath("sign-efi-sig-list").Run(
            "-g", $"{Owner}", "-t", "2026-11-23 05:06:07", "-k", scratch.File("key", Encoding.ASCII.GetBytes(key.Key.ExportRSAPrivateKeyPem())), "-c", Certificate(),
            "PK", scratch.File("list", list), output);
        byte[] theirs = File.ReadAllBytes(output), ours = EfiAuthenticatedVariable.Sign(EfiVariable.Pk, list, Time, key);
        Assert.Equal(theirs[..16], ours[..16]); // the time
        Assert.Equal(theirs[20..40], ours[20..40]); // what kind of signature
        Assert.Equal(list, EfiAuthenticatedVariable.Value(ours));
        Assert.Equal(list, EfiAuthenticatedVariable.Value(theirs));
    }

    [Theory, InlineData(false), InlineData(true)]
    public void Openssl_finds_the_variables_signature_good_and_one_changed_bit_bad(bool append)
    {
        byte[] list = EfiSignatureList.Of(key.Certificate, Owner), file = EfiAuthenticatedVariable.Sign(EfiVariable.Db, list, Time, key, append);
        int length = BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(16)) - 24;
        // OpenSSL wants a ContentInfo around what firmware wants bare.
        var wrapped = new AsnWriter(AsnEncodingRules.DER);
        using (wrapped.PushSequence())
        {
            wrapped.WriteObjectIdentifier("1.2.840.113549.1.7.2");
            using (wrapped.PushSequence(new Asn1Tag(TagClass.ContextSpecific, 0)))
                wrapped.WriteEncodedValue(file.AsSpan(40, length));
        }

        byte[] content = [.. Encoding.Unicode.GetBytes("db"), .. EfiVariable.Db.Vendor.ToByteArray(), append ? (byte)0x67 : (byte)0x27, 0, 0, 0, .. file[..16], .. list];
        Assert.True(Openssl(wrapped.Encode(), content));
        content[^1] ^= 1;
        Assert.False(Openssl(wrapped.Encode(), content));
    }

    private bool Openssl(byte[] signature, byte[] content) => Judge.OnPath("openssl").Ask(
        "smime", "-verify", "-inform", "DER", "-in", scratch.File("signature", signature), "-content", scratch.File("content", content), "-binary",
        "-CAfile", Certificate(), "-purpose", "any", "-out", "/dev/null").ExitCode == 0;

    private static bool IsRefusedOrShorter(byte[] lists)
    {
        try
        {
            return EfiSignatureList.Certificates(lists).Count < 2;
        }
        catch (MalformedException)
        {
            return true;
        }
    }

    private string Certificate() => scratch.File("crt", Encoding.ASCII.GetBytes(key.Certificate.ExportCertificatePem()));
}
