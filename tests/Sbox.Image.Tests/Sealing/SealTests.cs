using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Codecs.Uki;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Image.Tests;

/// <summary>Keys, seals and sealed images, over a tree whose kernel and boot loader are programs that sbverify reads.</summary>
public sealed class SealTests : IDisposable
{
    private const string Branch = "debian/13/amd64/minimal";
    private static readonly byte[] Program = File.ReadAllBytes(Directory.GetFiles(Path.Combine(Judge.Root, "usr/lib/systemd/boot/efi"), "linuxx64.efi.stub").Single());
    private readonly TempDirectory directory = new();
    private readonly Repository repository;
    private readonly BuildCache cache;
    private readonly Passphrase passphrase = new(MadeKeys.Password);
    private readonly OwnerKeys keys;
    private Checksum commit;

    public SealTests()
    {
        cache = new BuildCache(directory.Of("cache"));
        Directory.CreateDirectory(cache.Root);
        keys = MadeKeys.CopyTo(directory.Of("keys"));
        repository = Repository.Create(directory.Of("repo"), RepositoryMode.Archive);
        using TreeRoot tree = FakeDebian.Make(directory.Of("tree"));
        tree.Write("usr/lib/large", new byte[3 << 20]);
        BootFiles.MoveKernel(tree);
        tree.Write($"usr/lib/modules/{FakeDebian.Kernel}/vmlinuz", Program, Permission.File);
        tree.Write($"usr/lib/modules/{FakeDebian.Kernel}/initramfs.img", "initrd\n");
        tree.Write("usr/lib/systemd/boot/efi/linuxx64.efi.stub", Program, Permission.File);
        tree.Write("usr/lib/systemd/boot/efi/systemd-bootx64.efi", Program, Permission.File);
        ImmutableTree.Make(tree, TmpPlace.Memory);
        commit = repository.CommitDirectory(tree.Path, new CommitOptions { Branches = [Branch], Timestamp = DateTimeOffset.UnixEpoch.AddDays(20000) });
    }

    public void Dispose()
    {
        repository.Dispose();
        directory.Dispose();
    }

    [Fact]
    public void Private_keys_are_encrypted_their_owners_alone_and_openssl_opens_them()
    {
        string secret = directory.Write("pass", "correct horse\n");
        foreach (string name in (string[])["PK", "KEK", "db", "tree", "pcr"])
        {
            string key = Path.Combine(keys.Directory, $"{name}.key");
            Judge.OnPath("openssl").Run("pkey", "-in", key, "-passin", $"file:{secret}", "-noout");
            Assert.NotEqual(0, Judge.OnPath("openssl").Ask("pkey", "-in", key, "-passin", "pass:another", "-noout").ExitCode);
            using Dir dir = Dir.Open(keys.Directory);
            Assert.Equal(0x180u /* 0600 */, dir.Stat($"{name}.key").Permissions);
        }

        Assert.Throws<WrongPassphraseException>(() => keys.OpenDb(new Passphrase("another")));
        Assert.Throws<WrongPassphraseException>(() => keys.OpenTree(new Passphrase("another")));
    }

    [Fact]
    public void Keys_are_never_written_over()
    {
        string before = File.ReadAllText(Path.Combine(keys.Directory, "PK.crt"));
        Assert.Equal(Errno.EEXIST, Assert.Throws<LinuxException>(() => OwnerKeys.Create(keys.Directory, "Other", passphrase, TimeProvider.System)).Errno);
        Assert.Equal(before, File.ReadAllText(Path.Combine(keys.Directory, "PK.crt")));
    }

    [Fact]
    public void Openssl_finds_the_commits_signature_good_by_the_public_key_that_libostree_reads()
    {
        Seal();
        byte[] signature = Assert.Single(CommitSignatures.Of(repository.LoadDetachedMetadata(commit)));
        byte[] key = Convert.FromBase64String(File.ReadAllText(Path.Combine(keys.Directory, "tree.pub")).Trim());
        // SubjectPublicKeyInfo of RFC 8410: twelve bytes in front of every Ed25519 key.
        File.WriteAllBytes(directory.Of("key.der"), [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00, .. key]);
        File.WriteAllBytes(directory.Of("signature"), signature);
        File.WriteAllBytes(directory.Of("commit"), repository.LoadMetadata(new ObjectName(commit, ObjectType.Commit)));
        string[] question = ["pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", directory.Of("key.der"), "-rawin", "-in", directory.Of("commit"), "-sigfile", directory.Of("signature")];
        Judge.OnPath("openssl").Run(question);
        File.AppendAllText(directory.Of("commit"), "x");
        Assert.NotEqual(0, Judge.OnPath("openssl").Ask(question).ExitCode);
    }

    [Fact]
    public void Sealing_again_changes_no_byte_and_the_commit_stays_the_same()
    {
        Seal();
        byte[] first = repository.LoadDetachedMetadata(commit)!.ToBytes();
        Seal();
        Assert.Equal(first, repository.LoadDetachedMetadata(commit)!.ToBytes());
        Judge.Ostree.Run("fsck", "--repo=" + repository.Path);
        Assert.Equal(commit.ToString(), Judge.Ostree.Run("rev-parse", "--repo=" + repository.Path, Branch).Trim());
    }

    [Fact]
    public void A_sealed_image_has_signed_boot_files_keys_to_enroll_and_a_command_line_without_anything_of_the_machine()
    {
        Seal();
        string esp = $"{Of()}@@{Make().Esp.Offset}", name = $"debian-{commit.ToString()[..12]}.0.efi";
        foreach ((string file, string local) in ((string, string)[])[("EFI/BOOT/BOOTX64.EFI", "boot.efi"), ("EFI/systemd/systemd-bootx64.efi", "systemd.efi"), ($"EFI/Linux/{name}", "uki.efi")])
        {
            Judge.OnPath("mcopy").Run("-i", esp, $"::/{file}", directory.Of(local));
            Judge.OnPath("sbverify").Run("--cert", Path.Combine(keys.Directory, "db.crt"), directory.Of(local));
        }

        string uki = Encoding.Latin1.GetString(File.ReadAllBytes(directory.Of("uki.efi")));
        Assert.Contains($"root=LABEL=sbox-root sbox.commit={commit} composefs=", uki, StringComparison.Ordinal);
        Assert.DoesNotContain("sbox.deployment=", uki, StringComparison.Ordinal);
        Assert.Contains("ID=rescue\nTITLE=rescue\n", uki, StringComparison.Ordinal);
        foreach (string file in OwnerKeys.EnrollmentFiles)
        {
            Judge.OnPath("mcopy").Run("-i", esp, $"::/loader/keys/auto/{file}", directory.Of(file));
            Assert.Equal(File.ReadAllBytes(Path.Combine(keys.Directory, file)), File.ReadAllBytes(directory.Of(file)));
        }

        Assert.Contains("secure-boot-enroll force\n", Judge.OnPath("mtype").Run("-i", esp, "::/loader/loader.conf"), StringComparison.Ordinal);
        Assert.Equal(1, Judge.OnPath("grep").Ask("-c", "-a", "PRIVATE KEY", Of()).ExitCode);
    }

    [Fact]
    public void On_a_sealed_image_every_file_has_its_tree_behind_its_end_and_e2fsck_finds_nothing_wrong()
    {
        Seal();
        DiskPlan plan = Make();
        string at = $"{Of()}?offset={plan.Root.Offset}";
        Judge.OnPath("e2fsck").Run("-fn", at);
        using Repository sealedRepository = Repository.Open(repository.Path);
        string large = Found(sealedRepository, "/usr/lib/large");
        string stat = Judge.OnPath("debugfs").Run("-R", $"stat /ostree/repo/objects/{large}", at);
        Assert.Contains("Flags: 0x180000", stat, StringComparison.Ordinal);
        Assert.Contains($"Size: {3 << 20}", stat, StringComparison.Ordinal);
        Judge.OnPath("debugfs").Run("-R", $"dump /ostree/repo/objects/{large} {directory.Of("large")}", at);
        Assert.Equal(new byte[3 << 20], File.ReadAllBytes(directory.Of("large")));
        Assert.Contains("Flags: 0x180000", Judge.OnPath("debugfs").Run("-R", $"stat /ostree/deploy/debian/deploy/{commit}.0/.ostree.cfs", at), StringComparison.Ordinal);
    }

    [Fact]
    public void The_repository_that_an_image_is_made_of_is_left_as_it_was()
    {
        Seal();
        Make();
        Judge.Ostree.Run("fsck", "--repo=" + repository.Path);
    }

    [Fact]
    public void Without_keys_a_sealed_commit_makes_a_box_like_any_other()
    {
        Seal();
        DiskPlan plan = new BoxImage(cache).Make(new BoxImageRequest(repository.Path, Branch, Of()) { UserBytes = 64 << 20 });
        string uki = Judge.OnPath("mtype").Run("-i", $"{Of()}@@{plan.Esp.Offset}", $"::/EFI/Linux/debian-{commit.ToString()[..12]}.0.efi");
        Assert.Contains($"sbox.deployment=debian/{commit}.0", uki, StringComparison.Ordinal);
        Assert.DoesNotContain("sbox.verity", uki, StringComparison.Ordinal);
    }

    [Fact]
    public void An_image_whose_first_boot_encrypts_it_says_so_and_leaves_room_for_the_header()
    {
        Recommit(VariantDictionary.Empty.With(ImageBuilder.EncryptedRootKey, GVariant.Of(true)));
        Seal();
        DiskPlan plan = new BoxImage(cache).Make(Encrypted());
        Assert.Equal(0, (plan.Root.Sectors - (plan.RootSize.Blocks * 8)) - (EncryptedDisk.SpareMebibytes * 2048L));
        Assert.Contains("LUKS2", plan.ToString(), StringComparison.Ordinal);
        string at = $"{Of()}?offset={plan.Root.Offset}";
        Assert.Contains("Mode:  0700", Judge.OnPath("debugfs").Run("-R", $"stat /{EncryptedDisk.Directory}", at), StringComparison.Ordinal);
        Assert.Contains("Size: 0", Judge.OnPath("debugfs").Run("-R", $"stat /{EncryptedDisk.Marker}", at), StringComparison.Ordinal);
        Judge.OnPath("e2fsck").Run("-fn", at);
    }

    [Fact]
    public void What_nothing_could_open_afterwards_is_not_made()
    {
        Seal();
        Assert.Contains("its initrd has nothing that encrypts", Assert.Throws<NotEncryptableException>(() => new BoxImage(cache).Make(Encrypted())).Message, StringComparison.Ordinal);
        Recommit(VariantDictionary.Empty.With(ImageBuilder.EncryptedRootKey, GVariant.Of(true)));
        Assert.Contains("has no such signature", Assert.Throws<NotEncryptableException>(() => new BoxImage(cache).Make(Encrypted())).Message, StringComparison.Ordinal);
        Assert.False(File.Exists(Of()));
    }

    [Fact]
    public void A_sealed_box_refuses_a_commit_that_nobody_sealed() =>
        Assert.Equal(commit, Assert.Throws<UnsealedCommitException>(() => Make()).Commit);

    [Fact]
    public void A_sealed_box_refuses_what_a_stranger_sealed()
    {
        OwnerKeys stranger = OwnerKeys.Create(directory.Of("stranger"), "Stranger", passphrase, TimeProvider.System);
        Seal(stranger);
        Assert.Equal("UKI", Assert.Throws<SealBrokenException>(() => Make()).File);
    }

    [Fact]
    public void A_seal_with_one_argument_more_is_broken()
    {
        Seal();
        Tamper(static seal => seal with { CommandLine = seal.CommandLine + " init=/bin/sh" });
        Assert.Equal("UKI", Assert.Throws<SealBrokenException>(() => Make()).File);
    }

    [Fact]
    public void A_seal_of_another_image_is_broken()
    {
        Seal();
        Tamper(static seal => seal with { Composefs = Checksum.Of("another"u8) });
        Assert.Equal(".ostree.cfs", Assert.Throws<SealBrokenException>(() => Make()).File);
    }

    [Fact]
    public void The_image_carries_the_owners_pcr_key_and_a_signature_for_each_entry_of_the_menu_and_each_moment()
    {
        Seal();
        string esp = $"{Of()}@@{Make().Esp.Offset}";
        Judge.OnPath("mcopy").Run("-i", esp, $"::/EFI/Linux/debian-{commit.ToString()[..12]}.0.efi", directory.Of("uki.efi"));
        IReadOnlyList<UkiSection> sections = UnifiedKernelImage.Read(File.ReadAllBytes(directory.Of("uki.efi")));
        Assert.Equal(File.ReadAllText(Path.Combine(keys.Directory, "pcr.pub")), Encoding.ASCII.GetString(sections.Single(static section => section.Name == ".pcrpkey").Content.Span));
        JsonElement[] signed = [.. JsonDocument.Parse(sections.Single(static section => section.Name == ".pcrsig").Content).RootElement.GetProperty("sha256").EnumerateArray()];
        Assert.Equal(BootProfiles.Standard.Count * PcrPolicy.Moments.Count, signed.Length);
        Assert.Equal(signed.Length, signed.Select(static each => each.GetProperty("pol").GetString()).Distinct().Count());
        File.WriteAllBytes(directory.Of("policy"), Convert.FromHexString(signed[0].GetProperty("pol").GetString()!));
        File.WriteAllBytes(directory.Of("signature"), Convert.FromBase64String(signed[0].GetProperty("sig").GetString()!));
        Judge.OnPath("openssl").Run("dgst", "-sha256", "-verify", Path.Combine(keys.Directory, "pcr.pub"), "-signature", directory.Of("signature"), directory.Of("policy"));
    }

    [Fact]
    public void Another_owners_pcr_key_in_the_seal_is_refused()
    {
        Seal();
        Tamper(static seal => seal with { Pcr = seal.Pcr! with { PublicKey = seal.Pcr.PublicKey + "\n" } });
        Assert.Equal("UKI", Assert.Throws<SealBrokenException>(() => Make()).File);
    }

    [Fact]
    public void An_owner_of_before_there_was_a_pcr_key_seals_without_one()
    {
        File.Delete(Path.Combine(keys.Directory, "pcr.key"));
        File.Delete(Path.Combine(keys.Directory, "pcr.pub"));
        Seal();
        Make();
        Assert.Null(CommitSeal.Of(repository.LoadDetachedMetadata(commit))!.Pcr);
        Assert.DoesNotContain("pcr", keys.List().Select(static key => key.Name));
    }

    [Fact]
    public void A_boot_loader_without_its_signature_is_refused()
    {
        Seal();
        Tamper(static seal => seal with { LoaderSignatures = [] });
        Assert.Contains("systemd-boot", Assert.Throws<SealBrokenException>(() => Make()).File, StringComparison.Ordinal);
    }

    private static string Found(Repository repository, string path)
    {
        string checksum = repository.Find(repository.Resolve(Branch), path).Content!.Value.ToString();
        return $"{checksum[..2]}/{checksum[2..]}.file";
    }

    private string Of() => directory.Of("disk.img");

    private BoxImageRequest Encrypted() => new(repository.Path, Branch, Of()) { Keys = keys, UserBytes = 64 << 20, Encrypt = true };

    // The same tree, with something more said of it.
    private void Recommit(VariantDictionary metadata) => commit = repository.CommitDirectory(directory.Of("tree"), new CommitOptions { Branches = [Branch], Timestamp = DateTimeOffset.UnixEpoch.AddDays(20001), Metadata = metadata });

    private DiskPlan Make() => new BoxImage(cache).Make(new BoxImageRequest(repository.Path, Branch, Of()) { Keys = keys, UserBytes = 64 << 20 });

    private void Seal(OwnerKeys? by = null)
    {
        IReadOnlyList<Signer> db = (by ?? keys).OpenAllDb(passphrase);
        using Ed25519Key tree = (by ?? keys).OpenTree(passphrase);
        using RSA? pcr = (by ?? keys).OpenPcr(passphrase);
        new CommitSealer(repository, cache).Seal(commit, db, tree, pcr);
    }

    private void Tamper(Func<CommitSeal, CommitSeal> change)
    {
        VariantDictionary detached = repository.LoadDetachedMetadata(commit)!;
        using Transaction transaction = repository.Begin();
        transaction.WriteDetachedMetadata(commit, change(CommitSeal.Of(detached)!).AddTo(detached));
        transaction.Commit();
    }
}
