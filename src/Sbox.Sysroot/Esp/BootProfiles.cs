using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.Uki;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>The menu entries that one unified kernel image gives beside each other.</summary>
public static class BootProfiles
{
    /// <summary>Where all that says how a UKI is divided is found.</summary>
    internal const int HeaderBytes = 4096;

    /// <summary>What every box offers, the default one first: as always, without keeping anything, from the beginning, and without services.</summary>
    public static IReadOnlyList<SealProfile> Standard { get; } =
    [
        new("main", "normal", ""),
        // What programs hold in memory would go to a swap partition, which is a disk; and what they leave in memory is zeroed when it is freed, not when it is used again.
        new("ghost", "ghost: keeps nothing", $"{RootConfig.GhostArgument} systemd.swap=0 init_on_free=1"),
        new("ghost-in-memory", "ghost in memory: the stick may be taken out", $"{RootConfig.GhostArgument} {RootConfig.FromRamArgument} systemd.swap=0 init_on_free=1"),
        new("factory-reset", "factory reset: deletes /var, undoes /etc", RootConfig.ResetArgument),
        new("rescue", "rescue", "systemd.unit=rescue.target"),
    ];

    /// <summary>The sections of a UKI with this command line.</summary>
    internal static IReadOnlyList<UkiProfile> Of(IReadOnlyList<SealProfile> profiles, string commandLine) => [.. profiles.Select(profile => new UkiProfile(
        $"ID={profile.Id}\nTITLE={profile.Title}\n", profile.MoreArguments.Length == 0 ? null : $"{commandLine} {profile.MoreArguments}"))];

    /// <summary>The names of a file's profiles that have an entry of their own: all but the first. None for a file that is no UKI.</summary>
    internal static IReadOnlyList<string> MoreOf(Dir directory, string file)
    {
        using SafeFileHandle? handle = directory.TryOpenFile(file);
        if (handle is null)
            return [];
        long length = Files.Stat(handle, directory.Of(file)).Size;
        try
        {
            IReadOnlyList<UkiPlace> profiles = [.. UnifiedKernelImage.Find(Read(handle, 0, HeaderBytes), length).Where(static place => place.Name == ".profile")];
            return [.. profiles.Skip(1).Select((place, at) => Id(Read(handle, place.Offset, (int)Math.Min(place.Length, HeaderBytes)), at + 1))];
        }
        catch (MalformedException) // somebody else's file, or half of one: systemd-boot shows one entry, if any
        {
            return [];
        }
    }

    private static string Id(byte[] profile, int number) =>
        Encoding.UTF8.GetString(profile).Split('\n').FirstOrDefault(static line => line.StartsWith("ID=", StringComparison.Ordinal))?["ID=".Length..].Trim() ?? $"{number}";

    /// <summary>Part of a file; less where it ends before.</summary>
    internal static byte[] Read(SafeFileHandle file, long at, int count)
    {
        var buffer = new byte[count];
        int filled = 0;
        for (int read; filled < count && (read = RandomAccess.Read(file, buffer.AsSpan(filled), at + filled)) > 0;)
            filled += read;
        return buffer[..filled];
    }
}
