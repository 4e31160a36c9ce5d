using System.Text;

namespace Sbox.Codecs;

/// <summary>
/// A key file, as GLib reads and writes them and libostree uses for <c>config</c> and origins: groups of <c>key=value</c>.
/// Immutable; comments and the order of groups and keys are kept.
/// </summary>
/// <remarks>docs/formats/keyfile.md, after GLib's "Key-value file parser" page.</remarks>
public sealed class KeyFile
{
    private readonly IReadOnlyList<Group> groups;

    private KeyFile(IReadOnlyList<Group> groups) => this.groups = groups;

    /// <summary>No group at all.</summary>
    public static KeyFile Empty { get; } = new([]);

    /// <summary>The groups' names, in order.</summary>
    public IEnumerable<string> Groups => groups.Where(static group => group.Name is not null).Select(static group => group.Name!);

    /// <summary>Reads a key file.</summary>
    /// <exception cref="MalformedException">A line is neither a comment, a group nor a key with its value; the message has its number.</exception>
    public static KeyFile Parse(string text)
    {
        var groups = new List<Group> { new(null, []) };
        int number = 0;
        foreach (string raw in text.Split('\n'))
        {
            number++;
            string line = raw.TrimEnd('\r').TrimStart();
            if (line.Length == 0 || line[0] == '#')
                groups[^1].Lines.Add(new Line(null, line));
            else if (line[0] == '[')
                groups.Add(new Group(GroupName(line, number), []));
            else
                groups[^1].Lines.Add(KeyLine(line, number, inGroup: groups.Count > 1));
        }

        return new KeyFile(groups);
    }

    /// <summary>A value as written, or null where the group or key is missing. The last of several wins, as in GLib.</summary>
    public string? Get(string group, string key) => groups
        .Where(candidate => candidate.Name == group)
        .SelectMany(static candidate => candidate.Lines)
        .LastOrDefault(line => line.Key == key)?.Value;

    /// <summary>A value as a string: the escapes \s \n \t \r \\ undone. Null where it is missing.</summary>
    public string? GetString(string group, string key) => Get(group, key) is { } value ? Unescape(value) : null;

    /// <summary>A value as true or false; <paramref name="otherwise"/> where it is missing.</summary>
    /// <exception cref="MalformedException">It is neither.</exception>
    public bool GetBoolean(string group, string key, bool otherwise = false) => Get(group, key)?.TrimEnd() switch
    {
        null => otherwise,
        "true" or "1" => true,
        "false" or "0" => false,
        var other => throw new MalformedException("key file", $"[{group}] {key}", "true or false", $"'{other}'"),
    };

    /// <summary>A list: the value split at semicolons, without the empty end.</summary>
    public IReadOnlyList<string> GetList(string group, string key) =>
        Get(group, key) is { Length: > 0 } value ? value.TrimEnd(';').Split(';') : [];

    /// <summary>The keys of a group, in order.</summary>
    public IEnumerable<string> Keys(string group) => groups
        .Where(candidate => candidate.Name == group)
        .SelectMany(static candidate => candidate.Lines)
        .Where(static line => line.Key is not null)
        .Select(static line => line.Key!)
        .Distinct();

    /// <summary>The same file with one value changed or added; escapes are made where the value needs them.</summary>
    public KeyFile With(string group, string key, string value)
    {
        var changed = new Line(key, Escape(value));
        List<Group> copy = [.. groups.Select(static each => each with { Lines = [.. each.Lines] })];
        Group? target = copy.LastOrDefault(each => each.Name == group);
        if (target is null)
        {
            copy.Add(new Group(group, [changed]));
            return new KeyFile(copy);
        }

        int at = target.Lines.FindLastIndex(line => line.Key == key);
        if (at >= 0)
            target.Lines[at] = changed;
        else
            target.Lines.Insert(target.Lines.FindLastIndex(static line => line.Key is not null) + 1, changed);
        return new KeyFile(copy);
    }

    /// <summary>The same file without a key.</summary>
    public KeyFile Without(string group, string key) => new([.. groups.Select(each =>
        each.Name == group ? each with { Lines = [.. each.Lines.Where(line => line.Key != key)] } : each)]);

    /// <summary>The same file without a group.</summary>
    public KeyFile WithoutGroup(string group) => new([.. groups.Where(each => each.Name != group)]);

    /// <summary>The text, as GLib writes it: an empty line between groups, none at the end.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        foreach (Group group in groups)
        {
            List<Line> lines = TrimEnd(group.Lines);
            if (group.Name is not null)
                text.Append(text.Length > 0 ? "\n" : "").Append('[').Append(group.Name).Append("]\n");
            foreach (Line line in lines)
                text.Append(line.Key is null ? line.Value : $"{line.Key}={line.Value}").Append('\n');
        }

        return text.ToString();
    }

    private static List<Line> TrimEnd(List<Line> lines)
    {
        int end = lines.FindLastIndex(static line => line.Key is not null || line.Value.Length > 0);
        return lines[..(end + 1)];
    }

    private static string GroupName(string line, int number)
    {
        string name = line.TrimEnd();
        return name.Length > 2 && name[^1] == ']' && name.AsSpan(1, name.Length - 2).IndexOfAny('[', ']') < 0
            ? name[1..^1]
            : throw new MalformedException("key file", $"line {number}", "[group]", $"'{line}'");
    }

    private static Line KeyLine(string line, int number, bool inGroup)
    {
        int equals = line.IndexOf('=', StringComparison.Ordinal);
        if (equals <= 0)
            throw new MalformedException("key file", $"line {number}", "key=value", $"'{line}'");
        if (!inGroup)
            throw new MalformedException("key file", $"line {number}", "a [group] before the first key", $"'{line}'");
        return new Line(line[..equals].TrimEnd(), line[(equals + 1)..].TrimStart());
    }

    private static string Escape(string value)
    {
        var text = new StringBuilder(value.Length);
        bool leading = true;
        foreach (char c in value)
        {
            text.Append(c switch
            {
                ' ' when leading => "\\s",
                '\t' when leading => "\\t",
                '\n' => "\\n",
                '\r' => "\\r",
                '\\' => "\\\\",
                _ => c.ToString(),
            });
            leading &= c is ' ' or '\t';
        }

        return text.ToString();
    }

    private static string Unescape(string value)
    {
        if (!value.Contains('\\', StringComparison.Ordinal))
            return value;
        var text = new StringBuilder(value.Length);
        for (int at = 0; at < value.Length; at++)
        {
            if (value[at] != '\\' || at + 1 == value.Length)
            {
                text.Append(value[at]);
                continue;
            }

            at++;
            text.Append(value[at] switch
            {
                's' => ' ',
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                var other => other,
            });
        }

        return text.ToString();
    }

    private sealed record Group(string? Name, List<Line> Lines);

    private sealed record Line(string? Key, string Value);
}
