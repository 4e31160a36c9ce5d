namespace Sbox.Sysroot;

/// <summary>Language, keyboard, time zone and names of the machine, services that are switched on or off, and what was installed into /var.</summary>
internal static class PlaceMeanings
{
    private const string Zones = "zoneinfo/";

    // All others of these files are told by their path alone.
    private static readonly Dictionary<string, string> Names = new(StringComparer.Ordinal)
    {
        ["LANG"] = "language", ["LANGUAGE"] = "languages", ["KEYMAP"] = "keyboard of the console", ["FONT"] = "font of the console", ["XKBLAYOUT"] = "keyboard layout", ["XKBVARIANT"] = "keyboard variant",
        ["XKBMODEL"] = "keyboard model", ["XKBOPTIONS"] = "keyboard options", ["PRETTY_HOSTNAME"] = "name of the machine", ["LOCATION"] = "place of the machine", ["CHASSIS"] = "kind of machine",
    };

    /// <summary>localtime(5)'s link, or Debian's /etc/timezone.</summary>
    public static IEnumerable<string> TimeZone(string? before, string? now) => Value("time zone", Zone(before), Zone(now));

    /// <summary>Files of <c>NAME=value</c> lines, with or without quotes.</summary>
    public static IEnumerable<string> Variables(string? before, string? now)
    {
        Dictionary<string, string> old = Values(before), @new = Values(now);
        return old.Keys.Union(@new.Keys).Order(StringComparer.Ordinal)
            .SelectMany(name => Value(Names.GetValueOrDefault(name, name), old.GetValueOrDefault(name), @new.GetValueOrDefault(name)));
    }

    public static IEnumerable<string> Value(string what, string? before, string? now) => before == now || (before ?? now) is null ? []
        : now is null or "" ? [$"{what} is not set any more (was {before})"]
        : before is null or "" ? [$"{what} is {now}"] : [$"{what} is {now} (was {before})"];

    public static IEnumerable<string> Unit(string path, string? before, string? now) =>
        now == "/dev/null" ? [$"{Path.GetFileName(path)} is masked"] : before == "/dev/null" ? [$"{Path.GetFileName(path)} is masked no more"] : [];

    public static IEnumerable<string> WantedUnit(string path, string? before, string? now) =>
        before is null ? [$"{Path.GetFileName(path)} is switched on"] : now is null ? [$"{Path.GetFileName(path)} is switched off"] : [];

    public static IEnumerable<string> Flatpak(string path, string? before, string? now) => [$"flatpak {path.Split('/')[^2]} {(before is null ? "installed" : now is null ? "removed" : "changed")}"];

    public static IEnumerable<string> Extension(string path, string? before, string? now) => [$"system extension {Path.GetFileNameWithoutExtension(path)} {LedgerMeaning.Verb(before, now)}"];

    private static string? Zone(string? text) => text is null ? null : text.Trim() is var zone && zone.Contains('\n', StringComparison.Ordinal) ? null // the zone's data itself, copied
        : zone.IndexOf(Zones, StringComparison.Ordinal) is >= 0 and var at ? zone[(at + Zones.Length)..] : zone;

    private static Dictionary<string, string> Values(string? text)
    {
        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (string line in LedgerMeaning.Lines(text))
        {
            if (line.Split('=', 2) is [var name, var value] && (Names.ContainsKey(name) || name.StartsWith("LC_", StringComparison.Ordinal)))
                values[name] = value.Trim('"', '\'');
        }

        return values;
    }
}
