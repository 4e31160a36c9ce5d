using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Image;

/// <summary>
/// What builds keep for the next one: <c>apt/SUITE-ARCH</c> (the .debs), <c>base/</c> (unpacked packages), <c>initrd/</c>; and
/// <c>work/</c>, where a build lives while it runs. Of base trees and initrds those used last are kept; everything in it may be deleted
/// at any time when no build runs.
/// </summary>
/// <param name="Root">Usually <c>${XDG_CACHE_HOME:-~/.cache}/sbox</c>.</param>
public sealed record BuildCache(string Root)
{
    /// <summary>How many base trees are kept.</summary>
    public const int BasesKept = 6;

    /// <summary>How many initrds are kept: a base tree has one for each set of drivers, modules and programs.</summary>
    public const int InitrdsKept = 12;

    private const string LockName = ".lock", BaseSuffix = ".tar.zst", InitrdSuffix = ".img";

    /// <summary>The cache of whoever runs this.</summary>
    public static BuildCache OfUser()
    {
        string? xdg = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        return new BuildCache(Path.Combine(xdg is ['/', ..] ? xdg : Path.Combine(home, ".cache"), "sbox"));
    }

    internal string Apt(PackageChoices packages) => Made($"apt/{packages.Suite}-{packages.Architecture}");

    internal string BaseTree(string key) => $"{Made("base")}/{key}{BaseSuffix}";

    internal string BasePackages(string key) => $"{Made("base")}/{key}.packages";

    internal string Initrd(string key) => $"{Made("initrd")}/{key}{InitrdSuffix}";

    /// <summary>Moves a finished file into its place. What is there after a power cut is whole: a later build trusts it unseen.</summary>
    internal static void Keep(string made, string place)
    {
        using Dir from = Dir.Open(Path.GetDirectoryName(made)!), to = Dir.Open(Path.GetDirectoryName(place)!);
        using (SafeFileHandle file = from.OpenFile(Path.GetFileName(made)))
            Durable.Sync(file, made);
        from.Rename(Path.GetFileName(made), to, Path.GetFileName(place));
        Durable.Sync(to);
    }

    /// <summary>Something in the cache is used now: what tidying up goes by.</summary>
    internal static void Used(string place)
    {
        using Dir dir = Dir.Open(Path.GetDirectoryName(place)!);
        dir.SetTimes(Path.GetFileName(place), DateTimeOffset.UtcNow.ToUnixTimeSeconds());
    }

    /// <summary>Keeps everything in the cache where it is, until disposed.</summary>
    internal IDisposable Hold()
    {
        using Dir root = Dir.Open(Made("."));
        while (true)
        {
            if (FileLock.TryTake(root, LockName, LockKind.Shared) is { } held)
                return held;
            Thread.Sleep(20); // someone tidies up, which takes no longer than to delete some files
        }
    }

    /// <summary>Deletes base trees and initrds but those used last, and what killed builds left there; nothing at all while another build runs.</summary>
    internal void Tidy()
    {
        using Dir root = Dir.Open(Made("."));
        using FileLock? alone = FileLock.TryTake(root, LockName);
        if (alone is null)
            return; // the other build will
        KeepNewest(Made("base"), BaseSuffix, BasesKept);
        KeepNewest(Made("initrd"), InitrdSuffix, InitrdsKept);
    }

    // All files of a key begin with it and a dot. The one with the suffix goes last: what is incomplete counts as missing, and goes too.
    private static void KeepNewest(string place, string suffix, int kept)
    {
        using Dir dir = Dir.Open(place);
        string[][] unwanted = [.. dir.Entries().Select(static entry => entry.Name).GroupBy(static name => name.Split('.')[0])
            .OrderByDescending(files => dir.TryStat(files.Key + suffix)?.ModifiedSeconds ?? 0)
            .Where((files, rank) => rank >= kept || !dir.Exists(files.Key + suffix))
            .Select(files => files.OrderBy(name => name == files.Key + suffix).ToArray())];
        foreach (string name in unwanted.SelectMany(static files => files))
            dir.RemoveAll(name);
    }

    /// <summary>A directory of its own for one build; first those that killed builds left behind are removed.</summary>
    internal WorkDirectory Work()
    {
        string root = Made("work");
        foreach (string left in Directory.GetDirectories(root))
        {
            bool ours = int.TryParse(Path.GetFileName(left).Split('-')[0], NumberStyles.None, CultureInfo.InvariantCulture, out int pid);
            if (ours && !Directory.Exists($"/proc/{pid}"))
                WorkDirectory.Remove(left);
        }

        return new WorkDirectory($"{root}/{Environment.ProcessId}-{Guid.NewGuid().ToString("N")[..8]}");
    }

    private string Made(string name) => Directory.CreateDirectory(Path.Combine(Root, name)).FullName;
}

/// <summary>A directory that goes away with all in it.</summary>
internal sealed class WorkDirectory : IDisposable
{
    public WorkDirectory(string path)
    {
        Path = path;
        using Dir parent = Dir.Open(System.IO.Path.GetDirectoryName(path)!);
        parent.MakeDir(System.IO.Path.GetFileName(path), Permission.Private); // half-built trees hold setuid programs
    }

    public string Path { get; }

    public void Dispose() => Remove(Path);

    public static void Remove(string path)
    {
        using Dir parent = Dir.Open(System.IO.Path.GetDirectoryName(path)!);
        parent.RemoveAll(System.IO.Path.GetFileName(path));
    }
}
