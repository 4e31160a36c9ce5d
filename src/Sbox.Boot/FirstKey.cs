using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// The key of a volume from its making until a TPM keeps one: random, in the firmware's variables and nowhere on the disk. A first boot that was cut short
/// goes on with it, and once it is taken out of the volume and deleted here, nothing on the disk ever led to it.
/// </summary>
public static class FirstKey
{
    private const string Name = "SboxFirstKey-6c1f3f4e-6f0b-4d0c-9a3d-6b2f0f1c7a55";
    private const int Bytes = 32;
    private const uint NonVolatileBootAndRuntime = 7;

    /// <summary>Reads it; null where there is none.</summary>
    /// <param name="variables">Where efivarfs is.</param>
    public static string? Read(string variables = LoaderVariables.Efivarfs)
    {
        if (!Directory.Exists(variables))
            return null;
        using Dir directory = Dir.Open(variables);
        return directory.TryReadAll(Name) is { Length: > sizeof(uint) } bytes ? System.Text.Encoding.ASCII.GetString(bytes.AsSpan(sizeof(uint))) : null;
    }

    /// <summary>Makes a new one.</summary>
    /// <returns>64 hexadecimal digits: what they are, and not what they stand for, is the key.</returns>
    /// <exception cref="LinuxException">The firmware does not take it.</exception>
    public static string Make(string variables = LoaderVariables.Efivarfs, string random = "/dev/random")
    {
        var secret = new byte[Bytes];
        using (FileStream source = File.OpenRead(random)) // waits until the kernel has gathered enough
            source.ReadExactly(secret);
        string key = Convert.ToHexStringLower(secret);
        var value = new byte[sizeof(uint) + key.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(value, NonVolatileBootAndRuntime);
        System.Text.Encoding.ASCII.GetBytes(key, value.AsSpan(sizeof(uint)));
        using Dir directory = Dir.Open(variables);
        // One write(2) without a buffer, as efivarfs asks: it is a call of the firmware's.
        using var stream = new FileStream(directory.OpenOrCreateFile(Name), FileAccess.ReadWrite, bufferSize: 0);
        stream.Write(value);
        return key;
    }

    /// <summary>Makes the firmware forget it.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void Forget(string variables = LoaderVariables.Efivarfs)
    {
        if (!Directory.Exists(variables))
            return;
        using Dir directory = Dir.Open(variables);
        using (SafeFileHandle? file = directory.TryOpenFile(Name))
        {
            if (file is null)
                return;
            InodeFlags.ClearImmutable(file, directory.Of(Name));
        }

        directory.TryUnlink(Name);
    }
}
