using System.Collections.Concurrent;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Moving staged objects into <c>objects/</c>. Bytes before names: one syncfs for all of them first. And what is needed before what
/// needs it: commits last, after the rest is durable, so that a cut at any point leaves no commit without its tree.
/// </summary>
internal static class Publication
{
    private const int FewDirectories = 8;
    private const int FewFiles = 4;
    private const uint SetGroup = 0x400;
    private const string DefaultAcl = "system.posix_acl_default";
    private const string AsMade = "as-made";

    /// <summary>Has the bytes of what was staged written out.</summary>
    /// <exception cref="LinuxException">Some of it may not be on the disk, and nobody will be told again.</exception>
    public static void Sync(Dir staging)
    {
        List<string> directories = Subdirectories(staging);
        if (directories.Count > 0 && !TrySyncEach(staging, directories))
            Durable.SyncFileSystem(staging);
    }

    /// <summary>Moves what was staged, and synced, to its places.</summary>
    public static void Publish(Dir staging, Dir objects, bool durable)
    {
        List<string> directories = Subdirectories(staging);
        if (directories.Count == 0)
            return;
        // Of a few the names are not on the disk yet: see TrySyncEach.
        if (directories.Count > FewDirectories)
            directories = MoveWhole(staging, objects, directories, durable);
        IReadOnlyCollection<Moved> commits = MoveListed(staging, objects, directories, durable);
        Move(staging, objects, commits, durable);
    }

    /// <summary>Seals the file objects that are about to be published. Stops at the first one where the file system cannot, which then cannot at all.</summary>
    /// <exception cref="LinuxException">It cannot, and must (EOPNOTSUPP); or refused.</exception>
    public static void EnableVerity(Dir staging, bool required)
    {
        foreach (DirEntry directory in staging.Entries().Where(static entry => entry.Name.Length == 2))
        {
            using Dir inner = staging.OpenDir(directory.Name);
            foreach (DirEntry entry in inner.Entries())
            {
                if (!entry.Name.EndsWith(".file", StringComparison.Ordinal) || !inner.Stat(entry.Name).IsRegular)
                    continue;
                using SafeFileHandle file = inner.OpenFile(entry.Name);
                if (Verity.TryEnable(file, inner.Of(entry.Name)) != VerityState.Unsupported)
                    continue;
                if (required)
                    throw new LinuxException(Errno.EOPNOTSUPP, "ioctl(FS_IOC_ENABLE_VERITY)", inner.Of(entry.Name));
                return;
            }
        }
    }

    private static List<string> Subdirectories(Dir staging) => [.. staging.Entries().Select(static entry => entry.Name).Where(static name => name.Length == 2)];

    // A few files by themselves: syncfs would wait for all that anyone writes to the file system. Links cannot be synced so.
    private static bool TrySyncEach(Dir staging, List<string> directories)
    {
        if (directories.Count > FewFiles)
            return false;
        var files = new List<string>();
        foreach (string directory in directories)
        {
            using Dir inner = staging.OpenDir(directory);
            files.AddRange(inner.Entries().Select(entry => $"{directory}/{entry.Name}"));
            if (files.Count > FewFiles || inner.Entries().Any(static entry => entry.Kind != FileKind.Regular))
                return false;
        }

        foreach (string file in files)
        {
            using SafeFileHandle open = staging.OpenFile(file);
            Durable.Sync(open, staging.Of(file));
        }

        return true;
    }

    private static bool IsCommit(string name) =>
        name.EndsWith(".commit", StringComparison.Ordinal) || name.EndsWith(".commitmeta", StringComparison.Ordinal);

    // What has no directory in the repository yet moves with its own, as one name instead of some forty: its names are on the disk since
    // all was synced. Where new directories get something from the one that they are made in, each name moves by itself.
    private static List<string> MoveWhole(Dir staging, Dir objects, List<string> directories, bool durable)
    {
        FileStat from = staging.Stat(), to = objects.Stat();
        if (from.Gid != to.Gid || ((from.Permissions | to.Permissions) & SetGroup) != 0 || HasDefaultAcl(staging) || HasDefaultAcl(objects))
            return directories;
        FileStat made = NewDirectory(staging);
        List<string> left = [.. directories.Where(name => !TryMoveWhole(staging, objects, name, made))];
        if (durable && left.Count < directories.Count)
            Durable.Sync(objects);
        return left;
    }

    // Given to directories that are made there, and to none that moves there: a web server that may read by it could not enter those.
    private static bool HasDefaultAcl(Dir dir)
    {
        try
        {
            return Xattrs.TryRead(dir.Handle, DefaultAcl, dir.Path) is not null;
        }
        catch (LinuxException none) when (none.Errno == Errno.EOPNOTSUPP)
        {
            return false;
        }
    }

    // What a directory is like that is made now: the umask can only be asked so.
    private static FileStat NewDirectory(Dir staging)
    {
        staging.MakeDirs(AsMade, Repository.InnerDirectoryMode);
        FileStat made = staging.Stat(AsMade);
        staging.RemoveDir(AsMade);
        return made;
    }

    private static bool TryMoveWhole(Dir staging, Dir objects, string name, FileStat made)
    {
        if (objects.Exists(name))
            return false;
        using (Dir inner = staging.OpenDir(name))
        {
            // A leftover of another program, or of another umask, is as that made it.
            FileStat stat = inner.Stat();
            if (stat.Permissions != made.Permissions || stat.Uid != made.Uid || stat.Gid != made.Gid)
                return false;
            if (inner.Entries().Any(static entry => IsCommit(entry.Name)))
                return false;
        }

        try
        {
            return staging.TryRename(name, objects, name);
        }
        catch (LinuxException refused) when (refused.Errno is Errno.EXDEV or Errno.EPERM)
        {
            return false; // some file systems that are made of several move files, and no directories; so do projects with quotas of their own
        }
    }

    // All but commits, and what lies beside them: those are what is left for later.
    private static ConcurrentBag<Moved> MoveListed(Dir staging, Dir objects, List<string> directories, bool durable)
    {
        var commits = new ConcurrentBag<Moved>();
        Move(staging, objects, directories, durable, (from, name) =>
        {
            ILookup<bool, string> names = from.Entries().ToLookup(static entry => IsCommit(entry.Name), static entry => entry.Name);
            if (names[true].Any())
                commits.Add(new Moved(name, [.. names[true]]));
            return [.. names[false]];
        });
        return commits;
    }

    private static void Move(Dir staging, Dir objects, IReadOnlyCollection<Moved> those, bool durable)
    {
        var names = those.ToDictionary(static each => each.Directory, static each => each.Names);
        Move(staging, objects, [.. names.Keys], durable, (_, name) => names[name]);
    }

    private static void Move(Dir staging, Dir objects, List<string> directories, bool durable, Func<Dir, string, IReadOnlyList<string>> choose)
    {
        if (directories.Count == 0)
            return;
        int madeDirectories = 0;
        var changed = new ConcurrentBag<string>();
        using (var work = new ParallelWork<string>(MoveAll, static _ => { }, CancellationToken.None))
        {
            directories.ForEach(work.Add);
            work.Finish();
        }

        if (durable)
            SyncNames(objects, changed, madeDirectories > 0);

        void MoveAll(string name)
        {
            using Dir from = staging.OpenDir(name);
            IReadOnlyList<string> chosen = choose(from, name);
            if (chosen.Count == 0)
                return;
            Dir? there = objects.TryOpenDir(name);
            if (there is null)
                Interlocked.Increment(ref madeDirectories);
            using Dir to = there ?? objects.MakeAndOpenDir(name, Repository.InnerDirectoryMode);
            foreach (string entry in chosen)
                MoveOne(from, to, entry);
            changed.Add(name);
        }
    }

    private static void SyncNames(Dir objects, ConcurrentBag<string> changed, bool madeDirectory)
    {
        // The bytes are on the disk already, so one call for the file system costs no more than two or three for directories: each of
        // those makes the journal wait for the disk.
        if (changed.Count > FewDirectories)
        {
            Durable.SyncFileSystem(objects);
            return;
        }

        foreach (string name in changed)
        {
            using Dir directory = objects.OpenDir(name);
            Durable.Sync(directory);
        }

        if (madeDirectory)
            Durable.Sync(objects);
    }

    private static void MoveOne(Dir from, Dir to, string name)
    {
        // A commit's detached metadata is named after the commit and may change; everything else of one name is the same.
        if (name.EndsWith(".commitmeta", StringComparison.Ordinal))
            from.Rename(name, to, name);
        else if (!from.TryRename(name, to, name))
            from.Unlink(name);
    }

    private sealed record Moved(string Directory, IReadOnlyList<string> Names);
}
