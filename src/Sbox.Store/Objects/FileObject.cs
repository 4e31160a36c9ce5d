using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>A file or symbolic link in a repository.</summary>
public sealed class FileObject
{
    private readonly Func<Stream> open;

    internal FileObject(Checksum checksum, FileHeader header, long size, string loosePath, Func<Stream> open) =>
        (Checksum, Header, Size, LoosePath, this.open) = (checksum, header, size, loosePath, open);

    /// <summary>Its name.</summary>
    public Checksum Checksum { get; }

    /// <summary>All that it says beside its content.</summary>
    public FileHeader Header { get; }

    /// <summary>Owner.</summary>
    public uint Uid => Header.Uid;

    /// <summary>Group.</summary>
    public uint Gid => Header.Gid;

    /// <summary>Type and permission bits.</summary>
    public Mode Mode => Header.Mode;

    /// <summary>Extended attributes.</summary>
    public XattrList Xattrs => Header.Xattrs;

    /// <summary>Where a symbolic link points; null for a regular file.</summary>
    public string? SymlinkTarget => Header.SymlinkTarget;

    /// <summary>Bytes of content; 0 for a symbolic link.</summary>
    public long Size { get; }

    /// <summary>Where it lies below <c>objects/</c>. In a bare repository this is the file itself.</summary>
    public string LoosePath { get; }

    /// <summary>Its content from the beginning, uncompressed; nothing for a symbolic link.</summary>
    public Stream OpenContent() => Mode.IsSymlink ? Stream.Null : open();
}
