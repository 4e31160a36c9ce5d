using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>A directory of a test's own, on the disk (not tmpfs: xattrs, hardlinks and O_TMPFILE must be real), gone at the end.</summary>
internal sealed class Scratch : IDisposable
{
    public const string Timestamp = "2024-05-06T07:08:09Z";
    public static readonly DateTimeOffset Time = DateTimeOffset.Parse(Timestamp, null);

    private readonly List<string> disks = [];

    public Scratch()
    {
        Root = Path.Combine("/var/tmp", $"sbox-store-{Guid.NewGuid():N}");
        System.IO.Directory.CreateDirectory(Root);
    }

    public string Root { get; }

    public string this[string name] => Path.Combine(Root, name);

    /// <summary>A file system of a size of its own: what others do on the disk frees room there, or takes it.</summary>
    /// <param name="name">Where it is mounted.</param>
    /// <param name="mebibytes">Its size.</param>
    public string Disk(string name, int mebibytes)
    {
        System.IO.Directory.CreateDirectory(this[name]);
        Judge.OnPath("mount").Run("-t", "tmpfs", "-o", $"size={mebibytes}m", "sbox-test", this[name]);
        disks.Add(this[name]);
        return this[name];
    }

    public void Dispose()
    {
        disks.ForEach(Unmounting.Unmount);
        using Dir parent = Dir.Open("/var/tmp");
        parent.RemoveAll(Path.GetFileName(Root));
    }

    /// <summary>A tree with one of everything that a repository can hold.</summary>
    public string Tree(string name = "tree")
    {
        System.IO.Directory.CreateDirectory(this[name]);
        using Dir root = Dir.Open(this[name]);
        Write(root, "hello", "hello\n"u8.ToArray());
        Write(root, "empty", []);
        Write(root, "also-empty", []);
        root.Symlink("hello", "link");
        root.Symlink("/no/such/place/ünicode", "dangling");
        root.MakeDirs("etc/a/b/c");
        root.MakeDir("empty-dir", 0x1C0);
        Write(root, "etc/shadow", "secret"u8.ToArray(), 0x1A0 /* 0640 */, 0, 42);
        Write(root, "etc/a/setuid", "#!"u8.ToArray(), 0x9ED /* 04755 */);
        Write(root, "etc/a/setgid", "#!g"u8.ToArray(), 0x5ED /* 02755 */, 0, 7);
        Write(root, "etc/a/unreadable", "x"u8.ToArray(), 0);
        Write(root, "etc/a/b/owned", "mine"u8.ToArray(), 0x1A4, 1000, 1001);
        root.TryLink("hello", root, "hardlink");
        root.MakeDir("sticky");
        root.ChangeMode("sticky", 0x3FF /* 01777 */);
        foreach (string odd in new[] { " space ", "new\nline", "quote'\"", "ünï", "日本", "-dash", "~", "\u0001", "a.b", "a", "a0", "\U0001F600", "\uFFFD" })
            Write(root, $"etc/a/{odd}.odd", System.Text.Encoding.UTF8.GetBytes(odd));
        var big = new byte[(3 * 1024 * 1024) + 17];
        new Random(1).NextBytes(big.AsSpan(0, 2 * 1024 * 1024));
        Write(root, "big", big);
        Write(root, "exactly-one-buffer", big.AsSpan(0, 1024 * 1024).ToArray());
        Xattrs.Set(root, "hello", new Xattr("user.z", "last"u8.ToArray()));
        Xattrs.Set(root, "hello", new Xattr("user.a", [0, 1, 2, 255]));
        Xattrs.Set(root, "big", new Xattr("user.big", new byte[300]));
        Xattrs.Set(root, "etc", new Xattr("user.dir", "d"u8.ToArray()));
        Xattrs.Set(root, "link", new Xattr("trusted.link", "l"u8.ToArray()));
        return this[name];
    }

    public static void Write(Dir root, string name, byte[] content, uint mode = 0x1A4, uint uid = 0, uint gid = 0)
    {
        using Microsoft.Win32.SafeHandles.SafeFileHandle file = root.CreateFile(name);
        RandomAccess.Write(file, content, 0);
        Linux.Files.ChangeOwner(file, uid, gid, name);
        Linux.Files.ChangeMode(file, mode, name);
    }

    /// <summary>Everything below a directory that a checkout is answerable for, one line a name.</summary>
    public static string Describe(string path)
    {
        var lines = new List<string>();
        using Dir root = Dir.Open(path);
        Describe(root, ".", lines);
        return string.Join('\n', lines);
    }

    private static void Describe(Dir dir, string name, List<string> lines)
    {
        FileStat stat = dir.Stat();
        lines.Add($"{name}/ {new Mode(stat.Mode)} {stat.Uid}:{stat.Gid} {(stat.ModifiedSeconds == 0 ? "0" : "now")} {XattrList.From(Xattrs.Read(dir.Handle, name))}");
        foreach (DirEntry entry in dir.Entries())
        {
            FileStat inner = dir.Stat(entry.Name);
            if (inner.IsDirectory)
            {
                using Dir child = dir.OpenDir(entry.Name);
                Describe(child, $"{name}/{entry.Name}", lines);
                continue;
            }

            string content = inner.IsSymlink ? dir.ReadLink(entry.Name) : Codecs.Checksum.Of(dir.ReadAll(entry.Name)).ToString();
            // The time of links and copies is whenever they were made, in libostree's checkouts too.
            string time = inner.IsSymlink || inner.ModifiedSeconds != 0 ? "now" : "0";
            lines.Add($"{name}/{entry.Name} {new Mode(inner.Mode)} {inner.Uid}:{inner.Gid} {time} {content} {XattrList.From(Xattrs.Read(dir, entry.Name))}");
        }
    }

    public static readonly Judge[] Ostrees = [Judge.HostOstree, Judge.Ostree];
}
