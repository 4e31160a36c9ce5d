using System.Buffers.Binary;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Turns archive objects that came from elsewhere into objects of a transaction, after they proved to be what they should be.</summary>
internal sealed class ArchiveImport(Transaction transaction)
{
    /// <exception cref="ObjectCorruptException">The bytes are another object, or none; nothing was added.</exception>
    public void Add(Fetched fetched, ObjectName name, string source)
    {
        try
        {
            using Stream stream = fetched.Open();
            (FileHeader header, long size) = ReadHeader(stream);
            using Stream content = header.Mode.IsSymlink ? Stream.Null : new ExactContent(ArchiveFile.Inflate(stream), size);
            if (transaction.Repository.Mode == RepositoryMode.Archive)
                Keep(fetched, header, content, name, source);
            else
                transaction.UseWriter(writer => writer.Write(header, content, name.Checksum, size, source));
        }
        catch (Exception broken) when (broken is MalformedException or InvalidDataException or EndOfStreamException)
        {
            throw new ObjectCorruptException(source, name, null, broken.Message, broken);
        }
    }

    // As it came: compressing it again would cost much and change nothing.
    private void Keep(Fetched fetched, FileHeader header, Stream content, ObjectName name, string source)
    {
        using var hasher = new FileHasher();
        Checksum found = hasher.Hash(header, content).Checksum;
        if (found != name.Checksum)
            throw new ObjectCorruptException(source, name, found);
        if (fetched.File is { } file)
        {
            Linux.Files.ChangeMode(file, 0x1A4 /* 0644 */, source);
            transaction.StageContent(file, name, fetched.Length);
            fetched.Keep();
            return;
        }

        transaction.Reserve(fetched.Length);
        using Microsoft.Win32.SafeHandles.SafeFileHandle copy = transaction.Staging.CreateReadable();
        RandomAccess.Write(copy, fetched.Memory!.GetBuffer().AsSpan(0, (int)fetched.Length), 0);
        transaction.StageContent(copy, name, fetched.Length);
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
