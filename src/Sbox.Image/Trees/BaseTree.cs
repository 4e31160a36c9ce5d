using System.Globalization;
using System.Text;
using Sbox.Linux;

namespace Sbox.Image;

/// <summary>
/// A tree as mmdebstrap leaves it, kept as a tar so that the next build starts from the same bytes without asking a mirror. The key is
/// what was asked for; what was resolved is kept beside it, and stays until a build is told to ask the mirror again.
/// </summary>
internal static class BaseTree
{
    /// <summary>Makes the tar and its list of packages where they are missing, the list last: it says that the tar is whole.</summary>
    public static void Ensure(PackageChoices packages, BuildCache cache, string key, bool refresh, string work, StepRunner runner)
    {
        if (!refresh && IsCached(cache, key))
        {
            runner.Say("from the cache");
            return;
        }

        string root = $"{work}/base";
        string debs = cache.Apt(packages);
        Directory.CreateDirectory($"{debs}/partial");
        runner.Run(Mmdebstrap.Command(packages, root, debs));

        string tar = $"{work}/base.tar.zst";
        runner.Run(new ChildCommand("tar",
        [
            "--create", "--file", tar, "--directory", root, "--sort=name", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls",
            "--exclude=./dev/*", "--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*", "--use-compress-program=zstd -1 -T0", ".",
        ]));
        string installed = File.ReadAllText($"{root}/var/lib/dpkg/status");
        BuildCache.Keep(tar, cache.BaseTree(key));
        string list = $"{work}/packages";
        File.WriteAllLines(list, PackageList.Parse(installed).Select(package => $"{package}"));
        BuildCache.Keep(list, cache.BasePackages(key));
        WorkDirectory.Remove(root);
    }

    public static bool IsCached(BuildCache cache, string key) => File.Exists(cache.BasePackages(key)) && File.Exists(cache.BaseTree(key));

    /// <summary>When a cached tree was made: its packages are the mirror's of that time. Null when none is cached.</summary>
    public static DateTimeOffset? Made(BuildCache cache, string key) =>
        IsCached(cache, key) ? new DateTimeOffset(File.GetLastWriteTimeUtc(cache.BasePackages(key)), TimeSpan.Zero) : null;

    /// <summary>What a cached tree holds; null when none is cached.</summary>
    public static IReadOnlyList<InstalledPackage>? Packages(BuildCache cache, string key) => IsCached(cache, key)
        ? [.. File.ReadAllLines(cache.BasePackages(key)).Select(line => line.Split(' ')).Select(field => new InstalledPackage(field[0], field[1], field[2]))]
        : null;

    /// <summary>Unpacks the tar.</summary>
    public static void Unpack(BuildCache cache, string key, string destination, StepRunner runner)
    {
        BuildCache.Used(cache.BaseTree(key));
        Directory.CreateDirectory(destination);
        using (Dir parent = Dir.Open(Path.GetDirectoryName(destination)!))
            parent.ChangeMode(Path.GetFileName(destination), Permission.Program);
        runner.Run(new ChildCommand("tar",
        [
            "--extract", "--file", cache.BaseTree(key), "--directory", destination, "--numeric-owner", "--same-owner", "--preserve-permissions",
            "--xattrs", "--xattrs-include=*", "--acls", "--use-compress-program=zstd",
        ]));
    }

    /// <summary>
    /// When the newest file in any package was made: a time for the commit that depends on the packages and not on the clock.
    /// </summary>
    public static long NewestFile(TreeRoot tree)
    {
        long newest = 0;
        foreach (string list in tree.Names("var/lib/dpkg/info").Where(name => name.EndsWith(".md5sums", StringComparison.Ordinal)))
        {
            // Lines are a checksum, two spaces and a path without its leading slash.
            foreach (string line in tree.ReadText($"var/lib/dpkg/info/{list}").Split('\n').Where(line => line.Length > 34))
            {
                if (tree.Stat(line[34..]) is { } stat)
                    newest = Math.Max(newest, stat.ModifiedSeconds);
            }
        }

        return newest > 0 ? newest : throw new BuildFailedException("packages", "no package lists a file that is in the tree");
    }
}
