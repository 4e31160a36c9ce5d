using System.Buffers.Binary;

namespace Sbox.Codecs.Uki;

/// <summary>systemd's stub while sections are added to it: what is in memory are its own bytes, the new sections only have a place.</summary>
internal sealed class StubImage
{
    private const string Format = "UKI stub";
    private const int SymbolSize = 18;

    private byte[] bytes;
    private PeHeader header;
    private readonly int ownSections;
    private long end;

    public StubImage(ReadOnlySpan<byte> stub)
    {
        bytes = stub.ToArray();
        header = PeHeader.Read(bytes);
        if (header.IsSigned)
            throw new MalformedException(Format, "security directory", "an unsigned stub", "a signature, which adding sections would break");
        if (header.Sections.Count == 0 || header.HeadersSize > bytes.Length)
            throw new MalformedException(Format, "headers", "sections, and headers within the file", $"{header.Sections.Count} sections, {header.HeadersSize} bytes of headers");
        for (int i = 0; i < header.Sections.Count; i++)
            CheckPlace(i);
        DropSymbols();
        AlignSections();
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(header.HeadersSizeAt), (uint)AlignUp(header.HeadersSize, header.FileAlignment));
        header = PeHeader.Read(bytes);
        ownSections = header.Sections.Count;
        end = bytes.Length;
    }

    /// <summary>The stub's own bytes, as they stand in the finished file.</summary>
    public ReadOnlySpan<byte> Bytes => bytes;

    /// <summary>The content of one of the stub's sections; empty when it has none of that name.</summary>
    public ReadOnlyMemory<byte> Content(string name) =>
        header.Sections.Find(section => section.Name == name) is { } found ? bytes.AsMemory((int)found.RawOffset, (int)found.RawSize) : default;

    /// <summary>Makes a section: one of the stub's own is replaced on the spot, another is added behind the last.</summary>
    /// <returns>Where the new section's content goes in the file, or null when it is in place already.</returns>
    public long? Add(string name, long length, uint flags, Func<byte[]> content)
    {
        int own = header.Sections.FindIndex(section => section.Name == name);
        if (own >= 0 && own < ownSections)
        {
            Replace(own, content());
            return null;
        }

        int at = header.SectionTable + (header.Sections.Count * PeHeader.SectionHeaderSize);
        if (at + PeHeader.SectionHeaderSize > header.HeadersSize)
            throw new MalformedException(Format, "headers", $"room for the header of {name}", "none left");

        PeSection last = header.Sections[^1];
        long offset = AlignUp(end, header.FileAlignment);
        long address = AlignUp((long)last.Address + last.VirtualSize, header.SectionAlignment);
        if (Math.Max(offset, address) + AlignUp(length, header.FileAlignment) > uint.MaxValue)
            throw new MalformedException(Format, name, "an image below 4 GiB", $"{length} bytes at {offset}");

        var section = new PeSection(name, (uint)length, (uint)address, (uint)AlignUp(length, header.FileAlignment), (uint)offset, flags);
        end = offset + section.RawSize;
        bytes.AsSpan(at, PeHeader.SectionHeaderSize).Clear();
        section.Write(bytes.AsSpan(at));
        header.Sections.Add(section);
        AddTo(header.InitializedDataSizeAt, (uint)length);
        return offset;
    }

    /// <summary>Forgets that the stub runs with memory that is either writable or executable, when the kernel does not.</summary>
    public void ClearFlags(ushort dllCharacteristics)
    {
        Span<byte> field = bytes.AsSpan(header.DllCharacteristicsAt);
        BinaryPrimitives.WriteUInt16LittleEndian(field, (ushort)(BinaryPrimitives.ReadUInt16LittleEndian(field) & ~dllCharacteristics));
    }

    /// <summary>Writes what depends on all sections. The checksum, which no firmware looks at, is 0 as in ukify's images.</summary>
    public void Seal()
    {
        PeSection last = header.Sections[^1];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(header.SectionCountAt), (ushort)header.Sections.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(header.ChecksumAt), 0);
        BinaryPrimitives.WriteUInt32LittleEndian(
            bytes.AsSpan(header.ImageSizeAt), (uint)AlignUp((long)last.Address + last.VirtualSize, header.SectionAlignment));
    }

    public static long AlignUp(long value, int to) => (value + to - 1) / to * to;

    private void CheckPlace(int index)
    {
        PeSection section = header.Sections[index];
        if ((long)section.RawOffset + section.RawSize > bytes.Length)
            throw new MalformedException(Format, section.Name, $"content within the {bytes.Length} bytes of the file", $"{section.RawSize} bytes at {section.RawOffset}");
        if (index > 0 && section.Address < header.Sections[index - 1].Address)
            throw new MalformedException(Format, section.Name, "sections in the order of their addresses", "one below the section before it");
    }

    private void Replace(int index, byte[] content)
    {
        PeSection section = header.Sections[index];
        if (content.Length > section.RawSize)
            throw new MalformedException(Format, section.Name, $"room for {content.Length} bytes", $"{section.RawSize}");
        Span<byte> place = bytes.AsSpan((int)section.RawOffset, (int)section.RawSize);
        place.Clear();
        content.CopyTo(place);
        Set(index, section with { VirtualSize = (uint)content.Length });
    }

    // An image should have no symbols, but old stubs do, at their end, where new sections go.
    private void DropSymbols()
    {
        uint table = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(header.SymbolTableAt));
        long strings = table + ((long)SymbolSize * BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(header.SymbolCountAt)));
        if (table == 0 || strings + sizeof(uint) > bytes.Length)
            return;
        if (strings + BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan((int)strings)) != bytes.Length)
            return;

        Array.Resize(ref bytes, (int)table);
        bytes.AsSpan(header.SymbolTableAt, 2 * sizeof(uint)).Clear();
    }

    // Stripped old stubs have content at odd places; everything behind moves.
    private void AlignSections()
    {
        for (int i = 0; i < header.Sections.Count; i++)
        {
            PeSection section = header.Sections[i];
            int offset = (int)AlignUp(section.RawOffset, header.FileAlignment);
            int size = (int)AlignUp(section.RawSize, header.FileAlignment);
            int before = offset - (int)section.RawOffset;
            int behind = size - (int)section.RawSize;
            if (before + behind == 0)
                continue;

            int start = (int)section.RawOffset;
            int rest = start + (int)section.RawSize;
            if (rest > bytes.Length)
                throw new MalformedException(Format, section.Name, "sections behind one another", "sections over one another");
            bytes = [.. bytes[..start], .. new byte[before], .. bytes[start..rest], .. new byte[behind], .. bytes[rest..]];
            Set(i, section with { RawOffset = (uint)offset, RawSize = (uint)size });
            for (int later = i + 1; later < header.Sections.Count; later++)
                Set(later, header.Sections[later] with { RawOffset = header.Sections[later].RawOffset + (uint)(before + behind) });
        }
    }

    private void Set(int index, PeSection section)
    {
        header.Sections[index] = section;
        section.Write(bytes.AsSpan(header.SectionTable + (index * PeHeader.SectionHeaderSize)));
    }

    private void AddTo(int at, uint amount) =>
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at)) + amount);
}
