using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Sbox.Codecs.SecureBoot;
using Sbox.Codecs.Uki;
using Sbox.Judges;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Integrity.Tests;

/// <summary>What is said of firmware, kernel, command line and UKI, each by its evidence alone.</summary>
public sealed class BootJudgeTests
{
    private const string Line = "root=LABEL=sbox-root sbox.commit=aa composefs=bb sbox.verity=required quiet";
    private static readonly byte[] Program = File.ReadAllBytes(Directory.GetFiles(Path.Combine(Judge.Root, "usr/lib/systemd/boot/efi"), "linuxx64.efi.stub").Single());
    private static readonly Signer Owner = Make("owner"), Stranger = Make("stranger");
    private static readonly FirmwareState Firmware = new(true, false, [Owner.Certificate]);

    [Theory]
    [InlineData(true, false, true, Verdict.Ok, "signed by CN=owner")]
    [InlineData(false, false, true, Verdict.Wrong, "Secure Boot is off")]
    [InlineData(true, true, true, Verdict.Wrong, "setup mode")]
    [InlineData(true, false, false, Verdict.Wrong, "no certificate")]
    [InlineData(null, null, false, Verdict.Unchecked, "no UEFI variables")]
    [InlineData(true, null, true, Verdict.Unchecked, "does not tell")]
    public void Firmware_is_fine_only_when_it_checks_by_keys_that_somebody_chose(bool? secure, bool? setup, bool db, Verdict verdict, string says)
    {
        Fact fact = BootJudge.Firmware(new FirmwareState(secure, setup, db ? [Owner.Certificate] : null));
        Assert.Equal(verdict, fact.Verdict);
        Assert.Contains(says, fact.Says, StringComparison.Ordinal);
        if (db)
            Assert.Contains(Owner.Certificate.GetCertHashString(HashAlgorithmName.SHA256).ToLowerInvariant(), fact.List[0], StringComparison.Ordinal);
    }

    [Fact]
    public void The_firmwares_variables_are_read_as_efivarfs_has_them()
    {
        using var temp = new TempDir();
        Assert.Equal(new FirmwareState(null, null, null), FirmwareState.Read(temp.Of("nowhere")) with { Revoked = new FirmwareState(null, null, null).Revoked });
        void Write(string name, params byte[] value) => File.WriteAllBytes(temp.Of(name), [6, 0, 0, 0, .. value]);
        Write(EfiVariable.SecureBoot.FileName, 1);
        Write(EfiVariable.SetupMode.FileName, 0);
        Write(EfiVariable.Db.FileName, [.. EfiSignatureList.Of(Owner.Certificate, Guid.Empty), .. EfiSignatureList.Of(Stranger.Certificate, Guid.Empty)]);
        Write(EfiVariable.Db.FileName.Replace("db-", "dbx-", StringComparison.Ordinal), EfiSignatureList.Of(Stranger.Certificate, Guid.Empty));
        Write("StubImageIdentifier-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f", Encoding.Unicode.GetBytes("\\EFI\\Linux\\a.efi\0"));
        FirmwareState firmware = FirmwareState.Read(temp.Path);
        Assert.Equal((true, false, @"\EFI\Linux\a.efi"), (firmware.SecureBoot, firmware.SetupMode, firmware.StartedImage));
        Assert.Equal(["CN=owner", "CN=stranger"], firmware.Certificates!.Select(static each => each.Subject));
        Assert.Equal("CN=stranger", Assert.Single(firmware.Revoked).Subject);
        Write(EfiVariable.Db.FileName, 1, 2, 3);
        Assert.Equal(Verdict.Wrong, BootJudge.Firmware(FirmwareState.Read(temp.Path)).Verdict);
    }

    [Fact]
    public void A_db_without_certificates_trusts_nobody() => Assert.Equal(Verdict.Wrong, BootJudge.Firmware(new FirmwareState(true, false, [])).Verdict);

    [Theory]
    [InlineData("6.12.57 (debian-kernel@lists.debian.org) #1 SMP Debian 6.12.57-1 (2025-11-05)", Verdict.Ok)]
    [InlineData("6.12.57 (mallory@example.org) #1 SMP Debian 6.12.57-2 (2025-11-06)", Verdict.Wrong)]
    [InlineData("6.12.570 (debian-kernel@lists.debian.org) #1 SMP Debian 6.12.57-1 (2025-11-05)", Verdict.Wrong)]
    [InlineData(null, Verdict.Unchecked)]
    public void The_kernel_is_the_trees_when_it_says_the_same_of_itself(string? words, Verdict verdict) =>
        Assert.Equal(verdict, BootJudge.Kernel(new KernelEvidence("6.12.57", "#1 SMP Debian 6.12.57-1 (2025-11-05)") { TreesOwnWords = words }).Verdict);

    [Fact]
    public void A_kernels_own_words_are_found_in_its_header_and_in_nothing_else()
    {
        var kernel = new byte[0x1000];
        "HdrS"u8.CopyTo(kernel.AsSpan(0x202));
        (kernel[0x20E], kernel[0x20F]) = (0x00, 0x05);
        "6.12.57 (who) #1\0rest"u8.CopyTo(kernel.AsSpan(0x700));
        Assert.Equal("6.12.57 (who) #1", KernelLooks.VersionIn(kernel));
        Assert.Null(KernelLooks.VersionIn(Program));
        for (int length = 0; length < 0x700; length += 7)
            Assert.Null(KernelLooks.VersionIn(kernel.AsSpan(0, length)));
        (kernel[0x20E], kernel[0x20F]) = (0xFF, 0xFF);
        Assert.Null(KernelLooks.VersionIn(kernel));
    }

    [Theory]
    [InlineData(Line, Verdict.Ok, "nothing added")]
    [InlineData(Line + " systemd.unit=rescue.target\n", Verdict.Ok, "nothing added")]
    [InlineData(Line + " evil=1", Verdict.Wrong, "'evil=1' is on the kernel command line")]
    [InlineData("root=LABEL=sbox-root quiet", Verdict.Wrong, "is not the signed one")]
    public void The_command_line_is_one_of_those_in_the_UKI(string running, Verdict verdict, string says)
    {
        Fact fact = BootJudge.CommandLine(running, [Line, $"{Line} systemd.unit=rescue.target"]);
        Assert.Equal(verdict, fact.Verdict);
        Assert.Contains(says, fact.Says, StringComparison.Ordinal);
        Assert.Equal(running.Trim(), fact.Evidence["running"]);
    }

    [Fact]
    public void Without_a_UKI_the_command_line_is_unchecked() => Assert.Equal(Verdict.Unchecked, BootJudge.CommandLine(Line, null).Verdict);

    [Fact]
    public void A_signed_UKI_has_its_signer_named_and_its_command_lines_read()
    {
        byte[] image = Signed(Owner);
        Fact fact = BootJudge.Uki("EFI/Linux/debian-aa.0.efi", image, Firmware with { StartedImage = @"\EFI\Linux\debian-aa.0.EFI" }, unseen: null);
        Assert.Equal((Verdict.Ok, "EFI/Linux/debian-aa.0.efi is signed by CN=owner, whom the firmware trusts"), (fact.Verdict, fact.Says));
        Assert.Equal([Line, $"{Line} rescue"], BootJudge.CommandLinesIn(image));
    }

    [Fact]
    public void A_strangers_signature_none_and_one_bit_are_each_wrong()
    {
        Assert.Equal(Verdict.Wrong, Judged(Signed(Stranger)).Verdict);
        Assert.Contains("none of", Judged(Uki()).Says, StringComparison.Ordinal);
        byte[] changed = Signed(Owner);
        changed[changed.Length / 2] ^= 1;
        Assert.Equal(Verdict.Wrong, Judged(changed).Verdict);
        Assert.Equal(Verdict.Wrong, Judged("no program"u8.ToArray()).Verdict);
        Assert.Empty(BootJudge.CommandLinesIn("no program"u8.ToArray()));
    }

    [Fact]
    public void A_signature_that_dbx_refuses_is_wrong_whoever_else_signed()
    {
        byte[] image = Uki();
        byte[] both = PeSignatures.Attach(image, [Authenticode.Sign(PeDigest.Of(image), Owner), Authenticode.Sign(PeDigest.Of(image), Stranger)]);
        Assert.Equal(Verdict.Ok, Judged(both).Verdict);
        Fact fact = BootJudge.Uki("EFI/Linux/a.efi", both, Firmware with { Revoked = [Stranger.Certificate] }, null);
        Assert.Equal((Verdict.Wrong, "EFI/Linux/a.efi bears a signature by CN=stranger, whom the firmware's dbx refuses"), (fact.Verdict, fact.Says));
    }

    [Fact]
    public void Another_file_that_was_started_is_wrong_and_what_cannot_be_seen_is_unchecked()
    {
        Assert.Equal(Verdict.Wrong, BootJudge.Uki("EFI/Linux/a.efi", Signed(Owner), Firmware with { StartedImage = @"\EFI\Linux\b.efi" }, null).Verdict);
        Assert.Equal(Verdict.Wrong, BootJudge.Uki(null, [], Firmware, null).Verdict);
        Assert.Equal(Verdict.Unchecked, BootJudge.Uki(null, [], Firmware, "no such partition").Verdict);
        Assert.Equal(Verdict.Unchecked, BootJudge.Uki("EFI/Linux/a.efi", Signed(Owner), new FirmwareState(null, null, null), null).Verdict);
    }

    private static Fact Judged(byte[] image) => BootJudge.Uki("EFI/Linux/a.efi", image, Firmware, null);

    private static byte[] Signed(Signer signer)
    {
        byte[] image = Uki();
        return PeSignatures.Attach(image, [Authenticode.Sign(PeDigest.Of(image), signer)]);
    }

    private static byte[] Uki()
    {
        using var output = new MemoryStream();
        UnifiedKernelImage.Build(Program, new UkiParts(Program, Line, Encoding.UTF8.GetBytes("ID=debian\n")) { Profiles = [new UkiProfile("ID=main\n", null), new UkiProfile("ID=rescue\n", $"{Line} rescue")] }, output);
        return output.ToArray();
    }

    private static Signer Make(string name)
    {
        var key = RSA.Create(2048);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        using X509Certificate2 certificate = request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(90));
        return new Signer(X509CertificateLoader.LoadCertificate(certificate.RawData), key);
    }
}
