using System.IO.Compression;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Objects of a repository of any mode as one in mode archive keeps them, each hashed before its first byte is given away. Safe on several threads.</summary>
/// <param name="repository">The repository; must stay open.</param>
public sealed class ArchiveReader(Repository repository) : IDisposable
{
    private const int FitsMemory = 4 << 20;
    private const int Piece = 1 << 20;
    private const uint Private = 0x180; // 0600
    private readonly ObjectCheck check = new(repository);

    /// <summary>An object's bytes, from the beginning; the length is known, and they can be read again.</summary>
    /// <exception cref="ObjectMissingException">There is none.</exception>
    /// <exception cref="ObjectCorruptException">Its bytes are something else than its name says.</exception>
    public Stream Open(ObjectName name)
    {
        check.Verify(name);
        if (name.Type != ObjectType.File)
            return new MemoryStream(repository.LoadMetadata(name), writable: false);
        Repository holder = repository.WithParents().FirstOrDefault(each => each.Objects.Has(name)) ?? throw new ObjectMissingException(repository.Path, name);
        if (holder.Mode != RepositoryMode.Archive)
            return Compressed(holder, holder.LoadFile(name.Checksum));
        SafeFileHandle file = holder.Objects.Dir.OpenFile(name.LoosePath(RepositoryMode.Archive));
        return new FileStream(file, FileAccess.Read, bufferSize: 0);
    }

    /// <inheritdoc/>
    public void Dispose() => check.Dispose();

    private static Stream Compressed(Repository holder, FileObject file)
    {
        Stream output = file.Size <= FitsMemory ? new MemoryStream() : Aside(holder);
        try
        {
            output.Write(file.Header.ToArchiveBytes((ulong)file.Size));
            if (file.Header.Mode.IsRegular)
            {
                using Stream content = file.OpenContent();
                using var deflate = new ArchiveDeflater(output, new ZLibCompressionOptions { CompressionLevel = holder.Settings.ZlibLevel });
                content.CopyTo(deflate, Piece);
                deflate.Finish();
            }

            output.Position = 0;
            return output;
        }
        catch
        {
            output.Dispose();
            throw;
        }
    }

    private static FileStream Aside(Repository holder)
    {
        using Linux.Dir tmp = holder.Dir.MakeAndOpenDir("tmp");
        return new FileStream(tmp.CreateUnnamed(Private), FileAccess.ReadWrite, bufferSize: 0);
    }
}
