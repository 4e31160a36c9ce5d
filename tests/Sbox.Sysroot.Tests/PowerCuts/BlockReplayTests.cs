using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Judges;
using static Sbox.Sysroot.Tests.Afterwards;

namespace Sbox.Sysroot.Tests;

/// <summary>
/// The block writes of a real upgrade on a real ext4, cut at every flush: with nothing of what was written since the last flush, with all of it, and with any part of it in
/// any order. The EFI partition is as it was at that moment, as a FAT made of its files. What is then there is whole to e2fsck and fsck.vfat, and boots the old version or the new.
/// </summary>
/// <remarks>FAT's own block writes are not among it: the kernels that tests run on have none. Sbox.Tour records those of a machine that does, and cuts them (DiskCuts).</remarks>
public sealed class BlockReplayTests : IDisposable
{
    private const int Seed = 20261126, Piece = 4096;
    private static readonly string Victim = Path.Combine(AppContext.BaseDirectory, "Sbox.Sysroot.Victim");
    private readonly TestBox box = new(inMemory: true);
    private readonly TempDir temp = new(inMemory: true);

    public void Dispose()
    {
        box.Dispose();
        temp.Dispose();
    }

    [Theory, InlineData("deploy"), InlineData("rollback")]
    public void Cut_at_any_flush_with_any_part_of_what_was_not_flushed_the_disks_boot_the_old_version_or_the_new(string change)
    {
        // More than one cluster, so that a part of a file can be missing.
        static string Kernel(int version) => $"kernel {version} {new string((char)('a' + version), 60_000)}";
        (Checksum one, Checksum two, Checksum three) = (box.Publish(1, Kernel(1)), box.Publish(2, Kernel(2)), box.Publish(3, Kernel(3)));
        using (InstalledBox installed = box.Installed(one, two))
            box.Fetch(three);
        byte[] before = MakeExt4();
        IReadOnlyList<DiskEvent> events = Record(before, [change, temp.Of("box"), $"{TestBox.Os}/{two}.0", three.ToString()]);

        Checksum[] right = change == "deploy" ? [two, three] : [two, one];
        int cuts = 0;
        var seen = new HashSet<Checksum>();
        foreach ((byte[] disk, IReadOnlyDictionary<string, byte[]> esp, string what) in States(before, events))
        {
            seen.Add(Check(disk, esp, right, what, askOstree: cuts % 16 == 0));
            cuts++;
        }

        Assert.True(cuts > 40, $"only {cuts} cuts");
        Assert.Equal(right.Order(Comparer<Checksum>.Create((a, b) => string.CompareOrdinal(a.ToString(), b.ToString()))), seen.Order(Comparer<Checksum>.Create((a, b) => string.CompareOrdinal(a.ToString(), b.ToString()))));
    }

    private byte[] MakeExt4()
    {
        string image = temp.Of("root.img");
        Judge.OnPath("mkfs.ext4").Run("-q", "-d", box.SysrootPath, image, "24M");
        return File.ReadAllBytes(image);
    }

    // The program that upgrades is a process of its own: what it writes is answered by this one.
    private IReadOnlyList<DiskEvent> Record(byte[] before, string[] command)
    {
        string fuse = temp.Of("fuse"), root = temp.Of("box/sysroot");
        foreach (string directory in (string[])[fuse, root])
            Directory.CreateDirectory(directory);
        Judge.OnPath("cp").Run("-a", box.EspPath, temp.Of("box/esp"));
        using var log = new WriteLog(fuse, (byte[])before.Clone(), temp.Of("box/esp"));
        try
        {
            // A loop device sends every write and every flush on.
            Judge.OnPath("mount").Run("-o", "loop", "-t", "ext4", $"{fuse}/disk", root);
            Judge.OnPath(Victim).Run(command);
        }
        finally
        {
            // The loop device lets go of its file a little later, and so does another test's child between its fork and its exec.
            foreach (string mounted in (string[])[root, fuse])
            {
                if (Linux.MountTable.At(mounted) is not null)
                    Unmounting.Unmount(mounted);
            }
        }

        return log.Events;
    }

    private static IEnumerable<(byte[] Disk, IReadOnlyDictionary<string, byte[]> Esp, string What)> States(byte[] before, IReadOnlyList<DiskEvent> events)
    {
        var random = new Random(Seed);
        byte[] durable = (byte[])before.Clone();
        List<DiskEvent> pending = [];
        foreach ((int at, DiskEvent each) in events.Index())
        {
            if (each.Bytes is not null)
            {
                // A disk is free to write a part of a request before another part.
                for (int from = 0; from < each.Bytes.Length; from += Piece)
                    pending.Add(each with { Offset = each.Offset + from, Bytes = each.Bytes[from..Math.Min(from + Piece, each.Bytes.Length)] });
                continue;
            }

            string cut = $"flush {at} of {events.Count}, {pending.Count} pieces";
            yield return (With(_ => false), each.Beside!, $"{cut}, none");
            if (pending.Count > 0)
            {
                yield return (With(_ => true), each.Beside!, $"{cut}, all");
                int odds = random.Next(1, 10);
                yield return (With(_ => random.Next(10) < odds), each.Beside!, $"{cut}, some");
            }

            foreach (DiskEvent piece in pending)
                piece.Bytes!.CopyTo(durable, piece.Offset);
            pending.Clear();
        }

        byte[] With(Func<DiskEvent, bool> reached)
        {
            byte[] disk = (byte[])durable.Clone();
            foreach (DiskEvent piece in pending.Where(reached))
                piece.Bytes!.CopyTo(disk, piece.Offset);
            return disk;
        }
    }

    private static Checksum Check(byte[] disk, IReadOnlyDictionary<string, byte[]> esp, Checksum[] right, string what, bool askOstree)
    {
        using var cut = new TempDir(inMemory: true);
        string root = cut.Of("root.img");
        File.WriteAllBytes(root, disk);
        Directory.CreateDirectory(cut.Of("sysroot"));
        foreach ((string path, byte[] bytes) in esp)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(cut.Of($"esp/{path}"))!);
            File.WriteAllBytes(cut.Of($"esp/{path}"), bytes);
        }

        // What the journal has is brought back, and nothing is wrong then.
        Verdict journal = Judge.OnPath("e2fsck").Ask("-p", root);
        Assert.True(journal.ExitCode <= 1, $"{what}: {journal.Output}");
        Verdict clean = Judge.OnPath("e2fsck").Ask("-f", "-n", root);
        Assert.True(clean.ExitCode == 0, $"{what}: {clean.Output}");
        if (askOstree)
            AskFat(cut, what);
        try
        {
            Judge.OnPath("mount").Run("-o", "loop,ro", "-t", "ext4", root, cut.Of("sysroot"));
            AssertWhole(cut.Path, what, askOstree);
            Checksum boots = Firmware(cut.Path);
            Assert.Contains(boots, right);
            return boots;
        }
        finally
        {
            // Another test's child may hold a descriptor of it from its fork to its exec: it goes when that does.
            if (Linux.MountTable.At(cut.Of("sysroot")) is not null)
                Linux.Mounts.Detach(cut.Of("sysroot"));
        }
    }

    // Its names and sizes are such as FAT takes.
    private static void AskFat(TempDir cut, string what)
    {
        Judge.OnPath("mkfs.vfat").Run("-C", "-F", "32", "-s", "1", cut.Of("esp.img"), "36864");
        Judge.OnPath("sh").Run("-c", $"mcopy -s -i {cut.Of("esp.img")} {cut.Of("esp")}/* ::");
        Verdict fat = Judge.OnPath("fsck.vfat").Ask("-n", cut.Of("esp.img"));
        Assert.True(fat.ExitCode == 0, $"{what}: {fat.Output}");
    }
}
