using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Image.Tests;

/// <summary>From a branch to a disk image, over a tree that has all that a deployment needs and nothing more.</summary>
public sealed class BoxImageTests : IDisposable
{
    private const string Branch = "debian/13/amd64/minimal";
    private readonly TempDirectory directory = new();
    private readonly Repository repository;
    private readonly BuildCache cache;
    private readonly Checksum commit;
    private readonly string image;

    public BoxImageTests()
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
        image = directory.Of("disk.img");
        commit = repository.CommitDirectory(tree.Path, new CommitOptions { Branches = [Branch], Timestamp = DateTimeOffset.UnixEpoch.AddDays(20000) });
    }

    public void Dispose()
    {
        repository.Dispose();
        directory.Dispose();
    }

    [Fact]
    public void Real_ostree_reads_on_the_disk_what_is_deployed_and_where_its_upgrades_come_from() => OnMountedRoot(root =>
    {
        string status = Judge.Ostree.Run("admin", "--sysroot=" + root, "status");
        Assert.Contains($"debian {commit}.0", status, StringComparison.Ordinal);
        Assert.Contains($"origin refspec: origin:{Branch}", status, StringComparison.Ordinal);
        Judge.Ostree.Run("fsck", "--repo=" + root + "/ostree/repo");
        Assert.Equal("http://10.0.2.2:8080\n", Judge.Ostree.Run("remote", "show-url", "--repo=" + root + "/ostree/repo", "origin"));
    });

    [Fact]
    public void The_root_directory_is_as_every_root_and_tmp_is_everyones() => OnMountedRoot(root =>
    {
        using Dir dir = Dir.Open(root);
        Assert.Equal((Convert.ToUInt32("755", 8), Convert.ToUInt32("1777", 8)), (dir.Stat().Permissions, dir.Stat("tmp").Permissions));
    });

    [Fact]
    public void The_disk_boots_the_deployment_by_a_kernel_image_of_its_own()
    {
        string esp = $"{image}@@{Make().Esp.Offset}", kernel = $"EFI/Linux/debian-{commit.ToString()[..12]}.0.efi";
        string listing = Judge.OnPath("mdir").Run("-i", esp, "-/", "-b", "::");
        foreach (string file in (string[])["EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi", kernel, "loader/loader.conf"])
            Assert.Contains($"::/{file}\n", listing, StringComparison.Ordinal);
        Assert.Contains($"sbox.deployment=debian/{commit}.0", Judge.OnPath("mtype").Run("-i", esp, $"::/{kernel}"), StringComparison.Ordinal);
    }

    [Fact]
    public void Nothing_of_the_place_where_it_was_made_is_on_the_disk()
    {
        Make();
        Assert.Equal(1, Judge.OnPath("grep").Ask("-c", "-a", "-F", directory.Path, image).ExitCode);
    }

    [Fact]
    public void The_cache_and_the_repository_are_left_as_they_were()
    {
        Make();
        Assert.Empty(Directory.GetFileSystemEntries($"{cache.Root}/work"));
        Judge.Ostree.Run("fsck", "--repo=" + repository.Path);
    }

    [Fact]
    public void A_tree_for_another_machine_gets_that_machines_root_partition_and_boot_loader()
    {
        Judge sfdisk = Judge.OnPath("sfdisk");
        Make();
        Assert.Equal("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709\n", sfdisk.Run("--part-type", image, "2"));

        using (var tree = new TreeRoot(directory.Of("tree")))
        {
            foreach (string file in (string[])["linuxx64.efi.stub", "systemd-bootx64.efi"])
                tree.Move($"usr/lib/systemd/boot/efi/{file}", $"usr/lib/systemd/boot/efi/{file.Replace("x64", "aa64", StringComparison.Ordinal)}");
            repository.CommitDirectory(tree.Path, new CommitOptions { Branches = [Branch], Timestamp = DateTimeOffset.UnixEpoch.AddDays(20001) });
        }

        DiskPlan plan = Make();
        Assert.Equal("arm64", plan.Content.Architecture);
        Assert.Equal("B921B045-1DF0-41C3-AF44-4C6F280D3FAE\n", sfdisk.Run("--part-type", image, "2"));
        string listing = Judge.OnPath("mdir").Run("-i", $"{image}@@{plan.Esp.Offset}", "-/", "-b", "::");
        Assert.Contains("::/EFI/BOOT/BOOTAA64.EFI\n", listing, StringComparison.Ordinal);
        Assert.DoesNotContain("x64", listing, StringComparison.OrdinalIgnoreCase);
    }

    private DiskPlan Make() => new BoxImage(cache).Make(new BoxImageRequest(repository.Path, Branch, image)
    {
        RemoteUrl = "http://10.0.2.2:8080",
        UserBytes = 64 << 20,
        Sysroot = new SysrootOptions { CommandLine = "", AssembleUki = static (parts, file) => file.Write(System.Text.Encoding.UTF8.GetBytes(parts.CommandLine)) },
    });

    private void OnMountedRoot(Action<string> look)
    {
        string mounted = directory.Of("mounted");
        Directory.CreateDirectory(mounted);
        Judge.OnPath("mount").Run("-o", $"loop,ro,offset={Make().Root.Offset}", image, mounted);
        try
        {
            look(mounted);
        }
        finally
        {
            Unmounting.Unmount(mounted, image);
        }
    }
}
