using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// The key of a volume from its making until a TPM keeps one: random, in the firmware's variables and nowhere on the disk, one for each volume. A first boot that was cut short
/// goes on with it, and once it is taken out of the volume and deleted here, nothing on the disk ever led to it. Root alone can read it.
/// </summary>
public static class FirstKey
{
    private const string Name = "SboxFirstKey";
    private const int Bytes = 32;

    /// <summary>Reads it; null where there is none.</summary>
    /// <param name="volume">The volume's UUID, lower case, as a header says it that anybody may have written.</param>
    /// <param name="variables">Where efivarfs is.</param>
    public static string? Read(string volume, string variables = FirmwareVariables.Efivarfs) =>
        Guid.TryParseExact(volume, "D", out _) ? OwnVariable.Read(variables, Of(volume)) : null;

    /// <summary>Makes a new one.</summary>
    /// <param name="volume">The volume's UUID, lower case.</param>
    /// <param name="variables">Where efivarfs is.</param>
    /// <param name="random">Where random bytes come from.</param>
    /// <returns>64 hexadecimal digits: what they are, and not what they stand for, is the key.</returns>
    /// <exception cref="LinuxException">The firmware does not take it.</exception>
    public static string Make(string volume, string variables = FirmwareVariables.Efivarfs, string random = "/dev/random")
    {
        var secret = new byte[Bytes];
        using (FileStream source = File.OpenRead(random)) // waits until the kernel has gathered enough
            source.ReadExactly(secret);
        string key = Convert.ToHexStringLower(secret);
        OwnVariable.Write(variables, Of(volume), key);
        return key;
    }

    /// <summary>Lets nobody but root read those of any volume: before any program of the box runs, at each boot.</summary>
    /// <param name="variables">Where efivarfs is.</param>
    /// <returns>Whether there is one.</returns>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public static bool HideAll(string variables = FirmwareVariables.Efivarfs) => OwnVariable.HideAll(variables, Name);

    /// <summary>Makes the firmware forget it.</summary>
    /// <param name="volume">The volume's UUID, lower case.</param>
    /// <param name="variables">Where efivarfs is.</param>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void Forget(string volume, string variables = FirmwareVariables.Efivarfs) => OwnVariable.Forget(variables, Of(volume));

    private static string Of(string volume) => $"{Name}-{volume}";
}
