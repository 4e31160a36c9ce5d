using System.Globalization;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Image.Tests;

/// <summary>A box from an image to a disk, and from one disk to another, as the host's kernel sees them. Needs root and loop devices.</summary>
public sealed class InstallTests : IDisposable
{
    private const string Branch = "debian/13/amd64/minimal";
    private const int DiskMebibytes = 2048;
    private readonly TempDirectory directory = new();
    private readonly List<LoopDisk> disks = [];
    private readonly Checksum commit;
    private readonly string image;

    public InstallTests()
    {
        var cache = new BuildCache(directory.Of("cache"));
        Directory.CreateDirectory(cache.Root);
        using Repository repository = Repository.Create(directory.Of("repo"), RepositoryMode.Bare);
        using (TreeRoot tree = FakeDebian.Make(directory.Of("tree")))
        {
            BootFiles.MoveKernel(tree);
            tree.Write($"usr/lib/modules/{FakeDebian.Kernel}/initramfs.img", "initrd\n");
            tree.Write("usr/lib/systemd/boot/efi/linuxx64.efi.stub", "stub\n");
            tree.Write("usr/lib/systemd/boot/efi/systemd-bootx64.efi", "loader\n");
            tree.Write("etc/setting", "default\n");
            ImmutableTree.Make(tree, TmpPlace.Memory);
            commit = repository.CommitDirectory(tree.Path, new CommitOptions { Branches = [Branch], Timestamp = DateTimeOffset.UnixEpoch.AddDays(20000) });
        }

        image = directory.Of("disk.img");
        new BoxImage(cache).Make(new BoxImageRequest(repository.Path, Branch, image)
        {
            UserBytes = 64 << 20,
            Sysroot = new SysrootOptions { CommandLine = "", AssembleUki = static (parts, file) => file.Write(System.Text.Encoding.UTF8.GetBytes(parts.CommandLine)) },
        });
    }

    public void Dispose()
    {
        foreach (LoopDisk disk in disks)
            disk.Dispose();
        directory.Dispose();
    }

    [Fact]
    public void An_image_becomes_a_disk_of_its_own_that_every_judge_calls_sound()
    {
        LoopDisk disk = Installed();
        Assert.Contains("No errors", Judge.OnPath("sfdisk").Run("--verify", disk.Path), StringComparison.Ordinal);
        Judge.OnPath("e2fsck").Run("-fn", disk.Partition(2));
        Judge.OnPath("fsck.vfat").Run("-n", disk.Partition(1));
        Assert.Contains("::/EFI/BOOT/BOOTX64.EFI\n", Judge.OnPath("mdir").Run("-i", disk.Partition(1), "-/", "-b", "::"), StringComparison.Ordinal);
        foreach (string partition in (string[])["1", "2"])
            Assert.NotEqual(Judge.OnPath("sfdisk").Run("--part-uuid", image, partition), Judge.OnPath("sfdisk").Run("--part-uuid", disk.Path, partition));
        Assert.NotEqual(Judge.OnPath("sfdisk").Run("--disk-id", image), Judge.OnPath("sfdisk").Run("--disk-id", disk.Path));
        IsTheBox(disk.Mount(directory.Of("mounted"), "ro"));
    }

    // The file system itself asks for CAP_SYS_RESOURCE, which a container may not have: Sbox.Tour's stick has it grow while it is in use.
    [Fact]
    public void Its_partition_grows_while_it_is_in_use_to_all_that_the_disk_has()
    {
        LoopDisk disk = Installed();
        string root = disk.Mount(directory.Of("mounted"));
        RootGrowth plan = RootGrowth.Plan(root);
        Assert.True(plan.Grows);
        using (var cut = new CancellationTokenSource())
        {
            cut.Cancel(); // the partition grows, and nothing after it
            Assert.Throws<OperationCanceledException>(() => plan.Execute(cut.Token));
        }

        Assert.False(RootGrowth.Plan(root).Grows);
        Assert.InRange(Length(disk.Partition(2)) >> 20, DiskMebibytes - EspMebibytes(disk) - 4, DiskMebibytes);
        IsTheBox(root);
        disk.Unmount(root);
        Assert.Contains("No errors", Judge.OnPath("sfdisk").Run("--verify", disk.Path), StringComparison.Ordinal);
        Judge.OnPath("e2fsck").Run("-fn", disk.Partition(2));
        // There is room in it for as many groups as the disk has.
        Judge.OnPath("e2fsck").Run("-fp", disk.Partition(2));
        Judge.OnPath("resize2fs").Run(disk.Partition(2));
        Judge.OnPath("e2fsck").Run("-fn", disk.Partition(2));
        IsTheBox(disk.Mount(root, "ro"));
    }

    [Fact]
    public void A_box_on_another_disk_is_the_same_box_with_what_its_owner_has()
    {
        LoopDisk from = Installed(), to = Disk("other.disk");
        string root = Lived(from);
        BoxClone plan = BoxClone.Plan(CloneSource.Of(root), TargetDisk.Look(to.Path), withState: true, TestContext.Current.CancellationToken);
        CloneResult result = plan.Execute(cancel: TestContext.Current.CancellationToken);
        Assert.Equal(0, result.ChangedMeanwhile);
        string copy = Checked(to);
        Assert.Equal("letter\n", File.ReadAllText($"{copy}/ostree/deploy/debian/var/home/ann/letter"));
        Assert.Equal("changed\n", File.ReadAllText($"{Deployment(copy)}/etc/setting"));
        Assert.Equal("", File.ReadAllText($"{Deployment(copy)}/etc/machine-id"));
        Assert.Equal(Listing(root), Listing(copy));
        using Dir var = Dir.Open($"{copy}/ostree/deploy/debian/var");
        Assert.True(var.Stat("sparse").Blocks * 512 < var.Stat("sparse").Size);
        Assert.Equal((FileKind.Fifo, FileKind.CharacterDevice), (var.Stat("pipe").Kind, var.Stat("whiteout").Kind));
    }

    [Fact]
    public void A_stick_has_the_versions_and_nothing_of_its_owner()
    {
        LoopDisk from = Installed(), to = Disk("other.disk");
        string root = Lived(from);
        BoxClone.Plan(CloneSource.Of(root), TargetDisk.Look(to.Path), withState: false, TestContext.Current.CancellationToken).Execute(cancel: TestContext.Current.CancellationToken);
        string copy = Checked(to);
        Assert.Empty(Directory.GetFileSystemEntries($"{copy}/ostree/deploy/debian/var"));
        Assert.Equal("default\n", File.ReadAllText($"{Deployment(copy)}/etc/setting"));
        Assert.Equal("", File.ReadAllText($"{Deployment(copy)}/etc/machine-id"));
        // /etc is edited: nothing there may be another name of an object.
        using Dir deployment = Dir.Open(Deployment(copy));
        Assert.Equal(1U, deployment.Stat("etc/setting").Links);
        File.AppendAllText($"{Deployment(copy)}/etc/setting", "more\n");
        Judge.Ostree.Run("fsck", "--repo=" + copy + "/ostree/repo");
        Assert.Equal(1, Judge.OnPath("grep").Ask("-c", "-a", "letter of mine", to.Partition(2)).ExitCode);
    }

    // As a CD is to the kernel, which looks for no partitions there: sbox-root makes a read-only loop device of the root's.
    [Fact]
    public void A_box_on_a_medium_of_which_the_kernel_knows_no_partitions_is_copied_by_what_its_table_says()
    {
        LoopDisk from = Installed(), to = Disk("other.disk");
        string first = File.ReadAllText($"/sys/class/block/{Path.GetFileName(from.Partition(2))}/start").Trim(), esp = Judge.OnPath("mdir").Run("-i", from.Partition(1), "-/", "-b", "::");
        string start = $"{long.Parse(first, CultureInfo.InvariantCulture) * 512}", at = Directory.CreateDirectory(directory.Of("medium")).FullName;
        string loop = Judge.OnPath("losetup").Run("--find", "--show", "--read-only", "--offset", start, "--sizelimit", $"{Length(from.Partition(2))}", from.Path).Trim();
        try
        {
            Judge.OnPath("mount").Run("-o", "ro", loop, at);
            CloneSource source = CloneSource.Of(at);
            Assert.Equal((Path.GetFileName(from.Path), 1L << 20, Length(from.Partition(1))), (source.Esp, source.EspAt, source.EspBytes));
            BoxClone.Plan(source, TargetDisk.Look(to.Path), withState: true, TestContext.Current.CancellationToken).Execute(cancel: TestContext.Current.CancellationToken);
            Assert.Equal(Listing(at), Listing(Checked(to)));
            Assert.Equal(esp, Judge.OnPath("mdir").Run("-i", to.Partition(1), "-/", "-b", "::"));
        }
        finally
        {
            Judge.OnPath("umount").Ask(at);
            Judge.OnPath("losetup").Run("--detach", loop);
        }
    }

    [Fact]
    public void A_disk_that_does_not_give_back_what_it_was_given_is_found_out()
    {
        LoopDisk disk = Disk("other.disk");
        ImageInstall plan = ImageInstall.Plan(image, TargetDisk.Look(disk.Path));
        bool spoilt = false;
        var damaged = Assert.Throws<CloneDamagedException>(() => plan.Execute(new Reporter(now =>
        {
            if (now.Step != "reading back" || spoilt)
                return;
            spoilt = true;
            using FileStream device = File.OpenWrite(disk.Path);
            device.Position = plan.Bytes - 4096;
            device.WriteByte(0x5A);
            device.Flush();
        }), TestContext.Current.CancellationToken));
        Assert.Equal(disk.Path, damaged.Path);
    }

    [Fact]
    public void Cut_short_at_any_piece_a_disk_has_no_table_from_which_anything_boots()
    {
        LoopDisk disk = Disk("other.disk");
        ImageInstall.Plan(image, TargetDisk.Look(disk.Path)).Execute(cancel: TestContext.Current.CancellationToken); // a box was there before
        ImageInstall plan = ImageInstall.Plan(image, TargetDisk.Look(disk.Path));
        foreach (int piece in (int[])[1, 2, 10])
        {
            using var cut = new CancellationTokenSource();
            int seen = 0;
            Assert.Throws<OperationCanceledException>(() => plan.Execute(new Reporter(_ =>
            {
                if (++seen == piece)
                    cut.Cancel();
            }), cut.Token));
            var head = new byte[4096];
            using FileStream device = File.OpenRead(disk.Path);
            device.ReadExactly(head);
            Assert.All(head, static each => Assert.Equal(0, each));
        }
    }

    [Fact]
    public void Nothing_is_written_to_a_disk_that_is_in_use_or_too_small_or_none()
    {
        LoopDisk used = Installed();
        used.Mount(directory.Of("mounted"));
        Assert.Contains($"{used.Partition(2)} is mounted at {directory.Of("mounted")}", Refusal(() => TargetDisk.Look(used.Path)), StringComparison.Ordinal);
        Assert.Contains("it is a partition", Refusal(() => TargetDisk.Look(used.Partition(1))), StringComparison.Ordinal);
        Assert.Contains("there is no such disk", Refusal(() => TargetDisk.Look("/dev/null")), StringComparison.Ordinal);
        LoopDisk small = Disk("small.disk", 64);
        Assert.Contains("it has 64 MiB", Refusal(() => ImageInstall.Plan(image, TargetDisk.Look(small.Path))), StringComparison.Ordinal);
        Assert.Contains("it has 64 MiB", Refusal(() => BoxClone.Plan(CloneSource.Of(directory.Of("mounted")), TargetDisk.Look(small.Path), withState: true)), StringComparison.Ordinal);
        File.WriteAllText(directory.Of("text"), "no image");
        Assert.Throws<DiskImageException>(() => ImageInstall.Plan(directory.Of("text"), TargetDisk.Look(small.Path)));
    }

    private static string Refusal(Action action) => Assert.Throws<TargetDiskException>(action).Message;

    private LoopDisk Disk(string name, int mebibytes = DiskMebibytes)
    {
        var disk = new LoopDisk(directory.Of(name), mebibytes);
        disks.Add(disk);
        return disk;
    }

    private LoopDisk Installed()
    {
        LoopDisk disk = Disk("one.disk");
        ImageInstall.Plan(image, TargetDisk.Look(disk.Path)).Execute(cancel: TestContext.Current.CancellationToken);
        return disk;
    }

    // What people leave, and what copies get wrong: holes, names of one file, devices, seals.
    private string Lived(LoopDisk disk)
    {
        string root = disk.Mount(directory.Of("lived")), var = $"{root}/ostree/deploy/debian/var";
        Directory.CreateDirectory($"{var}/home/ann");
        File.WriteAllText($"{var}/home/ann/letter", "letter\n");
        File.WriteAllText($"{var}/home/ann/secret", "letter of mine\n");
        Judge.OnPath("ln").Run($"{var}/home/ann/letter", $"{var}/home/ann/same");
        Judge.OnPath("setfattr").Run("-n", "user.note", "-v", "mine", $"{var}/home/ann/letter");
        using (FileStream sparse = File.Create($"{var}/sparse"))
            sparse.SetLength(1L << 30);
        Judge.OnPath("mkfifo").Run($"{var}/pipe");
        Judge.OnPath("mknod").Run($"{var}/whiteout", "c", "0", "0");
        File.WriteAllText($"{Deployment(root)}/etc/setting", "changed\n");
        File.WriteAllText($"{Deployment(root)}/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        return root;
    }

    private string Checked(LoopDisk disk)
    {
        Assert.Contains("No errors", Judge.OnPath("sfdisk").Run("--verify", disk.Path), StringComparison.Ordinal);
        Judge.OnPath("e2fsck").Run("-fn", disk.Partition(2));
        Judge.OnPath("fsck.vfat").Run("-n", disk.Partition(1));
        Assert.Contains($"sbox.deployment=debian/{commit}.0", Judge.OnPath("mtype").Run("-i", disk.Partition(1), $"::/EFI/Linux/debian-{commit.ToString()[..12]}.0.efi"), StringComparison.Ordinal);
        string mounted = disk.Mount(directory.Of("copy"));
        IsTheBox(mounted);
        return mounted;
    }

    private void IsTheBox(string root)
    {
        Assert.Contains($"debian {commit}.0", Judge.Ostree.Run("admin", "--sysroot=" + root, "status"), StringComparison.Ordinal);
        Judge.Ostree.Run("fsck", "--repo=" + root + "/ostree/repo");
    }

    private string Deployment(string root) => $"{root}/ostree/deploy/debian/deploy/{commit}.0";

    // Everything but what belongs to the disk: names, owners, modes, links, sizes and attributes.
    private static string Listing(string root) => Judge.OnPath("bash").Run("-c",
        $"cd {root} && find . -path ./lost+found -prune -o -path ./ostree/repo/tmp -prune -o -name machine-id -prune -o -printf '%p %y %m %U:%G %n %s %l %T@\\n' | grep -v '^. ' | grep -Ev '^[^ ]+ d ' | LC_ALL=C sort; getfattr -R -d -m - ostree boot 2>/dev/null | LC_ALL=C sort");

    private static long Length(string device) => long.Parse(Judge.OnPath("blockdev").Run("--getsize64", device), CultureInfo.InvariantCulture);

    private static long EspMebibytes(LoopDisk disk) => Length(disk.Partition(1)) >> 20;

    private sealed class Reporter(Action<InstallProgress> report) : IProgress<InstallProgress>
    {
        public void Report(InstallProgress value) => report(value);
    }
}
