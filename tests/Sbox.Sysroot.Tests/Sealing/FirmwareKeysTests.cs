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
    public void A_revocation_names_the_deployments_that_would_not_start_any_more_whoever_else_signed_them()
    {
        Checksum one = box.Publish(1), two = box.Publish(2);
        using InstalledBox installed = box.Installed(one, two);
        Seal(installed.Sysroot, one, old);
        Seal(installed.Sysroot, two, now);
        FirmwareKeys revocation = Read("dbx", EfiVariable.Dbx);
        Assert.Equal([one], revocation.Ends(installed.Sysroot).Select(static each => each.Name.Commit));
        Seal(installed.Sysroot, two, old, now);
        Assert.Equal([two, one], revocation.Ends(installed.Sysroot).Select(static each => each.Name.Commit));
        // One key more ends nothing.
        Assert.Empty(Read("db", EfiVariable.Db).Ends(installed.Sysroot));
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
