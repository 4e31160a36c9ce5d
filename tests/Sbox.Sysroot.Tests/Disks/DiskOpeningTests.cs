using System.Security.Cryptography;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Sysroot.Tests;

/// <summary>A box with an encrypted disk takes no version that would not open it, unless its owner says so.</summary>
public sealed class DiskOpeningTests : IDisposable
{
    private readonly TestBox box = new(inMemory: true);
    private readonly RSA owners = RSA.Create(2048), strangers = RSA.Create(2048);

    public void Dispose()
    {
        box.Dispose();
        owners.Dispose();
        strangers.Dispose();
    }

    [Fact]
    public void A_version_whose_initrd_opens_no_encrypted_disk_is_refused_and_nothing_changes()
    {
        using InstalledBox installed = box.InstalledWithoutEsp(box.Publish(1));
        Checksum two = box.Publish(2);
        box.Fetch(two);
        using Deployer deployer = With(installed, BoundTo(owners));
        DiskNotOpenedException refused = Assert.Throws<DiskNotOpenedException>(() => deployer.Deploy(TestBox.Request(two)));
        Assert.Equal((two, false), (refused.Commit, refused.CanAsk));
        Assert.Contains("would not come up: its initrd opens no encrypted disk", refused.Message, StringComparison.Ordinal);
        Assert.Throws<DiskNotOpenedException>(() => deployer.Plan(TestBox.Request(two)));
        Assert.Single(installed.Sysroot.Deployments);
        deployer.Deploy(TestBox.Request(two) with { AllowUnopened = true });
        Assert.Equal(2, installed.Sysroot.Deployments.Count);
    }

    [Fact]
    public void Going_back_to_one_is_refused_too_and_staying_is_not()
    {
        Checksum one = box.Publish(1), two = box.Publish(2);
        using InstalledBox installed = box.InstalledWithoutEsp(one, two);
        using Deployer deployer = With(installed, BoundTo(owners));
        Assert.Throws<DiskNotOpenedException>(() => deployer.Rollback());
        Assert.Equal(two, installed.Sysroot.Deployments[0].Name.Commit);
        deployer.Rollback(allowUnopened: true);
        Assert.Equal(one, installed.Sysroot.Deployments[0].Name.Commit);
    }

    [Fact]
    public void A_version_that_opens_it_is_signed_by_the_key_that_the_disk_is_bound_to()
    {
        Checksum unsealed = Commit(null), stranger = Commit(strangers), good = Commit(owners);
        using Repository repository = Repository.Open(box.Source);
        var opening = new DiskOpening(BoundTo(owners));
        opening.Require(repository, good);
        Assert.Contains("no pcr key signed it", Refused(unsealed).Message, StringComparison.Ordinal);
        Assert.Contains("another pcr key signed it", Refused(stranger).Message, StringComparison.Ordinal);
        Assert.True(Refused(stranger).CanAsk);

        // Where no TPM keeps the key, or it cannot be seen, the initrd is what counts.
        new DiskOpening(new DiskKeys(1, [], [])).Require(repository, unsealed);
        new DiskOpening(null).Require(repository, unsealed);
        Assert.Throws<DiskNotOpenedException>(() => new DiskOpening(null).Require(repository, box.Publish(9)));

        DiskNotOpenedException Refused(Checksum commit) => Assert.Throws<DiskNotOpenedException>(() => opening.Require(repository, commit));
    }

    [Fact]
    public void Nothing_is_asked_on_a_box_whose_disk_another_initrd_opened()
    {
        Checksum dracuts = box.Publish(1), ours = Commit(null);
        using Repository repository = Repository.Open(box.Source);
        string run = Directory.CreateDirectory(Path.Combine(box.Path, "run")).FullName;
        DiskOpening? Of(DiskKeys? keys, Checksum? running) => DiskOpening.Of(keys, repository, running, run);
        var theirs = new DiskKeys(2, [new TpmBinding(1, [7], null, null)], [0]);
        Assert.All([Of(null, dracuts), Of(theirs, dracuts), Of(theirs, null)], Assert.Null);

        // The running version says so, or a binding of ours, or what sbox-root left.
        Assert.Throws<DiskNotOpenedException>(() => Of(null, ours)!.Require(repository, dracuts));
        Assert.Throws<DiskNotOpenedException>(() => Of(BoundTo(owners), dracuts)!.Require(repository, dracuts));
        File.WriteAllText(Path.Combine(run, "disk-opened-by"), "a key that was typed");
        Assert.Throws<DiskNotOpenedException>(() => Of(theirs, dracuts)!.Require(repository, dracuts));
    }

    private static Deployer With(InstalledBox installed, DiskKeys keys) => new(installed.Sysroot, espDirectory: null) { Disk = new DiskOpening(keys) };

    private static DiskKeys BoundTo(RSA key) => new(2, [new TpmBinding(1, [7, 15], "07", "dd") { IsOurs = true, IsWhole = true, PublicKey = key.ExportSubjectPublicKeyInfoPem() }], []);

    // Its initrd opens an encrypted disk; sealed with a pcr key, or not sealed.
    private Checksum Commit(RSA? key)
    {
        string tree = Directory.CreateDirectory(Path.Combine(box.Path, $"tree-{Guid.NewGuid()}")).FullName;
        File.WriteAllText(Path.Combine(tree, "file"), tree);
        using Repository repository = Repository.Open(box.Source);
        Checksum commit = repository.CommitDirectory(tree, new CommitOptions { Branches = ["b"], Metadata = VariantDictionary.Empty.With(DiskOpening.MetadataKey, GVariant.Of(true)) });
        if (key is not null)
            repository.WriteDetachedMetadata(commit, new CommitSeal(commit, "quiet", "ID=debian", [], [], []) { Pcr = new PcrSignatures(key.ExportSubjectPublicKeyInfoPem() + "\n", "{}") }.AddTo(null));
        return commit;
    }
}
