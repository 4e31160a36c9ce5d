using System.Security.Cryptography;
using Sbox.Codecs.Uki;

namespace Sbox.Codecs.SecureBoot;

/// <summary>
/// A stream that takes an unsigned program front to back and hashes what a signature covers: all of it but the checksum field and the
/// place that says where signatures are.
/// </summary>
/// <remarks>
/// docs/formats/secure-boot.md. Firmware hashes headers and sections by the section table and so would not see bytes between them; such
/// a program is refused here, and then both ways of counting are the same.
/// </remarks>
public sealed class PeDigest : OutputStream
{
    private const int HeadersKept = 64 * 1024;
    private readonly IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly MemoryStream headers = new();
    private bool headersHashed;

    /// <summary>Bytes taken so far.</summary>
    public override long Length => Position;

    /// <inheritdoc/>
    public override long Position { get => taken; set => throw new NotSupportedException(); }

    private long taken;

    /// <summary>The digest of a program that is wholly in memory.</summary>
    /// <exception cref="MalformedException">It is no unsigned PE32+ program.</exception>
    public static Checksum Of(ReadOnlySpan<byte> program)
    {
        using var digest = new PeDigest();
        digest.Write(program);
        return digest.Finish();
    }

    /// <summary>Ends the program.</summary>
    /// <exception cref="MalformedException">It is no PE32+ program, is signed, or has bytes that no section owns.</exception>
    public Checksum Finish()
    {
        if (!headersHashed)
            HashHeaders();
        Check(PeHeader.Read(headers.GetBuffer().AsSpan(0, (int)headers.Length)), taken);
        int padding = (int)(PeSignatures.PaddedLength(taken) - taken);
        hash.AppendData(new byte[padding]);
        Span<byte> result = stackalloc byte[Checksum.Size];
        hash.GetHashAndReset(result);
        return Checksum.FromBytes(result);
    }

    /// <inheritdoc/>
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        taken += buffer.Length;
        if (!headersHashed)
        {
            int kept = (int)Math.Min(buffer.Length, HeadersKept - headers.Length);
            headers.Write(buffer[..kept]);
            buffer = buffer[kept..];
            if (headers.Length < HeadersKept)
                return;
            HashHeaders();
        }

        hash.AppendData(buffer);
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        hash.Dispose();
        headers.Dispose();
        base.Dispose(disposing);
    }

    private void HashHeaders()
    {
        ReadOnlySpan<byte> start = headers.GetBuffer().AsSpan(0, (int)headers.Length);
        PeHeader header = PeHeader.Read(start);
        hash.AppendData(start[..header.ChecksumAt]);
        hash.AppendData(start[(header.ChecksumAt + sizeof(uint))..header.SecurityDirectoryAt]);
        hash.AppendData(start[(header.SecurityDirectoryAt + 8)..]);
        headersHashed = true;
    }

    private static void Check(PeHeader header, long length)
    {
        if (header.IsSigned)
            throw new MalformedException("PE image", "security directory", "a program without a signature", "one with a signature");
        long end = header.HeadersSize;
        foreach (PeSection section in header.Sections.Where(static section => section.RawSize > 0).OrderBy(static section => section.RawOffset))
        {
            if (section.RawOffset != end)
                throw new MalformedException("PE image", section.Name, $"content at {end}, behind what comes before it", $"{section.RawOffset}");
            end += section.RawSize;
        }

        if (end > length)
            throw new MalformedException("PE image", "sections", $"content within the {length} bytes of the file", $"an end at {end}");
    }
}
