using System.Text;

namespace Sbox.Vm;

/// <summary>Takes terminal escapes and carriage returns out of a stream of console bytes, wherever the stream is cut.</summary>
internal sealed class PlainText
{
    private enum State
    {
        Text, Escape, Control, OperatingSystem,
    }

    private readonly Decoder decoder = Encoding.UTF8.GetDecoder();
    private State state;

    public string Take(ReadOnlySpan<byte> bytes)
    {
        var chars = new char[bytes.Length + 4];
        int count = decoder.GetChars(bytes, chars, flush: false);
        var text = new StringBuilder(count);
        foreach (char c in chars.AsSpan(0, count))
        {
            switch (state)
            {
                case State.Text when c == '\e':
                    state = State.Escape;
                    break;
                case State.Text:
                    if (c is '\n' or '\t' or >= ' ')
                        text.Append(c);
                    break;
                case State.Escape:
                    state = c switch { '[' => State.Control, ']' or 'P' or '^' or '_' => State.OperatingSystem, _ => State.Text };
                    break;
                case State.Control when c is >= '@' and <= '~':
                case State.OperatingSystem when c == '\a':
                    state = State.Text;
                    break;
                case State.OperatingSystem when c == '\e':
                    state = State.Escape; // ESC \ ends it
                    break;
            }
        }

        return text.ToString();
    }
}
