using System.IO.Compression;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Turns files into file objects of a transaction; one thread at a time. It keeps its hash and one buffer, so memory does not
/// grow with the files: what fits the buffer is read once; more is hashed first and, only if the object is new, read again to be copied.
/// </summary>
internal sealed class ContentWriter(Transaction transaction) : IDisposable
{
    private const int BufferSize = 1024 * 1024;
    private const uint Private = 0x180; // 0600
    private const uint SetIds = 0xC00;

    private readonly IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly byte[] buffer = GC.AllocateUninitializedArray<byte>(BufferSize);
    private readonly MemoryStream compressed = new();

    /// <summary>Adds an open file.</summary>
    /// <param name="header">What the object says of it.</param>
    /// <param name="file">A file on disk, from its beginning.</param>
    /// <param name="expectedSize">Its size as it was a moment ago.</param>
    /// <param name="path">What it is called, for errors.</param>
    /// <param name="adopt">Whether the file itself may become the object.</param>
    /// <returns>The object, and bytes of content.</returns>
    /// <exception cref="CannotCommitException">It changed while it was read.</exception>
    public (Checksum Checksum, long Size) Write(FileHeader header, SafeFileHandle file, long expectedSize, string path, bool adopt = false)
    {
        byte[] hashed = header.ToHashedBytes();
        int filled = Fill(file, expectedSize, path);
        if (filled < BufferSize)
            return (WriteWhole(header, hashed, filled, expected: null, path, adopt ? file : null), filled);

        hash.AppendData(hashed);
        long size = 0;
        for (int read = filled; read > 0; read = Linux.Files.ReadAt(file, buffer, size, path))
        {
            hash.AppendData(buffer, 0, read);
            size += read;
        }

        Checksum checksum = TakeHash();
        var name = new ObjectName(checksum, ObjectType.File);
        if (!transaction.Has(name) && !(adopt && TryAdopt(file, header, name, size)))
        {
            using var content = new FileStream(new SafeFileHandle(file.DangerousGetHandle(), ownsHandle: false), FileAccess.Read, bufferSize: 0);
            content.Position = 0;
            try
            {
                WriteLarge(header, hashed, 0, content, size, checksum, path);
            }
            catch (Exception changed) when (changed is ObjectCorruptException or MalformedException)
            {
                throw new CannotCommitException(path, "it changed while it was read");
            }
        }

        return (checksum, size);
    }

    /// <summary>Adds a symbolic link, or a file whose content comes as a stream.</summary>
    /// <param name="header">All beside the content.</param>
    /// <param name="content">The content; read to its end once.</param>
    /// <param name="expected">What the object must be; null for anything.</param>
    /// <param name="size">The content's size where it is known: then a large file is written as it comes.</param>
    /// <param name="source">Where it comes from, for errors.</param>
    /// <param name="believed">Whether what is expected is its name, whatever it is: fsck finds what it is not.</param>
    /// <exception cref="ObjectCorruptException">It is something else than expected; nothing was added.</exception>
    public Checksum Write(FileHeader header, Stream content, Checksum? expected, long? size = null, string source = "content", bool believed = false)
    {
        byte[] hashed = header.ToHashedBytes();
        if (header.Mode.IsSymlink)
            return WriteWhole(header, hashed, 0, expected, source, believed: believed);
        int filled = Fill(content);
        return filled < BufferSize
            ? WriteWhole(header, hashed, filled, expected, source, believed: believed)
            : WriteLarge(header, hashed, filled, content, size, expected, source, believed);
    }

    public void Dispose() => hash.Dispose();

    private Checksum WriteWhole(FileHeader header, byte[] hashed, int filled, Checksum? expected, string source, SafeFileHandle? adoptable = null, bool believed = false)
    {
        hash.AppendData(hashed);
        hash.AppendData(buffer, 0, filled);
        Checksum checksum = NameOf(TakeHash(), expected, believed, source);
        var name = new ObjectName(checksum, ObjectType.File);
        if (transaction.Has(name))
            return checksum;

        RepositoryMode mode = transaction.Repository.Mode;
        if (mode == RepositoryMode.BareUserOnly)
            BareUserFile.RequireKeepable(header, checksum);
        if (adoptable is not null && TryAdopt(adoptable, header, name, filled))
            return checksum;
        if (mode == RepositoryMode.Archive)
            StoreCompressed(header, name, filled);
        else if (header.Mode.IsSymlink && mode.KeepsLinks())
            StoreSymlink(header, name);
        else if (header.Mode.IsSymlink)
            StoreBare(header, name, FillWith(header.SymlinkTarget!));
        else
            StoreBare(header, name, filled);
        return checksum;
    }

    // The file that was read becomes the object: where a bare repository keeps it as it is, on one file system, and empty ones never.
    private bool TryAdopt(SafeFileHandle file, FileHeader header, ObjectName name, long size)
    {
        if (size == 0 || transaction.Repository.Mode is not (RepositoryMode.Bare or RepositoryMode.BareUserOnly))
            return false;
        if (transaction.Repository.Mode == RepositoryMode.BareUserOnly)
            BareUserFile.RequireKeepable(header, name.Checksum);
        try
        {
            FinishBare(file, header, asItIs: false);
            transaction.StageContent(file, name, size);
            return true;
        }
        catch (LinuxException refused) when (refused.Errno is Errno.EXDEV or Errno.EPERM or Errno.EMLINK)
        {
            return false; // a copy does as well
        }
    }

    private int FillWith(string target)
    {
        byte[] bytes = [.. FileName.ToBytes(target), 0]; // with its NUL, as libostree writes it
        if (!bytes.AsSpan().TryCopyTo(buffer))
            throw new MalformedException("file object", "symlink target", $"at most {BufferSize} bytes", $"{bytes.Length}");
        return bytes.Length;
    }

    private void StoreBare(FileHeader header, ObjectName name, int filled)
    {
        transaction.Reserve(filled);
        bool asItIs = CanBeMadeAsItIs(header);
        using SafeFileHandle file = transaction.Staging.Dir.CreateUnnamed(asItIs ? header.Mode.Permissions : Private);
        Linux.Files.WriteAt(file, buffer.AsSpan(0, filled), 0, transaction.Staging.Dir.Path);
        FinishBare(file, header, asItIs);
        transaction.StageContent(file, name, filled);
    }

    private void StoreSymlink(FileHeader header, ObjectName name)
    {
        Staging staging = transaction.Staging;
        string temporary = staging.TemporaryName();
        staging.Dir.Symlink(header.SymlinkTarget!, temporary);
        if (transaction.Repository.Mode == RepositoryMode.Bare)
        {
            staging.Dir.ChangeOwner(temporary, header.Uid, header.Gid);
            foreach (Xattr xattr in header.Xattrs)
                Xattrs.Set(staging.Dir, temporary, xattr);
        }

        transaction.CountContent(name, staging.Rename(temporary, name.LoosePath(RepositoryMode.Bare)), 0);
    }

    private void StoreCompressed(FileHeader header, ObjectName name, int filled)
    {
        compressed.SetLength(0);
        compressed.Write(header.ToArchiveBytes((ulong)filled));
        if (header.Mode.IsRegular)
        {
            using ArchiveDeflater deflate = NewDeflate(compressed);
            deflate.Write(buffer.AsSpan(0, filled));
            deflate.Finish();
        }

        transaction.Reserve(compressed.Length);
        using SafeFileHandle file = transaction.Staging.CreateReadable();
        Linux.Files.WriteAt(file, compressed.GetBuffer().AsSpan(0, (int)compressed.Length), 0, transaction.Staging.Dir.Path);
        transaction.StageContent(file, name, compressed.Length);
    }

    // What was read already (filled) is in the buffer; the rest comes from the stream.
    private Checksum WriteLarge(FileHeader header, byte[] hashed, int filled, Stream content, long? size, Checksum? expected, string source, bool believed = false)
    {
        bool archive = transaction.Repository.Mode == RepositoryMode.Archive;
        if (archive && size is null)
            throw new ArgumentNullException(nameof(size), "an archive object begins with its content's size");
        using SafeFileHandle file = archive ? transaction.Staging.CreateReadable() : transaction.Staging.Dir.CreateUnnamed(Private);
        using var output = new HandleStream(file, transaction.Reserve);
        hash.AppendData(hashed);
        long written;
        if (archive)
        {
            output.Write(header.ToArchiveBytes((ulong)size!));
            using ArchiveDeflater deflate = NewDeflate(output);
            written = CopyHashed(filled, content, deflate);
            deflate.Finish();
        }
        else
        {
            written = CopyHashed(filled, content, output);
        }

        output.Flush();
        Checksum checksum = NameOf(TakeHash(), expected, believed, source);
        if (archive && written != size)
            throw new MalformedException("file object", "size", $"{size} bytes", $"{written}");
        if (transaction.Repository.Mode == RepositoryMode.BareUserOnly)
            BareUserFile.RequireKeepable(header, checksum);
        if (!archive)
            FinishBare(file, header, asItIs: false);
        transaction.StageContent(file, new ObjectName(checksum, ObjectType.File), output.Length);
        return checksum;
    }

    private long CopyHashed(int filled, Stream content, Stream output)
    {
        long written = 0;
        for (int read = filled > 0 ? filled : Fill(content); read > 0; read = Fill(content))
        {
            hash.AppendData(buffer, 0, read);
            output.Write(buffer, 0, read);
            written += read;
        }

        return written;
    }

    private int Fill(Stream content) => content.ReadAtLeast(buffer, BufferSize, throwOnEndOfStream: false);

    // Most files belong to whoever makes the object and have plain permissions: then nothing is left to be changed afterwards, and two
    // calls and their part of the journal are saved. Setuid bits come after the bytes in any case: writing clears them.
    private bool CanBeMadeAsItIs(FileHeader header) => transaction.Repository.Mode == RepositoryMode.Bare && header.Xattrs.Count == 0 &&
        (header.Mode.Permissions & SetIds) == 0 && transaction.Staging.Owns(header.Uid, header.Gid) && transaction.Staging.Keeps(header.Mode.Permissions);

    private void FinishBare(SafeFileHandle file, FileHeader header, bool asItIs)
    {
        string path = transaction.Staging.Dir.Path;
        switch (transaction.Repository.Mode)
        {
            case RepositoryMode.BareUser:
                BareUserFile.Finish(file, header, path);
                return;
            case RepositoryMode.BareUserOnly:
                BareUserFile.FinishOnly(file, header, path);
                return;
        }

        if (!asItIs)
        {
            if (!transaction.Staging.Owns(header.Uid, header.Gid))
                Linux.Files.ChangeOwner(file, header.Uid, header.Gid, path);
            // After the owner, whose change drops file capabilities; before the mode, which may take write permission away.
            foreach (Xattr xattr in header.Xattrs)
                Xattrs.Set(file, xattr, path);
            Linux.Files.ChangeMode(file, header.Mode.Permissions, path);
        }

        // libostree gives every object the same time, so that checkouts are the same.
        Linux.Files.SetModified(file, 0, 0, path);
    }

    private ArchiveDeflater NewDeflate(Stream output) =>
        new(output, new ZLibCompressionOptions { CompressionLevel = transaction.Repository.Settings.ZlibLevel });

    private int Fill(SafeFileHandle file, long expectedSize, string path)
    {
        int filled = 0;
        for (int read; filled < BufferSize && (read = Linux.Files.ReadAt(file, buffer.AsSpan(filled), filled, path)) > 0;)
        {
            filled += read;
            if (filled == expectedSize)
                break; // fewer than asked for, and as many as there should be: the call that answers "end" is saved
        }

        return filled;
    }

    private static Checksum NameOf(Checksum found, Checksum? expected, bool believed, string source) =>
        expected is not { } wanted || wanted == found ? found
        : believed ? wanted
        : throw new ObjectCorruptException(source, new ObjectName(wanted, ObjectType.File), found);

    private Checksum TakeHash()
    {
        Span<byte> bytes = stackalloc byte[Checksum.Size];
        hash.GetHashAndReset(bytes);
        return Checksum.FromBytes(bytes);
    }
}
