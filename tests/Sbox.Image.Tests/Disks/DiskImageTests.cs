using System.Globalization;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Image.Tests;

public sealed class DiskImageTests : IDisposable
{
    private const string Seed = "446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488";
    private readonly TempDirectory directory = new();
    private readonly string root, esp, image;

    public DiskImageTests()
    {
        (root, esp, image) = (directory.Of("root"), directory.Of("esp"), directory.Of("disk.img"));
        using (TreeRoot tree = FakeDebian.Make(root))
        {
            using Dir dir = Dir.Open(root);
            Xattrs.Set(dir, "usr/bin/su", new Xattr("user.long", new byte[200]));
            tree.Write("usr/lib/large", new byte[5 << 20]);
            tree.Link("usr/lib/long", new string('x', 100));
            Assert.True(dir.TryLink("usr/lib/large", dir, "usr/lib/same"));
            for (int n = 0; n < 300; n++)
                tree.Write($"usr/share/many/file-with-a-rather-long-name-{n:D4}", "x");
        }

        directory.Write("esp/loader/loader.conf", "timeout 3\n");
        Directory.CreateDirectory(directory.Of("esp/EFI/Linux"));
        File.WriteAllBytes(directory.Of("esp/EFI/Linux/debian-0123456789ab.0.efi"), new byte[20 << 20]);
    }

    public void Dispose() => directory.Dispose();

    [Fact]
    public void The_image_is_what_its_judges_call_sound()
    {
        DiskPlan plan = Write(Content());
        Assert.Contains("No errors", Judge.OnPath("sfdisk").Run("--verify", image), StringComparison.Ordinal);
        Judge.OnPath("e2fsck").Run("-fn", Cut(plan.Root, "root.img"));
        Judge.OnPath("fsck.vfat").Run("-n", Cut(plan.Esp, "esp.img"));
    }

    [Fact]
    public void The_root_holds_the_directory_with_owners_modes_and_attributes()
    {
        DiskPlan plan = Write(Content());
        string mounted = directory.Of("mounted");
        Directory.CreateDirectory(mounted);
        using var tree = new TreeRoot(root);
        Judge.OnPath("mount").Run("-o", "loop,ro", Cut(plan.Root, "root.img"), mounted);
        try
        {
            using var written = new TreeRoot(mounted);
            string[] withoutLostAndFound = [.. FakeDebian.Listing(written).Split('\n').Where(line => !line.StartsWith("lost+found", StringComparison.Ordinal))];
            Assert.Equal(FakeDebian.Listing(tree).Split('\n'), withoutLostAndFound);
            Assert.Equal(200, Xattrs.Read(written.Dir, "usr/bin/su").Single().Value.Length);
            Assert.Equal(written.Dir.Stat("usr/lib/large").Inode, written.Dir.Stat("usr/lib/same").Inode);
        }
        finally
        {
            Unmounting.Unmount(mounted);
        }
    }

    [Fact]
    public void Firmware_finds_the_content_of_the_partition_that_it_reads()
    {
        DiskPlan plan = Write(Content());
        string listing = Judge.OnPath("mdir").Run("-i", $"{image}@@{plan.Esp.Offset}", "-/", "-b", "::");
        Assert.Contains("::/EFI/Linux/debian-0123456789ab.0.efi", listing, StringComparison.Ordinal);
        Assert.Equal("timeout 3\n", Judge.OnPath("mtype").Run("-i", $"{image}@@{plan.Esp.Offset}", "::/loader/loader.conf"));
        Assert.Contains("FAT32", Judge.OnPath("file").Run("-b", Cut(plan.Esp, "esp.img")).Replace("FAT (32 bit)", "FAT32", StringComparison.Ordinal), StringComparison.Ordinal);
    }

    [Fact]
    public void Labels_and_types_are_those_that_the_boot_looks_for()
    {
        DiskPlan plan = Write(Content());
        string table = Judge.OnPath("sfdisk").Run("--dump", image);
        Assert.Contains("type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B", table, StringComparison.Ordinal);
        Assert.Contains("type=4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709", table, StringComparison.Ordinal);
        Assert.Equal("sbox-root\n", Judge.OnPath("e2label").Run(Cut(plan.Root, "root.img")));
        Assert.Contains("verity", Judge.OnPath("dumpe2fs").Run("-h", directory.Of("root.img")), StringComparison.Ordinal);
    }

    [Fact]
    public void The_planned_room_is_there_and_not_much_more()
    {
        DiskPlan plan = Write(Content());
        string header = Judge.OnPath("dumpe2fs").Run("-h", Cut(plan.Root, "root.img"));
        long usable = Number(header, "Free blocks:") - Number(header, "Reserved block count:");
        long promised = plan.Measure.Blocks + (2 * plan.Measure.VerityBlocks) + (plan.Content.UserBytes / RootMeasure.BlockSize);
        Assert.InRange(usable, promised, promised + (promised / 20) + 1024);
        Assert.True(Number(header, "Free inodes:") >= plan.Measure.Inodes);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(100_000_000)]
    [InlineData(134_217_728)]
    [InlineData(3_000_000_000)]
    [InlineData(40_000_000_000)]
    public void However_much_room_is_asked_for_it_is_there(long bytes)
    {
        DiskPlan plan = Write(Content() with { UserBytes = bytes });
        string header = Judge.OnPath("dumpe2fs").Run("-h", $"{image}?offset={plan.Root.Offset}");
        Assert.InRange(Number(header, "Free blocks:") - Number(header, "Reserved block count:"), bytes / RootMeasure.BlockSize, long.MaxValue);
        Assert.Equal(plan.RootSize.Blocks, Number(header, "Block count:"));
    }

    [Fact]
    public void The_efi_partition_takes_as_many_kernel_images_as_planned()
    {
        DiskPlan plan = Write(Content());
        string another = directory.Of("another.efi");
        File.WriteAllBytes(another, new byte[25 << 20]);
        for (int n = 1; n < plan.Content.KernelImages; n++)
            Judge.OnPath("mcopy").Run("-i", $"{image}@@{plan.Esp.Offset}", another, $"::/EFI/Linux/debian-{n}.efi");
    }

    [Fact]
    public void The_image_takes_as_much_disk_as_its_content_and_not_its_size()
    {
        DiskPlan plan = Write(Content());
        using Dir dir = Dir.Open(directory.Path);
        Assert.True(dir.Stat("disk.img").Blocks * 512 < plan.Bytes / 10);
        Assert.Equal(plan.Bytes, dir.Stat("disk.img").Size);
    }

    [Fact]
    public void Nothing_but_the_times_of_its_files_differs_between_two_images_of_the_same_directories()
    {
        Write(Content()); // reading a new file for the first time changes its access time
        Write(Content());
        byte[] first = Hash();
        Write(Content());
        Assert.Equal(first, Hash());
    }

    [Fact]
    public void Another_seed_gives_other_identifiers()
    {
        DiskPlan one = DiskImage.Plan(Content()), two = DiskImage.Plan(Content() with { Seed = "another" });
        Assert.NotEqual((one.DiskId, one.FileSystemId, one.Root.Id), (two.DiskId, two.FileSystemId, two.Root.Id));
    }

    [Fact]
    public void No_path_of_the_builder_is_in_the_image()
    {
        Write(Content());
        Assert.Equal(1, Judge.OnPath("grep").Ask("-c", "-a", "-F", directory.Path, image).ExitCode);
    }

    [Fact]
    public void A_failing_tool_is_named_and_leaves_nothing()
    {
        DiskPlan plan = DiskImage.Plan(Content());
        Directory.Delete(root, recursive: true);
        var failed = Assert.Throws<BuildFailedException>(() => DiskImage.Write(plan, image));
        Assert.Equal(("root", "mkfs.ext4", 1), (failed.Step, failed.Tool, failed.ExitCode));
        Assert.NotEmpty(failed.LastLines);
        Assert.DoesNotContain(Directory.GetFiles(directory.Path), file => file.Contains("disk.img", StringComparison.Ordinal));
    }

    [Fact]
    public void The_plan_says_what_every_byte_is_for()
    {
        string text = $"{DiskImage.Plan(Content())}";
        foreach (string part in (string[])["image", "ESP", "root", "content", "verity", "upgrade", "people", "ext4"])
            Assert.Contains(part, text, StringComparison.Ordinal);
        Assert.Contains("room for 3 kernel images of 20.0 MiB", text, StringComparison.Ordinal);
    }

    private DiskContent Content() => new(root, esp, Seed) { Architecture = "amd64", UserBytes = 256 << 20, Timestamp = 1_794_475_820 };

    private DiskPlan Write(DiskContent content)
    {
        DiskPlan plan = DiskImage.Plan(content);
        DiskImage.Write(plan, image);
        return plan;
    }

    private string Cut(PlannedPartition partition, string name)
    {
        Judge.OnPath("dd").Run(
            $"if={image}", $"of={directory.Of(name)}", "bs=1M", "conv=sparse", "status=none",
            string.Create(CultureInfo.InvariantCulture, $"skip={partition.Offset >> 20}"), string.Create(CultureInfo.InvariantCulture, $"count={partition.Sectors / 2048}"));
        return directory.Of(name);
    }

    private byte[] Hash()
    {
        using FileStream file = File.OpenRead(image);
        return System.Security.Cryptography.SHA256.HashData(file);
    }

    private static long Number(string header, string name)
    {
        string line = header.Split('\n').First(line => line.StartsWith(name, StringComparison.Ordinal));
        return long.Parse(line[name.Length..].Trim(), CultureInfo.InvariantCulture);
    }
}
