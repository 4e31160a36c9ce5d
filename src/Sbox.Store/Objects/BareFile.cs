using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>File objects as <c>bare</c> keeps them: the file itself, with owner, mode and xattrs.</summary>
internal static class BareFile
{
    public static FileObject Load(Dir objects, Checksum checksum, string path, FileStat stat)
    {
        var mode = new Mode(stat.Mode);
        if (!mode.IsRegular && !mode.IsSymlink)
            throw new MalformedException("file object", "mode", "a regular file or symbolic link", $"{mode}");
        string? target = mode.IsSymlink ? objects.ReadLink(path) : null;
        var header = new FileHeader(stat.Uid, stat.Gid, mode, target, XattrList.From(Xattrs.Read(objects, path)));
        return new FileObject(checksum, header, mode.IsSymlink ? 0 : stat.Size, path, () => Open(objects, path));
    }

    private static FileStream Open(Dir objects, string path)
    {
        SafeFileHandle file = objects.OpenFile(path);
        return new FileStream(file, FileAccess.Read, bufferSize: 0);
    }
}
