using Microsoft.Win32.SafeHandles;
using Sbox.Codecs.Gpt;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A file is no image of a box's disk.</summary>
/// <param name="path">The file.</param>
/// <param name="finding">Why not.</param>
public sealed class DiskImageException(string path, string finding) : SysrootException($"{path}: {finding}")
{
    /// <summary>The file.</summary>
    public string Path { get; } = path;
}

/// <summary>An image onto a disk: every byte, read back, and then identifiers of its own. The root grows at the first boot.</summary>
/// <param name="Image">The image.</param>
/// <param name="Target">The disk.</param>
/// <param name="Bytes">The image's size.</param>
/// <param name="Table">The disk's table, when all is done.</param>
public sealed record ImageInstall(string Image, TargetDisk Target, long Bytes, GuidPartitionTable Table)
{
    private const int Root = 1;

    /// <summary>Plans it; changes nothing.</summary>
    /// <exception cref="DiskImageException">The file is no image of a box.</exception>
    /// <exception cref="TargetDiskException">The disk is too small.</exception>
    /// <exception cref="LinuxException">The file cannot be read.</exception>
    public static ImageInstall Plan(string image, TargetDisk target)
    {
        using SafeFileHandle file = Open(image);
        long bytes = Files.Stat(file, image).Size;
        if (bytes > target.Bytes)
            throw new TargetDiskException(target.Path, $"it has {target.Bytes >> 20} MiB, and {image} takes {bytes >> 20}");
        GuidPartitionTable table;
        try
        {
            table = DiskTable.Read(file, image);
        }
        catch (Exception other) when (other is Codecs.MalformedException or LinuxException { Errno: Errno.EIO })
        {
            throw new DiskImageException(image, $"it is no image of a disk ({other.Message})");
        }

        return table.Slots[Root]?.Name == RootFileSystem.Label ? new ImageInstall(image, target, bytes, table.On(target.Sectors).WithNewIds())
            : throw new DiskImageException(image, $"it is a disk's image, and its second partition is not called {RootFileSystem.Label}: no box's");
    }

    /// <summary>Does it. Cut short, the disk holds nothing that boots, or the whole box.</summary>
    /// <exception cref="CloneDamagedException">The disk does not give back what it was given.</exception>
    /// <exception cref="ChildFailedException">The file system is not sound.</exception>
    public void Execute(IProgress<InstallProgress>? progress = null, CancellationToken cancel = default)
    {
        using (SafeFileHandle file = Open(Image))
        using (SafeFileHandle disk = Target.Open())
        {
            InstalledDisk.Write(file, disk, Bytes, Target.Path, progress, cancel);
            InstalledDisk.Compare(file, disk, Bytes, Target.Path, progress, cancel);
        }

        progress?.Report(new InstallProgress("identifiers", 0, 0));
        InstalledDisk.Partition(Target, Table);
        using Dir dev = Dir.Open("/dev");
        using (SafeFileHandle esp = dev.OpenUnusedDevice(Target.PartitionName(1)))
            InstalledDisk.ChangeFatSerial(esp, dev.Of(Target.PartitionName(1)));
        InstalledDisk.ChangeRootId(dev.Of(Target.PartitionName(Root + 1)), cancel);
    }

    private static SafeFileHandle Open(string image)
    {
        string full = System.IO.Path.GetFullPath(image);
        using Dir parent = Dir.Open(System.IO.Path.GetDirectoryName(full)!);
        return parent.OpenFile(System.IO.Path.GetFileName(full));
    }
}
