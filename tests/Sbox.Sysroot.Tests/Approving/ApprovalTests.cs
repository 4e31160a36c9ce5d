using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot.Tests;

/// <summary>Who must have signed what a box takes.</summary>
public sealed class ApprovalTests : IDisposable
{
    private readonly TestBox box = new(inMemory: true);
    private readonly Ed25519Key alice = Ed25519Key.Generate(), bob = Ed25519Key.Generate(), carol = Ed25519Key.Generate(), mallory = Ed25519Key.Generate();

    public void Dispose() => box.Dispose();

    [Theory]
    [InlineData("signers = ['alice']", "threshold: expected 1 to 1, so many signers are named, found nothing")]
    [InlineData("threshold = 0\nsigners = ['alice']", "threshold: expected 1 to 1")]
    [InlineData("threshold = 2\nsigners = ['alice']", "threshold: expected 1 to 1, so many signers are named, found 2")]
    [InlineData("threshold = 2\nsigners = ['alice', 'alice']", "signers: expected each once, found 'alice' twice")]
    [InlineData("threshold = 1\nsigners = ['../../etc/x']", "signers: expected names of files")]
    [InlineData("threshold = 1\nsigners = 'alice'", "signers: expected a list of strings")]
    [InlineData("threshold = 1\nsigners = []", "signers: expected a list of key files' names, found none")]
    [InlineData("threshold = 'one'\nsigners = ['alice']", "threshold: expected a number")]
    [InlineData("threshold = 1\nsigners = ['alice']\nforgiving = true", "forgiving: expected threshold or signers, found an unknown key")]
    [InlineData("[policy]\nthreshold = 1", "expected threshold and signers, without tables")]
    [InlineData("threshold = ", "expected TOML")]
    [InlineData("threshold = 1\nsigners = ['nobody']", "nobody: expected a key, found no such file")]
    [InlineData("threshold = 1\nsigners = ['empty']", "empty: expected a key, found none in it")]
    [InlineData("threshold = 1\nsigners = ['broken']", "broken: expected an Ed25519 key of 32 bytes in base64")]
    [InlineData("threshold = 2\nsigners = ['alice', 'alias']", "alice and alias sharing")]
    public void A_policy_that_nobody_can_go_by_approves_nothing_and_says_what_is_wrong(string policy, string words)
    {
        using var tree = new TempDir(inMemory: true);
        WriteKeys((path, text) => tree.Write(path, text));
        tree.Write(ApprovalPolicy.FileName, policy);
        using Dir root = tree.Open();
        Assert.Contains(words, Assert.Throws<ApprovalPolicyException>(() => ApprovalPolicy.Of(root)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tree_without_a_policy_asks_for_nothing()
    {
        using var tree = new TempDir(inMemory: true);
        using Dir root = tree.Open();
        Assert.Null(ApprovalPolicy.Of(root));
    }

    [Theory]
    [InlineData("", false, "0 of the 2 signatures that are needed (none of alice, bob, carol)")]
    [InlineData("a", false, "1 of the 2 signatures that are needed (alice; not bob, carol)")]
    [InlineData("aa", false, "1 of the 2 signatures")] // the same one twice is one
    [InlineData("aA", false, "1 of the 2 signatures")] // two keys of one person are one
    [InlineData("am", false, "1 of the 2 signatures")] // a stranger counts for nothing
    [InlineData("Ab", true, "2 of the 2 signatures that are needed (alice, bob; not carol)")]
    [InlineData("cba", true, "3 of the 2")]
    [InlineData("ar", false, "1 of the 2 signatures")] // carol's other key is revoked
    public void Signatures_are_counted_by_person(string who, bool enough, string words)
    {
        using Ed25519Key second = Ed25519Key.Generate(), revoked = Ed25519Key.Generate();
        var policy = new ApprovalPolicy(
            2, [new Approver("alice", [alice.Public, second.Public]), new Approver("bob", [bob.Public]), new Approver("carol", [carol.Public, revoked.Public])],
            new HashSet<string> { revoked.Public.ToString() });
        byte[] commit = "a commit"u8.ToArray();
        VariantDictionary detached = VariantDictionary.Empty;
        foreach (char each in who)
        {
            Ed25519Key key = each switch { 'a' => alice, 'A' => second, 'b' => bob, 'c' => carol, 'r' => revoked, _ => mallory };
            detached = CommitSignatures.Sign(detached, commit, key);
        }

        Approval approval = policy.Judge(detached, commit);
        Assert.Equal(enough, approval.IsEnough);
        Assert.Contains(words, approval.ToString(), StringComparison.Ordinal);
        Assert.False(policy.Judge(detached, "another commit"u8).IsEnough);
    }

    [Fact]
    public void The_owner_can_revoke_in_etc_and_trust_nobody_more()
    {
        using var tree = new TempDir(inMemory: true);
        WriteKeys((path, text) => tree.Write(path, text));
        tree.Write(ApprovalPolicy.FileName, "threshold = 1\nsigners = ['alice', 'bob']");
        tree.Write("etc/ostree/trusted.ed25519.d/alice", $"{mallory.Public}\n");
        tree.Write("etc/ostree/revoked.ed25519.d/lost", $"# lost in a train\n{bob.Public}\n");
        using Dir root = tree.Open();
        ApprovalPolicy policy = ApprovalPolicy.Of(root)!;
        Assert.True(Signed(alice).IsEnough);
        Assert.False(Signed(bob).IsEnough);
        Assert.False(Signed(mallory).IsEnough);

        Approval Signed(Ed25519Key key) => policy.Judge(CommitSignatures.Sign(VariantDictionary.Empty, "c"u8, key), "c"u8);
    }

    [Theory]
    [InlineData("usr/share/ostree/revoked.ed25519")]
    [InlineData("usr/share/ostree/revoked.ed25519.d/lost")]
    [InlineData("etc/ostree/revoked.ed25519")]
    [InlineData("etc/ostree/revoked.ed25519.d/lost")]
    public void A_revocation_that_nobody_can_read_approves_nothing(string file)
    {
        string key = bob.Public.ToString();
        // The last has a bit set that base64 leaves over: another spelling of the same key.
        string spelled = $"{key[..42]}{(char)(key[42] + 1)}=";
        Assert.Equal(Convert.FromBase64String(key), Convert.FromBase64String(spelled));
        foreach (string line in (string[])[$"{key} # stolen", $"ed25519 {key}", key[..^2], "\u00ff\u0000", $"\ufeff{key}"])
            Assert.Equal((file, "revoked"), Broken(tree => tree.Write(file, $"{line}\n")));
        Assert.Equal((file, "revoked"), Broken(tree => Link(tree, file, "elsewhere")));
        Assert.Equal((file, "revoked"), Broken(tree => Directory.CreateDirectory($"{tree.Path}/{file}")));
        using TempDir good = Tree(tree => tree.Write(file, $"# stolen\r\n  {spelled}\r\n"));
        using Dir root = good.Open();
        Assert.Equal([key], ApprovalPolicy.Of(root)!.Revoked);
    }

    [Theory, InlineData("usr/share/ostree/revoked.ed25519.d"), InlineData("etc/ostree/revoked.ed25519.d")]
    public void A_directory_of_revocations_that_is_none_approves_nothing(string directory)
    {
        Assert.Equal((directory, "revoked"), Broken(tree => tree.Write(directory, $"{bob.Public}\n")));
        Assert.Equal((directory, "revoked"), Broken(tree => Link(tree, directory, "/etc/keys")));
    }

    private (string File, string Key) Broken(Action<TempDir> breaking)
    {
        using TempDir tree = Tree(breaking);
        using Dir root = tree.Open();
        ApprovalPolicyException refusal = Assert.Throws<ApprovalPolicyException>(() => ApprovalPolicy.Of(root));
        return (refusal.File, refusal.Key);
    }

    private TempDir Tree(Action<TempDir> change)
    {
        var tree = new TempDir(inMemory: true);
        WriteKeys((path, text) => tree.Write(path, text));
        tree.Write(ApprovalPolicy.FileName, "threshold = 1\nsigners = ['alice', 'bob']");
        change(tree);
        return tree;
    }

    private static void Link(TempDir tree, string path, string target)
    {
        Directory.CreateDirectory($"{tree.Path}/{Path.GetDirectoryName(path)}");
        File.CreateSymbolicLink($"{tree.Path}/{path}", target);
    }

    [Fact]
    public async Task An_upgrade_that_too_few_signed_is_refused_before_its_files_are_fetched_and_taken_when_enough_did()
    {
        Checksum one = PublishWithPolicy(1);
        using var server = new FileServer(box.Source);
        Install(server.Url);
        Checksum two = PublishWithPolicy(2);
        Sign(two, alice);
        using OstreeSysroot sysroot = box.Open();
        using var deployer = new Deployer(sysroot, box.EspPath);
        var upgrader = new Upgrader(sysroot, deployer);
        UnapprovedCommitException refusal = await Assert.ThrowsAsync<UnapprovedCommitException>(() => upgrader.Fetch(new UpgradeOptions()));
        Assert.Equal((two, "alice", "bob"), (refusal.Commit, refusal.Approval.Signers[0], refusal.Approval.Missing[0]));
        Assert.True(sysroot.Repository.IsPartial(two));
        Assert.False(sysroot.Repository.Has(new ObjectName(sysroot.Repository.LoadCommit(two).RootTree, ObjectType.DirTree)));
        Assert.Equal([one], sysroot.Deployments.Select(static each => each.Name.Commit));
        Assert.Equal(one, sysroot.Repository.Resolve($"origin:{TestBox.Ref}"));

        Sign(two, bob);
        UpgradeOffer offer = await upgrader.Fetch(new UpgradeOptions());
        Assert.Equal((UpgradeState.Available, two), (offer.State, offer.Request.Commit));
        Assert.Equal((two, false), (sysroot.Repository.Resolve($"origin:{TestBox.Ref}"), sysroot.Repository.IsPartial(two)));
        Assert.Equal(two, offer.Pulled!.Refs[$"origin:{TestBox.Ref}"]);
        deployer.Deploy(offer.Request);
        Assert.Equal([two, one], sysroot.Deployments.Select(static each => each.Name.Commit));
        // What is deployed was approved once; asking again needs nobody.
        Assert.Equal(UpgradeState.UpToDate, (await upgrader.Fetch(new UpgradeOptions())).State);
    }

    [Theory, InlineData(true), InlineData(false)]
    public async Task A_mirror_that_withholds_signatures_and_seal_of_what_is_deployed_takes_nothing_away(bool hasPolicy)
    {
        Checksum one = hasPolicy ? PublishWithPolicy(1) : box.Publish(1);
        Sign(one, alice);
        CommitSeal seal = Seal("this image", alice), again = Seal("this image", bob), other = Seal("another image", mallory);
        Beside(one, seal.AddTo);
        using var server = new FileServer(box.Source);
        Install(server.Url);
        using OstreeSysroot sysroot = box.Open();
        using var deployer = new Deployer(sysroot, box.EspPath);
        Assert.True(await Has(seal, alice));

        Beside(one, static _ => VariantDictionary.Empty);
        Assert.True(await Has(seal, alice));
        Sign(one, bob);
        Beside(one, other.AddTo);
        Assert.True(await Has(seal, alice, bob));
        Beside(one, static _ => VariantDictionary.Empty.With(CommitSeal.Key, "none").With(CommitSignatures.Key, GVariant.Of("none")).With("more", GVariant.Of(new byte[2 << 20])));
        Assert.True(await Has(seal, alice, bob));

        // Its owner may seal it again.
        Beside(one, _ => again.AddTo(null));
        Assert.True(await Has(seal with { UkiSignatures = [.. seal.UkiSignatures, .. again.UkiSignatures] }, alice, bob));

        async Task<bool> Has(CommitSeal sealedBy, params Ed25519Key[] signers)
        {
            Assert.Equal(UpgradeState.UpToDate, (await new Upgrader(sysroot, deployer).Fetch(new UpgradeOptions())).State);
            VariantDictionary? beside = sysroot.Repository.LoadDetachedMetadata(one);
            byte[] commit = sysroot.Repository.LoadMetadata(new ObjectName(one, ObjectType.Commit));
            Assert.Equal(sealedBy.UkiSignatures, CommitSeal.Of(beside)!.UkiSignatures);
            return signers.All(each => CommitSignatures.Verify(beside, commit, each.Public));
        }

        static CommitSeal Seal(string image, Ed25519Key key) => new(
            Checksum.Of(System.Text.Encoding.UTF8.GetBytes(image)), "root=x", "ID=x\n", [], [key.Sign("uki"u8)], [key.Sign("loader"u8)]);
    }

    [Fact]
    public async Task The_owner_may_take_an_unapproved_version_and_has_to_say_so()
    {
        PublishWithPolicy(1);
        using var server = new FileServer(box.Source);
        Install(server.Url);
        Checksum two = PublishWithPolicy(2);
        using OstreeSysroot sysroot = box.Open();
        using var deployer = new Deployer(sysroot, box.EspPath);
        Assert.Equal(two, (await new Upgrader(sysroot, deployer).Fetch(new UpgradeOptions { AllowUnapproved = true })).Request.Commit);
    }

    [Fact]
    public async Task The_policy_is_that_of_the_tree_that_runs_and_not_of_the_one_that_comes()
    {
        PublishWithPolicy(1);
        using var server = new FileServer(box.Source);
        Install(server.Url);
        // Whoever publishes without signatures would also publish a policy that asks for none.
        box.Publish(2);
        using OstreeSysroot sysroot = box.Open();
        using var deployer = new Deployer(sysroot, box.EspPath);
        await Assert.ThrowsAsync<UnapprovedCommitException>(() => new Upgrader(sysroot, deployer).Fetch(new UpgradeOptions()));
    }

    private Checksum PublishWithPolicy(int version)
    {
        var files = new List<(string, string)> { (ApprovalPolicy.FileName, "threshold = 2\nsigners = [\"alice\", \"bob\"]\n") };
        WriteKeys((path, text) => files.Add((path, text)));
        return box.PublishWith(version, [.. files]);
    }

    private void WriteKeys(Action<string, string> write)
    {
        write($"{ApprovalPolicy.KeyDirectory}/alice", $"{alice.Public}\n");
        write($"{ApprovalPolicy.KeyDirectory}/alias", $"{alice.Public}\n");
        write($"{ApprovalPolicy.KeyDirectory}/bob", $"# at work\n{bob.Public}\n");
        write($"{ApprovalPolicy.KeyDirectory}/empty", "\n# nothing\n");
        write($"{ApprovalPolicy.KeyDirectory}/broken", "bm90IGEga2V5\n");
    }

    private void Install(string url) => FreshInstall.Run(new InstallRequest(box.SysrootPath, box.EspPath, box.Source, TestBox.Ref, TestBox.Os)
    {
        RemoteUrl = url, Options = TestBox.Options(),
    });

    private void Beside(Checksum commit, Func<VariantDictionary?, VariantDictionary> change)
    {
        using Repository source = Repository.Open(box.Source);
        source.WriteDetachedMetadata(commit, change(source.LoadDetachedMetadata(commit)));
    }

    private void Sign(Checksum commit, Ed25519Key key)
    {
        using Repository source = Repository.Open(box.Source);
        using Transaction transaction = source.Begin();
        byte[] bytes = source.LoadMetadata(new ObjectName(commit, ObjectType.Commit));
        transaction.WriteDetachedMetadata(commit, CommitSignatures.Sign(source.LoadDetachedMetadata(commit) ?? VariantDictionary.Empty, bytes, key));
        transaction.Commit();
    }
}
