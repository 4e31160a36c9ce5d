using System.Buffers.Binary;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Turns archive objects that came from elsewhere into objects of a transaction, after they proved to be what they should be.</summary>
/// <param name="transaction">Where to.</param>
/// <param name="plainOnly">Whether files with permissions beyond 0775 are refused.</param>
/// <param name="believed">Whether an archive keeps them as they came, without hashing them.</param>
internal sealed class ArchiveImport(Transaction transaction, bool plainOnly, bool believed)
{
    private const int FrameSize = 8;
    private const long Slack = 4L << 20; // some servers' files have more behind their end; it is not kept

    /// <summary>How long one may be, by its first bytes: content that does not get shorter by compression gets hardly longer.</summary>
    /// <param name="begun">What came of it, in memory.</param>
    /// <param name="name">Which it should be.</param>
    /// <param name="source">Where from.</param>
    /// <returns>Bytes; null where its header has not come, and where nothing is hashed.</returns>
    /// <exception cref="PullException">No object begins so; or it will not fit, which is within (<see cref="NotEnoughSpaceException"/>): who sends it may be lying, and another one may tell another size.</exception>
    public long? Longest(Fetched begun, ObjectName name, string source)
    {
        ReadOnlySpan<byte> bytes = begun.Bytes;
        if (believed || bytes.Length < FrameSize)
            return null;
        try
        {
            int contentAt = FrameSize + ArchiveFile.HeaderLength(bytes[..FrameSize]);
            if (bytes.Length < contentAt)
                return null;
            long size = ArchiveFile.ParseHeader(bytes[FrameSize..contentAt]).Size;
            // What others reserve at this moment is given back again; whether there is room for it when it is written is asked then.
            if (transaction.Repository.Mode != RepositoryMode.Archive && transaction.Room is var room && size > room)
                throw new PullException(source, $"the object {name} of at most {room} bytes, for which there is room", $"one of {size}", new NotEnoughSpaceException(transaction.Repository.Path, size, room, source)) { IsOfBytes = true };
            return Saturated.Sum(Saturated.Sum(size, size / 8), contentAt + Slack);
        }
        catch (MalformedException malformed)
        {
            throw new PullException(source, $"the object {name}", malformed.Message, malformed) { IsOfBytes = true };
        }
    }

    /// <summary>Adds one.</summary>
    /// <exception cref="ObjectCorruptException">The bytes are another object, or none; nothing was added.</exception>
    /// <exception cref="CannotKeepException">It has permissions that are refused; nothing was added.</exception>
    public void Add(Fetched fetched, ObjectName name, string source)
    {
        try
        {
            using Stream stream = fetched.Open();
            (FileHeader header, long size) = ReadHeader(stream);
            if (plainOnly)
                BareUserFile.RequireKeepable(header, name.Checksum);
            bool isArchive = transaction.Repository.Mode == RepositoryMode.Archive;
            if (isArchive && (believed || IsAllOf(stream, header, size, fetched.Length, name, source)))
            {
                Keep(fetched, name, source);
                return;
            }

            if (isArchive)
            {
                using Stream again = fetched.Open();
                ReadHeader(again);
                Write(header, size, again, name, source);
                return;
            }

            Write(header, size, stream, name, source);
        }
        catch (Exception broken) when (broken is MalformedException or InvalidDataException or EndOfStreamException)
        {
            throw new ObjectCorruptException(source, name, null, broken.Message, broken);
        }
    }

    // Whether it is the object and nothing else. What lies behind the end of the compressed content is in no checksum: it would be kept,
    // served on, and never found by fsck.
    private static bool IsAllOf(Stream stream, FileHeader header, long size, long length, ObjectName name, string source)
    {
        var rest = new LastByteApart(stream, length - stream.Position);
        using Stream content = Content(header, size, rest);
        RequireHash(header, content, name, source);
        return rest.IsAtEnd;
    }

    private void Write(FileHeader header, long size, Stream stream, ObjectName name, string source)
    {
        using Stream content = Content(header, size, stream);
        transaction.UseWriter(writer => writer.Write(header, content, name.Checksum, size, source));
    }

    private static Stream Content(FileHeader header, long size, Stream compressed) =>
        header.Mode.IsSymlink ? Stream.Null : new ExactContent(ArchiveFile.Inflate(compressed), size);

    // As it came: compressing it again would cost much and change nothing.
    private void Keep(Fetched fetched, ObjectName name, string source)
    {
        if (fetched.File is { } file)
        {
            Linux.Files.ChangeMode(file, 0x1A4 /* 0644 */, source);
            transaction.StageContent(file, name, fetched.Length);
            fetched.Keep();
            return;
        }

        transaction.Reserve(fetched.Length);
        using Microsoft.Win32.SafeHandles.SafeFileHandle copy = transaction.Staging.CreateReadable();
        RandomAccess.Write(copy, fetched.Bytes, 0);
        transaction.StageContent(copy, name, fetched.Length);
    }

    private static void RequireHash(FileHeader header, Stream content, ObjectName name, string source)
    {
        using var hasher = new FileHasher();
        Checksum found = hasher.Hash(header, content).Checksum;
        if (found != name.Checksum)
            throw new ObjectCorruptException(source, name, found);
    }

    private static (FileHeader Header, long Size) ReadHeader(Stream stream)
    {
        Span<byte> frame = stackalloc byte[8];
        stream.ReadExactly(frame);
        var bytes = new byte[ArchiveFile.HeaderLength(frame)];
        stream.ReadExactly(bytes);
        return ArchiveFile.ParseHeader(bytes);
    }
}

/// <summary>
/// Input of a decompressor that gets the last byte by itself. A decompressor reads ahead; but it asks for the last byte only if the
/// compressed content ends there, since the mark of its end needs at least one bit of it.
/// </summary>
/// <param name="inner">The bytes.</param>
/// <param name="length">How many there are.</param>
internal sealed class LastByteApart(Stream inner, long length) : InputStream
{
    private long left = length;

    /// <summary>Whether all was asked for.</summary>
    public bool IsAtEnd => left == 0;

    public override int Read(Span<byte> buffer)
    {
        if (left <= 0)
            return 0;
        int read = inner.Read(buffer[..(int)Math.Min(buffer.Length, Math.Max(left - 1, 1))]);
        left -= read;
        return read;
    }
}

/// <summary>Content that must be as long as its header says: a longer one is stopped before it fills the disk.</summary>
internal sealed class ExactContent(Stream inner, long size) : InputStream
{
    private long done;

    public override long Length => size;

    public override long Position { get => done; set => throw new NotSupportedException(); }

    public override int Read(Span<byte> buffer)
    {
        int read = inner.Read(buffer);
        done += read;
        return done > size ? throw new InvalidDataException($"its header says {size} bytes, its content has more")
            : read == 0 && done < size && !buffer.IsEmpty ? throw new InvalidDataException($"its header says {size} bytes, its content has {done}")
            : read;
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            inner.Dispose();
    }
}
