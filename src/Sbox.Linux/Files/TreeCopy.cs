using Microsoft.Win32.SafeHandles;
namespace Sbox.Linux;

/// <summary>
/// Copies names with their bytes, owner, mode, attributes and times. Nothing is synced: whoever copies makes it durable as a whole.
/// </summary>
public static class TreeCopy
{
    private const uint OwnerOnly = 0x180; // 0600
    private const uint OwnerOnlyDir = 0x1C0; // 0700

    /// <summary>Copies a file or symbolic link over whatever leaf has the new name; false when the source is gone or no such thing.</summary>
    public static bool Leaf(Dir from, string name, Dir to, string newName)
    {
        if (from.TryStat(name) is not { } stat || !(stat.IsRegular || stat.IsSymlink))
            return false;
        to.TryUnlink(newName);
        if (stat.IsSymlink)
            to.Symlink(from.ReadLink(name), newName);
        else if (!Bytes(from, name, stat, to, newName))
            return false;
        Metadata(from, name, stat, to, newName);
        return true;
    }

    /// <summary>Makes a device node or FIFO like another; the new name must be free.</summary>
    public static void Node(Dir from, string name, Dir to, string newName)
    {
        FileStat stat = from.Stat(name);
        to.MakeNode(newName, stat.Mode, stat.RawDevice);
        Metadata(from, name, stat, to, newName);
    }

    /// <summary>Gives a directory, made where it is missing, the metadata of another.</summary>
    public static void Directory(Dir from, string name, Dir to, string newName)
    {
        FileStat stat = from.Stat(name);
        if (!to.Exists(newName))
            to.MakeDir(newName, OwnerOnlyDir);
        Metadata(from, name, stat, to, newName);
    }

    /// <summary>Copies a directory with all files, directories and links below it; the new name must be free.</summary>
    public static void Recursive(Dir from, string name, Dir to, string newName)
    {
        FileStat stat = from.Stat(name);
        to.MakeDir(newName, OwnerOnlyDir);
        using (Dir source = from.OpenDir(name))
        using (Dir target = to.OpenDir(newName))
        {
            foreach (DirEntry entry in source.EntriesOnce())
            {
                if (source.TryStat(entry.Name) is { IsDirectory: true })
                    Recursive(source, entry.Name, target, entry.Name);
                else
                    Leaf(source, entry.Name, target, entry.Name);
            }
        }

        Metadata(from, name, stat, to, newName);
    }

    // Of the file that was looked at: bytes of one that was put in its place would get the owner and mode of this one.
    private static bool Bytes(Dir from, string name, FileStat looked, Dir to, string newName)
    {
        using SafeFileHandle? source = from.TryOpenFile(name);
        if (source is null || Files.Stat(source, from.Of(name)) is var opened && (opened.Inode, opened.Uid, opened.Mode) != (looked.Inode, looked.Uid, looked.Mode))
            return false;
        using SafeFileHandle target = to.CreateFile(newName, OwnerOnly);
        if (looked.Blocks * 512 < looked.Size)
            Files.CopySparse(source, target, to.Of(newName));
        else
            Files.Copy(source, target, to.Of(newName));
        return true;
    }

    private static void Metadata(Dir from, string name, FileStat stat, Dir to, string newName)
    {
        foreach (Xattr attribute in Xattrs.Read(from, name))
            Xattrs.Set(to, newName, attribute);
        // Owner before mode: chown(2) clears setuid bits.
        to.ChangeOwner(newName, stat.Uid, stat.Gid);
        if (!stat.IsSymlink)
            to.ChangeOwnMode(newName, stat.Permissions); // through no link: whoever may write in the directory could have put one there meanwhile
        to.SetTimes(newName, stat.ModifiedSeconds, stat.ModifiedNanoseconds);
    }
}
