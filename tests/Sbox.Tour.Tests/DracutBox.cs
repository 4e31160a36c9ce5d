using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>The demo's box with an initrd made by dracut, as a disk, a kernel and that initrd. Made once beside the demo's image, for the tests that start it.</summary>
internal sealed class DracutBox
{
    private const string Recipe = "tests/Sbox.Tour/recipes/dracut.toml", Reference = "debian/13/amd64/dracut";
    private readonly string directory;

    private DracutBox(string directory) => this.directory = directory;

    /// <summary>The commit of its only version.</summary>
    public string Commit => File.ReadAllText(Of("commit"));

    /// <summary>Makes it, or finds it made.</summary>
    public static DracutBox Ensure(Tools tools, DemoImage image)
    {
        var box = new DracutBox(Path.Combine(image.Directory, "dracut"));
        if (!File.Exists(box.Of("commit")))
            box.Make(tools);
        return box;
    }

    /// <summary>A machine without firmware and boot loader that is to boot a deployment of this disk, be it there or not.</summary>
    public VmOptions Machine(string machine, string deployment) => new(machine, Of("disk.img"))
    {
        Kernel = Of("vmlinuz.d/vmlinuz"),
        Initrd = Of("initramfs.img.d/initramfs.img"),
        CommandLine = $"root=LABEL=sbox-root sbox.deployment=debian/{deployment}.0 console=ttyS0,115200 quiet",
    };

    private void Make(Tools tools)
    {
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true); // cut short
        Directory.CreateDirectory(directory);
        string repository = Of("repo");
        tools.Ostree($"--repo={repository}", "init", "--mode=bare");
        tools.Sbox("build", Recipe, "--repo", repository);
        tools.Sbox("image", "--repo", repository, Reference, "--output", Of("disk.img"));
        string commit = tools.Ostree($"--repo={repository}", "rev-parse", Reference);
        string modules = tools.Ostree($"--repo={repository}", "ls", commit, "/usr/lib/modules").Split('/')[^1];
        foreach (string name in (string[])["vmlinuz", "initramfs.img"])
            tools.Ostree($"--repo={repository}", "checkout", "-U", $"--subpath=/usr/lib/modules/{modules}/{name}", commit, Of($"{name}.d"));
        Directory.Delete(repository, recursive: true);
        File.WriteAllText(Of("commit"), commit); // last: it says that all of it is there
    }

    private string Of(string name) => Path.Combine(directory, name);
}
