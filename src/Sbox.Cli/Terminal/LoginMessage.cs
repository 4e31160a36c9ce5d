namespace Sbox.Cli.Terminal;

/// <summary>What everybody is told at login until the next boot, by pam_motd.</summary>
internal static class LoginMessage
{
    private const string Place = "/run/motd.d";

    /// <summary>Shows a line.</summary>
    /// <param name="about">What it is about: one line about each thing.</param>
    /// <param name="said">The line.</param>
    public static void Show(string about, string said)
    {
        Directory.CreateDirectory(Place);
        File.WriteAllText($"{Place}/50-sbox-{about}", said + "\n");
    }

    /// <summary>Whether a line about it is shown.</summary>
    /// <param name="about">What it is about.</param>
    public static bool IsShown(string about) => File.Exists($"{Place}/50-sbox-{about}");

    /// <summary>Shows nothing about it any more.</summary>
    public static void Withdraw(string about)
    {
        if (Directory.Exists(Place))
            File.Delete($"{Place}/50-sbox-{about}");
    }
}
