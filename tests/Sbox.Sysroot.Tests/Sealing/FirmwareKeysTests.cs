using System.Buffers.Binary;
using System.Diagnostics;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Judges;
using Sbox.Store;

namespace Sbox.Sysroot.Tests;

/// <summary>What a change of the firmware's keys would do to a box, and how it is written.</summary>
public sealed class FirmwareKeysTests : IDisposable
{
    private static readonly Guid Owner = new("11111111-2222-3333-4444-123456789abc");
    private readonly TestBox box = new();
    private readonly Signer kek = Make("KEK"), old = Make("db"), now = Make("db");

    public void Dispose()
    {
        box.Dispose();
        foreach (Signer key in (Signer[])[kek, old, now])
            key.Dispose();
    }

    [Fact]
    public void A_revocation_names_the_files_that_would_not_start_any_more_whoever_else_signed_them_and_whatever_their_seals_say_now()
    {
        Checksum one = box.Publish(1), two = box.Publish(2);
        using InstalledBox installed = box.Installed(one, two);
        string[] ukis = [.. installed.Sysroot.Deployments.Select(static each => $"EFI/Linux/{UnifiedKernel.FileName(each.Name)}")];
        const string loader = "EFI/systemd/systemd-bootx64.efi", fallback = "EFI/BOOT/BOOTX64.EFI";
        foreach (string file in (string[])[.. ukis, loader, fallback])
            Write(file, now);
        FirmwareKeys revocation = Read("dbx", EfiVariable.Dbx);
        Assert.Empty(Ends());

        // Sealed again by the new key alone: the files on the EFI partition are still those that both signed.
        Write(ukis[0], old, now);
        Seal(installed.Sysroot, two, now);
        Assert.Equal([(ukis[0], true)], Ends());
        Write(ukis[0], now);
        Write(ukis[1], now, old);
        Assert.Equal([(ukis[1], false)], Ends());

        // No seal knows of a boot loader that an older version left there.
        Write(loader, old);
        Write(fallback, old);
        Assert.Equal([(loader, true), (fallback, true), (ukis[1], false)], Ends());

        // Nobody can tell.
        File.WriteAllText($"{box.EspPath}/{ukis[0]}", "no program");
        Assert.Contains((ukis[0], true), Ends());
        Assert.Equal("its signatures cannot be read", revocation.Ends(installed.Deployer.Esp!).Single(each => each.Path == ukis[0]).Trouble);

        // One key more ends nothing.
        Assert.Empty(Read("db", EfiVariable.Db).Ends(installed.Deployer.Esp!));

        (string, bool)[] Ends() => [.. revocation.Ends(installed.Deployer.Esp!).Select(static each => (each.Path, each.StartsNext))];
    }

    [Fact]
    public void What_the_firmware_was_told_to_boot_instead_boots_next_as_well()
    {
        using InstalledBox installed = box.Installed(box.Publish(1), box.Publish(2));
        Assert.Equal([false, true], installed.Deployer.Esp!.Programs().Where(static each => !each.IsLoader).OrderBy(static each => each.StartsNext).Select(static each => each.StartsNext));
        File.WriteAllText($"{box.EspPath}/loader/loader.conf", $"default {UnifiedKernel.FileName(installed.Sysroot.Deployments[1].Name)}\n");
        Assert.All(installed.Deployer.Esp!.Programs(), static each => Assert.True(each.StartsNext));
    }

    [Fact]
    public void It_is_written_as_efivarfs_wants_it_behind_the_attributes_of_an_append()
    {
        string variables = Directory.CreateDirectory(Path.Combine(box.Path, "efivars")).FullName;
        Read("dbx", EfiVariable.Dbx).Write(variables);
        byte[] written = File.ReadAllBytes(Path.Combine(variables, EfiVariable.Dbx.FileName));
        Assert.Equal(0x67u, BinaryPrimitives.ReadUInt32LittleEndian(written));
        Assert.Equal(File.ReadAllBytes(Path.Combine(box.Path, "dbx.auth")), written[4..]);
    }

    [Fact]
    public void A_variable_that_cannot_seek_gets_all_of_it_in_one_write()
    {
        string variables = Directory.CreateDirectory(Path.Combine(box.Path, "efivars")).FullName, pipe = Path.Combine(variables, EfiVariable.Db.FileName), output = Path.Combine(box.Path, "read");
        Judge.OnPath("mkfifo").Run(pipe);
        // Held open: what was written waits for a reader that is late.
        using var held = new FileStream(pipe, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        using Process reader = Process.Start(new ProcessStartInfo("dd", ["bs=1M", "count=1", $"if={pipe}", $"of={output}", "status=none"]))!;
        Read("db", EfiVariable.Db).Write(variables);
        reader.WaitForExit();
        Assert.Equal(File.ReadAllBytes(Path.Combine(box.Path, "db.auth")), File.ReadAllBytes(output)[4..]);
    }

    [Fact]
    public void Another_file_is_refused_with_what_it_lacks()
    {
        string file = Path.Combine(box.Path, "letter");
        File.WriteAllText(file, "This is a letter, and no change of keys.\n");
        Assert.Contains("authenticated EFI variable", Assert.Throws<MalformedException>(() => FirmwareKeys.Read("db", file)).Message, StringComparison.Ordinal);
    }

    private FirmwareKeys Read(string name, EfiVariable variable)
    {
        string file = Path.Combine(box.Path, $"{name}.auth");
        File.WriteAllBytes(file, EfiAuthenticatedVariable.Sign(variable, EfiSignatureList.Of(old.Certificate, Owner), DateTimeOffset.UnixEpoch.AddDays(20000), kek, append: true));
        return FirmwareKeys.Read(name, file);
    }

    private void Write(string file, params Signer[] by)
    {
        byte[] program = File.ReadAllBytes(Directory.GetFiles(Path.Combine(Judge.Root, "usr/lib/systemd/boot/efi"), "linuxx64.efi.stub").Single());
        Checksum digest = PeDigest.Of(program);
        File.WriteAllBytes($"{box.EspPath}/{file}", PeSignatures.Attach(program, [.. by.Select(key => Authenticode.Sign(digest, key))]));
    }

    private static void Seal(OstreeSysroot sysroot, Checksum commit, params Signer[] by)
    {
        Checksum digest = Checksum.Of("a program"u8);
        var seal = new CommitSeal(digest, "quiet", "ID=debian\n", BootProfiles.Standard, [.. by.Select(key => Authenticode.Sign(digest, key))], [Authenticode.Sign(digest, by[^1])]);
        using Transaction transaction = sysroot.Repository.Begin();
        transaction.WriteDetachedMetadata(commit, seal.AddTo(sysroot.Repository.LoadDetachedMetadata(commit)));
        transaction.Commit();
    }

    private static Signer Make(string name)
    {
        var key = RSA.Create(2048);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        using X509Certificate2 certificate = request.CreateSelfSigned(DateTimeOffset.UnixEpoch.AddDays(20000), DateTimeOffset.UnixEpoch.AddDays(30000));
        return new Signer(X509CertificateLoader.LoadCertificate(certificate.RawData), key);
    }
}
