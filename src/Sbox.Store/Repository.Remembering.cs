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

        public DirTree Tree(Checksum checksum)
        {
            lock (trees)
            {
                if (trees.TryGetValue(checksum, out DirTree? known))
                    return known;
            }

            DirTree read = repository.ReadDirTree(checksum);
            lock (trees)
            {
                if (names < MostNames && trees.TryAdd(checksum, read))
                    names += 1 + read.Files.Count + read.Directories.Count;
            }

            return read;
        }

        public DirMeta Meta(Checksum checksum)
        {
            lock (metas)
            {
                if (metas.TryGetValue(checksum, out DirMeta? known))
                    return known;
            }

            DirMeta read = repository.ReadDirMeta(checksum);
            lock (metas)
            {
                if (metas.Count < MostNames)
                    metas.TryAdd(checksum, read);
            }

            return read;
        }

        public void Dispose()
        {
            if (repository.remembered == this)
                repository.remembered = null;
        }
    }
}
