using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// The first 16 MiB of a partition, kept behind its file system while the header of a volume takes their place. That is the one step of an encryption which
/// cannot be made in one piece: torn by a power cut, they are neither a file system nor a volume. A variable of the firmware says that the copy is whole, until
/// the header is; it lies where no program of the box can write, as a mark on the disk would not.
/// </summary>
/// <remarks>docs/formats/disk-tokens.md. The order: copy, sync, variable; header, sync; the variable goes. At a boot that finds it, what was there is put back.</remarks>
internal sealed class HeadCopy
{
    /// <summary>How much a LUKS2 header takes.</summary>
    public const int Bytes = 16 << 20;

    private const string Name = "SboxHeadCopy";
    private const int Chunk = 1 << 20;

    private readonly string uuid, volume, variables, sys, dev;
    private readonly long deviceBytes;

    private HeadCopy(string uuid, long deviceBytes, string volume, string variables, string sys, string dev) =>
        (this.uuid, this.deviceBytes, this.volume, this.variables, this.sys, this.dev) = (uuid, deviceBytes, volume, variables, sys, dev);

    private long CopyAt => deviceBytes - ((long)EncryptedDisk.SpareMebibytes << 20);

    /// <summary>The one that an encryption which was cut short left; null where there is none.</summary>
    /// <param name="variables">Where efivarfs is.</param>
    /// <param name="sys">Where sysfs is.</param>
    /// <param name="dev">Where device nodes are.</param>
    public static HeadCopy? Left(string variables = FirmwareVariables.Efivarfs, string sys = "/sys", string dev = "/dev") =>
        OwnVariable.Read(variables, Name)?.Split(' ') is [var uuid, var size, var volume] && long.TryParse(size, NumberStyles.None, CultureInfo.InvariantCulture, out long bytes)
            ? new HeadCopy(uuid, bytes, volume, variables, sys, dev) : null;

    /// <summary>Makes one, durably.</summary>
    /// <param name="device">The partition's name: <c>vda2</c>; not mounted.</param>
    /// <param name="found">The file system on it.</param>
    /// <param name="volume">The UUID of the volume that is to take its place.</param>
    /// <param name="variables">Where efivarfs is.</param>
    /// <param name="sys">Where sysfs is.</param>
    /// <param name="dev">Where device nodes are.</param>
    /// <exception cref="NoRootException">There is no room behind the file system; nothing was written.</exception>
    /// <exception cref="LinuxException">The disk or the firmware refused; the file system is as it was.</exception>
    public static HeadCopy Make(string device, Superblock found, string volume, string variables = FirmwareVariables.Efivarfs, string sys = "/sys", string dev = "/dev")
    {
        long size = SizeOf(device, sys) ?? throw new NoRootException($"{dev}/{device}: its size is not known, so it was not encrypted");
        var copy = new HeadCopy(found.Uuid, size, volume, variables, sys, dev);
        if (found.Bytes > copy.CopyAt || copy.CopyAt < Bytes)
        {
            throw new NoRootException($"{dev}/{device}: its file system takes {found.Bytes >> 20} MiB of {size >> 20}, and {EncryptedDisk.SpareMebibytes} MiB must be free behind it to encrypt it where it is: "
                + "make the image anew with sbox image --encrypt");
        }

        copy.Move(device, from: 0, to: copy.CopyAt);
        OwnVariable.Write(variables, Name, string.Create(CultureInfo.InvariantCulture, $"{found.Uuid} {size} {volume}"));
        return copy;
    }

    /// <summary>Whether it is the copy of this device's head.</summary>
    /// <param name="device">Its name.</param>
    /// <exception cref="IOException">The device cannot be read.</exception>
    public bool IsOf(string device) => SizeOf(device, sys) == deviceBytes && HasCopy(device);

    /// <summary>Puts back what was there; then there is no copy any more, and no key of the volume that was to be.</summary>
    /// <param name="device">The name of the device that it is of.</param>
    /// <exception cref="IOException">The disk refused; the copy stays.</exception>
    public void PutBack(string device)
    {
        Move(device, from: CopyAt, to: 0);
        FirstKey.Forget(volume, variables);
        Forget();
    }

    /// <summary>Ends it: the header is whole and on the disk.</summary>
    /// <exception cref="LinuxException">The firmware refused.</exception>
    public void Forget() => OwnVariable.Forget(variables, Name);

    // The same image on two disks makes two of that size; only one has a copy of its head there.
    private bool HasCopy(string device)
    {
        using Dir devices = Dir.Open(dev);
        using SafeFileHandle? handle = devices.TryOpenFile(device);
        var first = new byte[Superblock.Length];
        return handle is not null && Read(handle, first, CopyAt) && Superblock.Parse(first) is { Type: Superblock.Ext4 } found && found.Uuid == uuid;
    }

    private void Move(string device, long from, long to)
    {
        using Dir devices = Dir.Open(dev);
        using SafeFileHandle handle = devices.OpenToWrite(device);
        var buffer = new byte[Chunk];
        for (int done = 0; done < Bytes; done += Chunk)
        {
            if (!Read(handle, buffer, from + done))
                throw new NoRootException($"{dev}/{device}: it ends before its {deviceBytes} bytes");
            RandomAccess.Write(handle, buffer, to + done);
        }

        Durable.Sync(handle, devices.Of(device));
    }

    private static bool Read(SafeFileHandle handle, Span<byte> buffer, long at)
    {
        for (int filled = 0, read; filled < buffer.Length; filled += read)
        {
            read = RandomAccess.Read(handle, buffer[filled..], at + filled);
            if (read <= 0)
                return false;
        }

        return true;
    }

    // In sectors of 512 bytes, whatever the disk's own are.
    private static long? SizeOf(string device, string sys) =>
        File.Exists($"{sys}/class/block/{device}/size") && long.TryParse(File.ReadAllText($"{sys}/class/block/{device}/size").Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long sectors)
            ? sectors * 512 : null;
}
