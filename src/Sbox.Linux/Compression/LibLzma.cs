using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>liblzma's calls, as its lzma/base.h, lzma/container.h and lzma/lzma12.h declare them. Debian has it wherever dpkg is.</summary>
internal static unsafe partial class LibLzma
{
    private const string Library = "liblzma.so.5";

    public const ulong X86Filter = 0x04;
    public const ulong Lzma2Filter = 0x21;
    public const ulong EndOfFilters = ulong.MaxValue;
    public const int Crc64 = 4;
    public const int BinaryTreeOfThree = 0x13; // LZMA_MF_BT3
    public const int Run = 0;
    public const int Finish = 3;
    public const int Ok = 0;
    public const int StreamEnd = 1;
    public const int NoMemory = 5;
    public const int OverMemoryLimit = 6;
    public const int NoProgress = 10;

    /// <summary>lzma_stream; 136 bytes, those after the first eight fields are its own.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 136)]
    public struct Stream
    {
        public byte* NextIn;
        public nuint AvailableIn;
        public ulong TotalIn;
        public byte* NextOut;
        public nuint AvailableOut;
        public ulong TotalOut;
    }

    /// <summary>lzma_filter.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Filter
    {
        public ulong Id;
        public void* Options;
    }

    /// <summary>lzma_options_lzma; 112 bytes, of which the size of the dictionary comes first.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 112)]
    public struct Options
    {
        public uint DictionarySize;
        public byte* PresetDictionary;
        public uint PresetDictionarySize, LiteralContextBits, LiteralPositionBits, PositionBits;
        public int Mode;
        public uint NiceLength;
        public int MatchFinder;
        public uint Depth;
    }

    /// <summary>lzma_mt, of lzma/container.h; 128 bytes. A block size of 0 is three dictionaries, or 1 MiB where that is more.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 128)]
    public struct Threads
    {
        public uint Flags, Count;
        public ulong BlockSize;
        public uint Timeout, Preset;
        public Filter* Filters;
        public int Check;
    }

    [LibraryImport(Library)]
    public static partial byte lzma_lzma_preset(Options* options, uint preset);

    [LibraryImport(Library)]
    public static partial int lzma_stream_encoder(Stream* stream, Filter* filters, int check);

    [LibraryImport(Library)]
    public static partial int lzma_stream_encoder_mt(Stream* stream, Threads* options);

    [LibraryImport(Library)]
    public static partial int lzma_stream_decoder(Stream* stream, ulong memoryLimit, uint flags);

    [LibraryImport(Library)]
    public static partial int lzma_code(Stream* stream, int action);

    [LibraryImport(Library)]
    public static partial void lzma_end(Stream* stream);
}
