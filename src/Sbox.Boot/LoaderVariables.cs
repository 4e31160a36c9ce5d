using System.Text;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// What systemd-boot keeps in the firmware's variables. Two of them say what boots and come before loader.conf: key <c>d</c> in its menu
/// and <c>bootctl set-default</c> write the one, <c>bootctl set-oneshot</c> the other.
/// </summary>
/// <remarks>After systemd's boot loader interface and sd-boot's source. A value is a pattern for an entry's file name.</remarks>
public sealed class LoaderVariables
{
    private const string Vendor = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"; // systemd's
    private const string Default = "LoaderEntryDefault", OneShot = "LoaderEntryOneShot", LastBooted = "LoaderEntryLastBooted", Partition = "LoaderDevicePartUUID";

    private readonly FirmwareVariables firmware;

    /// <summary>The variables of a firmware.</summary>
    /// <param name="directory">Where efivarfs is; one that is not there has no variables, as a machine without UEFI.</param>
    public LoaderVariables(string directory = FirmwareVariables.Efivarfs) => firmware = new FirmwareVariables(directory);

    /// <summary>What boots when nobody chooses, whatever loader.conf says; null where it is not set.</summary>
    public string? EntryDefault => Read(Default);

    /// <summary>What the next boot alone starts; the boot loader then forgets it. Null where it is not set.</summary>
    public string? EntryOneShot => Read(OneShot);

    /// <summary>What was started last: what <c>@saved</c> means. Null where it is not set.</summary>
    public string? EntryLastBooted => Read(LastBooted);

    /// <summary>The partition that the boot loader came from, lower case; null where it is not set.</summary>
    public string? PartitionUuid => Guid.TryParse(Read(Partition), out Guid uuid) ? uuid.ToString("D") : null;

    /// <summary>Whether this machine's firmware has variables.</summary>
    public bool IsThere => firmware.AreThere;

    /// <summary>Has the next boot alone start an entry.</summary>
    /// <param name="entry">Its file's name.</param>
    /// <exception cref="LinuxException">Refused: efivarfs is read-only, the firmware is full, or the caller is not root.</exception>
    public void SetEntryOneShot(string entry)
    {
        ForgetEntryOneShot();
        firmware.Write(FileOf(OneShot), FirmwareVariables.NonVolatileBootAndRuntime, Encoding.Unicode.GetBytes(entry + "\0"));
    }

    /// <summary>Makes the firmware forget <see cref="EntryDefault"/>.</summary>
    /// <exception cref="LinuxException">Refused: efivarfs is read-only, or the caller is not root.</exception>
    public void ForgetEntryDefault() => firmware.Forget(FileOf(Default));

    /// <summary>Makes the firmware forget <see cref="EntryOneShot"/>.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public void ForgetEntryOneShot() => firmware.Forget(FileOf(OneShot));

    /// <summary>A string: UTF-16, least significant byte first, with a NUL; null where it is empty.</summary>
    internal static string? Parse(ReadOnlySpan<byte> value) => Encoding.Unicode.GetString(value).TrimEnd('\0') is { Length: > 0 } text ? text : null;

    private static string FileOf(string name) => $"{name}-{Vendor}";

    private string? Read(string name) => firmware.Read(FileOf(name)) is { } value ? Parse(value) : null;
}
