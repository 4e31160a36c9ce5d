using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Image;

/// <summary>
/// A tree that is being worked on. Paths are relative to it and may lead through its symbolic links, which are followed as if the tree
/// were the root: <c>/lib -> usr/lib</c>, and an absolute link never leads to the machine that builds.
/// </summary>
internal sealed class TreeRoot(string path) : IDisposable
{
    private const int LinksAtMost = 40; // as the kernel's own limit

    public string Path { get; } = path;

    public Dir Dir { get; } = Dir.Open(path);

    public void Dispose() => Dir.Dispose();

    /// <summary>The path with the links in its parents followed; the last name is left as it is.</summary>
    public string Locate(string path)
    {
        var ahead = new Stack<string>(path.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse());
        var done = new List<string>();
        for (int links = 0; ahead.TryPop(out string? name);)
        {
            if (name == ".")
                continue;
            if (name == "..")
            {
                if (done.Count > 0)
                    done.RemoveAt(done.Count - 1);
                continue;
            }

            done.Add(name);
            if (ahead.Count == 0 || Dir.TryStat(string.Join('/', done)) is not { IsSymlink: true })
                continue;
            if (++links > LinksAtMost)
                throw new LinuxException(Errno.ELOOP, "openat", Dir.Of(path));
            string target = Dir.ReadLink(string.Join('/', done));
            done.RemoveAt(done.Count - 1);
            if (target.StartsWith('/'))
                done.Clear();
            foreach (string part in target.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse())
                ahead.Push(part);
        }

        return done.Count > 0 ? string.Join('/', done) : ".";
    }

    public FileStat? Stat(string path) => Dir.TryStat(Locate(path));

    public bool Exists(string path) => Stat(path) is not null;

    public bool IsDirectory(string path) => Stat(path) is { IsDirectory: true };

    public bool Remove(string path) => Exists(path) && Dir.RemoveAll(Locate(path));

    /// <summary>Names in a directory in the order of their bytes; none when it is missing.</summary>
    public IReadOnlyList<string> Names(string path)
    {
        if (!IsDirectory(path))
            return [];
        using Dir dir = Dir.OpenDir(Locate(path));
        return [.. dir.Entries().Select(entry => entry.Name)];
    }

    /// <summary>Removes all that is in a directory, and makes it where it is missing.</summary>
    public void Empty(string path)
    {
        foreach (string name in Names(path))
            Remove($"{path}/{name}");
        MakeDirs(path);
    }

    /// <summary>Makes a directory and its missing parents, 0755 whatever the umask.</summary>
    public void MakeDirs(string path)
    {
        // The dot makes the last name a parent, so that a link to a directory is followed too.
        string real = Locate($"{path}/."), made = "";
        foreach (string part in real.Split('/'))
        {
            made = made.Length > 0 ? $"{made}/{part}" : part;
            if (Dir.Exists(made))
                continue;
            Dir.MakeDir(made);
            Dir.ChangeMode(made, Permission.Program);
        }
    }

    /// <summary>Moves a file, link or directory with its owner, mode and attributes; the new parents are made.</summary>
    public void Move(string from, string to)
    {
        MakeDirs(ParentOf(to));
        Dir.Rename(Locate(from), Dir, Locate(to));
    }

    public string ReadText(string path) => Encoding.UTF8.GetString(Dir.ReadAll(Locate(path)));

    /// <summary>A file's text; empty when there is none or it is a link.</summary>
    public string ReadTextOrEmpty(string path) => Stat(path) is { IsRegular: true } ? ReadText(path) : "";

    /// <summary>Puts a file in place of whatever was there.</summary>
    public void Write(string path, ReadOnlySpan<byte> content, uint mode = Permission.File, uint uid = 0, uint gid = 0)
    {
        MakeDirs(ParentOf(path));
        Remove(path);
        string name = Locate(path);
        using SafeFileHandle file = Dir.CreateFile(name);
        RandomAccess.Write(file, content, fileOffset: 0);
        Files.ChangeOwner(file, uid, gid, name);
        Files.ChangeMode(file, mode, name);
    }

    public void Write(string path, string content, uint mode = Permission.File) => Write(path, Encoding.UTF8.GetBytes(content), mode);

    /// <summary>Replaces a file's text and keeps its owner and mode.</summary>
    public void Rewrite(string path, string content)
    {
        FileStat stat = Dir.Stat(Locate(path));
        Write(path, Encoding.UTF8.GetBytes(content), stat.Permissions, stat.Uid, stat.Gid);
    }

    /// <summary>Puts a symbolic link in place of whatever was there.</summary>
    public void Link(string path, string target)
    {
        MakeDirs(ParentOf(path));
        Remove(path);
        Dir.Symlink(target, Locate(path));
    }

    /// <summary>Every name below a directory with what it is, parents first, names in the order of their bytes.</summary>
    public IEnumerable<(string Path, FileStat Stat)> Below(string path)
    {
        foreach (string name in Names(path))
        {
            string child = $"{path}/{name}";
            FileStat stat = Dir.Stat(child);
            yield return (child, stat);
            if (!stat.IsDirectory)
                continue;
            foreach ((string Path, FileStat Stat) inner in Below(child))
                yield return inner;
        }
    }

    private static string ParentOf(string path) => path.LastIndexOf('/') is > 0 and var slash ? path[..slash] : ".";
}
