using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Judges;
using static Sbox.Sysroot.Tests.Afterwards;

namespace Sbox.Sysroot.Tests;

/// <summary>
/// The block writes of a real upgrade on a real ext4 and a real FAT, by one kernel, cut at every flush of either disk: with nothing of what was written since the last flush, with all of it, and
/// with any part of it in any order. What is then there boots the old version or the new, as firmware reads it and before anybody repaired it; it is whole to e2fsck, and to fsck.vfat once that
/// cleared the mark of a FAT that was in use.
/// </summary>
/// <remarks>docs/decisions/0016-fat-is-replayed-from-a-kernel-that-is-a-program.md.</remarks>
public sealed class BlockReplayTests : IDisposable
{
    private const int Seed = 20261126, Piece = 4096, Sector = 512, Root = 0, Esp = 1;
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
        byte[][] before = [MakeExt4(), MakeFat()];
        IReadOnlyList<DiskEvent> events = Record(before, [change, "/run/box", $"{TestBox.Os}/{two}.0", three.ToString()]);

        Checksum[] right = change == "deploy" ? [two, three] : [two, one];
        int cuts = 0;
        var seen = new HashSet<Checksum>();
        foreach ((byte[][] disks, string what) in States(before, events))
        {
            seen.Add(Check(disks, right, what, askOstree: cuts % 16 == 0));
            cuts++;
        }

        Assert.True(cuts > 40, $"only {cuts} cuts");
        Assert.Contains(events, static each => each is { Disk: Esp, Bytes: null });
        Assert.Equal(right.Order(), seen.Order());
    }

    private byte[] MakeExt4()
    {
        string image = temp.Of("root.img");
        Judge.OnPath("mkfs.ext4").Run("-q", "-d", box.SysrootPath, image, "24M");
        return File.ReadAllBytes(image);
    }

    // As small as FAT32 may be; a cluster is a sector, so that a file has many.
    private byte[] MakeFat()
    {
        string image = temp.Of("esp.img");
        Judge.OnPath("mkfs.vfat").Run("-C", "-F", "32", "-s", "1", image, "36864");
        Judge.OnPath("sh").Run("-c", $"mcopy -s -i {image} {box.EspPath}/* ::");
        return File.ReadAllBytes(image);
    }

    // What the kernel in there writes to its disks is answered by this process.
    private IReadOnlyList<DiskEvent> Record(byte[][] before, string[] command)
    {
        string fuse = temp.Of("fuse");
        Directory.CreateDirectory(fuse);
        using var script = new TempDir();
        using var log = new WriteLog(fuse, [.. before.Select(static disk => (byte[])disk.Clone())]);
        try
        {
            UserModeLinux.Run(script.Path, [$"{fuse}/{Root}", $"{fuse}/{Esp}"], $"""
                mkdir -p /run/box/sysroot /run/box/esp
                mount -t ext4 /dev/ubda /run/box/sysroot
                mount -t vfat -o umask=0077,tz=UTC /dev/ubdb /run/box/esp
                {Victim} {string.Join(' ', command)}
                umount /run/box/esp
                umount /run/box/sysroot
                """);
        }
        finally
        {
            Linux.Mounts.Detach(fuse);
        }

        return log.Events;
    }

    private static IEnumerable<(byte[][] Disks, string What)> States(byte[][] before, IReadOnlyList<DiskEvent> events)
    {
        var random = new Random(Seed);
        byte[][] durable = [.. before.Select(static disk => (byte[])disk.Clone())];
        List<DiskEvent> pending = [];
        foreach ((int at, DiskEvent each) in events.Index())
        {
            if (each.Bytes is not null)
            {
                // A disk is free to write a part of a request before another part: of a FAT's, each sector.
                int piece = each.Disk == Esp ? Sector : Piece;
                for (int from = 0; from < each.Bytes.Length; from += piece)
                    pending.Add(each with { Offset = each.Offset + from, Bytes = each.Bytes[from..Math.Min(from + piece, each.Bytes.Length)] });
                continue;
            }

            string cut = $"flush {at} of {events.Count}, of {(each.Disk == Esp ? "the ESP" : "the root")}, {pending.Count} pieces";
            yield return (With(static _ => false), $"{cut}, none");
            if (pending.Count > 0)
            {
                yield return (With(static _ => true), $"{cut}, all");
                int odds = random.Next(1, 10);
                yield return (With(_ => random.Next(10) < odds), $"{cut}, some");
            }

            // The other disk's cache is its own.
            Apply(durable, pending.Where(piece => piece.Disk == each.Disk));
            pending.RemoveAll(piece => piece.Disk == each.Disk);
        }

        byte[][] With(Func<DiskEvent, bool> reached)
        {
            byte[][] disks = [.. durable.Select(static disk => (byte[])disk.Clone())];
            Apply(disks, pending.Where(reached));
            return disks;
        }

        static void Apply(byte[][] disks, IEnumerable<DiskEvent> pieces)
        {
            foreach (DiskEvent piece in pieces)
                piece.Bytes!.CopyTo(disks[piece.Disk], piece.Offset);
        }
    }

    private static Checksum Check(byte[][] disks, Checksum[] right, string what, bool askOstree)
    {
        using var cut = new TempDir(inMemory: true);
        (string root, string esp) = (cut.Of("root.img"), cut.Of("esp.img"));
        File.WriteAllBytes(root, disks[Root]);
        File.WriteAllBytes(esp, disks[Esp]);
        Directory.CreateDirectory(cut.Of("sysroot"));

        // What the journal has is brought back, and nothing is wrong then.
        Verdict journal = Judge.OnPath("e2fsck").Ask("-p", root);
        Assert.True(journal.ExitCode <= 1, $"{what}: {journal.Output}");
        Verdict clean = Judge.OnPath("e2fsck").Ask("-f", "-n", root);
        Assert.True(clean.ExitCode == 0, $"{what}: {clean.Output}");
        try
        {
            Judge.OnPath("mount").Run("-o", "loop,ro", "-t", "ext4", root, cut.Of("sysroot"));
            Checksum boots = Boots(cut, esp, right, $"{what}, as it is", askOstree);
            Verdict repair = Judge.OnPath("fsck.vfat").Ask("-a", esp), fat = Judge.OnPath("fsck.vfat").Ask("-n", esp);
            Assert.True(repair.ExitCode <= 1 && fat.ExitCode == 0, $"{what}: {repair.Output}{fat.Output}");
            Boots(cut, esp, right, $"{what}, after fsck.vfat", askOstree: false);
            return boots;
        }
        finally
        {
            // Another test's child may hold a descriptor of it from its fork to its exec: it goes when that does.
            if (Linux.MountTable.At(cut.Of("sysroot")) is not null)
                Linux.Mounts.Detach(cut.Of("sysroot"));
        }
    }

    // mtools reads a FAT as firmware does: without repairing it, and a file that it cannot read it leaves out.
    private static Checksum Boots(TempDir cut, string image, Checksum[] right, string what, bool askOstree)
    {
        if (Directory.Exists(cut.Of("esp")))
            Directory.Delete(cut.Of("esp"), recursive: true);
        Directory.CreateDirectory(cut.Of("esp"));
        Judge.OnPath("mcopy").Ask("-s", "-n", "-i", image, "::/EFI", "::/loader", cut.Of("esp"));
        AssertWhole(cut.Path, what, askOstree);
        Checksum boots = Firmware(cut.Path);
        Assert.True(right.Contains(boots), $"{what}: {boots} boots");
        return boots;
    }
}
