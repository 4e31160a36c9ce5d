using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Codecs.Verity;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>The checksum that something on disk would have as a file object.</summary>
internal static class FileChecksum
{
    /// <summary>Hashes a regular file or symbolic link, its owner, mode and xattrs included.</summary>
    public static Checksum Of(Dir dir, string name)
    {
        FileStat stat = dir.Stat(name);
        XattrList xattrs = XattrList.From(Xattrs.Read(dir, name));
        if (stat.IsSymlink)
            return Of(new FileHeader(stat.Uid, stat.Gid, new Mode(stat.Mode), dir.ReadLink(name), xattrs), Stream.Null);
        using SafeFileHandle file = dir.OpenFile(name);
        using var content = new FileStream(file, FileAccess.Read, bufferSize: 0);
        return Of(new FileHeader(stat.Uid, stat.Gid, new Mode(stat.Mode), null, xattrs), content);
    }

    /// <summary>Hashes a header and a content.</summary>
    public static Checksum Of(FileHeader header, Stream content)
    {
        using var hasher = new FileHasher();
        return hasher.Hash(header, content).Checksum;
    }
}

/// <summary>Hashes file objects one after the other, with one buffer.</summary>
internal sealed class FileHasher : IDisposable
{
    private readonly IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly byte[] buffer = GC.AllocateUninitializedArray<byte>(256 * 1024);

    /// <returns>The checksum, and bytes of content.</returns>
    public (Checksum Checksum, long Size) Hash(FileHeader header, Stream content)
    {
        Span<byte> result = stackalloc byte[Checksum.Size];
        try
        {
            hash.AppendData(header.ToHashedBytes());
            long size = 0;
            for (int read; (read = content.Read(buffer)) > 0; size += read)
                hash.AppendData(buffer, 0, read);
            hash.GetHashAndReset(result);
            return (Checksum.FromBytes(result), size);
        }
        catch
        {
            hash.GetHashAndReset(result); // half of a file must not be in the next one's hash
            throw;
        }
    }

    /// <summary>As the other, of an open file.</summary>
    /// <param name="header">The file's header.</param>
    /// <param name="file">Its content, read from the beginning.</param>
    /// <param name="size">Its bytes, which were asked for a moment ago: the call that answers "end" is saved.</param>
    /// <param name="path">For the error.</param>
    /// <param name="also">Takes the content as well, so that it is read once; null for nobody.</param>
    /// <exception cref="LinuxException">It cannot be read.</exception>
    public Checksum Hash(FileHeader header, SafeFileHandle file, long size, string path, VerityHasher? also = null)
    {
        Span<byte> result = stackalloc byte[Checksum.Size];
        try
        {
            hash.AppendData(header.ToHashedBytes());
            long at = 0;
            for (int read; at < size && (read = Linux.Files.ReadAt(file, buffer, at, path)) > 0; at += read)
            {
                hash.AppendData(buffer, 0, read);
                also?.Append(buffer.AsSpan(0, read));
            }

            hash.GetHashAndReset(result);
            return Checksum.FromBytes(result);
        }
        catch
        {
            hash.GetHashAndReset(result);
            throw;
        }
    }

    public void Dispose() => hash.Dispose();
}
