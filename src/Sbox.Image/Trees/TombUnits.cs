namespace Sbox.Image;

/// <summary>What opens a user's tomb by itself: systemd's units, the helper of mount(8), and the lines of PAM for whatever people log in through.</summary>
internal static class TombUnits
{
    /// <summary>Where a box keeps the files as they came, so that it can build another.</summary>
    public const string InTree = "usr/lib/sbox/tomb";

    private const string Include = "@include common-auth", PamFile = "pam.example";
    private static readonly string[] Logins = ["login", "sshd", "gdm-password", "lightdm", "sddm", "greetd"];
    private static readonly string[] OfSystem = ["sbox-tomb@.service", "sbox-tomb-sleep.service"];
    private static readonly string[] OfUsers = ["sbox-tomb-ready.target", "sbox-tomb-save.service", "sbox-tomb-save.timer"];

    /// <summary>The files that it is made of, in order.</summary>
    public static IEnumerable<string> Files(string directory) => Directory.GetFiles(directory).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal);

    /// <summary>Installs it. Nobody's tomb is opened until /etc/sbox/tomb.toml names one.</summary>
    public static void InstallInto(TreeRoot tree, string directory)
    {
        foreach (string file in Files(directory))
            tree.Write($"{InTree}/{file}", File.ReadAllBytes($"{directory}/{file}"));
        foreach (string unit in OfSystem)
            tree.Write($"usr/lib/systemd/system/{unit}", File.ReadAllBytes($"{directory}/{unit}"));
        tree.Link("usr/lib/systemd/system/sleep.target.wants/sbox-tomb-sleep.service", "../sbox-tomb-sleep.service");
        foreach (string unit in OfUsers)
            tree.Write($"usr/lib/systemd/user/{unit}", File.ReadAllBytes($"{directory}/{unit}"));
        tree.Link("usr/lib/systemd/user/default.target.wants/sbox-tomb-ready.target", "../sbox-tomb-ready.target");
        tree.Link("usr/sbin/mount.sbox-tomb", "../bin/sbox");
        string[] lines = [.. File.ReadLines($"{directory}/{PamFile}").Where(static line => line.Length > 0 && line[0] != '#')];
        foreach (string login in Logins.Select(static name => $"etc/pam.d/{name}").Where(path => tree.Exists(path)))
            tree.Rewrite(login, WithLines(tree.ReadText(login), lines));
    }

    /// <summary>A service's PAM file with the lines: those of <c>auth</c> after what asks for the password, others at the end.</summary>
    public static string WithLines(string text, IReadOnlyList<string> lines)
    {
        if (lines.All(line => text.Contains(line, StringComparison.Ordinal)))
            return text;
        var all = new List<string>(text.TrimEnd('\n').Split('\n'));
        int asks = all.FindIndex(static line => line.TrimStart().StartsWith(Include, StringComparison.Ordinal));
        foreach (string line in lines)
        {
            if (!line.StartsWith("auth", StringComparison.Ordinal))
                all.Add(line);
            else if (asks >= 0)
                all.Insert(++asks, line);
        }

        return string.Join('\n', all) + "\n";
    }
}
