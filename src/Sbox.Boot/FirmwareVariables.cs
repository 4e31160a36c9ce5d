using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// The variables that a machine's firmware keeps, as efivarfs shows them: a file each, called by the variable's name, a dash and its vendor's GUID, with four bytes of
/// attributes before the value.
/// </summary>
/// <param name="directory">Where efivarfs is; one that is not there has no variables, as a machine without UEFI.</param>
/// <remarks>UEFI specification 2.10, 8.2; the kernel's Documentation/filesystems/efivarfs.rst.</remarks>
public sealed class FirmwareVariables(string directory = FirmwareVariables.Efivarfs)
{
    /// <summary>Where Debian mounts efivarfs, writable for root.</summary>
    public const string Efivarfs = "/sys/firmware/efi/efivars";

    /// <summary>Attributes of a variable that no power cut takes, and that firmware and system both see.</summary>
    public const uint NonVolatileBootAndRuntime = 7;

    private const uint ForAll = 0x1A4 /* 0644 */, ForRoot = 0x180 /* 0600 */;

    /// <summary>Mounts them in an initrd, where the firmware has some and nobody has mounted them.</summary>
    /// <exception cref="MountException">The kernel refused.</exception>
    internal static void Mount()
    {
        if (!Directory.Exists(Efivarfs) || MountTable.At(Efivarfs) is not null)
            return;
        using FileSystemContext context = FileSystemContext.Open("efivarfs");
        using DetachedMount mount = context.Set("source", "efivarfs").Create(MountAttributes.NoSetUid | MountAttributes.NoDevices | MountAttributes.NoExecute);
        mount.AttachAt(Efivarfs);
    }

    /// <summary>Whether this machine's firmware has variables.</summary>
    public bool AreThere => Directory.Exists(directory);

    /// <summary>Reads a value; null where there is no such variable, or nothing in it.</summary>
    /// <param name="file">The variable's file.</param>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public byte[]? Read(string file)
    {
        using Dir? variables = TryOpen();
        return variables?.TryReadAll(file) is { Length: > sizeof(uint) } bytes ? bytes[sizeof(uint)..] : null;
    }

    /// <summary>The files of the variables whose name begins so.</summary>
    public IReadOnlyList<string> Named(string beginning)
    {
        using Dir? variables = TryOpen();
        return [.. (variables?.Entries() ?? []).Select(static entry => entry.Name).Where(name => name.StartsWith(beginning, StringComparison.Ordinal))];
    }

    /// <summary>Has the firmware take a value.</summary>
    /// <param name="file">The variable's file.</param>
    /// <param name="attributes">The variable's attributes, as UEFI numbers them.</param>
    /// <param name="value">The value, or what is appended to it, as the attributes say.</param>
    /// <param name="onlyRoot">Whether nobody else may read it, as long as efivarfs is mounted.</param>
    /// <exception cref="LinuxException">The firmware does not take it (EACCES, EIO, ENOSPC), efivarfs is read-only, or the caller is not root.</exception>
    public void Write(string file, uint attributes, ReadOnlySpan<byte> value, bool onlyRoot = false)
    {
        using Dir variables = Dir.Open(directory);
        MakeMutable(variables, file);
        var bytes = new byte[sizeof(uint) + value.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, attributes);
        value.CopyTo(bytes.AsSpan(sizeof(uint)));
        // Nothing of efivarfs can seek. One write(2), without a buffer: each is a call of the firmware's.
        using var stream = new FileStream(variables.OpenOrCreateFile(file, onlyRoot ? ForRoot : ForAll), FileAccess.ReadWrite, bufferSize: 0);
        try
        {
            stream.Write(bytes);
        }
        catch (Exception refused) when (refused is UnauthorizedAccessException or (IOException and not LinuxException))
        {
            throw new LinuxException(Reason(refused), "write", variables.Of(file));
        }
    }

    /// <summary>Lets nobody but root read a variable, until efivarfs is mounted anew.</summary>
    /// <returns>Whether there is such a variable.</returns>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public bool Hide(string file)
    {
        using Dir? variables = TryOpen();
        if (variables is null || !MakeMutable(variables, file))
            return false;
        variables.ChangeMode(file, ForRoot);
        return true;
    }

    /// <summary>Makes the firmware forget a variable; nothing where there is none.</summary>
    /// <exception cref="LinuxException">Refused: efivarfs is read-only, or the caller is not root.</exception>
    public void Forget(string file)
    {
        using Dir? variables = TryOpen();
        if (variables is not null && MakeMutable(variables, file))
            variables.TryUnlink(file);
    }

    private Dir? TryOpen() => AreThere ? Dir.Open(directory) : null;

    // efivarfs makes most variables immutable, so that rm -rf breaks no firmware: neither the mode nor the value of such a file can be changed.
    private static bool MakeMutable(Dir variables, string file)
    {
        using SafeFileHandle? handle = variables.TryOpenFile(file);
        if (handle is null)
            return false;
        InodeFlags.ClearImmutable(handle, variables.Of(file));
        return true;
    }

    // What FileStream throws has the kernel's own number, except where it is about permission.
    private static Errno Reason(Exception refused) =>
        refused is UnauthorizedAccessException ? Errno.EACCES : refused.HResult is > 0 and < 4096 and var errno ? (Errno)errno : Errno.EIO;
}
