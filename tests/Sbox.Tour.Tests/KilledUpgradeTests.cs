using System.Diagnostics;
using System.Globalization;
using System.Text;
using Sbox.Boot;
using Sbox.Codecs.Uki;
using Sbox.Judges;
using Sbox.Sysroot;

namespace Sbox.Tour.Tests;

[Collection("machine")]
public sealed class KilledUpgradeTests(ITestOutputHelper output)
{
    // Real ostree reads all objects of every fifth box; of the others ours does, which takes a fraction of the time.
    private const int Kills = 20, OfOstree = 5;

    [Fact, Trait("Category", "Slow")]
    public async Task Whenever_an_upgrade_is_killed_every_entry_of_the_boot_menu_leads_to_a_whole_version_and_the_next_upgrade_works()
    {
        DemoImage image = DemoImage.Ensure(new Tools(SourceTree.Root), Judge.Cache);
        image.Withdraw();
        string work = Path.Combine(image.Directory, "killed");
        Remove(work);
        Directory.CreateDirectory(work);
        try
        {
            await using FileServer server = await FileServer.Start(image.Served, port: 0);
            string fresh = Path.Combine(work, "fresh");
            FreshInstall.Run(new InstallRequest($"{fresh}/root", $"{fresh}/esp", image.Served, image.Ref, "debian")
            {
                RemoteUrl = $"http://127.0.0.1:{server.Port}",
                Options = new SysrootOptions { CommandLine = "" },
            });
            image.Publish();
            TimeSpan whole = TimeOfOne(fresh, Path.Combine(work, "whole"), image);
            int seed = Environment.GetEnvironmentVariable("SBOX_SEED") is { } given ? int.Parse(given, CultureInfo.InvariantCulture) : Random.Shared.Next();
            output.WriteLine($"an upgrade takes {whole.TotalSeconds:0.0} s here; SBOX_SEED={seed}");
            var random = new Random(seed);
            for (int kill = 1; kill <= Kills; kill++)
                KillOnce(fresh, Path.Combine(work, $"kill-{kill}"), kill, random.NextDouble() * whole, image);
        }
        finally
        {
            Remove(work);
        }
    }

    private static TimeSpan TimeOfOne(string fresh, string box, DemoImage image)
    {
        Copy(fresh, box);
        long started = Stopwatch.GetTimestamp();
        using Process upgrade = Upgrade(box);
        upgrade.WaitForExit();
        TimeSpan taken = Stopwatch.GetElapsedTime(started);
        Assert.Equal(0, upgrade.ExitCode);
        IsWhole(box, image.Second, askOstree: true);
        Remove(box);
        return taken;
    }

    private void KillOnce(string fresh, string box, int number, TimeSpan after, DemoImage image)
    {
        Copy(fresh, box);
        bool ended;
        using (Process upgrade = Upgrade(box))
        {
            ended = upgrade.WaitForExit(after);
            upgrade.Kill();
            upgrade.WaitForExit();
        }

        string boots = IsBootable(box, image);
        Fsck(box, number % OfOstree == 0);
        Assert.Contains("debian", Judge.Ostree.Run("admin", "status", $"--sysroot={box}/root"), StringComparison.Ordinal);
        using (Process again = Upgrade(box))
        {
            string words = again.StandardError.ReadToEnd();
            again.WaitForExit();
            Assert.True(again.ExitCode == 0, $"kill {number} after {after.TotalSeconds:0.00} s: the next upgrade failed: {words}");
        }

        IsWhole(box, image.Second, number % OfOstree == 0);
        output.WriteLine($"kill {number} after {after.TotalSeconds:0.00} s{(ended ? " (it had ended)" : "")}: boots {boots}, and the next upgrade works");
        Remove(box);
    }

    // What firmware would find: each whole UKI names a deployment that is there with its image and its /etc, and there is at least one.
    private static string IsBootable(string box, DemoImage image)
    {
        var versions = new List<string>();
        foreach (string uki in Directory.GetFiles($"{box}/esp/EFI/Linux", "*.efi"))
        {
            string line = Encoding.UTF8.GetString(UnifiedKernelImage.Read(File.ReadAllBytes(uki)).First(static section => section.Name == ".cmdline").Content.Span).TrimEnd('\0', '\n');
            Assert.True(DeploymentName.TryParse(KernelArguments.Parse(line).Get("sbox.deployment")!, out DeploymentName name), line);
            string deployment = $"{box}/root/{name.Directory}";
            foreach (string part in (string[])[".ostree.cfs", "etc/passwd", "usr/lib/os-release", "usr/bin/sbox"])
                Assert.True(File.Exists($"{deployment}/{part}"), $"{Path.GetFileName(uki)} leads to {deployment}, which lacks {part}");
            Assert.Contains(name.Commit.ToString(), new[] { image.First, image.Second });
            versions.Add(name.Commit.ToString() == image.First ? "1" : "2");
        }

        Assert.NotEmpty(versions);
        return string.Join(" or ", versions.Order(StringComparer.Ordinal));
    }

    private static void IsWhole(string box, string commit, bool askOstree)
    {
        using OstreeSysroot sysroot = OstreeSysroot.Open($"{box}/root", new SysrootOptions { CommandLine = "" });
        using var deployer = new Deployer(sysroot, $"{box}/esp");
        Assert.Equal(commit, sysroot.Deployments[0].Name.Commit.ToString());
        Assert.Equal(2, sysroot.Deployments.Count);
        Assert.True(deployer.IsSettled);
        Fsck(box, askOstree);
    }

    private static void Fsck(string box, bool askOstree) =>
        (askOstree ? Judge.Ostree : Judge.OnPath(SourceTree.Of("out", "ostree"))).Run("fsck", "-q", $"--repo={box}/root/ostree/repo");

    private static Process Upgrade(string box) => Process.Start(new ProcessStartInfo(
        SourceTree.Of("out", "sbox"), ["upgrade", $"--sysroot={box}/root", $"--esp={box}/esp"])
    {
        RedirectStandardOutput = true,
        RedirectStandardError = true,
    })!;

    // Hardlinks do: an upgrade replaces files, it never writes into one that is there.
    private static void Copy(string from, string to) => Do("cp", "-al", from, to);

    private static void Remove(string path) => Do("rm", "-rf", path);

    private static void Do(string program, params string[] arguments)
    {
        using Process process = Process.Start(program, arguments);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }
}
