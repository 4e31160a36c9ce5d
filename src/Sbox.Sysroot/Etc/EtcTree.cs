using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>What the merge compares of one name in /etc. Extended attributes and times are not compared, as in libostree; they are copied along.</summary>
/// <param name="Kind">File, directory, symbolic link; anything else is never merged.</param>
/// <param name="Permissions">The twelve permission bits; 0 for symbolic links, whose bits mean nothing.</param>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="Content">SHA-256 of a file's bytes or of a link's target; zero for the rest.</param>
public readonly record struct EtcEntry(FileKind Kind, uint Permissions, uint Uid, uint Gid, Checksum Content)
{
    /// <summary>Whether libostree's merge carries this kind over: files, directories and symbolic links.</summary>
    public bool IsMergeable => Kind is FileKind.Regular or FileKind.Symlink or FileKind.Directory;
}

/// <summary>One name in an /etc tree with all that is below it.</summary>
/// <param name="Entry">What it is.</param>
/// <param name="Children">What a directory holds, by name; empty for all else.</param>
public sealed record EtcNode(EtcEntry Entry, IReadOnlyDictionary<string, EtcNode> Children)
{
    /// <summary>The children of what is no directory.</summary>
    public static IReadOnlyDictionary<string, EtcNode> NoChildren { get; } = new Dictionary<string, EtcNode>();

    /// <summary>Whether this is a directory.</summary>
    public bool IsDirectory => Entry.Kind == FileKind.Directory;

    /// <summary>What is at a path below; null where nothing is.</summary>
    internal EtcNode? Find(string path)
    {
        EtcNode? at = this;
        foreach (Range part in path.AsSpan().Split('/'))
        {
            if (at is null)
                return null;
            at = at.Children.GetValueOrDefault(path[part]);
        }

        return at;
    }

    /// <summary>Whether two trees are the same to the merge; nothing equals nothing.</summary>
    public static bool Same(EtcNode? a, EtcNode? b)
    {
        if (a is null || b is null)
            return a is null && b is null;
        return a.Entry == b.Entry
            && a.Children.Count == b.Children.Count
            && a.Children.All(child => b.Children.TryGetValue(child.Key, out EtcNode? other) && Same(child.Value, other));
    }

    /// <summary>A checksum of all that <see cref="Same"/> compares: equal trees have the same, and no others.</summary>
    public Checksum Digest()
    {
        using var bytes = new MemoryStream();
        using (var writer = new BinaryWriter(bytes))
            Write(this, writer);
        return Checksum.Of(bytes.ToArray());

        static void Write(EtcNode node, BinaryWriter writer)
        {
            EtcEntry entry = node.Entry;
            foreach (uint number in (ReadOnlySpan<uint>)[(uint)entry.Kind, entry.Permissions, entry.Uid, entry.Gid, (uint)node.Children.Count])
                writer.Write(number);
            writer.Write(entry.Content.ToString());
            foreach (string name in Names(node))
            {
                byte[] each = FileName.ToBytes(name);
                writer.Write(each.Length);
                writer.Write(each);
                Write(node.Children[name], writer);
            }
        }
    }

    /// <summary>The children's names here and there, each once, in the order of their bytes.</summary>
    internal static IEnumerable<string> Names(params ReadOnlySpan<EtcNode?> nodes)
    {
        var names = new SortedSet<string>(Comparer<string>.Create(Dir.CompareNames));
        foreach (EtcNode? node in nodes)
            names.UnionWith(node?.Children.Keys ?? []);
        return names;
    }
}

/// <summary>What stands for the bytes of a file of an /etc.</summary>
internal delegate Checksum EtcContentOf(Dir dir, string name, string path, FileStat stat);

/// <summary>Reads /etc trees.</summary>
public static class EtcTree
{
    /// <summary>A directory's whole tree. Its own metadata is read too, but the merge leaves the top directory as the tree has it.</summary>
    /// <exception cref="LinuxException">Something could not be read. What vanishes while reading is as if it had not been there.</exception>
    public static EtcNode Read(Dir dir) => Read(dir, dir.Stat(), "", Hashed);

    /// <summary>The same of a directory whose files have the bytes of a tree that is known: it was made of that. They are not read.</summary>
    /// <param name="dir">The directory.</param>
    /// <param name="known">The tree; a file that it has none by the path of is read.</param>
    internal static EtcNode ReadMadeOf(Dir dir, EtcNode known) => Read(
        dir, dir.Stat(), "", (inner, name, path, stat) => known.Find(path) is { Entry: { Kind: FileKind.Regular } entry } ? entry.Content : Hashed(inner, name, path, stat));

    private static Checksum Hashed(Dir dir, string name, string path, FileStat stat)
    {
        using SafeFileHandle file = dir.OpenFile(name);
        return ContentHash.Of(file, dir.Of(name));
    }

    private static EtcNode Read(Dir dir, FileStat stat, string path, EtcContentOf contentOf)
    {
        var children = new Dictionary<string, EtcNode>();
        foreach (DirEntry entry in path.Length == 0 ? dir.Entries() : dir.EntriesOnce()) // what is below was opened for this
        {
            if (ReadChild(dir, entry.Name, EtcDiff.Join(path, entry.Name), contentOf) is { } child)
                children.Add(entry.Name, child);
        }

        return new EtcNode(new EtcEntry(FileKind.Directory, stat.Permissions, stat.Uid, stat.Gid, default), children);
    }

    /// <summary>One name and all below it; null where it is not there.</summary>
    public static EtcNode? ReadOne(Dir dir, string path) => ReadOne(dir, path, Hashed);

    /// <summary>The same, with something else in the place of the checksums of files.</summary>
    internal static EtcNode? ReadOne(Dir dir, string path, EtcContentOf contentOf) => ReadChild(dir, path, path, contentOf);

    private static EtcNode? ReadChild(Dir dir, string name, string path, EtcContentOf contentOf)
    {
        // /etc is alive while it is read: editors and daemons replace files at any moment.
        try
        {
            FileStat stat = dir.Stat(name);
            if (stat.IsDirectory)
            {
                using Dir inner = dir.OpenDir(name);
                return Read(inner, stat, path, contentOf);
            }

            Checksum content = stat.Kind switch
            {
                FileKind.Regular => contentOf(dir, name, path, stat),
                FileKind.Symlink => Checksum.Of(FileName.ToBytes(dir.ReadLink(name))),
                _ => default,
            };
            uint permissions = stat.IsSymlink ? 0 : stat.Permissions;
            return new EtcNode(new EtcEntry(stat.Kind, permissions, stat.Uid, stat.Gid, content), EtcNode.NoChildren);
        }
        catch (LinuxException gone) when (gone.Errno == Errno.ENOENT)
        {
            return null;
        }
    }
}
