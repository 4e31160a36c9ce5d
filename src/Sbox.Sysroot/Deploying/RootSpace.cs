using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>The room that a deployment takes on the root file system, known before anything of it is written.</summary>
internal sealed class RootSpace(OstreeSysroot sysroot)
{
    private const int Block = 4096;
    private const long Slack = 1 << 20; // boot entries, links, refs, the origin

    // An inode with its names and its part of an overlay's attributes in the composefs image; measured on Debian trees, rounded up.
    private const int ImageBytesPerName = 400;

    /// <summary>
    /// Bytes for a commit that is in the repository: its directories (files are further names of objects), its copy of /etc, the composefs image, the kernel
    /// where /boot is a file system of its own, and its share of /var where the stateroot has none yet. At most, rounded up.
    /// </summary>
    public long Needed(DeployRequest request)
    {
        (long directories, long names, long etc, long var) = (0, 0, 0, 0);
        Walk(sysroot.Repository.Find(request.Commit, "/"), inEtc: false, inVar: false);
        using Dir? there = sysroot.Root.TryOpenDir($"{Layout.Stateroot(request.Os)}/var");
        bool fillsVar = there is null || there.Entries().Count == 0;
        return ((directories * 2) + 1) * Block + (names * ImageBytesPerName) + etc + (fillsVar ? var : 0) + Slack;

        void Walk(TreeEntry directory, bool inEtc, bool inVar)
        {
            sysroot.Repository.RequireNameable(directory);
            directories++;
            DirTree tree = sysroot.Repository.LoadDirTree(directory.Tree!.Value);
            names += tree.Files.Count + tree.Directories.Count;
            foreach (DirTreeFile file in inEtc || inVar ? tree.Files : [])
            {
                long size = (sysroot.Repository.LoadFile(file.Content).Size + Block - 1) / Block * Block;
                (etc, var) = (etc + (inEtc ? size : 0), var + (inVar ? size : 0));
            }

            foreach (DirTreeDirectory inner in tree.Directories)
            {
                string path = directory.Path == "/" ? $"/{inner.Name}" : $"{directory.Path}/{inner.Name}";
                Walk(new TreeEntry(path, inner.Tree, inner.Meta, null), inEtc || path is "/usr/etc" or "/etc", inVar || path == "/var");
            }
        }
    }

    /// <summary>Refuses where these bytes do not fit, before anything is written.</summary>
    /// <exception cref="NoSpaceException">They do not; it says what would free how much.</exception>
    public void Require(long needed)
    {
        long free = sysroot.Options.FreeBytes?.Invoke(sysroot.Root) ?? FileSystemSpace.Of(sysroot.Root).FreeBytes;
        if (needed > free)
            throw new NoSpaceException(sysroot.Path, needed, free, Freeable());
    }

    /// <summary>What each version that does not run, and is not pinned, has for itself alone.</summary>
    public IReadOnlyList<Freeable> Freeable()
    {
        Checksum[] Commits(IEnumerable<Deployment> deployments) =>
            [.. deployments.Select(static each => each.Name.Commit).Distinct().Where(commit => sysroot.Repository.Has(new ObjectName(commit, ObjectType.Commit)))];
        var freeable = new List<Freeable>();
        foreach (Deployment each in sysroot.Deployments.Where(each => !sysroot.IsBooted(each) && !each.IsPinned))
        {
            HashSet<ObjectName> others = [.. sysroot.Repository.Reach(Commits(sysroot.Deployments.Where(other => other.Name != each.Name))).Objects];
            long bytes = sysroot.Repository.Reach(Commits([each])).Objects.Where(name => name.Type == ObjectType.File && !others.Contains(name))
                .Sum(name => sysroot.Repository.Has(name) ? (sysroot.Repository.LoadFile(name.Checksum).Size + Block - 1) / Block * Block : 0);
            freeable.Add(new Freeable($"{DeploymentSelector.Describe(sysroot, each.Name)} (sbox undeploy {sysroot.Deployments.ToList().IndexOf(each)})", bytes));
        }

        return [.. freeable.OrderByDescending(static each => each.Bytes)];
    }
}
