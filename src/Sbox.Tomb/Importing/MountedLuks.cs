using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>
/// The file system in a disk of LUKS, mounted read-only for as long as this is there: this process deciphers what the kernel reads of it. Root's. Whoever looks into it is another
/// process: one that waits for itself cannot be killed.
/// </summary>
public sealed class MountedLuks : IDisposable
{
    private readonly FuseMount disk;
    private readonly string place;

    private MountedLuks(FuseMount disk, string place) => (this.disk, this.place) = (disk, place);

    /// <summary>Mounts one. What a process that was killed left there goes first.</summary>
    /// <param name="path">The file.</param>
    /// <param name="passphrase">What opens it; borrowed for the call.</param>
    /// <param name="place">Where it is seen: a directory's absolute path. The deciphered disk is at the same path with <c>.disk</c> behind it.</param>
    /// <exception cref="LuksException">It cannot be opened, or holds no file system that this mounts.</exception>
    /// <exception cref="LinuxException">It cannot be mounted there.</exception>
    public static MountedLuks Mount(string path, SecretMemory passphrase, string place)
    {
        LuksVolume volume = LuksVolume.Open(path, passphrase);
        string type;
        try
        {
            type = FileSystemOf(volume, path);
        }
        catch
        {
            volume.Dispose();
            throw;
        }

        Clear(place);
        using (Dir root = Dir.Open("/"))
        {
            string all = Path.GetDirectoryName(place)!.TrimStart('/');
            root.MakeDirs(all, 0x1C0 /* 0700: what is mounted below it has its own owner's modes */, parents: 0x1ED);
            root.ChangeMode(all, 0x1C0);
            root.MakeDirs(place.TrimStart('/'), 0x1C0);
            root.MakeDirs(DiskOf(place).TrimStart('/'), 0x1C0);
        }

        FuseMount disk = FuseMount.Mount(new PlainDisk(volume), DiskOf(place), new FuseOptions { Source = path, Subtype = "sbox-luks" });
        var mounted = new MountedLuks(disk, place);
        try
        {
            ApartThread.Run(() => MountAt(place, type));
            return mounted;
        }
        catch
        {
            mounted.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (MountTable.At(place) is not null)
            Mounts.Detach(place);
        disk.Dispose();
        Directory.Delete(DiskOf(place));
        Directory.Delete(place);
    }

    private static string DiskOf(string place) => $"{place}.disk";

    private static void Clear(string place)
    {
        foreach (string left in (string[])[place, DiskOf(place)])
        {
            if (MountTable.At(left) is not null)
                Mounts.DetachByForce(left);
        }
    }

    // The loop device goes by itself, with its mount.
    private static void MountAt(string place, string type)
    {
        using Dir fuse = Dir.Open(DiskOf(place));
        using SafeFileHandle file = fuse.OpenFile(PlainDisk.Name);
        (SafeFileHandle device, string devicePath) = LoopDevice.Attach(file, fuse.Of(PlainDisk.Name));
        using (device)
        using (FileSystemContext context = FileSystemContext.Open(type).Set("source", devicePath).Set("ro"))
        using (DetachedMount mount = context.Create(MountAttributes.ReadOnly | MountAttributes.NoSetUid | MountAttributes.NoDevices | MountAttributes.NoExecute))
            mount.AttachAt(place);
    }

    private static string FileSystemOf(LuksVolume volume, string path)
    {
        const int superblock = 1024, magic = superblock + 0x38, features = superblock + 0x60, btrfs = 0x10040;
        const uint needsRecovery = 4;
        var bytes = new byte[128 * Luks1Header.SectorSize + Luks1Header.SectorSize];
        if (volume.Length >= bytes.Length)
            volume.Read(0, bytes);
        if (BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(magic)) == 0xEF53)
        {
            return (BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(features)) & needsRecovery) == 0 ? "ext4"
                : throw new LuksException(path, "it was not closed the last time: what is in its journal must be written back first, and here it is only read");
        }

        return bytes.AsSpan(btrfs, 8).SequenceEqual("_BHRfS_M"u8) ? "btrfs" : throw new LuksException(path, "what is in it is neither ext4 nor btrfs");
    }
}
