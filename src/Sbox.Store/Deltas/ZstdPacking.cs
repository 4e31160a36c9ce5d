using System.Buffers;
using Sbox.Linux;
using ZstdSharp;
using ZstdSharp.Unsafe;

namespace Sbox.Store;

/// <summary>
/// zstd, one frame by one thread. zstd makes other bytes from version to version, so the version is told; there are two here, the system's and our own copy. Of files, those can be made that were made with
/// <see cref="ZstdSettings.Modest"/>, as the initrd of a box is.
/// </summary>
/// <param name="Version">zstd's, as a number (10507 for 1.5.7).</param>
/// <param name="Settings">How.</param>
/// <remarks>RFC 8878, 3.1.1.1.</remarks>
internal sealed record ZstdPacking(long Version, ZstdSettings Settings) : Packing
{
    public const long Zstd = 2;

    private const int MaximumWindowLog = 23, MaximumTableLog = 22;

    public override long Kind => Zstd;

    public override long[] Numbers =>
    [
        Version, Settings.WindowLog, Settings.ChainLog, Settings.HashLog, Settings.SearchLog, Settings.MinMatch, Settings.TargetLength, Settings.Strategy,
        Settings.HasChecksum ? 1 : 0, Settings.SaysSize ? 1 : 0,
    ];

    public override long MaximumSize => 256 * 1024 * 1024;

    public override long Make => Version;

    // 8 MiB to look back on, two tables of 16 MiB at most.
    public override int Places => 2;

    public override bool IsPossible => Version == ZstdEncoder.SystemVersion || Version == OwnVersion;

    /// <summary>That of our own copy.</summary>
    public static long OwnVersion { get; } = Methods.ZSTD_versionNumber();

    /// <summary>As the program zstd does, or some last bytes differ: a file's last piece is given with the word that it is the last, a pipe's end is told by itself.</summary>
    public override void Pack(Stream plain, long size, Stream output, XzEncoders encoders, Func<bool> goesOn)
    {
        if (Version == ZstdEncoder.SystemVersion)
        {
            using var zstd = new ZstdEncoder(output, Settings, size);
            Pack(plain, size, goesOn, zstd.Write);
        }
        else if (Version == OwnVersion)
        {
            using Compressor zstd = Own(size);
            var room = new byte[ZstdEncoder.BufferSize];
            Pack(plain, size, goesOn, (bytes, isLast) => Write(zstd, bytes, isLast, room, output));
        }
    }

    // The decoder asks for as much memory as the frame's window has, 8 MiB for all that levels up to 19 make.
    public override Stream Unpack(Stream packed)
    {
        var decompressor = new Decompressor();
        decompressor.SetParameter(ZSTD_dParameter.ZSTD_d_windowLogMax, MaximumWindowLog);
        return new TypedStream(new DecompressionStream(packed, decompressor, preserveDecompressor: false, leaveOpen: false));
    }

    /// <summary>Reads it, behind its kind and the sizes.</summary>
    public static ZstdPacking Read(Func<long> number)
    {
        long version = Within("version", number(), 0, 99_99_99);
        int window = Next("window", 10, MaximumWindowLog), chain = Next("chain", 6, MaximumTableLog), hash = Next("hash", 6, MaximumTableLog);
        var settings = new ZstdSettings(window, chain, hash, Next("search", 1, MaximumTableLog), Next("match", 3, 7), Next("length", 0, 128 * 1024), Next("strategy", 1, 9));
        return new ZstdPacking(version, settings with { HasChecksum = Next("checksum", 0, 1) == 1, SaysSize = Next("size", 0, 1) == 1 });

        int Next(string what, int least, int most) => (int)Within(what, number(), least, most);
    }

    /// <summary>The ways in which a file that begins so may be made; none where it is no frame, or one that this does not make.</summary>
    public static IEnumerable<ZstdPacking> Of(ReadOnlySpan<byte> first)
    {
        // Magic; what the head has: the size in four bytes or not at all, a checksum or none, no dictionary; the window.
        if (first.Length < ShapeSize || !first.StartsWith((ReadOnlySpan<byte>)[0x28, 0xB5, 0x2F, 0xFD]) || (first[4] & ~0x84) != 0 || first[5] != (ZstdSettings.Modest.WindowLog - 10) << 3)
            return [];
        ZstdSettings settings = ZstdSettings.Modest with { SaysSize = (first[4] & 0x80) != 0, HasChecksum = (first[4] & 0x04) != 0 };
        return [.. new[] { OwnVersion, ZstdEncoder.SystemVersion }.Where(static version => version > 0).Distinct().Select(version => new ZstdPacking(version, settings))];
    }

    private void Pack(Stream plain, long size, Func<bool> goesOn, Piece write)
    {
        long left = size;
        bool isWhole = Feed(plain, goesOn, bytes => write(bytes, Settings.SaysSize && (left -= bytes.Length) == 0));
        if (isWhole && (!Settings.SaysSize || size == 0))
            write([], isLast: true);
    }

    private Compressor Own(long size)
    {
        var zstd = new Compressor();
        foreach ((int parameter, int value) in Settings.Parameters)
            zstd.SetParameter((ZSTD_cParameter)parameter, value);
        if (Settings.SaysSize)
            zstd.SetPledgedSrcSize((ulong)size);
        return zstd;
    }

    private static void Write(Compressor zstd, ReadOnlySpan<byte> bytes, bool isLast, byte[] room, Stream output)
    {
        OperationStatus status;
        do
        {
            status = zstd.WrapStream(bytes, room, out int read, out int written, isLast);
            output.Write(room, 0, written);
            bytes = bytes[read..];
        }
        while (!bytes.IsEmpty || (isLast && status != OperationStatus.Done));
    }

    private delegate void Piece(ReadOnlySpan<byte> bytes, bool isLast);

    // What is broken is told as XzDecoder tells it.
    private sealed class TypedStream(Stream inner) : Codecs.InputStream
    {
        public override int Read(Span<byte> buffer)
        {
            try
            {
                return inner.Read(buffer);
            }
            catch (Exception broken) when (broken is ZstdException or EndOfStreamException)
            {
                throw new InvalidDataException($"the zstd frame is broken: {broken.Message}", broken);
            }
        }

        protected override void Dispose(bool disposing)
        {
            if (disposing)
                inner.Dispose();
        }
    }
}
