using System.Globalization;
using System.Text;

namespace Sbox.Codecs;

/// <summary>Values from the text that <c>g_variant_parse</c> reads: what <c>--add-metadata KEY=VALUE</c> takes.</summary>
/// <remarks>After GLib's "GVariant Text Format": a value's type is told by an annotation (<c>@as []</c>, <c>uint64 5</c>) or found from it and its neighbours.</remarks>
internal ref struct GVariantTextReader(ReadOnlySpan<char> text)
{
    private const string Format = "GVariant text";
    private const char AnyNumber = 'N', AnyType = '*';
    private readonly ReadOnlySpan<char> text = text;
    private int at;

    /// <exception cref="MalformedException">It is no value, or its type cannot be found.</exception>
    public static GVariant Parse(ReadOnlySpan<char> text)
    {
        var reader = new GVariantTextReader(text);
        Node node = reader.Value(depth: 0);
        reader.Space();
        return reader.at == text.Length ? node.Make(Settled(node.Pattern)) : throw Malformed("the end", reader.Rest());
    }

    private static readonly Dictionary<string, char> Keywords = new()
    {
        ["boolean"] = 'b', ["byte"] = 'y', ["int16"] = 'n', ["uint16"] = 'q', ["int32"] = 'i', ["handle"] = 'h', ["uint32"] = 'u',
        ["int64"] = 'x', ["uint64"] = 't', ["double"] = 'd', ["string"] = 's', ["objectpath"] = 'o', ["signature"] = 'g',
    };

    private Node Value(int depth)
    {
        if (depth > GVariantType.MaximumDepth)
            throw Malformed($"at most {GVariantType.MaximumDepth} levels", "more");
        Space();
        if (at == text.Length)
            throw Malformed("a value", "the end");
        switch (text[at])
        {
            case '@':
                at++;
                string type = TypeWord();
                return Value(depth + 1).As(type);
            case '<':
                at++;
                Node boxed = Value(depth + 1);
                Expect('>');
                return new Node("v", _ => GVariant.Box(boxed.Make(Settled(boxed.Pattern))));
            case '(':
                return TupleOf(Items(')', depth));
            case '[':
                return ArrayOf(Items(']', depth));
            case '{':
                return Dictionary(depth);
            case '\'' or '"':
                return Node.Text(Quoted());
            case 'b' when at + 1 < text.Length && text[at + 1] is '\'' or '"':
                at++;
                byte[] bytes = [.. Encoding.UTF8.GetBytes(Quoted(octal: true)), 0];
                return new Node("ay", _ => GVariant.Of(bytes));
            default:
                return char.IsAsciiLetter(text[at]) && !IsNumberWord() ? Word(depth) : Number();
        }
    }

    private Node Word(int depth)
    {
        int start = at;
        while (at < text.Length && char.IsAsciiLetterOrDigit(text[at]))
            at++;
        string word = text[start..at].ToString();
        if (word is "true" or "false")
            return new Node("b", _ => GVariant.Of(word == "true"));
        if (word == "nothing")
            return new Node("m" + AnyType, static type => new GVariant(GVariantType.Parse(type), System.Array.Empty<GVariant>()));
        if (word == "just")
        {
            Node inner = Value(depth + 1);
            return new Node("m" + inner.Pattern, type => new GVariant(GVariantType.Parse(type), new[] { inner.Make(type[1..]) }));
        }

        return Keywords.TryGetValue(word, out char kind) ? Value(depth + 1).As(kind.ToString()) : throw Malformed("a value", $"'{word}'");
    }

    private Node Dictionary(int depth)
    {
        at++;
        var keys = new List<Node>();
        var values = new List<Node>();
        Space();
        if (Take('}'))
            return new Node($"a{{{AnyType}{AnyType}}}", static type => GVariant.Array(GVariantType.Parse(type[1..])));
        do
        {
            keys.Add(Value(depth + 1));
            Space();
            if (keys.Count == 1 && Take(','))
            {
                Node only = Value(depth + 1);
                Expect('}');
                return new Node($"{{{keys[0].Pattern}{only.Pattern}}}", type => GVariant.Entry(keys[0].Make(type[1..2]), only.Make(type[2..^1])));
            }

            Expect(':');
            values.Add(Value(depth + 1));
            Space();
        }
        while (Take(','));
        Expect('}');
        string key = Common(keys), value = Common(values);
        return new Node($"a{{{key}{value}}}", type => GVariant.Array(
            GVariantType.Parse(type[1..]), [.. keys.Select((each, i) => GVariant.Entry(each.Make(type[2..3]), values[i].Make(type[3..^1])))]));
    }

    private List<Node> Items(char end, int depth)
    {
        at++;
        var items = new List<Node>();
        Space();
        while (!Take(end))
        {
            items.Add(Value(depth + 1));
            Space();
            if (!Take(',') && (at == text.Length || text[at] != end))
                throw Malformed($"',' or '{end}'", Rest());
            Space();
        }

        return items;
    }

    private static Node ArrayOf(List<Node> items) => new(
        "a" + Common(items), type => GVariant.Array(GVariantType.Parse(type[1..]), [.. items.Select(item => item.Make(type[1..]))]));

    private static Node TupleOf(List<Node> items) => new(
        $"({string.Concat(items.Select(static item => item.Pattern))})",
        type =>
        {
            IReadOnlyList<GVariantType> members = GVariantType.Parse(type).Children;
            return GVariant.Tuple([.. items.Select((item, i) => item.Make(members[i].Signature))]);
        });

    private Node Number()
    {
        int start = at;
        while (at < text.Length && (char.IsAsciiLetterOrDigit(text[at]) || text[at] is '-' or '+' or '.'))
            at++;
        string word = text[start..at].ToString();
        if (word.Length == 0)
            throw Malformed("a value", Rest());
        bool real = IsReal(word);
        return new Node(real ? "d" : AnyNumber.ToString(), type => Numbered(word, type[0]));
    }

    private static bool IsReal(string word) => !word.Contains('x', StringComparison.OrdinalIgnoreCase) &&
        (word.AsSpan().IndexOfAny(".e") >= 0 || word.TrimStart('-', '+') is "inf" or "infinity" or "nan");

    private readonly bool IsNumberWord() => text[at..] is ['i', 'n', 'f', ..] or ['n', 'a', 'n', ..];

    private static GVariant Numbered(string word, char kind)
    {
        try
        {
            if (kind == 'd')
                return Basic(kind, word.TrimStart('-', '+') switch
                {
                    "inf" or "infinity" => word[0] == '-' ? double.NegativeInfinity : double.PositiveInfinity,
                    "nan" => double.NaN,
                    _ => double.Parse(word, CultureInfo.InvariantCulture),
                });
            Int128 number = Whole(word);
            return Basic(kind, kind switch
            {
                'y' => (byte)checked((byte)number),
                'n' => checked((short)number),
                'q' => checked((ushort)number),
                'i' or 'h' => checked((int)number),
                'u' => checked((uint)number),
                'x' => checked((long)number),
                't' => checked((ulong)number),
                _ => throw Malformed($"a value of type {kind}", $"the number {word}"),
            });
        }
        catch (Exception wrong) when (wrong is FormatException or OverflowException)
        {
            throw Malformed($"a number of type {kind}", $"'{word}'");
        }
    }

    private static Int128 Whole(string word)
    {
        bool negative = word.StartsWith('-');
        string digits = word.TrimStart('-', '+');
        Int128 number = digits.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
            ? Int128.Parse(digits.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)
            : digits.Length > 1 && digits[0] == '0'
                ? (Int128)Convert.ToUInt64(digits, 8)
                : Int128.Parse(digits, NumberStyles.None, CultureInfo.InvariantCulture);
        return negative ? -number : number;
    }

    private static GVariant Basic(char kind, object value) => new(GVariantType.Parse(kind.ToString()), value);

    private string Quoted(bool octal = false)
    {
        char quote = text[at++];
        var content = new StringBuilder();
        while (true)
        {
            if (at == text.Length)
                throw Malformed($"a closing {quote}", "the end");
            char c = text[at++];
            if (c == quote)
                return content.ToString();
            if (c != '\\')
            {
                content.Append(c);
                continue;
            }

            if (at == text.Length)
                throw Malformed("an escape", "the end");
            Escape(content, octal);
        }
    }

    private void Escape(StringBuilder content, bool octal)
    {
        char c = text[at++];
        int digits = octal && c is >= '0' and <= '7' ? -1 : c switch { 'u' => 4, 'U' => 8, _ => 0 };
        if (digits > 0)
        {
            if (at + digits > text.Length || !int.TryParse(text.Slice(at, digits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out int code) || !Rune.TryCreate(code, out Rune rune))
                throw Malformed($"{digits} hexadecimal digits of a character", Rest());
            content.Append(rune.ToString());
            at += digits;
            return;
        }

        if (digits < 0)
        {
            int value = c - '0';
            for (int i = 0; i < 2 && at < text.Length && text[at] is >= '0' and <= '7'; i++)
                value = (value * 8) + (text[at++] - '0');
            content.Append((char)(value & 0xFF));
            return;
        }

        content.Append(c switch { 'a' => '\a', 'b' => '\b', 'f' => '\f', 'n' => '\n', 'r' => '\r', 't' => '\t', 'v' => '\v', _ => c });
    }

    private string TypeWord()
    {
        int start = at, depth = 0;
        while (at < text.Length && (depth > 0 || !char.IsWhiteSpace(text[at])))
        {
            depth += text[at] switch { '(' or '{' => 1, ')' or '}' => -1, _ => 0 };
            at++;
        }

        string word = text[start..at].ToString();
        return GVariantType.Parse(word).Signature;
    }

    private void Space()
    {
        while (at < text.Length && char.IsWhiteSpace(text[at]))
            at++;
    }

    private bool Take(char c)
    {
        if (at == text.Length || text[at] != c)
            return false;
        at++;
        return true;
    }

    private void Expect(char c)
    {
        Space();
        if (!Take(c))
            throw Malformed($"'{c}'", Rest());
    }

    private readonly string Rest() => at == text.Length ? "the end" : $"'{text.Slice(at, Math.Min(20, text.Length - at))}'";

    private static string Common(List<Node> nodes) => nodes.Select(static node => node.Pattern).Aggregate(AnyType.ToString(), Merge);

    // Two patterns as one: what one leaves open the other decides.
    private static string Merge(string one, string other)
    {
        var merged = new StringBuilder();
        int i = 0, j = 0;
        while (i < one.Length && j < other.Length)
        {
            char a = one[i], b = other[j];
            if (a == AnyType || b == AnyType)
            {
                string source = a == AnyType ? other : one;
                int from = a == AnyType ? j : i, length = LengthOfOne(source, from);
                merged.Append(source, from, length);
                i += a == AnyType ? 1 : length;
                j += a == AnyType ? length : 1;
                continue;
            }

            if (a != b && !(a == AnyNumber && "ynqihuxtd".Contains(b, StringComparison.Ordinal)) && !(b == AnyNumber && "ynqihuxtd".Contains(a, StringComparison.Ordinal)))
                throw Malformed($"items of one type ({Settled(one)})", Settled(other));
            merged.Append(a == AnyNumber ? b : a);
            (i, j) = (i + 1, j + 1);
        }

        return i == one.Length && j == other.Length ? merged.ToString() : throw Malformed($"items of one type ({Settled(one)})", Settled(other));
    }

    private static int LengthOfOne(string pattern, int from)
    {
        int at = from;
        while (pattern[at] is 'a' or 'm')
            at++;
        if (pattern[at] is not ('(' or '{'))
            return at - from + 1;
        for (int depth = 0; ; at++)
        {
            depth += pattern[at] switch { '(' or '{' => 1, ')' or '}' => -1, _ => 0 };
            if (depth == 0)
                return at - from + 1;
        }
    }

    // A number that nothing says more of is an int32; what nothing is known of has no type.
    private static string Settled(string pattern) => pattern.Contains(AnyType, StringComparison.Ordinal)
        ? throw Malformed("a value whose type can be told", "one that needs an annotation, as @as []")
        : pattern.Replace(AnyNumber, 'i');

    private static MalformedException Malformed(string expected, string found) => new(Format, "value", expected, found);

    private sealed record Node(string Pattern, Func<string, GVariant> Make)
    {
        public static Node Text(string content) => content.Contains('\0', StringComparison.Ordinal)
            ? throw Malformed("a string without NUL", "one with")
            : new Node("s", type => type == "s" ? GVariant.Of(content) : Basic(type[0], content));

        /// <summary>The same with its type said.</summary>
        public Node As(string type)
        {
            if (Pattern == "s" && type is "s" or "o" or "g")
                return new Node(type, Make);
            // What a maybe holds may stand for it: @mi 5.
            if (type[0] == 'm' && Pattern[0] != 'm')
            {
                Node held = As(type[1..]);
                return new Node(type, whole => new GVariant(GVariantType.Parse(whole), new[] { held.Make(whole[1..]) }));
            }

            return new Node(Merge(Pattern, type), Make);
        }
    }
}
