using System.Text;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>The list of what stays to which orphans are added when their owner wants them to stay: <c>adopted.toml</c>.</summary>
public static class AdoptedList
{
    /// <summary>Its name among the lists.</summary>
    public const string Name = "adopted.toml";

    /// <summary>Adds paths and groups to it, those that it names already stay.</summary>
    /// <param name="etc">/etc.</param>
    /// <param name="directory">Where the lists are, in words of the file system.</param>
    /// <param name="what">Paths, in the ledger's words, and groups.</param>
    /// <exception cref="GhostSettingsException">The list that is there cannot be read, or the new one could not: it is left as it was.</exception>
    /// <exception cref="ArgumentException">A path is no text: TOML cannot name it.</exception>
    public static void Add(Dir etc, string directory, IEnumerable<string> what)
    {
        string[] added = [.. what];
        if (added.FirstOrDefault(static each => !CanName(each)) is { } bytes)
            throw new ArgumentException($"{bytes}: a list cannot name it, its name is no UTF-8", nameof(what));
        string file = $"{directory}/{Name}";
        string[] all = [.. KeepList.Read(static path => path, directory).Where(rule => rule.File == file).Select(static rule => rule.What).Concat(added).Distinct(StringComparer.Ordinal)];
        var text = new StringBuilder("# What sbox keep --orphans was told to adopt.\n");
        Append(text, "presets", all.Where(static each => !each.StartsWith('/')));
        Append(text, "paths", all.Where(static each => each.StartsWith('/')));
        KeepList.Parse(file, text.ToString(), static path => path); // one line that cannot be heeded, and no list keeps anything
        using Dir sbox = etc.MakeAndOpenDir("sbox"), lists = sbox.MakeAndOpenDir("keep.d");
        Durable.Replace(lists, Name, Encoding.UTF8.GetBytes(text.ToString()));
    }

    /// <summary>Whether TOML can name a path: it is text.</summary>
    public static bool CanName(string path) => !path.Any(char.IsSurrogate) || Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(path)).Equals(path, StringComparison.Ordinal);

    private static void Append(StringBuilder text, string key, IEnumerable<string> values)
    {
        string[] all = [.. values];
        if (all.Length > 0)
            text.Append(key).Append(" = [\n").AppendJoin("", all.Select(static value => $"  {Quoted(value)},\n")).Append("]\n");
    }

    private static string Quoted(string value)
    {
        var text = new StringBuilder("\"");
        foreach (char letter in value)
            text.Append(letter is '"' or '\\' ? $"\\{letter}" : char.IsControl(letter) ? $"\\u{(int)letter:x4}" : $"{letter}");
        return text.Append('"').ToString();
    }
}
