using System.Globalization;
using System.Text;
using Sbox.Codecs;
using Tomlyn.Parsing;
using Tomlyn.Syntax;

namespace Sbox.Store;

/// <summary>Reads trust documents. What is not known here is a mistake: nobody signs what nobody obeys.</summary>
/// <param name="path">Where the document is, for errors.</param>
internal sealed class TrustReader(string path)
{
    private const int MostKeys = 100, MostPatterns = 100, MostLetters = 200;
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
    private static readonly TimeSpan LeastAge = TimeSpan.FromHours(1), MostAge = TimeSpan.FromDays(3650);

    public TrustDocument Read(ReadOnlySpan<byte> bytes)
    {
        DocumentSyntax syntax = SyntaxParser.Parse(TextOf(bytes), path, validate: true);
        foreach (DiagnosticMessage message in syntax.Diagnostics)
        {
            if (message.Kind == DiagnosticMessageKind.Error)
                throw Wrong(message.Span.Start.Line, message.Message.TrimEnd('.'));
        }

        var top = new Table(this, "", 0, syntax.KeyValues);
        var tables = new Dictionary<string, Table>(StringComparer.Ordinal);
        var patterns = new Dictionary<string, Table>(StringComparer.Ordinal);
        foreach (TableSyntaxBase each in syntax.Tables)
        {
            int line = each.Span.Start.Line;
            string[] names = each is TableSyntax ? Names(each.Name) : [];
            Dictionary<string, Table> holder = names switch
            {
                ["keys" or "document" or "summary"] => tables,
                ["commits", _] => patterns,
                _ => throw Wrong(line, $"[{each.Name?.ToString().Trim()}]: there are [keys], [document], [summary] and [commits.\"BRANCH\"] here"),
            };
            if (!holder.TryAdd(names[^1], new Table(this, string.Join('.', names), line, each.Items)))
                throw Wrong(line, $"[{each.Name?.ToString().Trim()}] is there twice");
        }

        SortedDictionary<string, Ed25519PublicKey> keys = Keys(tables.GetValueOrDefault("keys") ?? throw Wrong(0, "there is no [keys]"));
        var commits = new SortedDictionary<string, TrustRule>(StringComparer.Ordinal);
        foreach ((string pattern, Table table) in patterns)
            commits.Add(IsPattern(pattern) ? pattern : throw Wrong(table.Line, $"'{pattern}' is neither a branch's name nor the beginning of one and '*'"), Rule(table, keys));
        if (commits.Count > MostPatterns)
            throw Wrong(0, $"more than {MostPatterns} rules for commits");
        var document = new TrustDocument
        {
            Repository = top.Text("repository", IsName, "letters, digits and . _ - /"),
            Version = top.Number("version", 1, int.MaxValue),
            Expires = top.Time("expires"),
            SummaryAge = TimeSpan.FromSeconds(top.Number("summary-age", (long)LeastAge.TotalSeconds, (long)MostAge.TotalSeconds)),
            Keys = keys,
            Document = Rule(tables.GetValueOrDefault("document") ?? throw Wrong(0, "there is no [document]"), keys),
            Summary = Rule(tables.GetValueOrDefault("summary") ?? throw Wrong(0, "there is no [summary]"), keys),
            Commits = commits,
        };
        top.Finish();
        return document;
    }

    /// <summary>Whether a text may name a key.</summary>
    public static bool IsKeyName(string name) => name.Length is > 0 and <= 64 && name.All(static letter => char.IsAsciiLetterOrDigit(letter) || letter is '-' or '_');

    // Text without control characters: neither a summary nor a commit is such, so no signature of the one fits the other's bytes.
    private string TextOf(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length > TrustDocument.MaximumSize)
            throw Wrong(0, $"{bytes.Length} bytes; {TrustDocument.MaximumSize} may be");
        try
        {
            string text = Strict.GetString(bytes);
            return text.Any(static letter => char.IsControl(letter) && letter is not ('\n' or '\t')) ? throw Wrong(0, "control characters in it") : text;
        }
        catch (DecoderFallbackException)
        {
            throw Wrong(0, "bytes that are no UTF-8");
        }
    }

    private SortedDictionary<string, Ed25519PublicKey> Keys(Table table)
    {
        var keys = new SortedDictionary<string, Ed25519PublicKey>(StringComparer.Ordinal);
        foreach (string name in table.Names)
        {
            string text = table.Text(name, static _ => true, "");
            var bytes = new byte[text.Length];
            if (!IsKeyName(name) || !Convert.TryFromBase64String(text, bytes, out int length) || length != 32)
                throw Wrong(table.LineOf(name), $"keys.{name}: expected an Ed25519 public key in base64, 44 letters, by a name of letters, digits, - and _");
            var key = new Ed25519PublicKey(bytes.AsSpan(0, length));
            // By two names, one key would be two of a threshold.
            if (keys.FirstOrDefault(each => each.Value.ToString() == key.ToString()) is { Key: { } other })
                throw Wrong(table.LineOf(name), $"keys.{name}: it is the same key as {other}");
            keys.Add(name, key);
        }

        return keys.Count <= MostKeys ? keys : throw Wrong(table.Line, $"more than {MostKeys} keys");
    }

    private TrustRule Rule(Table table, IReadOnlyDictionary<string, Ed25519PublicKey> keys)
    {
        IReadOnlyList<string> signers = table.Texts("signers");
        if (signers.FirstOrDefault(name => !keys.ContainsKey(name)) is { } unknown)
            throw Wrong(table.LineOf("signers"), $"{table.Name}.signers: [keys] has no '{unknown}'");
        if (signers.Count == 0 || signers.Distinct(StringComparer.Ordinal).Count() != signers.Count)
            throw Wrong(table.LineOf("signers"), $"{table.Name}.signers: expected names of keys, each once");
        var rule = new TrustRule((int)table.Number("threshold", 1, signers.Count), signers);
        table.Finish();
        return rule;
    }

    private static bool IsName(string text) => text.Length is > 0 and <= MostLetters && text.All(static letter => char.IsAsciiLetterOrDigit(letter) || letter is '.' or '_' or '-' or '/');

    private static bool IsPattern(string text) => text == "*" || IsName(text.EndsWith('*') ? text[..^1] : text);

    private static string[] Names(KeySyntax? key) => key?.Key is not { } first ? [] : [Plain(first), .. key.DotKeys.Select(static each => each.Key is { } inner ? Plain(inner) : "")];

    private static string Plain(BareKeyOrStringValueSyntax key) => key is StringValueSyntax quoted ? quoted.Value ?? "" : key.ToString().Trim();

    private TrustException Wrong(int line, string finding) => new(path, TrustProblem.Malformed, $"line {line + 1}: {finding}");

    /// <summary>One table; each key is asked for by its name, and one that nobody asked for is an error.</summary>
    private sealed class Table
    {
        private readonly TrustReader reader;
        private readonly SortedDictionary<string, KeyValueSyntax> values = new(StringComparer.Ordinal);
        private readonly HashSet<string> known = new(StringComparer.Ordinal);

        public Table(TrustReader reader, string name, int line, IEnumerable<KeyValueSyntax> items)
        {
            (this.reader, Name, Line) = (reader, name, line);
            foreach (KeyValueSyntax item in items)
            {
                if (TrustReader.Names(item.Key) is not [var key] || !values.TryAdd(key, item))
                    throw reader.Wrong(item.Span.Start.Line, $"{item.Key?.ToString().Trim()}: expected a plain key, once");
            }
        }

        public string Name { get; }

        public int Line { get; }

        public IEnumerable<string> Names => values.Keys;

        public int LineOf(string key) => values.TryGetValue(key, out KeyValueSyntax? item) ? item.Span.Start.Line : Line;

        public string Text(string key, Func<string, bool> accept, string expected) =>
            Find(key)?.Value is StringValueSyntax { Value: { } text } && accept(text) ? text : throw Wrong(key, $"a text in quotes{(expected.Length > 0 ? $" of {expected}" : "")}");

        public long Number(string key, long least, long most) => Find(key)?.Value is IntegerValueSyntax { Value: var number } && number >= least && number <= most
            ? number : throw Wrong(key, string.Create(CultureInfo.InvariantCulture, $"a number from {least} to {most}"));

        public DateTimeOffset Time(string key) => Find(key)?.Value is DateTimeValueSyntax { Value: { Kind: Tomlyn.TomlDateTimeKind.OffsetDateTimeByZ, DateTime: var time } } && time.Ticks % TimeSpan.TicksPerSecond == 0
            ? time : throw Wrong(key, "a time in whole seconds and UTC, as 2027-06-01T00:00:00Z");

        public IReadOnlyList<string> Texts(string key) => Find(key)?.Value is ArraySyntax array
            ? [.. array.Items.Select(item => item.Value is StringValueSyntax { Value: { } text } ? text : throw Wrong(key, "a list of texts in quotes"))]
            : throw Wrong(key, "a list of texts in quotes");

        /// <summary>Refuses keys that nobody asked for.</summary>
        public void Finish()
        {
            if (values.Keys.FirstOrDefault(key => !known.Contains(key)) is { } unknown)
                throw reader.Wrong(LineOf(unknown), $"{Full(unknown)}: unknown; there are {string.Join(", ", known.Order(StringComparer.Ordinal))} here");
        }

        private KeyValueSyntax? Find(string key)
        {
            known.Add(key);
            return values.GetValueOrDefault(key);
        }

        private string Full(string key) => Name.Length > 0 ? $"{Name}.{key}" : key;

        private TrustException Wrong(string key, string expected) => reader.Wrong(LineOf(key), $"{Full(key)}: expected {expected}, found {Shown(key)}");

        private string Shown(string key)
        {
            string text = values.TryGetValue(key, out KeyValueSyntax? item) ? $"{item.Value}".Trim().Split('\n')[0] : "nothing";
            return text.Length > 40 ? $"{text[..40]}…" : text;
        }
    }
}
