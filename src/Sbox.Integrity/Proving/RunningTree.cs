using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Integrity;

/// <summary>Compares a mounted tree with a commit, name by name, by what stat says: kinds, owners, permissions, sizes, where links point.</summary>
/// <remarks>Directories' own objects are hashed on the way, so that the names are the commit's by more than their files' names.</remarks>
internal sealed class RunningTree(Repository repository, CancellationToken cancel)
{
    private const int Enough = 1000;
    private readonly Dictionary<Checksum, FileObject> files = [];
    private readonly Dictionary<Checksum, DirMeta> metas = [];
    private readonly List<string> differences = [];

    /// <summary>How many names were compared.</summary>
    public int Names { get; private set; }

    /// <summary>Those that differ, with how.</summary>
    public IReadOnlyList<string> Differences => differences;

    /// <summary>Compares a directory with all below it.</summary>
    /// <param name="mounted">The directory as it is mounted.</param>
    /// <param name="tree">Its names in the commit.</param>
    /// <param name="path">Where, for the differences.</param>
    /// <exception cref="ObjectMissingException">The repository lacks part of the commit.</exception>
    /// <exception cref="ObjectCorruptException">An object is not what its name says.</exception>
    /// <exception cref="LinuxException">Something cannot be looked at.</exception>
    public void Compare(Dir mounted, Checksum tree, string path)
    {
        cancel.ThrowIfCancellationRequested();
        DirTree names = DirTree.Parse(Hashed(new ObjectName(tree, ObjectType.DirTree)));
        HashSet<string> there = [.. mounted.Entries().Select(static entry => entry.Name)];
        ulong device = mounted.Stat().Device;
        foreach (DirTreeFile file in names.Files)
        {
            Names++;
            if (there.Remove(file.Name))
                CompareFile(mounted, file, $"{path}/{file.Name}");
            else
                Differs($"{path}/{file.Name}: missing");
        }

        foreach (DirTreeDirectory inner in names.Directories)
        {
            Names++;
            if (there.Remove(inner.Name))
                CompareDirectory(mounted, inner, $"{path}/{inner.Name}", device);
            else
                Differs($"{path}/{inner.Name}: missing");
        }

        foreach (string more in there.Order(StringComparer.Ordinal))
            Differs($"{path}/{more}: not in the commit");
    }

    private void CompareDirectory(Dir mounted, DirTreeDirectory inner, string path, ulong device)
    {
        FileStat stat = mounted.Stat(inner.Name);
        if (!metas.TryGetValue(inner.Meta, out DirMeta? meta))
            metas.Add(inner.Meta, meta = DirMeta.Parse(Hashed(new ObjectName(inner.Meta, ObjectType.DirMeta))));
        if (!stat.IsDirectory)
            Differs($"{path}: no directory");
        else if (stat.Device != device)
            Differs($"{path}: another file system is mounted there");
        else if (stat.Permissions != meta.Mode.Permissions || stat.Uid != meta.Uid || stat.Gid != meta.Gid)
            Differs($"{path}: {Describe(stat.Permissions, stat.Uid, stat.Gid)}, and the commit has {Describe(meta.Mode.Permissions, meta.Uid, meta.Gid)}");
        if (!stat.IsDirectory || stat.Device != device)
            return;
        using Dir below = mounted.OpenDir(inner.Name);
        Compare(below, inner.Tree, path);
    }

    // A file's device says nothing: on an overlay it is that of the layer below. What is mounted over a file is for the mount table to tell.
    private void CompareFile(Dir mounted, DirTreeFile file, string path)
    {
        FileStat stat = mounted.Stat(file.Name);
        if (!files.TryGetValue(file.Content, out FileObject? wanted))
            files.Add(file.Content, wanted = repository.LoadFile(file.Content));
        if (wanted.SymlinkTarget is { } target)
        {
            if (!stat.IsSymlink || mounted.ReadLink(file.Name) != target)
                Differs($"{path}: {(stat.IsSymlink ? $"leads to {mounted.ReadLink(file.Name)}" : "no link")}, and the commit has a link to {target}");
            return;
        }

        if (!stat.IsRegular)
            Differs($"{path}: no regular file");
        else if (stat.Size != wanted.Size)
            Differs($"{path}: {stat.Size} bytes, and the commit has {wanted.Size}");
        else if (stat.Permissions != wanted.Mode.Permissions || stat.Uid != wanted.Uid || stat.Gid != wanted.Gid)
            Differs($"{path}: {Describe(stat.Permissions, stat.Uid, stat.Gid)}, and the commit has {Describe(wanted.Mode.Permissions, wanted.Uid, wanted.Gid)}");
    }

    private byte[] Hashed(ObjectName name)
    {
        byte[] bytes = repository.LoadMetadata(name);
        return Checksum.Of(bytes) is var found && found == name.Checksum
            ? bytes : throw new ObjectCorruptException($"{repository.Path}/objects/{name.LoosePath(repository.Mode)}", name, found);
    }

    private void Differs(string line)
    {
        if (differences.Count < Enough)
            differences.Add(line);
    }

    private static string Describe(uint permissions, uint uid, uint gid) => $"{Convert.ToString(permissions, 8).PadLeft(4, '0')} {uid}:{gid}";
}
