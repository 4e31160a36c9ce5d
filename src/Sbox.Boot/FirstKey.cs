using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// The key of a volume from its making until a TPM keeps one: random, in the firmware's variables and nowhere on the disk. A first boot that was cut short
/// goes on with it, and once it is taken out of the volume and deleted here, nothing on the disk ever led to it. Root alone can read it.
/// </summary>
public static class FirstKey
{
    private const string Name = "SboxFirstKey";
    private const int Bytes = 32;

    /// <summary>Reads it; null where there is none.</summary>
    /// <param name="variables">Where efivarfs is.</param>
    public static string? Read(string variables = LoaderVariables.Efivarfs) => OwnVariable.Read(variables, Name);

    /// <summary>Makes a new one.</summary>
    /// <returns>64 hexadecimal digits: what they are, and not what they stand for, is the key.</returns>
    /// <exception cref="LinuxException">The firmware does not take it.</exception>
    public static string Make(string variables = LoaderVariables.Efivarfs, string random = "/dev/random")
    {
        var secret = new byte[Bytes];
        using (FileStream source = File.OpenRead(random)) // waits until the kernel has gathered enough
            source.ReadExactly(secret);
        string key = Convert.ToHexStringLower(secret);
        OwnVariable.Write(variables, Name, key);
        return key;
    }

    /// <summary>Lets nobody but root read it: before any program of the box runs, at each boot.</summary>
    /// <returns>Whether there is one.</returns>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public static bool Hide(string variables = LoaderVariables.Efivarfs) => OwnVariable.Hide(variables, Name);

    /// <summary>Makes the firmware forget it.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void Forget(string variables = LoaderVariables.Efivarfs) => OwnVariable.Forget(variables, Name);
}
