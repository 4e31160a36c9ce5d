using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>What became of a commit's files when they were to be sealed.</summary>
/// <param name="Enabled">Files that were sealed now.</param>
/// <param name="AlreadyEnabled">Files that had been before.</param>
/// <param name="Supported">False where the file system or the kernel cannot; then nothing was.</param>
public sealed record VeritySummary(long Enabled, long AlreadyEnabled, bool Supported);

public sealed partial class Repository
{
    /// <summary>Enables fs-verity on every regular file of a commit that lacks it. May be cut short at any time and run again.</summary>
    /// <param name="commit">The commit, all of it here.</param>
    /// <param name="cancel">Looked at between files.</param>
    /// <exception cref="ObjectMissingException">A file is missing.</exception>
    /// <exception cref="LinuxException">The kernel refused for another reason than that it cannot.</exception>
    public VeritySummary EnableVerity(Checksum commit, CancellationToken cancel = default)
    {
        long enabled = 0, already = 0;
        foreach (Checksum content in Contents(commit))
        {
            cancel.ThrowIfCancellationRequested();
            var name = new ObjectName(content, ObjectType.File);
            string path = name.LoosePath(Mode);
            FileStat stat = Objects.Dir.TryStat(path) ?? throw new ObjectMissingException(Path, name);
            if (!stat.IsRegular)
                continue;
            using SafeFileHandle file = Objects.Dir.OpenFile(path);
            switch (Verity.TryEnable(file, Objects.PathOf(name)))
            {
                case VerityState.Enabled:
                    enabled++;
                    break;
                case VerityState.AlreadyEnabled:
                    already++;
                    break;
                default:
                    return new VeritySummary(enabled, already, Supported: false);
            }
        }

        return new VeritySummary(enabled, already, Supported: true);
    }

    /// <summary>The regular files of a commit, each once, by their paths in this repository, which is not an archive.</summary>
    public IReadOnlyList<string> RegularFilePaths(Checksum commit) =>
    [
        .. Contents(commit).Select(content => new ObjectName(content, ObjectType.File).LoosePath(Mode))
            .Where(path => Objects.Dir.Stat(path).IsRegular).Select(static path => $"objects/{path}").Order(StringComparer.Ordinal),
    ];

    /// <summary>The files and symbolic links of a commit, each once.</summary>
    private IEnumerable<Checksum> Contents(Checksum commit)
    {
        var seen = new HashSet<Checksum>();
        var waiting = new Stack<Checksum>([LoadCommit(commit).RootTree]);
        while (waiting.TryPop(out Checksum at))
        {
            if (!seen.Add(at))
                continue;
            DirTree tree = LoadDirTree(at);
            foreach (DirTreeFile file in tree.Files)
            {
                if (seen.Add(file.Content))
                    yield return file.Content;
            }

            foreach (DirTreeDirectory inner in tree.Directories)
                waiting.Push(inner.Tree);
        }
    }
}
