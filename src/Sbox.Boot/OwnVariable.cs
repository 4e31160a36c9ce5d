using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>A variable of ours in the firmware, which a power cut does not take: text, for root alone as long as efivarfs is mounted.</summary>
/// <remarks>UEFI specification 2.10, 8.2. efivarfs shows four bytes of attributes before the value, and makes every file readable to all; a mode that is changed lasts until it is unmounted.</remarks>
internal static class OwnVariable
{
    private const string Vendor = "6c1f3f4e-6f0b-4d0c-9a3d-6b2f0f1c7a55";
    private const uint NonVolatileBootAndRuntime = 7, OnlyRoot = 0x180; // 0600

    /// <summary>The file that efivarfs shows of it.</summary>
    public static string FileOf(string name) => $"{name}-{Vendor}";

    /// <summary>Reads it; null where there is none, or no variables at all.</summary>
    public static string? Read(string variables, string name)
    {
        if (!Directory.Exists(variables))
            return null;
        using Dir directory = Dir.Open(variables);
        return directory.TryReadAll(FileOf(name)) is { Length: > sizeof(uint) } bytes ? System.Text.Encoding.ASCII.GetString(bytes.AsSpan(sizeof(uint))) : null;
    }

    /// <summary>Has the firmware keep it, in place of what it had.</summary>
    /// <exception cref="LinuxException">The firmware does not take it, or it could not be hidden.</exception>
    public static void Write(string variables, string name, string text)
    {
        Hide(variables, name); // and what is there already may be written
        var value = new byte[sizeof(uint) + text.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(value, NonVolatileBootAndRuntime);
        System.Text.Encoding.ASCII.GetBytes(text, value.AsSpan(sizeof(uint)));
        using (Dir directory = Dir.Open(variables))
        {
            // One write(2) without a buffer, as efivarfs asks: it is a call of the firmware's.
            using var stream = new FileStream(directory.OpenOrCreateFile(FileOf(name), OnlyRoot), FileAccess.ReadWrite, bufferSize: 0);
            stream.Write(value);
        }

        Hide(variables, name);
    }

    /// <summary>Lets nobody but root read it, until efivarfs is mounted anew: each boot begins with this.</summary>
    /// <returns>Whether there is such a variable.</returns>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public static bool Hide(string variables, string name)
    {
        if (!Directory.Exists(variables))
            return false;
        using Dir directory = Dir.Open(variables);
        if (!MakeMutable(directory, FileOf(name)))
            return false;
        directory.ChangeMode(FileOf(name), OnlyRoot);
        return true;
    }

    /// <summary>Makes the firmware forget it; nothing where there is none.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void Forget(string variables, string name)
    {
        if (!Directory.Exists(variables))
            return;
        using Dir directory = Dir.Open(variables);
        if (MakeMutable(directory, FileOf(name)))
            directory.TryUnlink(FileOf(name));
    }

    // efivarfs makes most variables immutable, so that rm -rf breaks no firmware: neither the mode nor the value of such a file can be changed.
    private static bool MakeMutable(Dir directory, string file)
    {
        using SafeFileHandle? handle = directory.TryOpenFile(file);
        if (handle is null)
            return false;
        InodeFlags.ClearImmutable(handle, directory.Of(file));
        return true;
    }
}
