using System.Globalization;

namespace Sbox.Linux;

/// <summary>The kernel's /proc, held since it was first asked for: what is mounted over it afterwards blinds nobody who goes by this.</summary>
public static class HeldProc
{
    private static readonly Lazy<Dir> Held = new(static () => Dir.Open("/proc"));

    /// <summary>The directory itself; never to be disposed.</summary>
    internal static Dir Directory => Held.Value;

    /// <summary>Takes hold of it, if nobody did.</summary>
    /// <exception cref="LinuxException">There is none.</exception>
    public static void Take() => _ = Held.Value;

    /// <summary>The numbers of all processes.</summary>
    internal static IEnumerable<int> Processes()
    {
        foreach (DirEntry entry in Directory.Entries())
        {
            if (int.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int process))
                yield return process;
        }
    }
}
