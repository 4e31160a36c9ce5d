using System.Buffers.Binary;
using System.Text;

namespace Sbox.Codecs.Uki;

/// <summary>
/// Where the fields of a PE file's headers are, for the few that a UKI needs; 64-bit images (PE32+) of any machine.
/// </summary>
/// <remarks>docs/formats/uki.md, after Microsoft's PE format specification. Everything is little endian.</remarks>
internal sealed class PeHeader
{
    public const int SectionHeaderSize = 40;

    private const string Format = "PE image";
    private const int CoffSize = 20;
    private const int SecurityDirectory = 112 + (4 * 8);

    private readonly int coff;
    private readonly int optional;

    private PeHeader(int coff, int optional, List<PeSection> sections)
    {
        this.coff = coff;
        this.optional = optional;
        Sections = sections;
    }

    public List<PeSection> Sections { get; }

    public int SectionTable => optional + OptionalHeaderSize;

    public int SectionCountAt => coff + 2;
    public int SymbolTableAt => coff + 8;
    public int SymbolCountAt => coff + 12;
    public int InitializedDataSizeAt => optional + 8;
    public int ImageSizeAt => optional + 56;
    public int HeadersSizeAt => optional + 60;
    public int ChecksumAt => optional + 64;
    public int DllCharacteristicsAt => optional + 70;

    /// <summary>Where the table of signatures is said to be: offset in the file and size, four bytes each.</summary>
    public int SecurityDirectoryAt => optional + SecurityDirectory;

    public int SectionAlignment { get; private init; }
    public int FileAlignment { get; private init; }
    public uint HeadersSize { get; private init; }
    public bool IsSigned { get; private init; }

    private int OptionalHeaderSize { get; init; }

    /// <summary>Reads the headers.</summary>
    /// <param name="start">The file's first bytes, to the end of its section headers at least.</param>
    /// <exception cref="MalformedException">It is no PE32+ image, or the bytes end early.</exception>
    public static PeHeader Read(ReadOnlySpan<byte> start)
    {
        var dos = new SpanReader(start, Format);
        if (!dos.ReadBytes(2, "signature").SequenceEqual("MZ"u8))
            throw dos.Malformed("signature", "MZ", "other bytes");
        dos.ReadBytes(0x3A, "DOS header");
        uint at = dos.ReadUInt32LittleEndian("header offset");
        if (at > start.Length)
            throw dos.Malformed("header offset", $"at most {start.Length}", $"{at}");

        var reader = new SpanReader(start[(int)at..], Format);
        if (!reader.ReadBytes(4, "PE signature").SequenceEqual("PE\0\0"u8))
            throw reader.Malformed("PE signature", "PE, 0, 0", "other bytes");
        ReadOnlySpan<byte> coff = reader.ReadBytes(CoffSize, "COFF header");
        int sectionCount = BinaryPrimitives.ReadUInt16LittleEndian(coff[2..]);
        int optionalSize = BinaryPrimitives.ReadUInt16LittleEndian(coff[16..]);
        ReadOnlySpan<byte> optional = reader.ReadBytes(optionalSize, "optional header");
        if (optionalSize < SecurityDirectory + 8 || BinaryPrimitives.ReadUInt16LittleEndian(optional) != 0x20B)
            throw reader.Malformed("optional header", "one of a 64-bit image (PE32+)", $"{optionalSize} bytes of another kind");

        var sections = new List<PeSection>(sectionCount);
        for (int i = 0; i < sectionCount; i++)
            sections.Add(PeSection.Read(reader.ReadBytes(SectionHeaderSize, "section header")));
        return new PeHeader((int)at + 4, (int)at + 4 + CoffSize, sections)
        {
            OptionalHeaderSize = optionalSize,
            SectionAlignment = Alignment(optional[32..], "section alignment", max: 1 << 24),
            FileAlignment = Alignment(optional[36..], "file alignment", max: 1 << 16),
            HeadersSize = BinaryPrimitives.ReadUInt32LittleEndian(optional[60..]),
            IsSigned = BinaryPrimitives.ReadUInt32LittleEndian(optional[SecurityDirectory..]) != 0,
        };
    }

    private static int Alignment(ReadOnlySpan<byte> field, string part, uint max)
    {
        uint alignment = BinaryPrimitives.ReadUInt32LittleEndian(field);
        return alignment > 0 && alignment <= max
            ? (int)alignment
            : throw new MalformedException(Format, part, $"1 to {max} bytes", $"{alignment}");
    }
}

/// <summary>A section's header.</summary>
/// <param name="Name">At most eight bytes; zeros at its end are not part of it.</param>
/// <param name="VirtualSize">Bytes of content.</param>
/// <param name="Address">Where it is loaded.</param>
/// <param name="RawSize">Bytes in the file, padding included.</param>
/// <param name="RawOffset">Where in the file.</param>
/// <param name="Flags">What it holds and how it may be used.</param>
internal sealed record PeSection(string Name, uint VirtualSize, uint Address, uint RawSize, uint RawOffset, uint Flags)
{
    /// <summary>Bytes of content that are in the file.</summary>
    public uint ContentSize => Math.Min(VirtualSize, RawSize);

    public static PeSection Read(ReadOnlySpan<byte> header) => new(
        Encoding.Latin1.GetString(header[..8].TrimEnd((byte)0)),
        BinaryPrimitives.ReadUInt32LittleEndian(header[8..]),
        BinaryPrimitives.ReadUInt32LittleEndian(header[12..]),
        BinaryPrimitives.ReadUInt32LittleEndian(header[16..]),
        BinaryPrimitives.ReadUInt32LittleEndian(header[20..]),
        BinaryPrimitives.ReadUInt32LittleEndian(header[36..]));

    /// <summary>Writes what is kept here; relocations and line numbers, which are not, stay as they are.</summary>
    public void Write(Span<byte> header)
    {
        header[..8].Clear();
        Encoding.Latin1.GetBytes(Name, header);
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], VirtualSize);
        BinaryPrimitives.WriteUInt32LittleEndian(header[12..], Address);
        BinaryPrimitives.WriteUInt32LittleEndian(header[16..], RawSize);
        BinaryPrimitives.WriteUInt32LittleEndian(header[20..], RawOffset);
        BinaryPrimitives.WriteUInt32LittleEndian(header[36..], Flags);
    }
}
