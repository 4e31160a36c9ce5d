using System.Buffers.Binary;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sbox.Codecs.SecureBoot;
using Sbox.Codecs.Tests.Composefs;
using Sbox.Codecs.Tests.Uki;
using Sbox.Codecs.Uki;
using Sbox.Judges;

namespace Sbox.Codecs.Tests.SecureBoot;

public sealed class AuthenticodeTests : IDisposable
{
    private static readonly byte[] Program = Build();
    private readonly Signer owner = Keys.Make("owner"), stranger = Keys.Make("stranger");
    private readonly Scratch scratch = new();

    public void Dispose()
    {
        owner.Dispose();
        stranger.Dispose();
        scratch.Dispose();
    }

    [Fact]
    public void Sbverify_finds_our_signature_good_and_only_by_our_certificate()
    {
        byte[] signed = PeSignatures.Attach(Program, [Authenticode.Sign(PeDigest.Of(Program), owner)]);
        Assert.True(Sbverify(signed, owner));
        Assert.False(Sbverify(signed, stranger));
    }

    [Fact]
    public void We_find_what_sbsign_signed_good_and_the_program_as_it_was()
    {
        string path = scratch.File("program.efi", Program), output = Path.Combine(scratch.Path, "signed.efi");
        Judge.OnPath("sbsign").Run(
            "--key", scratch.File("key", Encoding.ASCII.GetBytes(owner.Key.ExportPkcs8PrivateKeyPem())), "--cert", Certificate(owner), "--output", output, path);
        (byte[] program, IReadOnlyList<byte[]> signatures) = PeSignatures.Detach(File.ReadAllBytes(output));
        Assert.Equal(PeDigest.Of(Program), PeDigest.Of(program));
        Assert.Equal(owner.Certificate, Authenticode.Verify(Assert.Single(signatures), PeDigest.Of(Program), [stranger.Certificate, owner.Certificate]));
    }

    [Fact]
    public void The_same_key_signs_the_same_program_with_the_same_bytes()
    {
        byte[] signature = Authenticode.Sign(PeDigest.Of(Program), owner);
        Assert.Equal(signature, Authenticode.Sign(PeDigest.Of(Program), owner));
        Assert.Equal(owner.Certificate, Authenticode.Verify(signature, PeDigest.Of(Program), [owner.Certificate]));
    }

    [Fact]
    public void A_strangers_signature_and_another_programs_are_nobodys()
    {
        Assert.Null(Authenticode.Verify(Authenticode.Sign(PeDigest.Of(Program), stranger), PeDigest.Of(Program), [owner.Certificate]));
        Assert.Null(Authenticode.Verify(Authenticode.Sign(Checksum.Of("another"u8), owner), PeDigest.Of(Program), [owner.Certificate]));
    }

    [Fact]
    public void One_bit_changed_anywhere_breaks_the_signature_for_sbverify_and_for_us()
    {
        byte[] signature = Authenticode.Sign(PeDigest.Of(Program), owner);
        byte[] signed = PeSignatures.Attach(Program, [signature]);
        int[] places = [2, 0x3B, 0x200, 0x1000, Program.Length / 2, Program.Length - 1, .. UnifiedKernelImage.Find(Program, Program.Length).Select(static place => (int)place.Offset)];
        foreach (int place in places)
        {
            byte[] changed = [.. signed];
            changed[place] ^= 1;
            Assert.False(Sbverify(changed, owner), $"sbverify took a change at {place}");
            Assert.NotEqual(PeDigest.Of(Program), PeDigest.Of([.. Program[..place], (byte)(Program[place] ^ 1), .. Program[(place + 1)..]]));
        }
    }

    [Fact]
    public void Every_bit_of_the_digests_and_of_the_signature_counts()
    {
        byte[] signature = Authenticode.Sign(PeDigest.Of(Program), owner);
        int digest = signature.AsSpan().IndexOf(PeDigest.Of(Program).Span);
        int[] places = [.. Enumerable.Range(digest, 32), .. Enumerable.Range(signature.Length - 256, 256)];
        Assert.All(places, at => Assert.Null(Changed(signature, at, 1)));
    }

    [Fact]
    public void A_damaged_signature_is_nobodys_or_malformed_and_never_a_crash()
    {
        byte[] signature = Authenticode.Sign(PeDigest.Of(Program), owner);
        for (int at = 0; at < signature.Length; at++)
        {
            foreach (byte bit in (byte[])[1, 0x10, 0x80])
                _ = Changed(signature, at, bit);
            try
            {
                Assert.Null(Authenticode.Verify(signature.AsMemory(0, at), PeDigest.Of(Program), [owner.Certificate]));
            }
            catch (MalformedException)
            {
                // As good an answer.
            }
        }
    }

    [Fact]
    public void Two_owners_may_sign_and_each_finds_their_own()
    {
        Checksum digest = PeDigest.Of(Program);
        byte[] signed = PeSignatures.Attach(Program, [Authenticode.Sign(digest, owner), Authenticode.Sign(digest, stranger)]);
        Assert.True(Sbverify(signed, owner));
        Assert.True(Sbverify(signed, stranger));
        (byte[] program, IReadOnlyList<byte[]> signatures) = PeSignatures.Detach(signed);
        Assert.Equal(Program, program);
        Assert.Equal(2, signatures.Count);
    }

    [Fact]
    public void Bytes_between_sections_which_firmware_would_not_see_are_refused()
    {
        byte[] program = [.. Program];
        int headers = BinaryPrimitives.ReadInt32LittleEndian(program.AsSpan(0x3C));
        Span<byte> first = program.AsSpan(headers + 24 + 240);
        BinaryPrimitives.WriteUInt32LittleEndian(first[16..], BinaryPrimitives.ReadUInt32LittleEndian(first[16..]) - 512);
        Assert.Throws<MalformedException>(() => PeDigest.Of(program));
    }

    [Fact]
    public void A_signed_program_is_not_hashed_as_if_it_were_not() =>
        Assert.Throws<MalformedException>(() => PeDigest.Of(PeSignatures.Attach(Program, [Authenticode.Sign(PeDigest.Of(Program), owner)])));

    [Fact]
    public void However_the_bytes_come_the_digest_is_the_same()
    {
        using var digest = new PeDigest();
        for (int at = 0, step = 1; at < Program.Length; at += step, step = Math.Min((step * 2) + 1, 70_001))
            digest.Write(Program.AsSpan(at, Math.Min(step, Program.Length - at)));
        Assert.Equal(PeDigest.Of(Program), digest.Finish());
    }

    private X509Certificate2? Changed(byte[] signature, int at, byte bit)
    {
        byte[] changed = [.. signature];
        changed[at] ^= bit;
        try
        {
            return Authenticode.Verify(changed, PeDigest.Of(Program), [owner.Certificate]);
        }
        catch (MalformedException)
        {
            return null;
        }
    }

    private bool Sbverify(byte[] program, Signer signer) =>
        Judge.OnPath("sbverify").Ask("--cert", Certificate(signer), scratch.File($"{Guid.NewGuid():N}.efi", program)).ExitCode == 0;

    private string Certificate(Signer signer) => scratch.File($"{signer.Certificate.Thumbprint}.crt", Encoding.ASCII.GetBytes(signer.Certificate.ExportCertificatePem()));

    private static byte[] Build()
    {
        using var image = new MemoryStream();
        UnifiedKernelImage.Build(
            Ukify.Stub, new UkiParts(Ukify.Stub, "root=LABEL=sbox-root quiet", "ID=debian\n"u8.ToArray()) { Initrds = [new MemoryStream(new byte[12345])] }, image);
        return image.ToArray();
    }
}
