using Sbox.Codecs;

namespace Sbox.Store;

public sealed partial class Repository
{
    /// <summary>What changed from one commit's tree to another's.</summary>
    public TreeDiff Diff(Checksum from, Checksum to, CancellationToken cancel = default) =>
        Compared.Diff(new ComparedEntry(this, Find(from, "/")), new ComparedEntry(this, Find(to, "/")), cancel);

    /// <summary>What changed from a commit's tree to a directory on disk, which is hashed as it would be committed.</summary>
    public TreeDiff Diff(Checksum from, string directory, FileIdentity? how = null, CancellationToken cancel = default)
    {
        how ??= new FileIdentity();
        if (Mode == RepositoryMode.BareUserOnly)
            how = how with { Canonical = how.Uid is null or 0 && how.Gid is null or 0, Xattrs = false };
        return Compared.Diff(new ComparedEntry(this, Find(from, "/")), new ComparedFile(directory.TrimEnd('/'), "/", isDirectory: true, how), cancel);
    }

    /// <summary>What changed from one directory on disk to another.</summary>
    public static TreeDiff Diff(string from, string to, FileIdentity? how = null, CancellationToken cancel = default)
    {
        how ??= new FileIdentity();
        return Compared.Diff(
            new ComparedFile(from.TrimEnd('/'), "/", isDirectory: true, how), new ComparedFile(to.TrimEnd('/'), "/", isDirectory: true, how), cancel);
    }

    /// <summary>All objects that a commit needs, itself among them; not its parents.</summary>
    /// <exception cref="ObjectMissingException">Part of it is not there.</exception>
    public IReadOnlySet<ObjectName> ObjectsOf(Checksum commit, CancellationToken cancel = default)
    {
        var objects = new ObjectSet();
        var reachable = new Reachability(this, objects);
        reachable.Add(commit, cancel);
        return reachable.Unreadable.Count == 0 ? new HashSet<ObjectName>(objects) : throw reachable.Unreadable[0].Finding;
    }

    /// <summary>Bytes of an object as it is stored.</summary>
    /// <exception cref="ObjectMissingException">There is none.</exception>
    public long StoredSize(ObjectName name) =>
        Objects.Dir.TryStat(name.LoosePath(Mode))?.Size ?? throw new ObjectMissingException(Path, name);
}
