using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Image;

/// <summary>
/// What builds keep for the next one: <c>apt/SUITE-ARCH</c> (the .debs), <c>base/</c> (unpacked packages), <c>initrd/</c>; and
/// <c>work/</c>, where a build lives while it runs. Everything in it may be deleted at any time when no build runs.
/// </summary>
/// <param name="Root">Usually <c>${XDG_CACHE_HOME:-~/.cache}/sbox</c>.</param>
public sealed record BuildCache(string Root)
{
    /// <summary>The cache of whoever runs this.</summary>
    public static BuildCache OfUser()
    {
        string? xdg = Environment.GetEnvironmentVariable("XDG_CACHE_HOME");
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile);
        return new BuildCache(Path.Combine(xdg is ['/', ..] ? xdg : Path.Combine(home, ".cache"), "sbox"));
    }

    internal string Apt(PackageChoices packages) => Made($"apt/{packages.Suite}-{packages.Architecture}");

    internal string BaseTree(string key) => $"{Made("base")}/{key}.tar.zst";

    internal string BasePackages(string key) => $"{Made("base")}/{key}.packages";

    internal string Initrd(string key) => $"{Made("initrd")}/{key}.img";

    /// <summary>Moves a finished file into its place. What is there after a power cut is whole: a later build trusts it unseen.</summary>
    internal static void Keep(string made, string place)
    {
        using Dir from = Dir.Open(Path.GetDirectoryName(made)!), to = Dir.Open(Path.GetDirectoryName(place)!);
        using (SafeFileHandle file = from.OpenFile(Path.GetFileName(made)))
            Durable.Sync(file, made);
        from.Rename(Path.GetFileName(made), to, Path.GetFileName(place));
        Durable.Sync(to);
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
