using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Sysroot.Tests;

/// <summary>Making a box, and what its branch offers it.</summary>
public sealed class UpgradeTests : IDisposable
{
    private readonly TestBox box = new();

    public void Dispose() => box.Dispose();

    [Fact]
    public void One_call_makes_a_box_that_real_ostree_knows()
    {
        Checksum one = box.Publish(1);
        FreshInstall.Run(Request());
        Assert.Contains($"{TestBox.Os} {one}.0", Judge.HostOstree.Run("admin", "status", $"--sysroot={box.SysrootPath}"));
        Assert.Equal("http://127.0.0.1:8080/repo\n", Judge.HostOstree.Run("remote", "show-url", $"--repo={box.SysrootPath}/ostree/repo", "origin"));
        Assert.Contains("gpg-verify=false", File.ReadAllText($"{box.SysrootPath}/ostree/repo/config"));
        Judge.HostOstree.Run("fsck", $"--repo={box.SysrootPath}/ostree/repo");
        Assert.Single(box.Ukis());
        using OstreeSysroot sysroot = box.Open();
        Assert.Equal(new Refspec("origin", TestBox.Ref), sysroot.Deployments[0].Origin?.Refspec);
        Assert.Equal(one, sysroot.Repository.Resolve($"origin:{TestBox.Ref}"));
        Assert.Equal("root=LABEL=sbox-root quiet extra=1", sysroot.Deployments[0].Arguments.ToString());
    }

    [Fact]
    public void Two_boxes_made_alike_are_alike()
    {
        box.Publish(1);
        using var other = new TempDir();
        DeployResult first = FreshInstall.Run(Request());
        DeployResult second = FreshInstall.Run(Request() with { RootDirectory = other.Of("sysroot"), EspDirectory = other.Of("esp") });
        Assert.Equal(first.ImageDigest, second.ImageDigest);
        string uki = $"EFI/Linux/{box.Ukis()[0]}";
        Assert.Equal(File.ReadAllBytes($"{box.EspPath}/{uki}"), File.ReadAllBytes(other.Of($"esp/{uki}")));
        Assert.Equal(File.ReadAllText($"{box.SysrootPath}/boot/loader/entries/ostree-1-debian.conf"), File.ReadAllText(other.Of("sysroot/boot/loader/entries/ostree-1-debian.conf")));
    }

    [Fact]
    public async Task A_box_that_has_the_newest_version_says_so()
    {
        Publish(1);
        using OstreeSysroot sysroot = Local();
        using var deployer = new Deployer(sysroot, box.EspPath);
        UpgradeOffer offer = await new Upgrader(sysroot, deployer).Fetch(new UpgradeOptions());
        Assert.Equal((UpgradeState.UpToDate, "1.0"), (offer.State, offer.Version));
    }

    [Fact]
    public async Task A_newer_version_is_offered_deployed_and_then_awaits_the_reboot()
    {
        Checksum one = Publish(1);
        using OstreeSysroot sysroot = Local();
        Checksum two = Publish(2);
        using OstreeSysroot booted = box.OpenBooted(sysroot.Deployments[0]);
        using var deployer = new Deployer(booted, box.EspPath);
        var upgrader = new Upgrader(booted, deployer);
        UpgradeOffer offer = await upgrader.Fetch(new UpgradeOptions());
        Assert.Equal((UpgradeState.Available, "2.0", one), (offer.State, offer.Version, offer.Current.Name.Commit));
        deployer.Deploy(offer.Request);
        Assert.Equal([two, one], booted.Deployments.Select(each => each.Name.Commit));
        Assert.Equal(UpgradeState.AwaitsReboot, (await upgrader.Fetch(new UpgradeOptions())).State);
        File.Delete($"{box.EspPath}/EFI/Linux/{UnifiedKernel.FileName(booted.Deployments[0].Name)}");
        Assert.Equal(UpgradeState.Unfinished, (await upgrader.Fetch(new UpgradeOptions())).State);
        deployer.Finish();
        Assert.Equal(UpgradeState.AwaitsReboot, (await upgrader.Fetch(new UpgradeOptions())).State);
    }

    [Fact]
    public async Task An_upgrade_over_HTTP_is_what_real_ostree_makes_of_the_same_box_over_HTTP()
    {
        Checksum one = box.Publish(1);
        using var server = new FileServer(box.Source);
        FreshInstall.Run(Request() with { RemoteUrl = server.Url });
        using var other = new TempDir();
        Judge.OnPath("cp").Run("-a", box.SysrootPath, other.Path);
        Checksum two = box.Publish(2);

        using OstreeSysroot sysroot = box.Open();
        using var deployer = new Deployer(sysroot, box.EspPath);
        UpgradeOffer offer = await new Upgrader(sysroot, deployer).Fetch(new UpgradeOptions());
        Assert.Equal((UpgradeState.Available, two), (offer.State, offer.Request.Commit));
        Assert.True(offer.Pulled!.BytesTransferred > 0);
        deployer.Deploy(offer.Request);
        Assert.Equal([two, one], sysroot.Deployments.Select(each => each.Name.Commit));
        Judge.HostOstree.Run("fsck", $"--repo={box.SysrootPath}/ostree/repo");

        Judge.HostOstree.Run("admin", "upgrade", $"--sysroot={other.Of("sysroot")}", $"--os={TestBox.Os}");
        string ours = Judge.HostOstree.Run("admin", "status", $"--sysroot={box.SysrootPath}");
        Assert.Equal(Judge.HostOstree.Run("admin", "status", $"--sysroot={other.Of("sysroot")}"), ours);
        Assert.Equal(
            File.ReadAllText(other.Of("sysroot/boot/loader/entries/ostree-2-debian.conf")),
            File.ReadAllText($"{box.SysrootPath}/boot/loader/entries/ostree-2-debian.conf"));
    }

    [Fact]
    public async Task An_older_version_is_refused_unless_the_owner_allows_it()
    {
        Publish(2);
        using OstreeSysroot sysroot = Local();
        Checksum one = Publish(1);
        using var deployer = new Deployer(sysroot, box.EspPath);
        var upgrader = new Upgrader(sysroot, deployer);
        OlderVersionException refusal = await Assert.ThrowsAsync<OlderVersionException>(() => upgrader.Fetch(new UpgradeOptions()));
        Assert.Equal((TestBox.Start.AddDays(2), TestBox.Start.AddDays(1)), (refusal.Current, refusal.Offered));
        UpgradeOffer offer = await upgrader.Fetch(new UpgradeOptions { AllowOlder = true });
        Assert.Equal((UpgradeState.Available, one), (offer.State, offer.Request.Commit));
    }

    [Fact]
    public async Task Switching_to_another_branch_follows_it_from_then_on()
    {
        Checksum one = Publish(1);
        using OstreeSysroot sysroot = Local();
        Judge.HostOstree.Run("refs", $"--repo={box.SysrootPath}/ostree/repo", $"--create=other", one.ToString());
        using var deployer = new Deployer(sysroot, box.EspPath);
        var upgrader = new Upgrader(sysroot, deployer);
        UpgradeOffer offer = await upgrader.Fetch(new UpgradeOptions { SwitchTo = new Refspec(null, "other") });
        Assert.Equal(UpgradeState.Available, offer.State);
        deployer.Deploy(offer.Request);
        Assert.Equal(new Refspec(null, "other"), sysroot.Deployments[0].Origin?.Refspec);
        Assert.Equal(UpgradeState.UpToDate, (await upgrader.Fetch(new UpgradeOptions())).State);
    }

    [Fact]
    public async Task A_deployed_commit_that_the_repository_lost_keeps_no_upgrade_away()
    {
        Checksum one = Publish(1);
        using OstreeSysroot sysroot = Local();
        Checksum two = Publish(2);
        string id = one.ToString(), lost = $"{box.SysrootPath}/ostree/repo/objects/{id[..2]}/{id[2..]}.commit";
        File.Delete(lost);
        using OstreeSysroot booted = box.OpenBooted(sysroot.Deployments[0]);
        using var deployer = new Deployer(booted, box.EspPath);
        UpgradeOffer offer = await new Upgrader(booted, deployer).Fetch(new UpgradeOptions());
        Assert.Equal((UpgradeState.Available, two), (offer.State, offer.Request.Commit));
        Assert.Contains("whether the offered one is newer is not known", Assert.Single(offer.Notes));
        DeployResult result = deployer.Deploy(offer.Request);
        Assert.Collection(result.Notes,
            note => Assert.Contains("taken over as the owner's", note),
            note => Assert.Contains("The repository was not cleaned up", note));
        Assert.Equal("root=LABEL=sbox-root quiet", result.Plan.Arguments.ToString());
        Assert.Equal([two, one], booted.Deployments.Select(each => each.Name.Commit));
        Assert.True(deployer.IsSettled);
        Assert.Equal(one, deployer.Rollback().Name.Commit);
    }

    private InstallRequest Request() => new(box.SysrootPath, box.EspPath, box.Source, TestBox.Ref, TestBox.Os)
    {
        RemoteUrl = "http://127.0.0.1:8080/repo",
        MoreArguments = Boot.KernelArguments.Parse("extra=1"),
        Options = TestBox.Options(),
    };

    // A box that follows a branch of its own repository: no network is needed to see what an upgrade does.
    private OstreeSysroot Local()
    {
        OstreeSysroot sysroot = box.Install();
        Copy();
        using var deployer = new Deployer(sysroot, box.EspPath);
        deployer.Deploy(new DeployRequest(TestBox.Os, sysroot.Repository.Resolve(TestBox.Ref)) { Origin = Origin.Of(new Refspec(null, TestBox.Ref)) });
        return sysroot;
    }

    private Checksum Publish(int version)
    {
        Checksum commit = box.Publish(version);
        if (Directory.Exists($"{box.SysrootPath}/ostree/repo"))
            Copy();
        return commit;
    }

    private void Copy() => Judge.HostOstree.Run("pull-local", $"--repo={box.SysrootPath}/ostree/repo", box.Source, TestBox.Ref);
}
