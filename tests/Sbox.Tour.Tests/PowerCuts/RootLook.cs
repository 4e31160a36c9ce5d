using Sbox.Judges;

namespace Sbox.Tour.Tests;

/// <summary>What is on a box's root after a power cut, when its journal was replayed.</summary>
/// <param name="Whole">The commits whose deployment is there as a whole: its image, the objects that the image is made of, its /etc.</param>
/// <param name="Menu">The commits that libostree's boot entries lead to.</param>
internal sealed record RootLook(IReadOnlySet<string> Whole, IReadOnlySet<string> Menu)
{
    // What an image is made of, by its digest: it is the same at every cut.
    private static readonly Dictionary<string, string[]> ObjectsOf = [];

    /// <summary>Replays the journal, has e2fsck find nothing else to do, looks, and takes back what the replay wrote.</summary>
    /// <param name="image">The root's file.</param>
    /// <param name="directory">For what is in between.</param>
    /// <param name="digests">The fs-verity digests of the deployments' images, by commit.</param>
    /// <param name="askOstree">Whether real ostree reads all objects too.</param>
    /// <exception cref="InvalidOperationException">e2fsck or ostree found something wrong.</exception>
    public static RootLook At(string image, string directory, IReadOnlyDictionary<string, string> digests, bool askOstree)
    {
        string undo = Path.Combine(directory, "undo"), mounted = Path.Combine(directory, "root");
        Directory.CreateDirectory(mounted);
        File.Delete(undo);
        Verdict journal = Judge.OnPath("e2fsck").Ask("-p", "-z", undo, image);
        if (journal.ExitCode > 1)
        {
            // Where it could not open the file system there is nothing to take back, and e2undo says that its file is no good: what e2fsck says is what counts.
            Judge.OnPath("e2undo").Ask(undo, image);
            throw new InvalidOperationException($"e2fsck -p: exit status {journal.ExitCode}: {journal.Output}{journal.Error}");
        }

        try
        {
            Judge.OnPath("e2fsck").Run("-f", "-n", image);
            if (askOstree)
                AskOstree(image, directory);
            return Mounted(image, mounted, root => Read(image, root, directory, digests));
        }
        finally
        {
            Judge.OnPath("e2undo").Run(undo, image);
        }
    }

    private static T Mounted<T>(string image, string at, Func<string, T> look)
    {
        using var mount = new ImageMount(image, at);
        return look(mount.Path);
    }

    // A kernel without fs-verity opens no file that has it, so the marks are taken off for as long as ostree looks.
    private static void AskOstree(string image, string directory)
    {
        string mounted = Path.Combine(directory, "root"), commands = Path.Combine(directory, "commands"), undo = Path.Combine(directory, "undo-marks");
        File.Delete(undo);
        string inodes = Mounted(image, mounted, static root => Judge.OnPath("find").Run(root, "-xdev", "-type", "f", "(", "-path", "*/objects/*.file", "-o", "-name", ".ostree.cfs", ")", "-printf", "set_inode_field <%i> flags 0x80000\n"));
        File.WriteAllText(commands, inodes);
        try
        {
            Judge.OnPath("debugfs").Run("-w", "-z", undo, "-f", commands, image);
            Mounted(image, mounted, static root => Judge.Ostree.Run("fsck", "-q", $"--repo={root}/ostree/repo") + Judge.Ostree.Run("admin", "status", $"--sysroot={root}"));
        }
        finally
        {
            if (File.Exists(undo))
                Judge.OnPath("e2undo").Run(undo, image);
        }
    }

    private static RootLook Read(string image, string root, string directory, IReadOnlyDictionary<string, string> digests)
    {
        HashSet<string> menu = [];
        foreach (string entry in Directory.GetFiles($"{root}/boot/loader/entries", "*.conf"))
        {
            string link = File.ReadAllText(entry).Split("ostree=")[1].Split(' ', '\n')[0];
            string deployment = Directory.ResolveLinkTarget($"{root}{link}", returnFinalTarget: false)!.FullName;
            menu.Add(Path.GetFileName(deployment).Split('.')[0]);
        }

        return new RootLook(digests.Keys.Where(commit => IsWhole(image, root, directory, commit, digests[commit])).ToHashSet(), menu);
    }

    private static bool IsWhole(string image, string root, string directory, string commit, string digest)
    {
        string repository = $"{root}/ostree/repo", deployment = $"ostree/deploy/debian/deploy/{commit}.0", taken = Path.Combine(directory, "image.cfs");
        if (!File.Exists($"{root}/{deployment}/.ostree.cfs") || !File.Exists($"{root}/{deployment}/etc/passwd") || !File.Exists($"{repository}/objects/{commit[..2]}/{commit[2..]}.commit"))
            return false;
        Judge.OnPath("debugfs").Run("-R", $"dump /{deployment}/.ostree.cfs {taken}", image);
        if (Judge.OnPath("fsverity").Run("digest", "--compact", taken).Trim() != digest)
            return false;
        if (!ObjectsOf.TryGetValue(digest, out string[]? objects))
            ObjectsOf[digest] = objects = Judge.ComposefsInfo.Run("objects", taken).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        return objects.Length > 0 && objects.All(each => new FileInfo($"{repository}/objects/{each}") is { Exists: true, Length: > 0 });
    }
}
