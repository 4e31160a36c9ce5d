using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>How a deployment's directory compares to its commit: names, kinds and sizes, and whether the objects are there; no byte is read.</summary>
/// <param name="HasCommit">Whether the repository has the commit.</param>
/// <param name="Missing">Paths of the tree, from the commit's root without a leading slash, that the directory lacks or has otherwise; of a directory that is missing only itself.</param>
/// <param name="MissingObjects">Objects that the commit needs and the repository lacks.</param>
internal sealed record TreeLook(bool HasCommit, IReadOnlyList<string> Missing, IReadOnlyList<ObjectName> MissingObjects)
{
    /// <summary>Whether the tree is whole as far as can be told.</summary>
    public bool IsWhole => HasCommit && Missing.Count == 0;

    public static TreeLook Of(OstreeSysroot sysroot, DeploymentName name, CancellationToken cancel)
    {
        if (!sysroot.Repository.Has(new ObjectName(name.Commit, ObjectType.Commit)))
            return new TreeLook(false, [], []);
        using Dir tree = sysroot.Root.OpenDir(name.Directory);
        var walk = new Walk(sysroot.Repository, cancel);
        try
        {
            walk.Look(sysroot.Repository.Find(name.Commit, "/"), tree);
        }
        catch (Exception broken) when (broken is RepositoryException or MalformedException)
        {
            walk.Lacks(broken is ObjectMissingException missing ? missing.Name : new ObjectName(name.Commit, ObjectType.Commit));
        }

        return new TreeLook(true, walk.Missing, walk.MissingObjects);
    }

    /// <summary>A path of the commit as it is in the deployment: the defaults of /etc are below usr there, also where the tree has them elsewhere.</summary>
    public static string InDeployment(string path) => path == "etc" || path.StartsWith("etc/", StringComparison.Ordinal) ? $"usr/{path}" : path;

    private sealed class Walk(Repository repository, CancellationToken cancel)
    {
        private readonly List<string> missing = [];
        private readonly HashSet<ObjectName> objects = [];

        public IReadOnlyList<string> Missing => missing;

        public IReadOnlyList<ObjectName> MissingObjects => [.. objects];

        public void Lacks(ObjectName name) => objects.Add(name);

        /// <param name="directory">A directory of the commit.</param>
        /// <param name="tree">The deployment; null where it lacks the directory: then only objects are looked at.</param>
        public void Look(TreeEntry directory, Dir? tree)
        {
            cancel.ThrowIfCancellationRequested();
            IEnumerable<TreeEntry> children;
            try
            {
                children = [.. repository.Children(directory)];
            }
            catch (ObjectMissingException lost)
            {
                objects.Add(lost.Name);
                return;
            }

            foreach (TreeEntry child in children)
            {
                string path = child.Path.TrimStart('/');
                if (IsElsewhere(path))
                    continue;
                bool there = tree is not null && IsThere(child, tree, InDeployment(path));
                if (child.IsDirectory)
                    Look(child, there ? tree : null);
                else if (child.Content is { } content && !repository.Has(new ObjectName(content, ObjectType.File)))
                    objects.Add(new ObjectName(content, ObjectType.File));
            }
        }

        // Whiteouts have other names in a checkout; what a tree has in /var goes to the stateroot's; an empty /etc is only a place to mount on.
        private static bool IsElsewhere(string path) =>
            path is "etc" or "var" || path.StartsWith("var/", StringComparison.Ordinal) || path[(path.LastIndexOf('/') + 1)..].StartsWith(".ostree-wh.", StringComparison.Ordinal);

        private bool IsThere(TreeEntry child, Dir tree, string path)
        {
            FileStat? stat = tree.TryStat(path);
            bool there = child.IsDirectory ? stat is { IsDirectory: true } : stat is { IsDirectory: false } file && HasSize(child, file);
            if (!there)
                missing.Add(child.Path.TrimStart('/'));
            return there;
        }

        // Only of a repository that keeps files as they are can it be told without opening each.
        private bool HasSize(TreeEntry child, FileStat file) =>
            repository.Mode != RepositoryMode.Bare || child.Content is not { } content || repository.Dir.TryStat(LoosePath(content)) is not { } stored
            || (stored.Kind == file.Kind && stored.Size == file.Size);

        private static string LoosePath(Checksum content) => $"objects/{content.ToString()[..2]}/{content.ToString()[2..]}.file";
    }
}
