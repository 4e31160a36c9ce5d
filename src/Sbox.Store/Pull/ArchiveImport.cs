using System.Buffers.Binary;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Turns archive objects that came from elsewhere into objects of a transaction, after they proved to be what they should be.</summary>
/// <param name="transaction">Where to.</param>
/// <param name="plainOnly">Whether files with permissions beyond 0775 are refused.</param>
/// <param name="believed">Whether an archive keeps them as they came, without hashing them.</param>
internal sealed class ArchiveImport(Transaction transaction, bool plainOnly, bool believed)
{
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
        if (!believed)
            RequireHash(header, content, name, source);
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
