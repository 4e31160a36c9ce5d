using System.Globalization;
using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>
/// An alarm on the desktops of all who are logged in, by the session bus of each: <c>Notify</c> of the Desktop Notifications
/// Specification 1.2. The sentinel may become no user; systemd starts busctl for it, as that user.
/// </summary>
internal static class DesktopMessage
{
    private const int SecondsAtMost = 10;

    /// <summary>The users who are logged in. Nothing of theirs is touched: who mounts a silent file system there would hold up the sentinel.</summary>
    /// <param name="root">The system's root, as process 1 has it: the sentinel's unit hides /run/user.</param>
    public static IReadOnlyList<uint> Users(string root)
    {
        string sessions = $"{root}/run/user";
        if (!Directory.Exists(sessions))
            return [];
        var users = new List<uint>();
        foreach (string name in Directory.GetFileSystemEntries(sessions).Select(static session => Path.GetFileName(session)).Order(StringComparer.Ordinal))
        {
            if (uint.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out uint user))
                users.Add(user);
        }

        return users;
    }

    /// <summary>What shows it to one user.</summary>
    public static ChildCommand For(uint user, Alarm alarm) => new("systemd-run",
    [
        "--quiet", "--collect", "--no-block", $"--uid={user}", $"--property=RuntimeMaxSec={SecondsAtMost}", "--property=NoNewPrivileges=yes",
        // Whoever has a session but no desktop has nobody who takes it, and that is no mishap.
        "--property=SuccessExitStatus=1", "--property=StandardError=null",
        $"--setenv=DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{user}/bus",
        // systemd puts its environment in the place of $NAME, and paths are what an attacker likes them to be.
        .. Call(alarm).Select(static word => word.Replace("$", "$$", StringComparison.Ordinal)),
    ]);

    /// <summary>The call itself, for busctl(1) on the bus of DBUS_SESSION_BUS_ADDRESS.</summary>
    public static IReadOnlyList<string> Call(Alarm alarm)
    {
        bool critical = alarm.Severity == Severity.Critical;
        return
        [
            "busctl", "--user", "--quiet", $"--timeout={SecondsAtMost / 2}", "--", "call",
            "org.freedesktop.Notifications", "/org/freedesktop/Notifications", "org.freedesktop.Notifications", "Notify", "susssasa{sv}i",
            "sbox", "0", "dialog-warning", $"{PolicyReader.NameOf(alarm.Severity)}: {Plain(alarm.Finding.Path)}", Plain(alarm.ToString()),
            "0", "1", "urgency", "y", critical ? "2" : "1", critical ? "0" : "-1", // a critical one stays until it is put away
        ];
    }

    // The text may hold markup, and what a path says is not the sentinel's word.
    private static string Plain(string text) => string.Concat(text.Select(static letter => letter switch
    {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        _ when char.IsControl(letter) => " ",
        _ => letter.ToString(),
    }));
}
