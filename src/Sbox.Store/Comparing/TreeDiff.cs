using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>What is in one tree and not in another, as <c>ostree diff</c> tells it: paths from the root, each list in the order of walking.</summary>
/// <param name="Modified">In both, and different: other content, owner, mode, xattrs or kind.</param>
/// <param name="Removed">Only in the first; what is below a directory that is gone is not told of.</param>
/// <param name="Added">Only in the second, all below a new directory too.</param>
public sealed record TreeDiff(IReadOnlyList<string> Modified, IReadOnlyList<string> Removed, IReadOnlyList<string> Added);

/// <summary>One side of a comparison: an entry of a commit's tree, or of a directory on disk.</summary>
internal abstract class Compared(string path, bool isDirectory)
{
    public string Path { get; } = path;

    public bool IsDirectory { get; } = isDirectory;

    /// <summary>The file object's checksum, or the dirmeta's.</summary>
    public abstract Checksum Identity { get; }

    /// <summary>The dirtree, where it is known without walking: equal ones need no look inside.</summary>
    public virtual Checksum? Tree => null;

    public abstract IEnumerable<Compared> Children();

    /// <summary>As it is told of: what is on disk without the leading slash, as libostree has it.</summary>
    public virtual string Shown => Path;

    public string Name => Path[(Path.LastIndexOf('/') + 1)..];

    /// <summary>What changed from one to the other.</summary>
    public static TreeDiff Diff(Compared from, Compared to, CancellationToken cancel)
    {
        List<string> modified = [], removed = [], added = [];
        Walk(from, to, 0);
        return new TreeDiff(modified, removed, added);

        void Walk(Compared a, Compared b, int depth)
        {
            cancel.ThrowIfCancellationRequested();
            TreeDepth.Check(a.Path, a.Path);
            if (a.Tree is { } tree && tree == b.Tree)
                return;
            Dictionary<string, Compared> there = b.Children().ToDictionary(static child => child.Name);
            HashSet<string> seen = [];
            foreach (Compared child in a.Children())
            {
                seen.Add(child.Name);
                if (!there.TryGetValue(child.Name, out Compared? other))
                {
                    removed.Add(child.Path);
                    continue;
                }

                if (child.IsDirectory != other.IsDirectory || child.Identity != other.Identity)
                    modified.Add(child.Path);
                if (child.IsDirectory && other.IsDirectory)
                    Walk(child, other, depth + 1);
            }

            foreach (Compared child in b.Children().Where(child => !seen.Contains(child.Name)))
                Add(child);
        }

        void Add(Compared entry)
        {
            TreeDepth.Check(entry.Path, entry.Path);
            added.Add(entry.Shown);
            foreach (Compared child in entry.IsDirectory ? entry.Children() : [])
                Add(child);
        }
    }
}

/// <summary>An entry of a commit's tree.</summary>
internal sealed class ComparedEntry(Repository repository, TreeEntry entry) : Compared(entry.Path, entry.IsDirectory)
{
    public override Checksum Identity => entry.Meta ?? entry.Content!.Value;

    public override Checksum? Tree => entry.Tree;

    public override IEnumerable<Compared> Children() => repository.Children(entry).Select(child => new ComparedEntry(repository, child));
}

/// <summary>An entry on disk, as it would be committed.</summary>
internal sealed class ComparedFile(string root, string path, bool isDirectory, FileIdentity how) : Compared(path, isDirectory)
{
    public override Checksum Identity => how.Of(root + Path);

    public override string Shown => Path.TrimStart('/');

    public override IEnumerable<Compared> Children()
    {
        using Dir dir = Dir.Open(root + Path);
        string prefix = Path == "/" ? "/" : Path + "/";
        return [.. dir.Entries()
            .Select(entry => new ComparedFile(root, prefix + entry.Name, dir.Stat(entry.Name).IsDirectory, how))
            .OrderBy(static child => child.IsDirectory)];
    }
}

/// <summary>How what lies on disk gets its checksum.</summary>
/// <param name="Uid">Owner in place of the true one.</param>
/// <param name="Gid">Group in place of the true one.</param>
/// <param name="Xattrs">Whether extended attributes count.</param>
/// <param name="Canonical">As in a repository of mode bare-user-only.</param>
public sealed record FileIdentity(uint? Uid = null, uint? Gid = null, bool Xattrs = true, bool Canonical = false)
{
    /// <summary>The checksum that a file, link or directory would have as an object; a directory's is that of its dirmeta.</summary>
    /// <exception cref="LinuxException">It cannot be read.</exception>
    public Checksum Of(string path)
    {
        string full = System.IO.Path.GetFullPath(path);
        using Dir dir = Dir.Open(System.IO.Path.GetDirectoryName(full) ?? "/");
        string name = System.IO.Path.GetFileName(full) is { Length: > 0 } last ? last : ".";
        FileStat stat = dir.Stat(name);
        var mode = new Mode(stat.Mode);
        if (Canonical && !mode.IsSymlink)
            mode = mode.WithPermissions(mode.Permissions & 0x1ED /* 0755 */);
        uint uid = Canonical ? 0 : Uid ?? stat.Uid, gid = Canonical ? 0 : Gid ?? stat.Gid;
        XattrList xattrs = Xattrs && !Canonical ? XattrList.From(Linux.Xattrs.Read(dir, name)) : XattrList.Empty;
        if (stat.IsDirectory)
            return Checksum.Of(new DirMeta(uid, gid, mode, xattrs).ToBytes());
        if (stat.IsSymlink)
            return FileChecksum.Of(new FileHeader(uid, gid, mode, dir.ReadLink(name), xattrs), Stream.Null);
        using Microsoft.Win32.SafeHandles.SafeFileHandle file = dir.OpenFile(name);
        using var hasher = new FileHasher();
        return hasher.Hash(new FileHeader(uid, gid, mode, null, xattrs), file, stat.Size, full);
    }
}
