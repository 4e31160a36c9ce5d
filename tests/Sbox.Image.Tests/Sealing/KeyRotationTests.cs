using System.Security.Cryptography.X509Certificates;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Image.Tests;

/// <summary>Keys that take over from others, and keys that are refused from now on.</summary>
public sealed class KeyRotationTests : IDisposable
{
    private readonly TempDirectory directory = new();
    private readonly Passphrase passphrase = new(MadeKeys.Password);
    private readonly OwnerKeys keys;
    private readonly byte[] before;

    public KeyRotationTests()
    {
        keys = MadeKeys.CopyTo(directory.Of("keys"));
        before = File.ReadAllBytes(In("db.crt"));
    }

    public void Dispose() => directory.Dispose();

    [Fact]
    public void After_a_rotation_new_machines_enroll_both_keys_others_get_the_new_one_added_and_both_sign()
    {
        KeyChange change = keys.RotateDb(passphrase, TimeProvider.System);
        Assert.Equal(before, File.ReadAllBytes(In("db-1.crt")));
        Assert.NotEqual(before, File.ReadAllBytes(In("db.crt")));
        Assert.Equal([Of("db.crt"), Of("db-1.crt")], Enrolled("db.auth"));
        Assert.Equal([Of("db.crt")], Enrolled(OwnerKeys.DbUpdate));
        Assert.Equal(EfiVariable.Db, change.Variable);
        Assert.Equal(["PK", "KEK", "db", "pcr", "db-1", "tree"], keys.List().Select(static key => key.Name));

        byte[] program = File.ReadAllBytes(Directory.GetFiles(Path.Combine(Judge.Root, "usr/lib/systemd/boot/efi"), "linuxx64.efi.stub").Single());
        Checksum digest = PeDigest.Of(program);
        IReadOnlyList<Signer> all = keys.OpenAllDb(passphrase);
        Assert.Equal(2, all.Count);
        string signed = directory.Of("signed.efi");
        File.WriteAllBytes(signed, PeSignatures.Attach(program, [.. all.Select(key => Authenticode.Sign(digest, key))]));
        Judge.OnPath("sbverify").Run("--cert", In("db.crt"), signed);
        Judge.OnPath("sbverify").Run("--cert", In("db-1.crt"), signed);
    }

    [Fact]
    public void A_revoked_key_signs_no_more_is_enrolled_no_more_and_its_private_part_is_gone()
    {
        keys.RotateDb(passphrase, TimeProvider.System);
        KeyChange change = keys.Revoke("db-1", passphrase, TimeProvider.System);
        Assert.Equal(EfiVariable.Dbx, change.Variable);
        Assert.Equal([X509Certificate2.CreateFromPem(System.Text.Encoding.ASCII.GetString(before))], Enrolled(OwnerKeys.DbxUpdate));
        Assert.Equal([Of("db.crt")], Enrolled("db.auth"));
        Assert.Single(keys.OpenAllDb(passphrase));
        Assert.False(File.Exists(In("db-1.key")));
        // The numbers go on: a name never means another key.
        keys.RotateDb(passphrase, TimeProvider.System);
        Assert.True(File.Exists(In("db-2.key")));
    }

    [Fact]
    public void The_key_that_signs_now_is_not_revoked_by_mistake()
    {
        Assert.Equal(Errno.ENOENT, Assert.Throws<LinuxException>(() => keys.Revoke("db", passphrase, TimeProvider.System)).Errno);
        Assert.Equal(before, File.ReadAllBytes(In("db.crt")));
    }

    [Fact]
    public void With_another_passphrase_nothing_changes()
    {
        Dictionary<string, byte[]> files = Directory.GetFiles(keys.Directory).ToDictionary(static file => file, File.ReadAllBytes);
        Assert.Throws<WrongPassphraseException>(() => keys.RotateDb(new Passphrase("another"), TimeProvider.System));
        Assert.Equal(files.Keys.Order(), Directory.GetFiles(keys.Directory).Order());
        Assert.All(files, static file => Assert.Equal(file.Value, File.ReadAllBytes(file.Key)));
        // And the next one, with the right passphrase, is not in the way of what was left.
        keys.RotateDb(passphrase, TimeProvider.System);
        Assert.Equal([directory.Of("keys")], Directory.GetFileSystemEntries(directory.Of(".")).Select(Path.GetFullPath));
    }

    [Fact]
    public void A_signature_by_a_revoked_key_is_known_by_its_certificate()
    {
        using Signer old = keys.OpenDb(passphrase);
        keys.RotateDb(passphrase, TimeProvider.System);
        using Signer now = keys.OpenDb(passphrase);
        var policy = new SealPolicy([now.Certificate], "") { Revoked = [old.Certificate] };
        Checksum digest = Checksum.Of("a program"u8);
        Assert.True(policy.IsRevoked(Authenticode.Sign(digest, old)));
        Assert.False(policy.IsRevoked(Authenticode.Sign(digest, now)));
    }

    private string In(string name) => Path.Combine(keys.Directory, name);

    private X509Certificate2 Of(string name) => X509Certificate2.CreateFromPem(File.ReadAllText(In(name)));

    private IReadOnlyList<X509Certificate2> Enrolled(string name) => EfiSignatureList.Certificates(EfiAuthenticatedVariable.Value(File.ReadAllBytes(In(name))));
}
