using Sbox.Judges;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Image.Tests;

/// <summary>From a branch to a disk image, over a tree that has all that a deployment needs and nothing more.</summary>
public sealed class StagedBoxTests : IDisposable
{
    private const string Branch = "debian/13/amd64/minimal";
    private readonly TempDirectory directory = new();
    private readonly Repository repository;
    private readonly BuildCache cache;

    public StagedBoxTests()
    {
        cache = new BuildCache(directory.Of("cache"));
        Directory.CreateDirectory(cache.Root);
        repository = Repository.Create(directory.Of("repo"), RepositoryMode.Bare);
        using TreeRoot tree = FakeDebian.Make(directory.Of("tree"));
        BootFiles.MoveKernel(tree);
        tree.Write($"usr/lib/modules/{FakeDebian.Kernel}/initramfs.img", "initrd\n");
        tree.Write("usr/lib/systemd/boot/efi/linuxx64.efi.stub", "stub\n");
        tree.Write("usr/lib/systemd/boot/efi/systemd-bootx64.efi", "loader\n");
        ImmutableTree.Make(tree, TmpPlace.Memory);
        repository.CommitDirectory(tree.Path, new CommitOptions { Branches = [Branch], Timestamp = DateTimeOffset.UnixEpoch.AddDays(20000) });
    }

    public void Dispose()
    {
        repository.Dispose();
        directory.Dispose();
    }

    [Fact]
    public void Real_ostree_reads_the_deployment_and_where_its_upgrades_come_from()
    {
        using StagedBox box = Make();
        string status = Judge.Ostree.Run("admin", "--sysroot=" + box.Content.RootDirectory, "status");
        Assert.Contains($"debian {box.Commit}.0", status, StringComparison.Ordinal);
        Assert.Contains($"origin: origin:{Branch}", status, StringComparison.Ordinal);
        Judge.Ostree.Run("fsck", "--repo=" + box.Content.RootDirectory + "/ostree/repo");
        Assert.Equal("http://10.0.2.2:8080\n", Judge.Ostree.Run("remote", "show-url", "--repo=" + box.Content.RootDirectory + "/ostree/repo", "origin"));
    }

    [Fact]
    public void The_disk_boots_the_deployment_by_a_kernel_image_of_its_own()
    {
        using StagedBox box = Make();
        string image = directory.Of("disk.img");
        DiskPlan plan = DiskImage.Plan(box.Content with { UserBytes = 64 << 20 });
        DiskImage.Write(plan, image);
        string listing = Judge.OnPath("mdir").Run("-i", $"{image}@@{plan.Esp.Offset}", "-/", "-b", "::");
        foreach (string file in (string[])["EFI/BOOT/BOOTX64.EFI", $"EFI/Linux/debian-{box.Commit.ToString()[..12]}.0.efi", "loader/loader.conf"])
            Assert.Contains($"::/{file}\n", listing, StringComparison.Ordinal);
        Assert.Contains("sbox.deployment=debian/", Judge.OnPath("mtype").Run("-i", $"{image}@@{plan.Esp.Offset}", $"::/EFI/Linux/debian-{box.Commit.ToString()[..12]}.0.efi"), StringComparison.Ordinal);
    }

    [Fact]
    public void Nothing_of_the_place_where_it_was_made_is_on_the_disk()
    {
        using StagedBox box = Make();
        Assert.Equal(1, Judge.OnPath("grep").Ask("-r", "-a", "-F", directory.Path, box.Content.RootDirectory, box.Content.EspDirectory).ExitCode);
        using TreeRoot root = new(box.Content.RootDirectory);
        Assert.DoesNotContain(root.Below("."), entry => entry.Stat.IsSymlink && root.Dir.ReadLink(entry.Path).StartsWith(directory.Path, StringComparison.Ordinal));
    }

    [Fact]
    public void What_was_staged_goes_away_and_the_repository_stays_whole()
    {
        Make().Dispose();
        Assert.Empty(Directory.GetFileSystemEntries($"{cache.Root}/work"));
        Judge.Ostree.Run("fsck", "--repo=" + repository.Path);
    }

    private StagedBox Make() => StagedBox.Make(
        repository, new BoxContent("debian", Branch) { Url = "http://10.0.2.2:8080" }, cache,
        new SysrootOptions { AssembleUki = static parts => System.Text.Encoding.UTF8.GetBytes(parts.CommandLine) });
}
