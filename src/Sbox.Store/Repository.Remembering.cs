using Sbox.Codecs;

namespace Sbox.Store;

public sealed partial class Repository
{
    private volatile RememberedTrees? remembered;

    /// <summary>
    /// Until what comes back is disposed of, a directory that was read is not read again: for who goes through one commit several times. What is removed from the disk meanwhile is
    /// then not missed, so nobody who asks whether a repository is whole may do so in between.
    /// </summary>
    /// <returns>Ends it.</returns>
    public IDisposable RememberTrees()
    {
        var trees = new RememberedTrees(this);
        remembered = trees;
        return trees;
    }

    private DirTree ReadDirTree(Checksum checksum) => Objects.Load(new ObjectName(checksum, ObjectType.DirTree), DirTree.Parse);

    private DirMeta ReadDirMeta(Checksum checksum) => Objects.Load(new ObjectName(checksum, ObjectType.DirMeta), DirMeta.Parse);

    /// <summary>Directories that were read. Several threads at once may ask.</summary>
    private sealed class RememberedTrees(Repository repository) : IDisposable
    {
        // About 8 MiB: a desktop's tree. Of a larger one the rest is read each time.
        private const int MostNames = 64 * 1024;

        private readonly Dictionary<Checksum, DirTree> trees = [];
        private readonly Dictionary<Checksum, DirMeta> metas = [];
        private int names;

        public DirTree Tree(Checksum checksum) => Of(trees, checksum, repository.ReadDirTree, static tree => 1 + tree.Files.Count + tree.Directories.Count);

        public DirMeta Meta(Checksum checksum) => Of(metas, checksum, repository.ReadDirMeta, static _ => 1);

        private T Of<T>(Dictionary<Checksum, T> known, Checksum checksum, Func<Checksum, T> read, Func<T, int> namesIn)
            where T : class
        {
            lock (known)
            {
                if (known.TryGetValue(checksum, out T? here))
                    return here;
            }

            T fresh = read(checksum);
            lock (known)
            {
                if (Volatile.Read(ref names) < MostNames && known.TryAdd(checksum, fresh))
                    Interlocked.Add(ref names, namesIn(fresh));
            }

            return fresh;
        }

        public void Dispose()
        {
            if (repository.remembered == this)
                repository.remembered = null;
        }
    }
}
