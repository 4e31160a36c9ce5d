using Sbox.Codecs;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Integrity;

/// <summary>Where deployed trees have an object: nobody knows a file by its checksum.</summary>
internal static class TreePaths
{
    private const int Enough = 3;

    /// <summary>Some paths of each object, with the deployment: <c>/usr/bin/nano of debian/0123456789ab.0</c>.</summary>
    public static Dictionary<Checksum, List<string>> Of(Repository repository, IReadOnlyList<Deployment> deployments, IReadOnlySet<Checksum> wanted, CancellationToken cancel)
    {
        var paths = new Dictionary<Checksum, List<string>>();
        if (wanted.Count == 0)
            return paths;
        foreach (Deployment deployment in deployments.DistinctBy(static each => each.Name.Commit))
        {
            var waiting = new Stack<TreeEntry>();
            Try(() => waiting.Push(repository.Find(deployment.Name.Commit, "/")));
            while (waiting.TryPop(out TreeEntry? at))
            {
                cancel.ThrowIfCancellationRequested();
                foreach (Checksum each in new[] { at.Content, at.Tree, at.Meta }.OfType<Checksum>().Where(wanted.Contains))
                    Note(each, $"{at.Path} of {deployment.Name.Short}");
                if (at.IsDirectory && at.Path.Count(static letter => letter == '/') < 256)
                    Try(() => repository.Children(at).ToList().ForEach(waiting.Push));
            }
        }

        return paths;

        void Note(Checksum of, string path)
        {
            List<string> list = paths.TryGetValue(of, out List<string>? there) ? there : paths[of] = [];
            if (list.Count < Enough)
                list.Add(path);
        }
    }

    // What cannot be loaded is a fault of its own, and told as such.
    private static void Try(Action step)
    {
        try
        {
            step();
        }
        catch (Exception broken) when (broken is RepositoryException or IOException)
        {
            _ = broken;
        }
    }
}
