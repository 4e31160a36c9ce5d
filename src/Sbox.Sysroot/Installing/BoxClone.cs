using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs.Gpt;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A box was changed while it was cloned, so that the clone is not to be trusted.</summary>
/// <param name="path">The physical root.</param>
public sealed class ChangedWhileClonedException(string path) : SysrootException($"{path}: its versions were changed while they were copied, by an upgrade, perhaps")
{
    /// <summary>The physical root.</summary>
    public string Path { get; } = path;
}

/// <summary>What a clone came to.</summary>
/// <param name="Bytes">Bytes of files that were written and read back.</param>
/// <param name="ChangedMeanwhile">Files of /etc and /var that were written to while they were copied: the clone has each as it was at some moment of it.</param>
public sealed record CloneResult(long Bytes, long ChangedMeanwhile);

/// <summary>
/// Another disk with the same box: the same versions and keys, partitions and file systems of its own.
/// </summary>
/// <param name="Source">The box.</param>
/// <param name="Target">The disk.</param>
/// <param name="WithState">Whether /etc and /var come along.</param>
/// <param name="Table">The disk's table then.</param>
/// <param name="Bytes">Bytes of files to be written.</param>
/// <param name="Files">How many files, links and directories are to be written.</param>
/// <param name="Inodes">How many there can be.</param>
public sealed record BoxClone(CloneSource Source, TargetDisk Target, bool WithState, GuidPartitionTable Table, long Bytes, long Files, long Inodes)
{
    private const int Esp = 0, Root = 1;
    private const long InodeBytes = 16384;

    /// <summary>Measures the box and decides every size; changes nothing.</summary>
    /// <exception cref="TargetDiskException">The disk is too small.</exception>
    /// <exception cref="NotClonedException">The box's disk is encrypted, and its state would lie on the other one as plain text.</exception>
    /// <exception cref="LinuxException">The box cannot be read.</exception>
    public static BoxClone Plan(CloneSource source, TargetDisk target, bool withState, CancellationToken cancel = default)
    {
        if (withState && source.IsEncrypted)
            throw new NotClonedException(source.Root);
        var measure = new CloneMeasure();
        using (Dir root = Dir.Open(source.Root))
            new CloneWalk(root, withState, cancel).Visit(measure);
        const long mebibyte = 1 << 20;
        long espSectors = source.EspBytes / GuidPartitionTable.SectorSize;
        long first = 2048 + ((espSectors + GuidPartitionTable.SectorsInMebibyte - 1) / GuidPartitionTable.SectorsInMebibyte * GuidPartitionTable.SectorsInMebibyte);
        GuidPartitionTable table = GuidPartitionTable.Empty(Guid.NewGuid(), target.Sectors)
            .With(Esp, new GptPartition(new Guid(EfiSystemPartition.PartitionType), Guid.NewGuid(), 2048, 2048 + espSectors - 1, 0, "ESP"));

        // Tables of inodes and what else ext4 needs, an eighth more than what is there, and room to upgrade.
        long inodes = Math.Max((target.Bytes - (first * GuidPartitionTable.SectorSize)) / InodeBytes, 2 * measure.Inodes);
        long least = (measure.Allocated * 9 / 8) + (inodes * 256) + ((RootFileSystem.JournalMebibytes + 64) * mebibyte);
        long room = (target.Sectors - first - GuidPartitionTable.SectorsInMebibyte) * GuidPartitionTable.SectorSize;
        if (room < least)
            throw new TargetDiskException(target.Path, $"it has {target.Bytes >> 20} MiB, and this box takes {((first * GuidPartitionTable.SectorSize) + least + mebibyte) >> 20}");
        // The first boot encrypts a whole partition, free space too: it grows afterwards.
        long bytes = source.IsEncrypted ? Math.Min(room, (2 * least) + (EncryptedDisk.SpareMebibytes * mebibyte) + (2048 * mebibyte)) : room;
        var partition = new GptPartition(source.RootType, Guid.NewGuid(), first, first + (bytes / mebibyte * GuidPartitionTable.SectorsInMebibyte) - 1, 0, RootFileSystem.Label);
        return new BoxClone(source, target, withState, table.With(Root, partition), measure.Bytes, measure.Inodes, inodes);
    }

    /// <summary>Does it, and reads it back. The EFI system partition comes last: cut short, the disk holds nothing that boots.</summary>
    /// <exception cref="TargetDiskException">Something uses the disk.</exception>
    /// <exception cref="ChangedWhileClonedException">An upgrade ran meanwhile.</exception>
    /// <exception cref="CloneDamagedException">The disk does not give back what it was given.</exception>
    /// <exception cref="ChildFailedException">mkfs.ext4 or e2fsck refused.</exception>
    public CloneResult Execute(IProgress<InstallProgress>? progress = null, CancellationToken cancel = default)
    {
        (long, uint) before = Source.DeployedAt;
        progress?.Report(new InstallProgress("partitions", 0, 0));
        InstalledDisk.Partition(Target, Table);
        string esp = Target.PartitionName(Esp + 1), root = $"/dev/{Target.PartitionName(Root + 1)}";
        using Dir dev = Dir.Open("/dev");
        using (SafeFileHandle empty = dev.OpenUnusedDevice(esp))
        {
            Disk.Zero(empty, 0, 1 << 20, dev.Of(esp)); // what was there may boot
            Durable.Sync(empty, dev.Of(esp));
        }

        progress?.Report(new InstallProgress("file system", 0, 0));
        long spare = Source.IsEncrypted ? (long)EncryptedDisk.SpareMebibytes << 20 : 0;
        InstalledDisk.MakeRoot(root, ((Table.Slots[Root]!.Sectors * GuidPartitionTable.SectorSize) - spare) / RootFileSystem.BlockSize, Inodes, cancel);
        using Dir source = Dir.Open(Source.Root);
        OnMounted(root, writable: true, target => Write(source, target, progress, cancel));
        progress?.Report(new InstallProgress("e2fsck", 0, 0));
        InstalledDisk.Check(root, cancel);
        long changed = 0;
        OnMounted(root, writable: false, target => changed = Compare(source, target, progress, cancel));
        if (Source.DeployedAt != before)
            throw new ChangedWhileClonedException(Source.Root);
        progress?.Report(new InstallProgress("EFI partition", 0, 0)); // until here, nothing boots
        CopyEsp(dev, esp, cancel);
        return new CloneResult(Bytes, changed);
    }

    private void Write(Dir source, Dir target, IProgress<InstallProgress>? progress, CancellationToken cancel)
    {
        using var writer = new CloneWriter(target, new CloneCount(Bytes, Files, progress));
        new CloneWalk(source, WithState, cancel).Visit(writer);
        target.ChangeMode(".", source.Stat().Permissions);
        if (Source.IsEncrypted)
        {
            target.MakeDir(EncryptedDisk.Directory, 0x1C0 /* 0700 */);
            using SafeFileHandle marker = target.CreateFile(EncryptedDisk.Marker);
        }

        progress?.Report(new InstallProgress("waiting for the disk", 0, 0));
        Durable.SyncFileSystem(target);
    }

    private long Compare(Dir source, Dir target, IProgress<InstallProgress>? progress, CancellationToken cancel)
    {
        using var comparison = new CloneComparison(target, new CloneCount(Bytes, Files, progress), cancel);
        new CloneWalk(source, WithState, cancel).Visit(comparison);
        return comparison.ChangedMeanwhile;
    }

    // As a whole: the kernel need not know FAT, and it holds nothing of this disk's own but a serial number.
    private void CopyEsp(Dir dev, string esp, CancellationToken cancel)
    {
        using SafeFileHandle from = dev.OpenFile(Source.Esp), to = dev.OpenUnusedDevice(esp);
        Disk.ForgetCached(from, dev.Of(Source.Esp));
        InstalledDisk.Write(from, to, Source.EspBytes, dev.Of(esp), null, cancel, Source.EspAt);
        InstalledDisk.Compare(from, to, Source.EspBytes, dev.Of(esp), null, cancel, Source.EspAt);
        InstalledDisk.ChangeFatSerial(to, dev.Of(esp));
    }

    // Without a place in the tree: a namespace that another program makes just now gets no copy of it, which would keep it mounted.
    private static void OnMounted(string device, bool writable, Action<Dir> work)
    {
        using FileSystemContext context = FileSystemContext.Open("ext4").Set("source", device);
        if (!writable)
            context.Set("ro");
        using DetachedMount mount = context.Create((writable ? MountAttributes.None : MountAttributes.ReadOnly) | MountAttributes.NoSetUid | MountAttributes.NoDevices | MountAttributes.NoExecute);
        using Dir mounted = mount.OpenRoot(device);
        work(mounted);
    }
}

/// <summary>A box on an encrypted disk, whose state is not copied to where it would lie as plain text.</summary>
/// <param name="path">The physical root.</param>
public sealed class NotClonedException(string path) : SysrootException($"{path}: it is on an encrypted disk, and its state would lie on the other one as plain text until that disk's first boot")
{
    /// <summary>The physical root.</summary>
    public string Path { get; } = path;
}
