using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>What became of a commit's files when they were to be sealed.</summary>
/// <param name="Enabled">Files that were sealed now.</param>
/// <param name="AlreadyEnabled">Files that had been before.</param>
/// <param name="Supported">False where the file system or the kernel cannot; then nothing was.</param>
public sealed record VeritySummary(long Enabled, long AlreadyEnabled, bool Supported);

/// <summary>How many files of a repository are sealed.</summary>
/// <param name="Sealed">Files that the kernel proves.</param>
/// <param name="Total">Files, sealed or not; symbolic links are none.</param>
/// <param name="Supported">False where the file system or the kernel cannot.</param>
public sealed record VerityCoverage(long Sealed, long Total, bool Supported)
{
    /// <summary>Whether all are.</summary>
    public bool IsWhole => Supported && Sealed == Total;

    /// <summary>As a person reads it.</summary>
    public override string ToString() => this switch
    {
        { Supported: false } => "the file system, or the kernel, has no fs-verity: no file can be sealed",
        { IsWhole: true } => $"all {Total} files are sealed",
        _ => $"{Sealed} of {Total} files are sealed",
    };
}

/// <summary>How far the sealing of a repository's files has come.</summary>
/// <param name="Done">Files that are sealed now.</param>
/// <param name="Total">Files.</param>
public readonly record struct VerityProgress(long Done, long Total);

public sealed partial class Repository
{
    /// <summary>Counts the sealed files, by what stat says of each: nothing is opened but one. Where nothing can be sealed, by their names alone.</summary>
    /// <param name="cancel">Looked at between directories.</param>
    /// <param name="orNone">Count none where nothing can be sealed: for who only says that.</param>
    public VerityCoverage CountVerity(CancellationToken cancel = default, bool orNone = false)
    {
        long total = 0, done = 0;
        bool canSeal = AnyFile() is { } any && CanSeal(any);
        if (!canSeal && orNone)
            return new VerityCoverage(0, 0, Supported: false);
        if (canSeal)
            Parallel.ForEach(Objects.Dir.Entries(), new ParallelOptions { CancellationToken = cancel }, Count);
        else
        {
            // Names alone are read in less time than other threads take to start.
            foreach (DirEntry directory in Objects.Dir.Entries())
            {
                cancel.ThrowIfCancellationRequested();
                Count(directory);
            }
        }

        return new VerityCoverage(done, total, canSeal);

        void Count(DirEntry directory)
        {
            using Dir? inner = directory.Name.Length == 2 ? Objects.Dir.TryOpenDir(directory.Name) : null;
            if (inner is null)
                return;
            SealedCount counted = SealedCount.In(inner, IsFile, canSeal);
            Interlocked.Add(ref total, counted.Total);
            Interlocked.Add(ref done, counted.Sealed);
        }
    }

    // As ObjectName reads it, without a string.
    private bool IsFile(ReadOnlySpan<byte> name)
    {
        ReadOnlySpan<byte> ending = Mode == RepositoryMode.Archive ? ".filez"u8 : ".file"u8;
        return name.Length == 62 + ending.Length && name.EndsWith(ending) && !name[..62].ContainsAnyExcept("0123456789abcdef"u8);
    }

    private bool IsFile(string directory, string name) => ObjectName.TryParse(directory, name, Mode, out ObjectName parsed) && parsed.Type == ObjectType.File;

    // One of them tells for all: they share a file system.
    private string? AnyFile()
    {
        foreach (DirEntry directory in Objects.Dir.Entries().Where(static entry => entry.Name.Length == 2))
        {
            using Dir? inner = Objects.Dir.TryOpenDir(directory.Name);
            foreach (DirEntry entry in inner?.Entries() ?? [])
            {
                if (IsFile(directory.Name, entry.Name) && Verity.IsEnabled(inner!, entry.Name) is not null)
                    return $"{directory.Name}/{entry.Name}";
            }
        }

        return null;
    }

    private bool CanSeal(string path)
    {
        if (Verity.IsEnabled(Objects.Dir, path) == true)
            return true;
        using SafeFileHandle? file = Objects.Dir.TryOpenFile(path, out _);
        return file is not null && Verity.IsKnown(file);
    }

    /// <summary>Enables fs-verity on every file that lacks it, on all processors. May be cut short at any time and run again: what is sealed stays so.</summary>
    /// <param name="idle">Take only what nobody else wants of processor and disk.</param>
    /// <param name="progress">Told every now and then, from several threads.</param>
    /// <param name="cancel">Looked at between files.</param>
    /// <exception cref="LinuxException">The kernel refused for another reason than that it cannot: there is no room for a file's tree (ENOSPC), say.</exception>
    public VeritySummary EnableVerityOnAll(bool idle, IProgress<VerityProgress>? progress = null, CancellationToken cancel = default)
    {
        List<ObjectName> files = [.. FileObjects().Where(name => Verity.IsEnabled(Objects.Dir, name.LoosePath(Mode)) is not null)];
        List<ObjectName> open = [.. files.Where(name => Verity.IsEnabled(Objects.Dir, name.LoosePath(Mode)) == false)];
        long enabled = 0, unsupported = 0, done = files.Count - open.Count;
        using (var work = new ParallelWork<ObjectName>(Enable, static _ => { }, cancel, idle: idle))
        {
            foreach (ObjectName name in open)
            {
                if (Interlocked.Read(ref unsupported) > 0)
                    break;
                work.Add(name);
            }

            work.Finish();
        }

        return new VeritySummary(enabled, files.Count - open.Count, Supported: unsupported == 0);

        void Enable(ObjectName name)
        {
            using SafeFileHandle? file = Objects.Dir.TryOpenFile(name.LoosePath(Mode));
            if (file is null)
                return; // pruned meanwhile
            if (Verity.TryEnable(file, Objects.PathOf(name)) == VerityState.Unsupported)
                Interlocked.Increment(ref unsupported);
            else
                Interlocked.Increment(ref enabled);
            long now = Interlocked.Increment(ref done);
            if (now % 32 == 0 || now == files.Count)
                progress?.Report(new VerityProgress(now, files.Count));
        }
    }

    private IEnumerable<ObjectName> FileObjects() => EnumerateObjects().Where(static name => name.Type == ObjectType.File);

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
