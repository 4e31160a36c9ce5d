using System.Text;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>A variable of ours in the firmware, which a power cut does not take: text, for root alone as long as efivarfs is mounted.</summary>
/// <remarks>efivarfs makes every file readable to all; a mode that is changed lasts until it is unmounted.</remarks>
internal static class OwnVariable
{
    private const string Vendor = "6c1f3f4e-6f0b-4d0c-9a3d-6b2f0f1c7a55";

    /// <summary>Reads it; null where there is none, or no variables at all.</summary>
    public static string? Read(string variables, string name) =>
        new FirmwareVariables(variables).Read(FileOf(name)) is { } value ? Encoding.ASCII.GetString(value) : null;

    /// <summary>Has the firmware keep it, in place of what it had.</summary>
    /// <exception cref="LinuxException">The firmware does not take it, or it could not be hidden.</exception>
    public static void Write(string variables, string name, string text)
    {
        var firmware = new FirmwareVariables(variables);
        firmware.Hide(FileOf(name)); // one that is there already has the mode that efivarfs gave it
        firmware.Write(FileOf(name), FirmwareVariables.NonVolatileBootAndRuntime, Encoding.ASCII.GetBytes(text), onlyRoot: true);
        firmware.Hide(FileOf(name));
    }

    /// <summary>Lets nobody but root read those whose name begins so, until efivarfs is mounted anew: each boot begins with this.</summary>
    /// <returns>Whether there is such a variable.</returns>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public static bool HideAll(string variables, string beginning)
    {
        var firmware = new FirmwareVariables(variables);
        string[] ours = [.. firmware.Named(beginning).Where(static file => file.EndsWith(Vendor, StringComparison.Ordinal))];
        foreach (string file in ours)
            firmware.Hide(file);
        return ours.Length > 0;
    }

    /// <summary>Makes the firmware forget it; nothing where there is none.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void Forget(string variables, string name) => new FirmwareVariables(variables).Forget(FileOf(name));

    // As efivarfs calls it.
    private static string FileOf(string name) => $"{name}-{Vendor}";
}
