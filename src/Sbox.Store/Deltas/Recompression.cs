using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// That a file is compressed by xz, how, and how many bytes it and its old version unpack to: a delta has the differences of what both unpack to, which are few, and whoever applies it
/// compresses the outcome again. All of it follows from the file's first bytes but the level, which is found by trying.
/// </summary>
/// <param name="OldSize">Bytes that the old version unpacks to.</param>
/// <param name="NewSize">Bytes that the new one unpacks to.</param>
/// <param name="Settings">How the new one is compressed.</param>
/// <remarks>docs/formats/static-delta.md, "Recompressing"; the .xz format's own specification, 2.1.1 and 3.1.</remarks>
internal sealed record Recompression(long OldSize, long NewSize, XzSettings Settings)
{
    /// <summary>Neither version may unpack to more bytes than this.</summary>
    public const long MaximumSize = 64 * 1024 * 1024;

    /// <summary>A compressor looks back so far at most: it needs about 25 times as much memory. The kernel's own makefile says as much.</summary>
    public const uint MaximumDictionary = 1024 * 1024;

    private const string Format = "static delta part";
    private const int Xz = 1;
    private const int Lzma2 = 0x21;

    /// <summary>How many of a file's first bytes <see cref="Shape"/> wants.</summary>
    public const int ShapeSize = 28;

    /// <summary>The numbers that follow the operation, in the order in which <see cref="Read"/> asks for them.</summary>
    public long[] Numbers => [Xz, OldSize, NewSize, Settings.Level & ~XzSettings.Extreme, Settings.Level >> 31, Settings.DictionarySize, Settings.Check, Settings.Blocks ? 1 : 0];

    /// <summary>Reads them.</summary>
    /// <param name="number">Gives the next one.</param>
    /// <exception cref="MalformedException">They say what this cannot do.</exception>
    public static Recompression Read(Func<long> number)
    {
        Within("compression", number(), Xz, Xz);
        long oldSize = Within("old size", number(), 0, MaximumSize), newSize = Within("new size", number(), 0, MaximumSize);
        var level = (uint)Within("level", number(), 0, 9);
        if (Within("extreme", number(), 0, 1) == 1)
            level |= XzSettings.Extreme;
        var dictionary = (uint)Within("dictionary", number(), 4096, MaximumDictionary);
        long check = number();
        if (!IsCheck(check))
            throw new MalformedException(Format, "recompression, check", "0, 1, 4 or 10", $"{check}");
        return new Recompression(oldSize, newSize, new XzSettings(level, dictionary) { Check = (int)check, Blocks = Within("blocks", number(), 0, 1) == 1 });
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

    /// <summary>Levels that a file of such a shape may be made with, the likeliest first.</summary>
    public static IEnumerable<uint> Levels(XzSettings shape)
    {
        // From 4 on levels differ in their dictionaries only, and that is known.
        yield return 6;
        yield return 6 | XzSettings.Extreme;
        yield return shape.DictionarySize == MaximumDictionary ? 1u : 0;
    }

    // Those that liblzma can make.
    private static bool IsCheck(long check) => check is 0 or 1 or 4 or 10;

    private static long Within(string what, long number, long least, long most) =>
        number >= least && number <= most ? number : throw new MalformedException(Format, $"recompression, {what}", least == most ? $"{least}" : $"{least} to {most}", $"{number}");
}
