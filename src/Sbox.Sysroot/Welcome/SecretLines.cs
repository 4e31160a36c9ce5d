using System.Globalization;
using System.Text;
using System.Text.Unicode;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// A small TOML file, some of whose keys have secrets for values: those are cut out of its bytes before anything makes a string of the rest, because
/// a string can be neither wiped nor kept from being copied.
/// </summary>
internal sealed class SecretLines : IDisposable
{
    private const int LengthAtMost = 64 << 10;
    private const string Mark = "***";
    private readonly List<SecretMemory?> secrets = [];

    private SecretLines()
    {
    }

    /// <summary>The file's text, each secret replaced by what <see cref="Take"/> gives it for.</summary>
    public string Text { get; private set; } = "";

    /// <summary>Reads a file; pipes work too.</summary>
    /// <param name="file">Its path.</param>
    /// <param name="keys">Keys whose values are secrets, each on a line of its own: <c>key = "value"</c> or <c>key = 'value'</c>. Any other form stays in the text, and is for the caller to refuse.</param>
    /// <exception cref="WelcomeAnswersException">It is longer than 64 KiB.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static SecretLines Read(string file, params IReadOnlyList<string> keys)
    {
        using var bytes = new SecretMemory(LengthAtMost + 1);
        int filled = 0;
        using (var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0))
        {
            for (int read; filled < bytes.Span.Length && (read = stream.Read(bytes.Span[filled..])) > 0;)
                filled += read;
        }

        if (filled > LengthAtMost)
            throw new WelcomeAnswersException(file, 1, $"no more than {LengthAtMost >> 10} KiB are read");
        ReadOnlySpan<byte> rest = bytes.Span[..filled];
        return Cut(rest.StartsWith("\uFEFF"u8) ? rest[3..] : rest, keys);
    }

    /// <summary>A secret for what stands in its place; it is the caller's then. Null for what stands for none.</summary>
    public SecretMemory? Take(string text)
    {
        if (!text.StartsWith(Mark, StringComparison.Ordinal) || !int.TryParse(text.AsSpan(Mark.Length), NumberStyles.None, CultureInfo.InvariantCulture, out int index) || index >= secrets.Count)
            return null;
        SecretMemory? secret = secrets[index];
        secrets[index] = null;
        return secret;
    }

    /// <summary>Zeroes what nobody took.</summary>
    public void Dispose()
    {
        foreach (SecretMemory? secret in secrets)
            secret?.Dispose();
    }

    private static SecretLines Cut(ReadOnlySpan<byte> rest, IReadOnlyList<string> keys)
    {
        var lines = new SecretLines();
        using var plain = new MemoryStream();
        while (!rest.IsEmpty)
        {
            int end = rest.IndexOf((byte)'\n');
            ReadOnlySpan<byte> line = end < 0 ? rest : rest[..(end + 1)];
            rest = rest[line.Length..];
            if (Value(line, keys) is { } value && Decoded(line[value]) is { } secret)
            {
                plain.Write(line[..value.Start]);
                plain.Write(Encoding.ASCII.GetBytes($"\"{Mark}{lines.secrets.Count}\""));
                plain.Write(line[value.End..]);
                lines.secrets.Add(secret);
            }
            else
            {
                plain.Write(line);
            }
        }

        lines.Text = Encoding.UTF8.GetString(plain.GetBuffer(), 0, (int)plain.Length);
        return lines;
    }

    // Where a line's value is, its quotes included; null where the line has another key, or a value of another form.
    private static Range? Value(ReadOnlySpan<byte> line, IReadOnlyList<string> keys)
    {
        int equals = line.IndexOf((byte)'=');
        if (equals < 0 || !keys.Any(Names(line[..equals])))
            return null;
        int start = equals + 1 + line[(equals + 1)..].IndexOfAnyExcept((byte)' ', (byte)'\t');
        if (start <= equals || line[start] is not ((byte)'"' or (byte)'\'') || line[start..].StartsWith("\"\"\""u8) || line[start..].StartsWith("'''"u8))
            return null;
        for (int at = start + 1; at < line.Length; at++)
        {
            if (line[at] == line[start])
                return start..(at + 1);
            if (line[at] == '\\' && line[start] == '"')
                at++; // a quote behind a backslash ends nothing
        }

        return null;
    }

    private static Func<string, bool> Names(ReadOnlySpan<byte> before)
    {
        string key = Encoding.UTF8.GetString(before).Trim();
        return name => name == key;
    }

    // What quotes hold; null where TOML has no such escape: the parser names it then.
    private static SecretMemory? Decoded(ReadOnlySpan<byte> quoted)
    {
        ReadOnlySpan<byte> inner = quoted[1..^1];
        using var bytes = new SecretMemory(inner.Length);
        int length = 0;
        while (!inner.IsEmpty)
        {
            if (quoted[0] != '"' || inner[0] != '\\')
            {
                bytes.Span[length++] = inner[0];
                inner = inner[1..];
            }
            else if (Escape(inner, bytes.Span[length..], out int used) is int written and > 0)
            {
                length += written;
                inner = inner[used..];
            }
            else
            {
                return null;
            }
        }

        return Utf8.IsValid(bytes.Span[..length]) ? new SecretMemory(bytes.Span[..length]) : null;
    }

    // Writes what an escape stands for, which is never longer than the escape.
    private static int Escape(ReadOnlySpan<byte> text, Span<byte> into, out int used)
    {
        used = 2;
        int digits = text.Length < 2 ? 0 : text[1] switch { (byte)'u' => 4, (byte)'U' => 8, _ => 0 };
        if (digits > 0)
        {
            used += digits;
            return text.Length >= used && uint.TryParse(text[2..used], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out uint scalar) && Rune.TryCreate(scalar, out Rune rune)
                ? rune.EncodeToUtf8(into) : 0;
        }

        int plain = text.Length < 2 ? -1 : "btnfr\"\\"u8.IndexOf(text[1]);
        if (plain < 0)
            return 0;
        into[0] = "\b\t\n\f\r\"\\"u8[plain];
        return 1;
    }
}
