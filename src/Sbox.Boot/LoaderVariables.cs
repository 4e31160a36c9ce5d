using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// What systemd-boot keeps in the firmware's variables. Two of them say what boots and come before loader.conf: key <c>d</c> in its menu
/// and <c>bootctl set-default</c> write the one, <c>bootctl set-oneshot</c> the other.
/// </summary>
/// <remarks>After systemd's boot loader interface and sd-boot's source. A value is a pattern for an entry's file name.</remarks>
public sealed class LoaderVariables
{
    /// <summary>Where Debian mounts efivarfs, writable for root.</summary>
    public const string Efivarfs = "/sys/firmware/efi/efivars";

    private const string Vendor = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"; // systemd's
    private const string Default = "LoaderEntryDefault", OneShot = "LoaderEntryOneShot", LastBooted = "LoaderEntryLastBooted", Partition = "LoaderDevicePartUUID";

    private const byte NonVolatileBootAndRuntime = 7;

    private readonly string directory;

    /// <summary>The variables of a firmware.</summary>
    /// <param name="directory">Where efivarfs is; one that is not there has no variables, as a machine without UEFI.</param>
    public LoaderVariables(string directory = Efivarfs) => this.directory = directory;

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

    /// <summary>What boots when nobody chooses, whatever loader.conf says; null where it is not set.</summary>
    public string? EntryDefault => Read(Default);

    /// <summary>What the next boot alone starts; the boot loader then forgets it. Null where it is not set.</summary>
    public string? EntryOneShot => Read(OneShot);

    /// <summary>What was started last: what <c>@saved</c> means. Null where it is not set.</summary>
    public string? EntryLastBooted => Read(LastBooted);

    /// <summary>The partition that the boot loader came from, lower case; null where it is not set.</summary>
    public string? PartitionUuid => Guid.TryParse(Read(Partition), out Guid uuid) ? uuid.ToString("D") : null;

    /// <summary>Whether this machine's firmware has variables.</summary>
    public bool IsThere => Directory.Exists(directory);

    /// <summary>Has the next boot alone start an entry.</summary>
    /// <param name="entry">Its file's name.</param>
    /// <exception cref="LinuxException">Refused: efivarfs is read-only, the firmware is full, or the caller is not root.</exception>
    public void SetEntryOneShot(string entry)
    {
        Forget(OneShot);
        byte[] value = [NonVolatileBootAndRuntime, 0, 0, 0, .. Encoding.Unicode.GetBytes(entry + "\0")];
        using Dir variables = Dir.Open(directory);
        // One write(2) without a buffer, as efivarfs asks: it is a call of the firmware's.
        using var stream = new FileStream(variables.OpenOrCreateFile(FileOf(OneShot)), FileAccess.ReadWrite, bufferSize: 0);
        try
        {
            stream.Write(value);
        }
        catch (Exception refused) when (refused is UnauthorizedAccessException or (IOException and not LinuxException))
        {
            throw new LinuxException(Errno.EACCES, "write", variables.Of(FileOf(OneShot)));
        }
    }

    /// <summary>Makes the firmware forget <see cref="EntryDefault"/>.</summary>
    /// <exception cref="LinuxException">Refused: efivarfs is read-only, or the caller is not root.</exception>
    public void ForgetEntryDefault() => Forget(Default);

    /// <summary>Makes the firmware forget <see cref="EntryOneShot"/>.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public void ForgetEntryOneShot() => Forget(OneShot);

    /// <summary>Reads a string: four bytes of attributes, then UTF-16, least significant byte first, with a NUL; null where it is empty.</summary>
    internal static string? Parse(ReadOnlySpan<byte> bytes) =>
        bytes.Length >= 4 && Encoding.Unicode.GetString(bytes[4..]).TrimEnd('\0') is { Length: > 0 } text ? text : null;

    private static string FileOf(string name) => $"{name}-{Vendor}";

    private string? Read(string name)
    {
        if (!Directory.Exists(directory))
            return null;
        using Dir variables = Dir.Open(directory);
        return variables.TryReadAll(FileOf(name)) is { } bytes ? Parse(bytes) : null;
    }

    private void Forget(string name)
    {
        if (!Directory.Exists(directory))
            return;
        using Dir variables = Dir.Open(directory);
        using (SafeFileHandle? file = variables.TryOpenFile(FileOf(name)))
        {
            if (file is null)
                return;
            // efivarfs makes most variables immutable, so that rm -rf breaks no firmware.
            InodeFlags.ClearImmutable(file, variables.Of(FileOf(name)));
        }

        variables.TryUnlink(FileOf(name));
    }
}
