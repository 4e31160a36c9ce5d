using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Sysroot.Tests;

/// <summary>What must be true of a box's directories (<c>sysroot</c> and <c>esp</c>) after a power cut or a kill.</summary>
internal static class Afterwards
{
    /// <summary>What systemd-boot boots when nobody chooses: loader.conf's default, else the newest version.</summary>
    public static Checksum Firmware(string directory)
    {
        Dictionary<string, string[]> ukis = Directory.GetFiles($"{directory}/esp/EFI/Linux", "*.efi").ToDictionary(path => Path.GetFileName(path), File.ReadAllLines);
        string? named = File.Exists($"{directory}/esp/loader/loader.conf") ? new LoaderConf(File.ReadAllText($"{directory}/esp/loader/loader.conf")).Default : null;
        string chosen = named is not null && ukis.ContainsKey(named) ? named
            : ukis.MaxBy(each => each.Value.Single(line => line.StartsWith("IMAGE_VERSION=", StringComparison.Ordinal)), StringComparer.Ordinal).Key;
        return NameIn(ukis[chosen]).Commit;
    }

    private static DeploymentName NameIn(string[] uki)
    {
        string text = KernelArguments.Parse(uki[1]).Get("sbox.deployment")!;
        Assert.True(DeploymentName.TryParse(text, out DeploymentName name), text);
        return name;
    }

    /// <summary>Whatever firmware or a classic boot loader offers leads to a whole deployment, and real ostree is content.</summary>
    public static void AssertWhole(string directory, string step, bool askOstree = true)
    {
        foreach (string path in Directory.GetFiles($"{directory}/esp/EFI/Linux").Where(path => !Path.GetFileName(path).StartsWith('.')))
        {
            string[] uki = File.ReadAllLines(path);
            Assert.Equal("whole", uki[0]);
            Assert.StartsWith("initrd of", uki[^1]);
            AssertDeployed(directory, NameIn(uki), $"{Path.GetFileName(path)} after a cut before '{step}'");
        }

        using OstreeSysroot sysroot = OstreeSysroot.Open($"{directory}/sysroot", TestBox.Options());
        Assert.NotEmpty(sysroot.Deployments);
        foreach (Deployment deployment in sysroot.Deployments)
        {
            AssertDeployed(directory, deployment.Name, $"entry '{deployment.Entry.Title}' after a cut before '{step}'");
            Assert.True(File.Exists($"{directory}/sysroot/boot{deployment.Entry.Linux}"), $"no kernel for '{deployment.Entry.Title}' after a cut before '{step}'");
            Assert.All(deployment.Entry.Initrds, initrd => Assert.True(File.Exists($"{directory}/sysroot/boot{initrd}")));
        }

        if (!askOstree)
            return;
        Judge.HostOstree.Run("admin", "status", $"--sysroot={directory}/sysroot");
        Judge.HostOstree.Run("fsck", "--quiet", $"--repo={directory}/sysroot/ostree/repo");
    }

    private static void AssertDeployed(string directory, DeploymentName name, string by)
    {
        string root = $"{directory}/sysroot/{name.Directory}";
        foreach (string path in (string[])[".ostree.cfs", "usr/bin/version", "usr/etc/hostname", "etc/hostname", "etc/default/thing", "usr/lib/modules/6.12.1/vmlinuz"])
            Assert.True(File.Exists($"{root}/{path}"), $"{by} leads to {name.Short}, which has no {path}");
        Assert.True(File.Exists($"{root}.origin"), $"{by} leads to {name.Short}, which has no origin");
        Assert.Equal($"from version {File.ReadAllText($"{root}/usr/bin/version")}\n", File.ReadAllText($"{root}/etc/default/thing"));
    }

    public static void AssertFinished(string directory, OstreeSysroot sysroot, Deployer deployer)
    {
        AssertWhole(directory, "nothing");
        Assert.True(deployer.IsSettled);
        Assert.Equal(sysroot.Deployments.Count, Directory.GetDirectories($"{directory}/sysroot/ostree/deploy/{TestBox.Os}/deploy").Length);
        Assert.Equal(sysroot.Deployments.Count, Directory.GetFiles($"{directory}/sysroot/ostree/deploy/{TestBox.Os}/deploy", "*.origin").Length);
        Assert.Equal(sysroot.Deployments.Count, Directory.GetFiles($"{directory}/esp/EFI/Linux").Length);
        Assert.Equal(sysroot.Deployments.Count, sysroot.Repository.Refs("ostree").Count);
    }
}
