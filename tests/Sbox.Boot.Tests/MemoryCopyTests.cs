using System.Diagnostics;
using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Boot.Tests;

/// <summary>A copy of an ext4 by its used blocks is the file system that it is a copy of. Judges: mke2fs, debugfs, e2fsck and the host's kernel. Needs root.</summary>
public sealed class MemoryCopyTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-memory-").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Theory]
    [InlineData("-b 4096 -O 64bit,flex_bg,metadata_csum,verity", 96)]
    [InlineData("-b 4096 -O ^64bit,^flex_bg,^metadata_csum,uninit_bg", 600)] // several groups without a bitmap
    [InlineData("-b 1024 -O ^flex_bg,^64bit,^metadata_csum,^uninit_bg", 64)]
    [InlineData("-b 1024 -O 64bit,flex_bg,metadata_csum", 100)]
    [InlineData("-b 1024 -O ^sparse_super,^resize_inode", 40)]
    [InlineData("-b 2048 -O sparse_super2,^resize_inode", 200)]
    [InlineData("-b 1024 -O meta_bg,^resize_inode,^flex_bg", 300)]
    [InlineData("-b 4096 -E lazy_itable_init=1 -O flex_bg,metadata_csum -G 4", 900)]
    [InlineData("-b 4096 -E lazy_itable_init=0,lazy_journal_init=0 -N 100000", 300)]
    [InlineData("-b 1024 -g 1024 -O ^has_journal", 33)] // the last group is a short one
    public void A_copy_has_every_file_and_is_whole_to_e2fsck(string kind, int mebibytes)
    {
        string disk = Of("disk"), copy = Of("copy");
        long inUse = Make(disk, kind, mebibytes);
        UsedBlocks used = Copy(disk, copy);
        Judge.OnPath("e2fsck").Run("-fn", copy);
        Assert.InRange(used.Count * used.Layout.BlockSize, 1, inUse); // never more than the file system itself counts
        Assert.Equal(Listing(disk), Listing(copy));
    }

    [Fact]
    public void What_is_free_is_not_copied_whatever_lies_there()
    {
        string disk = Of("disk"), copy = Of("copy");
        Make(disk, "-b 4096", 64);
        Shell($"mkdir {Of("at")}; mount -o loop,noatime {disk} {Of("at")}; for n in $(seq 40); do head -c 400000 /dev/urandom >{Of("at")}/gone$n; done; sync; rm {Of("at")}/gone*; umount {Of("at")}");
        Copy(disk, copy);
        Judge.OnPath("e2fsck").Run("-fn", copy);
        Assert.InRange(Allocated(copy), 1, Allocated(disk) - (15 << 20));
    }

    [Fact]
    public void A_block_that_is_left_out_is_missed_by_the_judges()
    {
        string disk = Of("disk"), copy = Of("copy");
        Make(disk, "-b 4096", 64);
        Copy(disk, copy, leaveOut: 20);
        Assert.NotEqual(Listing(disk), Listing(copy));
    }

    [Theory]
    [InlineData("-O bigalloc", "features")]
    [InlineData("-O journal_dev", "features")]
    public void Other_kinds_are_refused(string kind, string part)
    {
        string disk = Of("disk");
        using (FileStream file = File.Create(disk))
            file.SetLength(64 << 20);
        Judge.OnPath("mke2fs").Run(["-q", "-F", "-t", "ext4", .. kind.Split(' '), disk]);
        using FileStream source = File.OpenRead(disk);
        Assert.Contains(part, Assert.Throws<MalformedException>(() => Read(source)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Nonsense_in_a_superblock_or_descriptor_is_a_finding_and_nothing_else()
    {
        string disk = Of("disk");
        Make(disk, "-b 1024", 32);
        byte[] whole = File.ReadAllBytes(disk);
        var random = new Random(28);
        for (int round = 0; round < 3000; round++)
        {
            byte[] head = whole.AsSpan(0, 4096).ToArray();
            int at = random.Next(1024, head.Length);
            random.NextBytes(head.AsSpan(at, Math.Min(random.Next(1, 9), head.Length - at)));
            try
            {
                UsedBlocks.Read((offset, bytes) =>
                {
                    if (offset + bytes.Length > whole.Length)
                        throw new NotCopiedException("the end");
                    whole.AsSpan((int)offset, bytes.Length).CopyTo(bytes);
                    for (long each = offset; each < Math.Min(offset + bytes.Length, head.Length); each++)
                        bytes[(int)(each - offset)] = head[each];
                });
            }
            catch (Exception refused) when (refused is MalformedException or NotCopiedException)
            {
                continue;
            }
        }
    }

    [Fact]
    public void Made_on_a_machine_the_copy_is_a_read_only_device_in_memory_that_is_freed_when_it_is_let_go_of()
    {
        string disk = Of("disk"), run = Of("run");
        Make(disk, "-b 4096", 64);
        Directory.CreateDirectory(run);
        string output = Shell(
            $"""
            mount --make-rprivate /; mount -t tmpfs tmpfs {run}
            loop=$(losetup --find --show --read-only {disk}); trap 'losetup --detach $loop' EXIT
            {Probe} --memory $loop {run} {Of("at")}
            """);
        string[] lines = output.TrimEnd().Split('\n');
        Assert.Contains(lines, static line => line.Contains("into memory", StringComparison.Ordinal));
        Assert.Contains("mounted ro, 300 files, device read-only, tmpfs ro", lines);
        Assert.Equal("let go of", lines[^1]);
    }

    [Fact]
    public void Without_enough_memory_there_is_none_and_the_line_has_the_figures()
    {
        string disk = Of("disk"), proc = Directory.CreateDirectory(Of("proc")).FullName;
        Make(disk, "-b 4096", 64);
        File.WriteAllText($"{proc}/meminfo", "MemTotal: 500000 kB\nMemAvailable: 300000 kB\n");
        using var copy = new MemoryCopy(static _ => { }, Of("run"), proc);
        Assert.Matches("it has [0-9]+ MiB in use, a session wants 384 MiB beside them, and 293 MiB of memory are free", Assert.Throws<NotCopiedException>(() => copy.Make(disk)).Message);
    }

    [Fact]
    public void A_boot_from_memory_is_a_ghost_and_nothing_else()
    {
        Assert.True(RootConfig.From(KernelArguments.Parse("root=LABEL=a sbox.ghost sbox.from-ram")).FromRam);
        Assert.Contains("keeps nothing", Assert.Throws<NoRootException>(() => RootConfig.From(KernelArguments.Parse("sbox.from-ram"))).Message, StringComparison.Ordinal);
        Assert.Throws<NoRootException>(() => RootConfig.From(KernelArguments.Parse("sbox.ghost sbox.from-ram=no")));
    }

    [Fact]
    public void What_was_found_reads_back_as_it_was_left()
    {
        string run = Directory.CreateDirectory(Of("run")).FullName;
        Assert.Null(MemoryDisk.Read(run));
        var made = new MemoryDisk("/dev/sda2", 123_456_789, TimeSpan.FromMilliseconds(12_345));
        made.Leave(run);
        Assert.Equal(made, MemoryDisk.Read(run));
        Assert.True(MemoryDisk.IsUsed(run));
        var refused = new MemoryDisk("/dev/sda2", 0, TimeSpan.Zero, "a = b");
        refused.Leave(run);
        Assert.Equal(refused, MemoryDisk.Read(run));
        Assert.False(MemoryDisk.IsUsed(run));
        Assert.Contains("Leave it in", File.ReadAllText($"{run}/motd.d/50-sbox-memory"), StringComparison.Ordinal);
    }

    private static string Probe => $"dotnet {TinyBox.Built("Sbox.Boot.Probe", "Sbox.Boot.Probe")}";

    // The bytes that it has in use, as its own superblock counts them.
    private static long Make(string disk, string kind, int mebibytes)
    {
        string tree = Directory.CreateDirectory($"{disk}.tree").FullName;
        var random = new Random(mebibytes);
        for (int file = 0; file < 300; file++)
        {
            var bytes = new byte[random.Next(0, 60_000)];
            random.NextBytes(bytes);
            string parent = Directory.CreateDirectory($"{tree}/{file % 7}").FullName;
            File.WriteAllBytes($"{parent}/{file}", bytes);
        }

        using (FileStream file = File.Create(disk))
            file.SetLength((long)mebibytes << 20);
        Judge.OnPath("mke2fs").Run(["-q", "-F", "-t", "ext4", .. kind.Split(' '), "-d", tree, disk]);
        Judge.OnPath("e2fsck").Run("-fn", disk);
        Dictionary<string, string> told = Judge.OnPath("dumpe2fs").Run("-h", disk).Split('\n').Select(static line => line.Split(':', 2)).Where(static pair => pair.Length == 2)
            .DistinctBy(static pair => pair[0]).ToDictionary(static pair => pair[0], static pair => pair[1].Trim());
        long Number(string key) => long.Parse(told[key], System.Globalization.CultureInfo.InvariantCulture);
        return (Number("Block count") - Number("Free blocks")) * Number("Block size");
    }

    private static UsedBlocks Read(FileStream source) => UsedBlocks.Read((offset, bytes) =>
    {
        source.Position = offset;
        source.ReadExactly(bytes);
    });

    private static UsedBlocks Copy(string disk, string copy, int leaveOut = 0)
    {
        using FileStream source = File.OpenRead(disk), target = File.Create(copy);
        UsedBlocks used = Read(source);
        target.SetLength(used.Layout.Bytes);
        BlockRange[] ranges = [.. used.Ranges(64)];
        Assert.Equal(used.Count, ranges.Sum(static range => range.Count));
        foreach (BlockRange range in ranges[..^leaveOut])
        {
            var bytes = new byte[range.Count * used.Layout.BlockSize];
            source.Position = target.Position = range.First * used.Layout.BlockSize;
            source.ReadExactly(bytes);
            target.Write(bytes);
        }

        return used;
    }

    // All names, owners, modes and bytes, as the kernel has them.
    private string Listing(string disk) => Shell(
        $"mkdir -p {Of("at")}; mount -o ro,loop,noload {disk} {Of("at")} && cd {Of("at")} && find . -printf '%p %s %m %U %l\\n' | sort && find . -type f -print0 | sort -z | xargs -0 sha256sum; cd /; umount {Of("at")}");

    private static long Allocated(string path) => long.Parse(Shell($"stat -c %b {path}"), System.Globalization.CultureInfo.InvariantCulture) * 512;

    private static string Shell(string script)
    {
        using Process process = Process.Start(new ProcessStartInfo("unshare", ["--mount", "bash", "-c", $"exec 2>&1\n{script}"]) { RedirectStandardOutput = true })!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return output;
    }

    private string Of(string name) => Path.Combine(directory, name);
}
