using System.Text;
using Sbox.Codecs;

namespace Sbox.Boot;

/// <summary>
/// A type 1 entry of the Boot Loader Specification, <c>loader/entries/NAME.conf</c>, as libostree reads and writes it.
/// Keys it does not know are kept. Immutable.
/// </summary>
/// <remarks>docs/formats/boot-entry.md, after the specification and libostree's ostree-bootconfig-parser.c.</remarks>
public sealed class BootEntry
{
    // libostree writes these first, in this order; others follow.
    private static readonly string[] FirstKeys = ["title", "version", "options", "devicetree", "linux", "initrd"];

    private readonly IReadOnlyList<(string Key, string Value)> fields;

    private BootEntry(IEnumerable<(string Key, string Value)> fields) => this.fields = [.. fields];

    /// <summary>An entry without any key.</summary>
    public static BootEntry Empty { get; } = new([]);

    /// <summary>What a menu shows.</summary>
    public string? Title => Get("title");

    /// <summary>What a menu sorts by.</summary>
    public string? Version => Get("version");

    /// <summary>The kernel's path on the partition that holds the entry.</summary>
    public string? Linux => Get("linux");

    /// <summary>The initrds' paths, in the order in which the kernel unpacks them.</summary>
    public IEnumerable<string> Initrds => fields.Where(static line => line.Key == "initrd").Select(static line => line.Value);

    /// <summary>The kernel's command line.</summary>
    public KernelArguments Options => KernelArguments.Parse(Get("options") ?? "");

    /// <summary>Reads an entry. Lines that do not begin with a letter (comments, blank lines) are no part of it, as in libostree.</summary>
    /// <param name="text">The whole file.</param>
    /// <exception cref="MalformedException">A line is a key without a value.</exception>
    public static BootEntry Parse(string text)
    {
        var fields = new List<(string, string)>();
        foreach ((int number, string raw) in text.Split('\n').Index())
        {
            string line = raw.TrimEnd('\r');
            if (line.Length == 0 || !char.IsAsciiLetter(line[0]))
                continue;
            int blank = line.AsSpan().IndexOfAny(' ', '\t');
            if (blank < 0)
                throw new MalformedException("boot entry", $"line {number + 1}", "a key, a blank and a value", $"'{line}'");
            fields.Add((line[..blank], line[(blank + 1)..].TrimStart(' ', '\t')));
        }

        return new BootEntry(fields);
    }

    /// <summary>The value of a key; the last one where it is there several times, null where it is not.</summary>
    public string? Get(string key) => fields.LastOrDefault(line => line.Key == key).Value;

    /// <summary>The same entry with one value for a key.</summary>
    public BootEntry With(string key, string value)
    {
        int first = fields.Index().FirstOrDefault(each => each.Item.Key == key, (-1, default)).Index;
        return first < 0
            ? new BootEntry([.. fields, (key, value)])
            : new BootEntry(fields.Where((line, at) => at == first || line.Key != key).Select(line => line.Key == key ? (key, value) : line));
    }

    /// <summary>The same entry with one more line of a key that may stand several times.</summary>
    public BootEntry WithAnother(string key, string value) => new([.. fields, (key, value)]);

    /// <summary>The same entry with this command line.</summary>
    public BootEntry With(KernelArguments options) => With("options", options.ToString());

    /// <summary>The same entry without a key.</summary>
    public BootEntry Without(string key) => new(fields.Where(line => line.Key != key));

    /// <summary>The file's text, as libostree writes it: a blank between key and value, its own keys first.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        foreach ((string key, string value) in fields.OrderBy(static line => Rank(line.Key))) // stable: the rest keeps its order
            text.Append(key).Append(' ').Append(value).Append('\n');
        return text.ToString();
    }

    private static int Rank(string key) => Array.IndexOf(FirstKeys, key) is var rank && rank >= 0 ? rank : FirstKeys.Length;
}
