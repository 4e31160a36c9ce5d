using System.Buffers.Binary;
using Sbox.Codecs.Uki;

namespace Sbox.Codecs.SecureBoot;

/// <summary>The table of signatures behind a program's last section, and the place in its headers that leads there.</summary>
/// <remarks>docs/formats/secure-boot.md, after Microsoft's PE format ("The Attribute Certificate Table").</remarks>
public static class PeSignatures
{
    private const int Alignment = 8;
    private const ushort Revision = 0x0200, Pkcs7 = 0x0002;

    /// <summary>Bytes of a program once its end is aligned for signatures.</summary>
    public static long PaddedLength(long length) => (length + Alignment - 1) / Alignment * Alignment;

    /// <summary>Adds signatures to a program that has none.</summary>
    /// <param name="program">The whole program; stays as it is.</param>
    /// <param name="signatures">Each as <see cref="Authenticode.Sign"/> gives it, in this order.</param>
    /// <exception cref="MalformedException">It is no unsigned PE32+ program.</exception>
    public static byte[] Attach(ReadOnlySpan<byte> program, IReadOnlyList<byte[]> signatures)
    {
        byte[] table = Table(signatures);
        var signed = new byte[PaddedLength(program.Length) + table.Length];
        program.CopyTo(signed);
        table.CopyTo(signed, PaddedLength(program.Length));
        (int at, byte[] directory) = Directory(program, program.Length, table.Length);
        directory.CopyTo(signed, at);
        return signed;
    }

    /// <summary>The table's bytes, to be written at <see cref="PaddedLength"/>.</summary>
    public static byte[] Table(IReadOnlyList<byte[]> signatures)
    {
        var table = new MemoryStream();
        Span<byte> header = stackalloc byte[8];
        foreach (byte[] signature in signatures)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(header, (uint)(header.Length + signature.Length));
            BinaryPrimitives.WriteUInt16LittleEndian(header[4..], Revision);
            BinaryPrimitives.WriteUInt16LittleEndian(header[6..], Pkcs7);
            table.Write(header);
            table.Write(signature);
            table.Write(new byte[PaddedLength(table.Length) - table.Length]);
        }

        return table.ToArray();
    }

    /// <summary>What the headers must say of a table: where in the file, and the eight bytes to write there.</summary>
    /// <param name="start">The program's first bytes, to the end of its headers at least.</param>
    /// <param name="length">Bytes in the program, without signatures.</param>
    /// <param name="tableLength">Bytes in the table.</param>
    /// <exception cref="MalformedException">It is no unsigned PE32+ program.</exception>
    public static (int At, byte[] Bytes) Directory(ReadOnlySpan<byte> start, long length, int tableLength)
    {
        PeHeader header = PeHeader.Read(start);
        if (header.IsSigned)
            throw new MalformedException("PE image", "security directory", "a program without a signature", "one with a signature");
        var bytes = new byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, checked((uint)PaddedLength(length)));
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), (uint)tableLength);
        return (header.SecurityDirectoryAt, bytes);
    }

    /// <summary>Takes a program and its signatures apart.</summary>
    /// <param name="file">The whole file.</param>
    /// <returns>The program as it was before it was signed, and its signatures; none where it has none.</returns>
    /// <exception cref="MalformedException">It is no PE32+ program, or its table is not at the file's end.</exception>
    public static (byte[] Program, IReadOnlyList<byte[]> Signatures) Detach(ReadOnlySpan<byte> file)
    {
        PeHeader header = PeHeader.Read(file);
        if (!header.IsSigned)
            return (file.ToArray(), []);
        uint at = BinaryPrimitives.ReadUInt32LittleEndian(file[header.SecurityDirectoryAt..]);
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(file[(header.SecurityDirectoryAt + 4)..]);
        if ((long)at + size != file.Length)
            throw new MalformedException("PE image", "security directory", $"a table that ends with the file, at {file.Length}", $"{size} bytes at {at}");
        byte[] program = file[..(int)at].ToArray();
        program.AsSpan(header.SecurityDirectoryAt, 8).Clear();
        return (program, Read(file[(int)at..]));
    }

    /// <summary>The signatures of a program; of its content only the headers are read.</summary>
    /// <param name="file">The whole file; it can seek.</param>
    /// <returns>None where it has none.</returns>
    /// <exception cref="MalformedException">It is no PE32+ program, or its table is not at the file's end, or larger than 1 MiB.</exception>
    public static IReadOnlyList<byte[]> Of(Stream file)
    {
        const int most = 1 << 20;
        var start = new byte[4096];
        file.Position = 0;
        Span<byte> headers = start.AsSpan(0, file.ReadAtLeast(start, start.Length, throwOnEndOfStream: false));
        PeHeader header = PeHeader.Read(headers);
        if (!header.IsSigned)
            return [];
        uint at = BinaryPrimitives.ReadUInt32LittleEndian(headers[header.SecurityDirectoryAt..]);
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(headers[(header.SecurityDirectoryAt + 4)..]);
        if ((long)at + size != file.Length || size > most)
            throw new MalformedException("PE image", "security directory", $"a table of at most {most} bytes that ends with the file, at {file.Length}", $"{size} bytes at {at}");
        var table = new byte[size];
        file.Position = at;
        file.ReadExactly(table);
        return Read(table);
    }

    private static List<byte[]> Read(ReadOnlySpan<byte> table)
    {
        var signatures = new List<byte[]>();
        var reader = new SpanReader(table, "table of signatures");
        while (reader.Remaining >= 8)
        {
            int length = (int)Math.Min(reader.ReadUInt32LittleEndian("length"), int.MaxValue) - 8;
            reader.ReadUInt16LittleEndian("revision");
            ushort kind = reader.ReadUInt16LittleEndian("kind");
            byte[] content = reader.ReadBytes(length, "signature").ToArray();
            reader.ReadBytes((int)Math.Min(reader.Remaining, PaddedLength(reader.Position) - reader.Position), "padding");
            if (kind == Pkcs7)
                signatures.Add(content);
        }

        return signatures;
    }
}
