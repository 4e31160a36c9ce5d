using System.Text;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A tree's os-release: who made it, and what it calls itself. Immutable; the order of lines is kept.</summary>
/// <param name="Fields">Names and values, quotes removed.</param>
/// <remarks>After os-release(5).</remarks>
public sealed record OsRelease(IReadOnlyList<KeyValuePair<string, string>> Fields)
{
    /// <summary>What people read: <c>Debian GNU/Linux 13 (trixie)</c>.</summary>
    public string PrettyName => this["PRETTY_NAME"] ?? this["NAME"] ?? this["ID"] ?? "Linux";

    /// <summary>A field's value; null where it is missing.</summary>
    public string? this[string name] => Fields.LastOrDefault(field => field.Key == name).Value;

    /// <summary>Reads a tree's <c>usr/lib/os-release</c>, else its <c>etc/os-release</c>; empty where it has neither.</summary>
    public static OsRelease Of(Dir tree)
    {
        foreach (string path in (string[])["usr/lib/os-release", "usr/etc/os-release", "etc/os-release"])
        {
            if (tree.TryStat(path) is { IsRegular: true })
                return Parse(Encoding.UTF8.GetString(tree.ReadAll(path)));
        }

        return new OsRelease([]);
    }

    /// <summary>Reads the file's text. Lines that set nothing are no part of it.</summary>
    public static OsRelease Parse(string text) => new([.. text.Split('\n')
        .Where(static line => line.Length > 0 && line[0] != '#' && line.IndexOf('=', StringComparison.Ordinal) > 0)
        .Select(static line => line.Split('=', 2))
        .Select(static parts => new KeyValuePair<string, string>(parts[0], Unquote(parts[1])))]);

    /// <summary>The same with one field set.</summary>
    public OsRelease With(string name, string value) =>
        new([.. Fields.Where(field => field.Key != name), new KeyValuePair<string, string>(name, value)]);

    /// <summary>The file's text; every value in double quotes.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        foreach ((string name, string value) in Fields)
        {
            text.Append(name).Append("=\"");
            foreach (char c in value)
                text.Append(c is '"' or '\\' or '$' or '`' ? $"\\{c}" : c.ToString());
            text.Append("\"\n");
        }

        return text.ToString();
    }

    // As a shell reads an assignment, as far as os-release(5) allows: "..." with backslashes, '...' without.
    private static string Unquote(string value)
    {
        value = value.Trim();
        if (value.Length >= 2 && value[0] == '\'' && value[^1] == '\'')
            return value[1..^1];
        bool quoted = value.Length >= 2 && value[0] == '"' && value[^1] == '"';
        string inner = quoted ? value[1..^1] : value;
        var text = new StringBuilder(inner.Length);
        for (int at = 0; at < inner.Length; at++)
        {
            if (inner[at] == '\\' && at + 1 < inner.Length)
                at++;
            text.Append(inner[at]);
        }

        return text.ToString();
    }
}
