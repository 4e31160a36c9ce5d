using System.Buffers.Text;
using System.Text;
using Sbox.Codecs.Erofs;

namespace Sbox.Codecs.Composefs;

/// <summary>One line of a dump: eleven fields with a space between, then the extended attributes.</summary>
/// <param name="Number">Counted from one.</param>
/// <param name="Path">The names from the root; none for the root itself. Each byte is a character (Latin-1).</param>
/// <param name="Node">The file; null for a hard link, whose target <paramref name="LinkTarget"/> names, and for a directory.</param>
/// <param name="Attributes">The file's attributes.</param>
/// <param name="LinkTarget">Names from the root to what a hard link links.</param>
internal sealed record DumpLine(int Number, string[] Path, Node? Node, Attributes Attributes, string[]? LinkTarget)
{
    public bool IsDirectory => Node is null && LinkTarget is null;

    public static DumpLine Read(ReadOnlySpan<byte> line, int number)
    {
        if (line.Contains((byte)0))
            throw Malformed(number, "text without zero bytes", "a zero byte");
        var fields = new Fields(line, number);
        string[] path = SplitPath(fields.Text("path"), number, isTarget: false);
        ulong size = fields.Number("size", ulong.MaxValue);
        (uint mode, bool isLink) = fields.Mode();
        uint links = (uint)fields.Number("nlink", uint.MaxValue);
        uint uid = (uint)fields.Number("uid", uint.MaxValue);
        uint gid = (uint)fields.Number("gid", uint.MaxValue);
        uint device = (uint)fields.Number("rdev", uint.MaxValue);
        (long seconds, uint nanoseconds) = fields.Time();
        byte[]? payload = fields.OptionalText("payload");
        byte[]? content = fields.OptionalText("content");
        Checksum? digest = fields.Digest();
        var attributes = new Attributes(mode & 0xFFF, uid, gid, seconds, nanoseconds, fields.Xattrs());

        uint type = mode & FileType.Mask;
        if (isLink)
        {
            if (type == FileType.Directory)
                throw Malformed(number, "a file as a hard link", "a directory");
            string[] target = SplitPath(payload ?? throw Malformed(number, "a hard link's target as payload", "-"), number, isTarget: true);
            return new DumpLine(number, path, Node: null, attributes, target);
        }

        if (type == FileType.Directory)
            return new DumpLine(number, path, Node: null, attributes, LinkTarget: null);
        if (content is not null && (ulong)content.Length != size)
            throw Malformed(number, $"content of {size} bytes, as the size says", $"{content.Length} bytes");
        Node node = type switch
        {
            FileType.Regular when content is { Length: > 0 } => new InlineFile(attributes, content),
            FileType.Regular => new BackedFile(attributes, size, payload ?? [], digest),
            FileType.SymbolicLink => new SymbolicLink(attributes, payload ?? throw Malformed(number, "a link's target as payload", "-")),
            FileType.BlockDevice or FileType.CharacterDevice => new DeviceNode(attributes, type == FileType.BlockDevice, device),
            FileType.Fifo => new NamedPipe(attributes),
            _ => new SocketNode(attributes),
        };
        return new DumpLine(number, path, node with { Links = links }, attributes, LinkTarget: null);
    }

    public static MalformedException Malformed(int number, string expected, string found) =>
        new(ComposefsDump.Format, $"line {number}", expected, found);

    private static string[] SplitPath(byte[] path, int number, bool isTarget)
    {
        string text = Encoding.Latin1.GetString(path);
        string[] names = text.Split('/', StringSplitOptions.RemoveEmptyEntries);
        bool isRoot = text == "/";
        return isTarget || isRoot || (names.Length > 0 && !text.EndsWith('/'))
            ? names
            : throw Malformed(number, "an absolute path", $"'{text}'");
    }

    /// <summary>The line from the first field not read yet.</summary>
    private ref struct Fields(ReadOnlySpan<byte> line, int number)
    {
        private ReadOnlySpan<byte> rest = line;
        private bool ended;

        public byte[] Text(string field) => Unescape(Next(field), field);

        public byte[]? OptionalText(string field)
        {
            ReadOnlySpan<byte> raw = Next(field);
            return raw.SequenceEqual("-"u8) ? null : Unescape(raw, field);
        }

        public ulong Number(string field, ulong max) => ParseNumber(Next(field), field, max);

        /// <summary>Octal, with the type; "@" before it says that the line is a hard link.</summary>
        public (uint Mode, bool IsLink) Mode()
        {
            ReadOnlySpan<byte> raw = Next("mode");
            bool isLink = raw is [(byte)'@', ..];
            ReadOnlySpan<byte> digits = isLink ? raw[1..] : raw;
            if (digits.Length is 0 or > 10 || digits.ContainsAnyExcept("01234567"u8))
                throw Malformed(number, "an octal mode", Show(raw));
            uint mode = 0;
            foreach (byte digit in digits)
                mode = (mode << 3) | (uint)(digit - '0');
            return FileType.DirentCode(mode) != 0 ? (mode, isLink) : throw Malformed(number, "a mode with a file type", Show(raw));
        }

        /// <summary>Seconds, a point, nanoseconds: no decimal fraction, so 1.1 is one second and one nanosecond.</summary>
        public (long Seconds, uint Nanoseconds) Time()
        {
            ReadOnlySpan<byte> raw = Next("mtime");
            int point = raw.IndexOf((byte)'.');
            if (point < 0 || !Utf8Parser.TryParse(raw[..point], out long seconds, out int used) || used != point)
                throw Malformed(number, "a time such as 1700000000.0", Show(raw));
            return (seconds, (uint)ParseNumber(raw[(point + 1)..], "mtime", 999_999_999));
        }

        public Checksum? Digest()
        {
            byte[]? text = OptionalText("digest");
            if (text is null)
                return null;
            return Checksum.TryParse(Encoding.Latin1.GetString(text).ToLowerInvariant(), out Checksum digest)
                ? digest
                : throw Malformed(number, "a digest of 64 hexadecimal digits", Show(text));
        }

        /// <summary>What is left of the line; of two with one name the later counts.</summary>
        public List<Xattr> Xattrs()
        {
            var xattrs = new Dictionary<string, Xattr>();
            while (!ended && !rest.IsEmpty)
            {
                ReadOnlySpan<byte> raw = Next("xattr");
                int equals = raw.IndexOf((byte)'=');
                if (equals < 0)
                    throw Malformed(number, "an extended attribute as name=value", Show(raw));
                byte[] name = Unescape(raw[..equals], "xattr");
                xattrs[Encoding.Latin1.GetString(name)] = new Xattr(name, Unescape(raw[(equals + 1)..], "xattr"));
            }

            return [.. xattrs.Values];
        }

        private ReadOnlySpan<byte> Next(string field)
        {
            if (ended)
                throw Malformed(number, $"a field {field}", "the line's end");
            int space = rest.IndexOf((byte)' ');
            ended = space < 0;
            ReadOnlySpan<byte> raw = ended ? rest : rest[..space];
            rest = ended ? default : rest[(space + 1)..];
            return raw;
        }

        private readonly ulong ParseNumber(ReadOnlySpan<byte> raw, string field, ulong max) =>
            Utf8Parser.TryParse(raw, out ulong value, out int used) && used == raw.Length && raw[0] != '+' && value <= max
                ? value
                : throw Malformed(number, $"a number for {field}, at most {max}", Show(raw));

        private readonly byte[] Unescape(ReadOnlySpan<byte> raw, string field)
        {
            if (!raw.Contains((byte)'\\'))
                return raw.ToArray();
            var text = new List<byte>(raw.Length);
            for (int i = 0; i < raw.Length; i++)
            {
                if (raw[i] != '\\')
                    text.Add(raw[i]);
                else
                {
                    (byte value, int used) = raw[(i + 1)..] switch
                    {
                        [(byte)'\\', ..] => ((byte)'\\', 1),
                        [(byte)'n', ..] => ((byte)'\n', 1),
                        [(byte)'r', ..] => ((byte)'\r', 1),
                        [(byte)'t', ..] => ((byte)'\t', 1),
                        [(byte)'x', byte high, byte low, ..] when char.IsAsciiHexDigit((char)high) && char.IsAsciiHexDigit((char)low) =>
                            (Convert.FromHexString([(char)high, (char)low])[0], 3),
                        _ => throw Malformed(number, $"an escape in {field} that is one of \\\\ \\n \\r \\t \\xNN", Show(raw[i..])),
                    };
                    text.Add(value);
                    i += used;
                }
            }

            return [.. text];
        }

        private static string Show(ReadOnlySpan<byte> raw) => $"'{Encoding.UTF8.GetString(raw.Length > 80 ? raw[..80] : raw)}'";
    }
}
