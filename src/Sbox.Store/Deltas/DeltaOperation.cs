using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>What a part's bytes of operations may say.</summary>
internal enum DeltaOperation
{
    /// <summary>An object as a whole, out of the part's raw bytes.</summary>
    Whole = 'S',
    /// <summary>Begins a file.</summary>
    Open = 'o',
    /// <summary>Adds a stretch of the read source, or of the raw bytes where there is none.</summary>
    Write = 'w',
    /// <summary>Names the object that is read from, by 32 of the raw bytes.</summary>
    SetSource = 'r',
    /// <summary>Reads from the raw bytes again.</summary>
    UnsetSource = 'R',
    /// <summary>Ends a file.</summary>
    Close = 'c',
    /// <summary>Adds what a binary difference in the raw bytes makes of the read source.</summary>
    Patch = 'B',
    /// <summary>Ours, in a part that says so: the differences of an open file are of what it and the read source unpack to, and the outcome is compressed again.</summary>
    Recompress = 'x',
}

/// <summary>How often each operation was there, in the order in which <c>static-delta show</c> prints them.</summary>
public sealed record DeltaOperationCounts(int Whole, int Open, int Write, int SetSource, int UnsetSource, int Close, int Patch);

/// <summary>Numbers as operations hold them: seven bits a byte, the least significant first; all but the last byte have their top bit set.</summary>
internal static class VariableNumber
{
    private const int MostBytes = 10;

    public static void Write(Stream output, long number)
    {
        var rest = (ulong)number;
        for (; rest >= 0x80; rest >>= 7)
            output.WriteByte((byte)(rest | 0x80));
        output.WriteByte((byte)rest);
    }

    /// <exception cref="MalformedException">The bytes end early, or the number is beyond what a file may hold.</exception>
    public static long Read(ReadOnlySpan<byte> bytes, ref int at)
    {
        ulong number = 0;
        for (int i = 0; ; i++)
        {
            if (at == bytes.Length || i == MostBytes)
                throw new MalformedException("static delta part", "number", "its last byte", at == bytes.Length ? "the end" : "more bytes");
            byte next = bytes[at++];
            number |= (ulong)(next & 0x7F) << (7 * i);
            if (next < 0x80)
                return number <= long.MaxValue ? (long)number : throw new MalformedException("static delta part", "number", "one that a file can hold", $"{number}");
        }
    }
}
