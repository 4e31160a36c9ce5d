using System.Security.Cryptography;
using System.Text;

namespace Sbox.Tour;

/// <summary>
/// Two versions of the demo's box and a disk image of the first, made once for each state of the recipes and programs and kept in the cache.
/// </summary>
public sealed class DemoImage
{
    /// <summary>Where the guest looks for upgrades: the host's loopback, as QEMU's user network shows it.</summary>
    public const int Port = 8480;

    private const string FirstRecipe = "images/debian-minimal.toml";
    private const string SecondRecipe = "images/debian-minimal-v2.toml";

    private readonly Tools tools;

    private DemoImage(Tools tools, string directory) => (this.tools, Directory) = (tools, directory);

    /// <summary>Where it all is.</summary>
    public string Directory { get; }

    /// <summary>The disk image of version 1.</summary>
    public string Disk => Path.Combine(Directory, "disk.img");

    /// <summary>The repository that is served; its ref leads to version 1 until version 2 is published.</summary>
    public string Served => Path.Combine(Directory, "served");

    /// <summary>The publisher's own repository: both versions.</summary>
    public string Builds => Path.Combine(Directory, "builds");

    /// <summary>The ref of both recipes.</summary>
    public string Ref => Kept("ref");

    /// <summary>The commit of version 1.</summary>
    public string First => Kept("v1");

    /// <summary>The commit of version 2.</summary>
    public string Second => Kept("v2");

    /// <summary>What each step of making it cost, where it was made by this run.</summary>
    public IReadOnlyList<StepCost> Made { get; private set; } = [];

    /// <summary>Makes it, or finds it made.</summary>
    public static DemoImage Ensure(Tools tools, string cache)
    {
        string images = Path.Combine(cache, "demo"), key = Key(tools.Root);
        var image = new DemoImage(tools, Path.Combine(images, key));
        var shelf = new ImageShelf(images);
        using IDisposable alone = shelf.Alone(key);
        if (!shelf.IsWhole(key))
        {
            shelf.Tidy(making: key);
            image.Make();
        }

        shelf.Use(key);
        return image;
    }

    /// <summary>Lets the served ref lead to version 1 again, as before an upgrade is published.</summary>
    public void Withdraw() => tools.Ostree($"--repo={Served}", "refs", $"--create={Ref}", "--force", First);

    /// <summary>An empty directory for a machine, beside the image; what an earlier one left there is gone.</summary>
    public string FreshMachine(string name)
    {
        string directory = Path.Combine(Directory, name);
        if (System.IO.Directory.Exists(directory))
            System.IO.Directory.Delete(directory, recursive: true);
        return directory;
    }

    /// <summary>Publishes version 2.</summary>
    public void Publish() => tools.Ostree($"--repo={Served}", "pull-local", Builds, Ref);

    private void Make()
    {
        if (System.IO.Directory.Exists(Directory))
            System.IO.Directory.Delete(Directory, recursive: true); // cut short
        System.IO.Directory.CreateDirectory(Directory);
        var costs = new List<StepCost>();
        costs.Add(StepCost.Measure("build version 1 (mmdebstrap, dracut, commit)", () =>
        {
            tools.Ostree($"--repo={Builds}", "init", "--mode=archive");
            tools.Sbox("build", FirstRecipe, "--repo", Builds);
            Keep("ref", tools.Ostree($"--repo={Builds}", "refs"));
            Keep("v1", tools.Ostree($"--repo={Builds}", "rev-parse", Ref));
        }, () => StepCost.DiskUsage(Builds)));
        costs.Add(StepCost.Measure("publish version 1", () =>
        {
            tools.Ostree($"--repo={Served}", "init", "--mode=archive");
            Publish();
        }, () => StepCost.DiskUsage(Served)));
        costs.Add(StepCost.Measure("make the disk image", () =>
            tools.Sbox("image", "--repo", Served, Ref, "--remote-url", $"http://10.0.2.2:{Port}", "--output", Disk), () => StepCost.DiskUsage(Disk)));
        costs.Add(StepCost.Measure("build version 2", () =>
        {
            tools.Sbox("build", SecondRecipe, "--repo", Builds);
            Keep("v2", tools.Ostree($"--repo={Builds}", "rev-parse", Ref));
        }, () => StepCost.DiskUsage(Builds)));
        if (First == Second)
            throw new TourException($"both recipes gave the commit {First}: there is nothing to upgrade to");
        Made = costs;
    }

    // Everything that decides what is on the disk: recipes, what goes into the initrd, the programs themselves.
    private static string Key(string root)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        string[] files =
        [
            .. System.IO.Directory.GetFiles(Path.Combine(root, "images"), "*", SearchOption.AllDirectories),
            .. System.IO.Directory.GetFiles(Path.Combine(root, "packaging"), "*", SearchOption.AllDirectories),
            Path.Combine(root, "out", "sbox"),
            Path.Combine(root, "out", "sbox-root"),
        ];
        foreach (string file in files.Order(StringComparer.Ordinal))
        {
            hash.AppendData(Encoding.UTF8.GetBytes(Path.GetRelativePath(root, file) + "\0"));
            hash.AppendData(SHA256.HashData(File.ReadAllBytes(file)));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset())[..12];
    }

    private void Keep(string name, string text) => File.WriteAllText(Path.Combine(Directory, name), text);

    private string Kept(string name) => File.ReadAllText(Path.Combine(Directory, name)).Trim();
}
