using System.Globalization;
using System.Text;
using Sbox.Linux;
using Tomlyn.Syntax;

namespace Sbox.Sysroot;

/// <summary>When a box restarts itself for a new version.</summary>
public enum AutoReboot
{
    /// <summary>Never: it waits for its owner.</summary>
    Never,
    /// <summary>When nobody is logged in.</summary>
    Idle,
    /// <summary>Also with people logged in.</summary>
    Always,
}

/// <summary>A setting of automatic updates that cannot be heeded; nothing happens by itself then.</summary>
/// <param name="path">The file.</param>
/// <param name="line">The line, from 1.</param>
/// <param name="finding">What is wrong with it.</param>
public sealed class AutoSettingsException(string path, int line, string finding) : SysrootException($"{path}:{line}: {finding}")
{
    /// <summary>The file.</summary>
    public string Path { get; } = path;
}

/// <summary>What a box may do by itself: <c>/etc/sbox/auto.toml</c> over <c>/usr/lib/sbox/auto.toml</c>, key by key.</summary>
public sealed record AutoSettings
{
    /// <summary>The owner's file.</summary>
    public const string OwnFile = "/etc/sbox/auto.toml";

    /// <summary>The files, a later one over an earlier one.</summary>
    public static IReadOnlyList<string> Files { get; } = ["/usr/lib/sbox/auto.toml", OwnFile];

    /// <summary>Whether anything happens by itself at all.</summary>
    public bool Enabled { get; init; }

    /// <summary>When something may; at any time where there is none.</summary>
    public IReadOnlyList<AutoWindow> Windows { get; init; } = [];

    /// <summary>What part of a fleet takes a version when; all of it at once where there is none.</summary>
    public IReadOnlyList<RolloutStep> Rollout { get; init; } = [];

    /// <summary>When the box restarts itself.</summary>
    public AutoReboot Reboot { get; init; } = AutoReboot.Never;

    /// <summary>On battery and with less than so much percent, nothing happens; 0 for no limit, 100 for never on battery.</summary>
    public int BatteryMinimum { get; init; } = 40;

    /// <summary>Whether links that cost by the byte are used.</summary>
    public bool OnMetered { get; init; }

    /// <summary>How often the branch is looked at.</summary>
    public TimeSpan CheckEvery { get; init; } = TimeSpan.FromHours(6);

    /// <summary>Reads files that are there.</summary>
    /// <exception cref="AutoSettingsException">A line cannot be heeded.</exception>
    public static AutoSettings Read(params IReadOnlyList<string> files)
    {
        var settings = new AutoSettings();
        foreach (string file in files.Where(File.Exists))
        {
            foreach (KeyValueSyntax pair in Parse(file, File.ReadAllText(file)).KeyValues)
                settings = settings.With(file, pair);
        }

        return settings;
    }

    /// <summary>The text of a file with other values for some keys; comments and other keys stay.</summary>
    /// <param name="file">Its name, for messages.</param>
    /// <param name="text">Its text.</param>
    /// <param name="values">Keys and what stands behind their equals sign.</param>
    /// <exception cref="AutoSettingsException">The file, or a value, cannot be heeded.</exception>
    public static string Edit(string file, string text, IReadOnlyDictionary<string, string> values)
    {
        string[] lines = text.Length == 0 ? [] : text.TrimEnd('\n').Split('\n');
        HashSet<int> gone = [];
        foreach (KeyValueSyntax pair in Parse(file, text).KeyValues.Where(pair => values.ContainsKey(KeyOf(pair))))
            gone.UnionWith(Enumerable.Range(pair.Span.Start.Line, (pair.Value ?? (SyntaxNode)pair).Span.End.Line - pair.Span.Start.Line + 1));
        var edited = new StringBuilder();
        foreach (string line in lines.Index().Where(line => !gone.Contains(line.Index)).Select(static line => line.Item).Concat(values.Select(static each => $"{each.Key} = {each.Value}")))
            edited.Append(line).Append('\n');
        var settings = new AutoSettings();
        foreach (KeyValueSyntax pair in Parse(file, edited.ToString()).KeyValues)
            settings = settings.With(file, pair);
        return edited.ToString();
    }

    /// <summary>Writes the owner's file with other values for some keys.</summary>
    /// <exception cref="AutoSettingsException">The file, or a value, cannot be heeded; nothing was written.</exception>
    public static void Change(string file, IReadOnlyDictionary<string, string> values)
    {
        string text = Edit(file, File.Exists(file) ? File.ReadAllText(file) : "# Automatic updates: sbox-auto(1). What is not said here is as in /usr/lib/sbox/auto.toml.\n", values);
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(file)!);
        using Dir dir = Dir.Open(System.IO.Path.GetDirectoryName(file)!);
        Durable.Replace(dir, System.IO.Path.GetFileName(file), Encoding.UTF8.GetBytes(text));
    }

    private static DocumentSyntax Parse(string file, string text) => FlatToml.Parse(file, text, (line, finding) => new AutoSettingsException(file, line, finding));

    private static string KeyOf(KeyValueSyntax pair) => FlatToml.KeyOf(pair);

    private AutoSettings With(string file, KeyValueSyntax pair) => KeyOf(pair) switch
    {
        "enabled" => this with { Enabled = Flag(file, pair) },
        "windows" => this with { Windows = List(file, pair, AutoWindow.Parse) },
        "rollout" => this with { Rollout = Ascending(file, pair, List(file, pair, RolloutStep.Parse)) },
        "reboot" => this with
        {
            Reboot = (pair.Value as StringValueSyntax)?.Value switch
            {
                "never" => AutoReboot.Never, "idle" => AutoReboot.Idle, "always" => AutoReboot.Always,
                _ => throw Wrong(file, pair, "reboot is \"never\", \"idle\" or \"always\""),
            },
        },
        "battery-minimum" => this with { BatteryMinimum = Number(file, pair, 0, 100) },
        "on-metered" => this with { OnMetered = Flag(file, pair) },
        "check-every-hours" => this with { CheckEvery = TimeSpan.FromHours(Number(file, pair, 1, 24 * 31)) },
        var other => throw Wrong(file, pair, $"'{other}' is not known here"),
    };

    private static bool Flag(string file, KeyValueSyntax pair) => pair.Value is BooleanValueSyntax { Value: var flag } ? flag : throw Wrong(file, pair, $"{KeyOf(pair)} is true or false");

    private static int Number(string file, KeyValueSyntax pair, int least, int most) => pair.Value is IntegerValueSyntax { Value: var number } && number >= least && number <= most
        ? (int)number : throw Wrong(file, pair, string.Create(CultureInfo.InvariantCulture, $"{KeyOf(pair)} is a number from {least} to {most}"));

    private static IReadOnlyList<T> List<T>(string file, KeyValueSyntax pair, Func<string, T> parse)
    {
        if (pair.Value is not ArraySyntax array)
            throw Wrong(file, pair, $"{KeyOf(pair)} is a list of texts in quotes");
        try
        {
            return [.. array.Items.Select(item => item.Value is StringValueSyntax { Value: { } text } ? parse(text) : throw Wrong(file, pair, $"{KeyOf(pair)} is a list of texts in quotes"))];
        }
        catch (FormatException wrong)
        {
            throw Wrong(file, pair, wrong.Message);
        }
    }

    private static IReadOnlyList<RolloutStep> Ascending(string file, KeyValueSyntax pair, IReadOnlyList<RolloutStep> steps) =>
        steps.Zip(steps.Skip(1)).All(static two => two.First.Percent <= two.Second.Percent && two.First.After <= two.Second.After) && (steps.Count == 0 || steps[^1].Percent == 100)
            ? steps : throw Wrong(file, pair, "the steps of a rollout grow, and the last is 100%: else some machines would never take a version");

    private static AutoSettingsException Wrong(string file, KeyValueSyntax pair, string finding) => new(file, pair.Span.Start.Line + 1, finding);
}
