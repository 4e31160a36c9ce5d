using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// File objects that any user can keep. <c>bare-user</c>: a regular file of one's own, what else there is to say in its xattr
/// <c>user.ostreemeta</c>, a symbolic link's target, with its NUL, as its content. <c>bare-user-only</c>: files and links as they are, which belong to
/// root and have neither xattrs nor modes beyond 0775.
/// </summary>
/// <remarks>docs/formats/file-object.md.</remarks>
internal static class BareUserFile
{
    private const string Format = "user.ostreemeta";
    private const uint OnlyPermissions = 0x1FD; // 0775
    private static readonly GVariantType Type = GVariantType.Parse("(uuua(ayay))");

    public static FileObject Load(Dir objects, Checksum checksum, SafeFileHandle file, string path)
    {
        string onDisk = objects.Of(path);
        byte[] meta = Xattrs.TryRead(file, Format, onDisk) ?? throw new MalformedException(Format, "xattr", "one on every object", "none");
        IReadOnlyList<GVariant> items = GVariant.Parse(Type, meta).Items;
        var mode = new Mode(BigEndian.From(items[2]));
        if (!mode.IsRegular && !mode.IsSymlink)
            throw new MalformedException(Format, "mode", "a regular file or symbolic link", $"{mode}");
        string? target = mode.IsSymlink ? FileName.FromBytes(Linux.Files.ReadAll(file, onDisk).AsSpan().TrimEnd((byte)0)) : null;
        var header = new FileHeader(BigEndian.From(items[0]), BigEndian.From(items[1]), mode, target, XattrList.From(items[3], Format));
        long size = mode.IsSymlink ? 0 : Linux.Files.Stat(file, onDisk).Size;
        return new FileObject(checksum, header, size, path, () => BareFile.Open(objects, path));
    }

    public static FileObject LoadOnly(Dir objects, Checksum checksum, SafeFileHandle? file, string path)
    {
        FileStat stat = file is null ? objects.Stat(path) : Linux.Files.Stat(file, objects.Of(path));
        var mode = new Mode(stat.Mode);
        if (!mode.IsRegular && !mode.IsSymlink)
            throw new MalformedException("file object", "mode", "a regular file or symbolic link", $"{mode}");
        var header = new FileHeader(0, 0, mode, mode.IsSymlink ? objects.ReadLink(path) : null, XattrList.Empty);
        return new FileObject(checksum, header, mode.IsSymlink ? 0 : stat.Size, path, () => BareFile.Open(objects, path));
    }

    /// <summary>Gives a file that holds an object's content (a link's target) all the rest: bare-user.</summary>
    public static void Finish(SafeFileHandle file, FileHeader header, string path)
    {
        byte[] meta = GVariant.Tuple(
            BigEndian.Of(header.Uid), BigEndian.Of(header.Gid), BigEndian.Of(header.Mode.Bits), header.Xattrs.ToVariant()).ToBytes();
        Xattrs.Set(file, new Xattr(Format, meta), path);
        // Readable by its owner at least, whatever the file says of itself; never setuid, since it is the owner's and not root's.
        Linux.Files.ChangeMode(file, header.Mode.IsSymlink ? 0x1A4 /* 0644 */ : (header.Mode.Permissions & OnlyPermissions) | 0x100, path);
        Linux.Files.SetModified(file, 0, 0, path);
    }

    /// <summary>As <see cref="Finish"/>: bare-user-only.</summary>
    public static void FinishOnly(SafeFileHandle file, FileHeader header, string path)
    {
        Linux.Files.ChangeMode(file, header.Mode.Permissions, path);
        Linux.Files.SetModified(file, 0, 0, path);
    }

    /// <summary>Whether a bare-user-only repository can keep an object.</summary>
    /// <exception cref="CannotKeepException">It has permission bits that nobody but root could give it.</exception>
    public static void RequireKeepable(FileHeader header, Checksum checksum)
    {
        if (header.Mode.IsRegular && (header.Mode.Permissions & ~OnlyPermissions) is var refused && refused != 0)
            throw new CannotKeepException(checksum, header.Mode, refused);
    }
}
