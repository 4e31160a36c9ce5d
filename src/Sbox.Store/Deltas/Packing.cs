using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>How a file is compressed: by what, and how exactly, so that compressing again makes the same bytes.</summary>
/// <remarks>docs/formats/static-delta.md, "Recompressing".</remarks>
internal abstract record Packing
{
    private const string Format = "static delta part";

    /// <summary>How many of a file's first bytes <see cref="Candidates"/> wants.</summary>
    public const int ShapeSize = 28;

    /// <summary>The numbers of its kind.</summary>
    public abstract long Kind { get; }

    /// <summary>The numbers by which it is told, in the order in which <see cref="Read"/> asks for them.</summary>
    public abstract long[] Numbers { get; }

    /// <summary>Neither what a file nor what its old version unpacks to may have more bytes.</summary>
    public abstract long MaximumSize { get; }

    /// <summary>Files of one make have one number in common (a level, a version), which is tried first for the next one.</summary>
    public abstract long Make { get; }

    /// <summary>How many of the places of <see cref="Recompressor"/> it takes, each of some 25 MiB.</summary>
    public abstract int Places { get; }

    /// <summary>Whether it can be done here: a compressor of that version is there.</summary>
    public virtual bool IsPossible => true;

    /// <summary>Compresses.</summary>
    /// <param name="plain">What, from its beginning to its end.</param>
    /// <param name="size">Bytes of that.</param>
    /// <param name="output">Gets what is compressed.</param>
    /// <param name="encoders">Lends what can be used again.</param>
    /// <param name="goesOn">Asked every now and then; false ends it there.</param>
    public abstract void Pack(Stream plain, long size, Stream output, XzEncoders encoders, Func<bool> goesOn);

    /// <summary>What a compressed file of this kind unpacks to.</summary>
    /// <exception cref="InvalidDataException">From this or from reading: it is none of this kind, or asks for too much memory.</exception>
    public abstract Stream Unpack(Stream packed);

    /// <summary>The ways in which a file that begins so may be compressed, the likeliest first; none where it is of no kind that can be made here.</summary>
    /// <param name="first">Its first <see cref="ShapeSize"/> bytes.</param>
    public static IEnumerable<Packing> Candidates(ReadOnlySpan<byte> first) => [.. XzPacking.Of(first), .. ZstdPacking.Of(first)];

    /// <summary>Reads a way as a part tells it.</summary>
    /// <param name="kind">Its kind.</param>
    /// <param name="number">Gives the next one.</param>
    /// <exception cref="MalformedException">They say what this cannot do.</exception>
    public static Packing Read(long kind, Func<long> number) =>
        Within("compression", kind, XzPacking.Xz, ZstdPacking.Zstd) == XzPacking.Xz ? XzPacking.Read(number) : ZstdPacking.Read(number);

    /// <summary>A number that lies between two.</summary>
    /// <exception cref="MalformedException">It does not.</exception>
    public static long Within(string what, long number, long least, long most) =>
        number >= least && number <= most ? number : throw new MalformedException(Format, $"recompression, {what}", least == most ? $"{least}" : $"{least} to {most}", $"{number}");

    /// <summary>Reads bytes to their end, in pieces of 128 KiB and one of what is left.</summary>
    /// <returns>Whether the end was come to.</returns>
    protected static bool Feed(Stream plain, Func<bool> goesOn, Action<ReadOnlySpan<byte>> take)
    {
        var buffer = new byte[128 * 1024];
        for (int read; (read = plain.ReadAtLeast(buffer, buffer.Length, throwOnEndOfStream: false)) > 0;)
        {
            take(buffer.AsSpan(0, read));
            if (!goesOn())
                return false;
        }

        return true;
    }
}

/// <summary>xz. All of it follows from the file's first bytes but the level, which is found by trying.</summary>
/// <param name="Settings">How.</param>
/// <remarks>The .xz format's own specification, 2.1.1 and 3.1.</remarks>
internal sealed record XzPacking(XzSettings Settings) : Packing
{
    public const long Xz = 1;

    /// <summary>A compressor looks back so far at most: it needs about 25 times as much memory. The kernel's own makefile says as much.</summary>
    public const uint MaximumDictionary = 1024 * 1024;

    private const int Lzma2 = 0x21;
    private const long DecoderMemory = 16 * 1024 * 1024; // the old version may look farther back than the new one

    public override long Kind => Xz;

    public override long[] Numbers => [Settings.Level & ~XzSettings.Extreme, Settings.Level >> 31, Settings.DictionarySize, Settings.Check, Settings.Blocks ? 1 : 0];

    public override long MaximumSize => 64 * 1024 * 1024;

    public override long Make => Settings.Level;

    public override int Places => 1;

    public override void Pack(Stream plain, long size, Stream output, XzEncoders encoders, Func<bool> goesOn) => encoders.Use(Settings, output, xz =>
    {
        if (Feed(plain, goesOn, xz.Write))
            xz.Finish();
    });

    public override Stream Unpack(Stream packed) => new XzDecoder(packed, DecoderMemory);

    /// <summary>Reads it, behind its kind and the sizes.</summary>
    public static XzPacking Read(Func<long> number)
    {
        var level = (uint)Within("level", number(), 0, 9);
        if (Within("extreme", number(), 0, 1) == 1)
            level |= XzSettings.Extreme;
        var dictionary = (uint)Within("dictionary", number(), 4096, MaximumDictionary);
        long check = number();
        if (!IsCheck(check))
            throw new MalformedException("static delta part", "recompression, check", "0, 1, 4 or 10", $"{check}");
        return new XzPacking(new XzSettings(level, dictionary) { Check = (int)check, Blocks = Within("blocks", number(), 0, 1) == 1 });
    }

    /// <summary>The ways in which a file that begins so may be made; none where it is no .xz, or one that this does not make.</summary>
    public static IEnumerable<XzPacking> Of(ReadOnlySpan<byte> first)
    {
        if (Shape(first) is not { } shape)
            return [];
        // From 4 on levels differ in their dictionaries only, and that is known.
        uint[] levels = [6, 6 | XzSettings.Extreme, shape.DictionarySize == MaximumDictionary ? 1u : 0];
        return [.. levels.Select(level => new XzPacking(shape with { Level = level }))];
    }

    /// <summary>How a file was compressed, as its first bytes tell; null where it is no .xz, or one that this does not make. The level is not told, and is 0.</summary>
    public static XzSettings? Shape(ReadOnlySpan<byte> first)
    {
        // Magic, two bytes of which the second is the check, their CRC; then the first block: how long its head is, what is in it, the sizes if they are, filters.
        if (first.Length < ShapeSize || !first.StartsWith((ReadOnlySpan<byte>)[0xFD, (byte)'7', (byte)'z', (byte)'X', (byte)'Z', 0, 0]) || !IsCheck(first[7]))
            return null;
        byte flags = first[13];
        if ((flags & 0x3F) != 0 || (flags & 0xC0) is not (0 or 0xC0)) // one filter; both sizes or neither
            return null;
        int at = 14;
        for (int sizes = flags == 0 ? 0 : 2; sizes > 0; sizes--)
        {
            while (at < first.Length && first[at++] >= 0x80)
            {
            }
        }

        if (at + 3 > first.Length || first[at] != Lzma2 || first[at + 1] != 1 || first[at + 2] > 16)
            return null;
        int bits = first[at + 2];
        uint dictionary = (2u | ((uint)bits & 1)) << ((bits / 2) + 11);
        return dictionary is < 4096 or > MaximumDictionary ? null : new XzSettings(0, dictionary) { Check = first[7], Blocks = flags != 0 };
    }

    // Those that liblzma can make.
    private static bool IsCheck(long check) => check is 0 or 1 or 4 or 10;
}
