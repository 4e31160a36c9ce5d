using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Where objects wait until all of them are on the disk: <c>tmp/staging-BOOTID-XXXXXX</c>, locked by a file beside it. Named as
/// libostree does, so that either of us goes on with what the other left in this boot, and clears what is left of earlier ones
/// (whose bytes a power cut may have taken).
/// </summary>
internal sealed class Staging : IDisposable
{
    private const string Prefix = "staging-";
    private const string LockSuffix = "-lock";
    private const uint AllPermissions = 0x1FF; // 0777
    private const uint Readable = 0x1A4; // 0644
    private readonly Dir tmp;
    private readonly FileLock held;
    private readonly string taken;
    private string name;
    private int isDistrusted;
    private readonly bool[] hasSubdirectory = new bool[256];
    private readonly HashSet<string> found = [];
    private readonly FileStat newFile; // what becomes of a file that is made here with mode 0777: its owner, and what the umask leaves

    private Staging(Dir tmp, string name, FileLock held)
    {
        (this.tmp, taken, this.name, this.held) = (tmp, name, name, held);
        Dir = tmp.OpenDir(name);
        foreach (DirEntry directory in Dir.Entries().Where(static entry => entry.Name.Length == 2))
        {
            using Dir inner = Dir.OpenDir(directory.Name);
            found.UnionWith(inner.Entries().Select(entry => $"{directory.Name}/{entry.Name}"));
        }

        using SafeFileHandle probe = Dir.CreateUnnamed(AllPermissions);
        newFile = Linux.Files.Stat(probe, Dir.Path);
    }

    public Dir Dir { get; }

    /// <summary>Takes over an abandoned directory of this boot, or makes one.</summary>
    /// <param name="repository">The repository's directory.</param>
    /// <param name="resumes">Whether one is taken over that has objects; else those wait for whoever goes on with them.</param>
    public static Staging Take(Dir repository, bool resumes = true)
    {
        Dir tmp = repository.MakeAndOpenDir("tmp");
        try
        {
            string prefix = $"{Prefix}{BootId()}-";
            foreach (DirEntry entry in tmp.Entries())
            {
                if (entry.Name.StartsWith(prefix, StringComparison.Ordinal) && tmp.TryStat(entry.Name) is { IsDirectory: true } &&
                    (resumes || IsEmpty(tmp, entry.Name)) && TryLock(tmp, entry.Name) is { } found)
                    return new Staging(tmp, entry.Name, found);
            }

            while (true)
            {
                string name = prefix + RandomName();
                tmp.MakeDir(name);
                if (TryLock(tmp, name) is { } made)
                    return new Staging(tmp, name, made);
            }
        }
        catch
        {
            tmp.Dispose();
            throw;
        }
    }

    /// <summary>Clears what earlier boots left, and whatever else has lain in <c>tmp/</c> for too long.</summary>
    public static void Clear(Dir repository, TimeSpan expiry, DateTimeOffset now)
    {
        using Dir tmp = repository.OpenDir("tmp");
        string current = $"{Prefix}{BootId()}-";
        foreach (DirEntry entry in tmp.Entries())
        {
            if (entry.Name == "cache" || tmp.TryStat(entry.Name) is not { } stat)
                continue;
            if (entry.Name.StartsWith(Prefix, StringComparison.Ordinal) && stat.IsDirectory)
            {
                if (!entry.Name.StartsWith(current, StringComparison.Ordinal))
                    ClearStaging(tmp, entry.Name);
            }
            else if (entry.Name.StartsWith(Prefix, StringComparison.Ordinal) && entry.Name.EndsWith(LockSuffix, StringComparison.Ordinal))
            {
                // Of a directory that is gone: whoever deleted it was killed before its lock's turn. Else it is held, however old it is.
                if (!tmp.Exists(entry.Name[..^LockSuffix.Length]))
                    tmp.TryUnlink(entry.Name);
            }
            else if (now.ToUnixTimeSeconds() - stat.ModifiedSeconds > expiry.TotalSeconds)
            {
                tmp.RemoveAll(entry.Name);
            }
        }
    }

    /// <summary>Whether an object waits here from before this was taken over; what was added since, the one who added it knows.</summary>
    public bool Has(string loosePath) => found.Contains(loosePath);

    /// <summary>An unnamed file that a web server may read, whatever the umask: metadata and archive objects are served as they lie.</summary>
    public SafeFileHandle CreateReadable()
    {
        SafeFileHandle file = Dir.CreateUnnamed(Readable);
        if (!Keeps(Readable))
            Linux.Files.ChangeMode(file, Readable, Dir.Path);
        return file;
    }

    /// <summary>Whether a file that is made here is of this owner without a call that makes it so.</summary>
    public bool Owns(uint uid, uint gid) => newFile.Uid == uid && newFile.Gid == gid;

    /// <summary>Whether a file that is made here with these permissions gets them all.</summary>
    public bool Keeps(uint permissions) => (permissions & ~newFile.Permissions) == 0;

    /// <summary>Gives a whole file its name; false when an equal one is there.</summary>
    public bool Link(SafeFileHandle file, string loosePath)
    {
        MakeSubdirectory(loosePath);
        return Dir.TryLink(file, loosePath);
    }

    /// <summary>A name at which something that cannot be without one (a symbolic link) may be made ready.</summary>
    public string TemporaryName() => $"making-{Guid.NewGuid():N}";

    /// <summary>Gives what was made ready its name.</summary>
    public bool Rename(string temporary, string loosePath)
    {
        MakeSubdirectory(loosePath);
        if (Dir.TryRename(temporary, Dir, loosePath))
            return true;
        Dir.Unlink(temporary);
        return false;
    }

    public void MakeSubdirectory(string loosePath)
    {
        int index = Convert.ToInt32(loosePath[..2], 16);
        if (Volatile.Read(ref hasSubdirectory[index]))
            return;
        Dir.MakeDirs(loosePath[..2], Repository.InnerDirectoryMode); // as it would be made where it goes: it may move there as a whole
        Volatile.Write(ref hasSubdirectory[index], true);
    }

    /// <summary>Deletes it, when all its objects are in their places.</summary>
    public void Remove()
    {
        tmp.RemoveAll(name);
        tmp.TryUnlink(LockOf(taken));
    }

    /// <summary>
    /// Gives it up, after a sync that failed: some bytes may not be on the disk, the kernel says so only once, and the next sync would succeed.
    /// Under another name nobody takes it over, even if this process is killed now; it is deleted when it is disposed of.
    /// </summary>
    public void Distrust()
    {
        if (Interlocked.Exchange(ref isDistrusted, 1) != 0)
            return;
        string aside = $"distrusted-{RandomName()}";
        IgnoringFailure(() =>
        {
            tmp.Rename(name, tmp, aside);
            name = aside;
        });
    }

    public void Dispose()
    {
        if (isDistrusted != 0)
            IgnoringFailure(Remove);
        else
            IgnoringFailure(() => tmp.TryUnlink(LockOf(taken))); // while it is held, so whoever took it just now sees that it is another one (IsStill)
        held.Dispose();
        Dir.Dispose();
        tmp.Dispose();
    }

    // The disk fails already, and whoever called is told that.
    private static void IgnoringFailure(Action act)
    {
        try
        {
            act();
        }
        catch (LinuxException)
        {
        }
    }

    private static void ClearStaging(Dir tmp, string name)
    {
        using FileLock? taken = TryLock(tmp, name);
        if (taken is null)
            return;
        tmp.RemoveAll(name);
        tmp.TryUnlink(LockOf(name));
    }

    private static bool IsEmpty(Dir tmp, string name)
    {
        using Dir? staged = tmp.TryOpenDir(name);
        return staged?.Entries().Any() == false;
    }

    // The lock lies beside the directory, so that it can be held until the directory is gone.
    private static FileLock? TryLock(Dir tmp, string name)
    {
        FileLock? taken = FileLock.TryTake(tmp, LockOf(name), LockKind.Exclusive);
        if (taken is null)
            return null;
        if (taken.IsStill(tmp, LockOf(name)) && tmp.TryStat(name) is { IsDirectory: true })
            return taken;
        taken.Dispose();
        return null;
    }

    private static string LockOf(string name) => name + LockSuffix;

    private static string BootId()
    {
        if (Environment.GetEnvironmentVariable("OSTREE_BOOTID") is { Length: > 0 } given)
            return given; // libostree's, for tests
        using Dir kernel = Dir.Open("/proc/sys/kernel/random");
        return Encoding.ASCII.GetString(kernel.ReadAll("boot_id")).Trim();
    }

    private static string RandomName() => string.Create(6, 0, static (text, _) =>
        System.Security.Cryptography.RandomNumberGenerator.GetItems("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", text));
}
