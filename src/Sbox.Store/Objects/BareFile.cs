using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>File objects as <c>bare</c> keeps them: the file itself, with owner, mode and xattrs.</summary>
internal static class BareFile
{
    /// <param name="objects">The directory of objects.</param>
    /// <param name="checksum">The object's name.</param>
    /// <param name="file">The object; null for a symbolic link, which cannot be opened.</param>
    /// <param name="path">Where it lies.</param>
    /// <exception cref="MalformedException">It is neither a regular file nor a symbolic link.</exception>
    public static FileObject Load(Dir objects, Checksum checksum, SafeFileHandle? file, string path) =>
        Load(objects, checksum, file, path, XattrsOf);

    /// <summary>As <c>bare-split-xattrs</c> keeps them: the xattrs lie beside the file, by a name that leads to all files with the same ones.</summary>
    /// <exception cref="MalformedException">It is neither a regular file nor a symbolic link, or what lies beside it are no xattrs.</exception>
    /// <exception cref="LinuxException">Nothing lies beside it.</exception>
    public static FileObject LoadSplit(Dir objects, Checksum checksum, SafeFileHandle? file, string path) =>
        Load(objects, checksum, file, path, static (objects, _, path, _) =>
        {
            string beside = path + "-xattrs-link";
            using SafeFileHandle xattrs = objects.OpenFile(beside);
            byte[] bytes = Linux.Files.ReadAtMost(xattrs, objects.Of(beside), FileHeader.MaximumSize)
                ?? throw new MalformedException("file-xattrs", "size", $"at most {FileHeader.MaximumSize} bytes", "more");
            return XattrList.From(GVariant.Parse("a(ayay)", bytes), "file-xattrs");
        });

    private static XattrList XattrsOf(Dir objects, SafeFileHandle? file, string path, string onDisk) =>
        XattrList.From(file is null ? Xattrs.Read(objects, path) : Xattrs.Read(file, onDisk));

    private static FileObject Load(Dir objects, Checksum checksum, SafeFileHandle? file, string path, XattrReader xattrsOf)
    {
        (FileHeader header, long size) = Look(objects, file, path, objects.Of(path), xattrsOf);
        return new FileObject(checksum, header, size, path, () => Open(objects, path));
    }

    private delegate XattrList XattrReader(Dir objects, SafeFileHandle? file, string path, string onDisk);

    private static (FileHeader Header, long Size) Look(Dir objects, SafeFileHandle? file, string path, string onDisk, XattrReader xattrsOf)
    {
        FileStat stat = file is null ? objects.Stat(path) : Linux.Files.Stat(file, onDisk);
        var mode = new Mode(stat.Mode);
        if (!mode.IsRegular && !mode.IsSymlink)
            throw new MalformedException("file object", "mode", "a regular file or symbolic link", $"{mode}");
        string? target = mode.IsSymlink ? objects.ReadLink(path) : null;
        XattrList xattrs = xattrsOf(objects, file, path, onDisk);
        return (new FileHeader(stat.Uid, stat.Gid, mode, target, xattrs), mode.IsSymlink ? 0 : stat.Size);
    }

    /// <summary>The header and the hash of an object, all from one open file.</summary>
    /// <exception cref="MalformedException">It is neither a regular file nor a symbolic link.</exception>
    public static Checksum Hash(Dir objects, SafeFileHandle? file, string path, FileHasher hasher)
    {
        string onDisk = objects.Of(path);
        (FileHeader header, long size) = Look(objects, file, path, onDisk, XattrsOf);
        return file is null ? hasher.Hash(header, Stream.Null).Checksum : hasher.Hash(header, file, size, onDisk);
    }

    internal static FileStream Open(Dir objects, string path)
    {
        SafeFileHandle file = objects.OpenFile(path);
        return new FileStream(file, FileAccess.Read, bufferSize: 0);
    }
}
