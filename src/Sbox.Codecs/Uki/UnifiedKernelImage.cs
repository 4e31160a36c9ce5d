using System.Buffers.Binary;
using System.Text;

namespace Sbox.Codecs.Uki;

/// <summary>
/// Unified kernel images: systemd's stub, a program for UEFI, with the kernel, its initrd and its command line as sections. The firmware
/// checks one signature over all of them.
/// </summary>
/// <remarks>docs/formats/uki.md, after the UAPI group's specification. The bytes are those of <c>ukify build</c>.</remarks>
public static class UnifiedKernelImage
{
    private const uint Code = 0x20;
    private const uint InitializedData = 0x40;
    private const uint Readable = 0x40000000;
    private const ushort NxCompatible = 0x100;

    /// <summary>Builds an image.</summary>
    /// <param name="stub">systemd's stub for the machine, such as linuxx64.efi.stub; borrowed for the call.</param>
    /// <param name="parts">What to put into it.</param>
    /// <param name="output">Where the image goes, front to back.</param>
    /// <exception cref="MalformedException">The stub or the kernel is no PE32+ image, or the stub has no room for a section. Nothing was written.</exception>
    /// <exception cref="ArgumentException">A section has no proper name, or two have the same. Nothing was written.</exception>
    /// <exception cref="IOException">The output, or an initrd, failed.</exception>
    public static void Build(ReadOnlySpan<byte> stub, UkiParts parts, Stream output)
    {
        var image = new StubImage(stub);
        List<Piece> pieces = Pieces(image, parts);
        var appended = new List<(long Offset, Piece Piece)>();
        foreach (Piece piece in pieces)
        {
            uint flags = Readable | (piece.Name == ".linux" ? Code : InitializedData);
            if (image.Add(piece.Name, piece.Length, flags, piece.ToArray) is { } offset)
                appended.Add((offset, piece));
        }

        // Stub and kernel must agree about memory that is both writable and executable, else firmware that cares starts neither.
        if ((BinaryPrimitives.ReadUInt16LittleEndian(parts.Kernel.Span[PeHeader.Read(parts.Kernel.Span).DllCharacteristicsAt..]) & NxCompatible) == 0)
            image.ClearFlags(NxCompatible);
        image.Seal();

        output.Write(image.Bytes);
        long written = image.Bytes.Length;
        foreach ((long offset, Piece piece) in appended)
        {
            WriteZeros(output, offset - written);
            piece.CopyTo(output);
            written = offset + piece.Length;
        }

        int fileAlignment = PeHeader.Read(image.Bytes).FileAlignment;
        WriteZeros(output, StubImage.AlignUp(written, fileAlignment) - written);
    }

    /// <summary>Finds the sections of an image, the stub's own among them, in the order of the file.</summary>
    /// <param name="start">The file's first bytes, to the end of its headers at least (4096 are enough for a UKI).</param>
    /// <param name="length">Bytes in the whole file.</param>
    /// <exception cref="MalformedException">It is no PE32+ image, or a section is not within the file.</exception>
    public static IReadOnlyList<UkiPlace> Find(ReadOnlySpan<byte> start, long length) =>
        PeHeader.Read(start).Sections.ConvertAll(section => (long)section.RawOffset + section.ContentSize <= length
            ? new UkiPlace(section.Name, section.RawOffset, section.ContentSize)
            : throw new MalformedException("UKI", section.Name, $"content within the {length} bytes of the file", $"{section.ContentSize} bytes at {section.RawOffset}"));

    /// <summary>Reads all sections of an image, the stub's own among them; their contents are parts of the memory given.</summary>
    /// <param name="image">The whole file.</param>
    /// <exception cref="MalformedException">It is no PE32+ image, or a section is not within the file.</exception>
    public static IReadOnlyList<UkiSection> Read(ReadOnlyMemory<byte> image) =>
        [.. Find(image.Span, image.Length).Select(place => new UkiSection(place.Name, image.Slice((int)place.Offset, (int)place.Length)))];

    /// <summary>The sections in ukify's order; what is empty is left out.</summary>
    private static List<Piece> Pieces(StubImage image, UkiParts parts)
    {
        List<Piece> pieces =
        [
            new(".osrel", parts.OsRelease),
            new(".cmdline", Encoding.UTF8.GetBytes(parts.CommandLine)),
            new(".dtb", parts.DeviceTree),
            new(".uname", Encoding.UTF8.GetBytes(parts.KernelRelease ?? "")),
            new(".splash", parts.Splash),
            new(".pcrpkey", parts.PcrPublicKey),
            new(".linux", parts.Kernel),
            new(".initrd", parts.Initrds),
            new(".ucode", parts.Microcode),
            .. parts.Others.Select(static other => new Piece(other.Name, other.Content)),
            new(".sbat", Sbat.Merge(image.Content(".sbat"), KernelSbat(parts.Kernel))),
        ];
        pieces.RemoveAll(static piece => piece.Length == 0);
        foreach (Piece piece in pieces)
        {
            if (piece.Name.Length is 0 or > 8 || piece.Name.Any(static c => c is <= ' ' or > '~'))
                throw new ArgumentException($"'{piece.Name}' cannot be a section's name: it takes 1 to 8 printable ASCII characters.");
            if (pieces.Count(other => other.Name == piece.Name) > 1)
                throw new ArgumentException($"There are two sections named {piece.Name}.");
        }

        // What comes before the first .profile is every profile's; what follows one is its own.
        foreach (UkiProfile profile in parts.Profiles)
        {
            pieces.Add(new(".profile", Encoding.UTF8.GetBytes(profile.Text)));
            if (profile.CommandLine is { } line)
                pieces.Add(new(".cmdline", Encoding.UTF8.GetBytes(line)));
        }

        return pieces;
    }

    private static ReadOnlyMemory<byte> KernelSbat(ReadOnlyMemory<byte> kernel) =>
        Read(kernel).FirstOrDefault(static section => section.Name == ".sbat")?.Content ?? default;

    private static void WriteZeros(Stream output, long count)
    {
        ReadOnlySpan<byte> zeros = stackalloc byte[4096];
        for (; count > 0; count -= Math.Min(count, zeros.Length))
            output.Write(zeros[..(int)Math.Min(count, zeros.Length)]);
    }

    /// <summary>A section's content: in memory, or streams one behind the other.</summary>
    private sealed class Piece
    {
        private readonly IReadOnlyList<Stream> streams = [];
        private readonly int alignment = 1;

        public Piece(string name, ReadOnlyMemory<byte> content) => (Name, Content, Length) = (name, content, content.Length);

        // The kernel looks for the next archive at a multiple of four; a single one is left as it is.
        public Piece(string name, IReadOnlyList<Stream> streams)
        {
            Name = name;
            this.streams = streams;
            alignment = streams.Count > 1 ? 4 : 1;
            Length = streams.Sum(stream => StubImage.AlignUp(stream.Length - stream.Position, alignment));
        }

        public string Name { get; }
        public long Length { get; }
        private ReadOnlyMemory<byte> Content { get; }

        public byte[] ToArray()
        {
            using var whole = new MemoryStream();
            CopyTo(whole);
            return whole.ToArray();
        }

        public void CopyTo(Stream output)
        {
            output.Write(Content.Span);
            foreach (Stream stream in streams)
            {
                long length = stream.Length - stream.Position;
                stream.CopyTo(output);
                WriteZeros(output, StubImage.AlignUp(length, alignment) - length);
            }
        }
    }
}
