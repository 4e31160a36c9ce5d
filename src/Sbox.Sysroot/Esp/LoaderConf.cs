using System.Text;

namespace Sbox.Sysroot;

/// <summary>systemd-boot's <c>loader/loader.conf</c>: lines of a key, blanks and a value. Immutable; lines of the owner's are kept.</summary>
/// <param name="Text">The whole file.</param>
/// <remarks>After loader.conf(5).</remarks>
public sealed record LoaderConf(string Text)
{
    /// <summary>What a new box gets: three seconds to choose, and the firmware's console as it is.</summary>
    public static LoaderConf Fresh { get; } = new("timeout 3\nconsole-mode keep\n");

    /// <summary>
    /// What a new sealed box gets: keys are enrolled without being asked for where the firmware is in setup mode, after a countdown in which
    /// a key press stops it. The menu's editor is off; under Secure Boot a UKI would not listen to it anyway.
    /// </summary>
    public static LoaderConf FreshSealed { get; } = new(Fresh.Text + "editor no\nsecure-boot-enroll force\n");

    /// <summary>The entry that is booted when nobody chooses: a UKI's file name; null where nothing is set.</summary>
    public string? Default => Lines.LastOrDefault(static line => IsDefault(line))?.Trim()["default".Length..].Trim();

    private IEnumerable<string> Lines => Text.Split('\n').Where(static line => line.Length > 0);

    /// <summary>The same file with another default.</summary>
    public LoaderConf WithDefault(string name)
    {
        var text = new StringBuilder();
        foreach (string line in Lines.Where(static line => !IsDefault(line)))
            text.Append(line).Append('\n');
        return new LoaderConf(text.Append("default ").Append(name).Append('\n').ToString());
    }

    private static bool IsDefault(string line) => line.TrimStart().StartsWith("default", StringComparison.Ordinal)
        && line.TrimStart()["default".Length..] is { Length: > 0 } rest && char.IsWhiteSpace(rest[0]);
}
