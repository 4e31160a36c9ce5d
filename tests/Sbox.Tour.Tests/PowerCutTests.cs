using System.Diagnostics;
using System.Globalization;
using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

// Machines under emulation take all the processor there is: one collection, so one at a time.
[Collection("machine")]
public sealed class PowerCutTests(ITestOutputHelper output)
{
    private const string Ready = "ready";
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12);
    private static readonly TimeSpan UpgradeLimit = TimeSpan.FromMinutes(15);

    // The box has our own ostree; the real one is lent to it, with all that it needs.
    private const string Lent = "/run/judge";

    private static string JudgeRoot => new DirectoryInfo(Judge.Root).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? Path.GetFullPath(Judge.Root);

    private static string[] LentJudge => ["-virtfs", $"local,path={JudgeRoot},mount_tag=judge,security_model=none,readonly=on"];

    private static string RealOstree => string.Join(' ', Judge.Ostree.Command.Select(static word => word.Replace(Judge.Root, Lent, StringComparison.Ordinal)));

    /// <summary>How many cuts are made; each costs a boot and an upgrade, two to four minutes under emulation.</summary>
    private static int Cuts => int.Parse(Environment.GetEnvironmentVariable("SBOX_POWER_CUTS") ?? "1", CultureInfo.InvariantCulture);

    // The tour's record is cut at a hundred places in the time of one boot; this starts each, and is asked for by name (-explicit only).
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public async Task Whenever_the_power_fails_during_an_upgrade_the_box_boots_one_of_the_two_versions_and_the_next_upgrade_works()
    {
        DemoImage image = DemoImage.Ensure(new Tools(SourceTree.Root), Judge.Cache);
        image.Withdraw();
        image.Publish();
        await using FileServer server = await FileServer.Start(image.Served, DemoImage.Port);
        var options = new VmOptions(image.FreshMachine("power-machine"), image.Disk) { MoreArguments = LentJudge };
        TimeSpan whole = PrepareAndTime(options);
        int seed = Environment.GetEnvironmentVariable("SBOX_SEED") is { } given ? int.Parse(given, CultureInfo.InvariantCulture) : Random.Shared.Next();
        output.WriteLine($"an upgrade takes {whole.TotalSeconds:0.0} s here; SBOX_SEED={seed}");
        var random = new Random(seed);
        for (int cut = 1; cut <= Cuts; cut++)
            CutOnce(options, cut, random.NextDouble() * whole);
    }

    // Boots once, remembers the machine as it was before the upgrade, and times one that nothing disturbs.
    private static TimeSpan PrepareAndTime(VmOptions options)
    {
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options);
        vm.WaitForLogin(BootLimit);
        vm.Save(Ready);
        long started = Stopwatch.GetTimestamp();
        vm.Run("sbox upgrade", UpgradeLimit).OrThrow();
        return Stopwatch.GetElapsedTime(started);
    }

    private void CutOnce(VmOptions options, int number, TimeSpan after)
    {
        using (Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options with { MoreArguments = [.. LentJudge, "-loadvm", Ready] }))
        {
            vm.Console.SendLine("sbox upgrade; printf '%s-%s\\n' upgrade over");
            Thread.Sleep(after);
            vm.Kill();
        }

        using Sbox.Vm.Vm again = Sbox.Vm.Vm.Start(options);
        again.WaitForLogin(BootLimit);
        string version = again.Run("sbox status --json").OrThrow();
        Assert.Contains("\"booted\":{\"version\":\"", version, StringComparison.Ordinal);
        string runs = version.Split("\"booted\":{\"version\":\"")[1].Split('"')[0];
        Assert.Contains(runs, new[] { "1", "2" });
        Assert.DoesNotContain("sbox.ghost", again.Run("cat /proc/cmdline").OrThrow(), StringComparison.Ordinal);
        // Into a file: on a terminal it draws its progress, thousands of times.
        again.Run(
            $"mkdir -p {Lent} && modprobe 9pnet_virtio && mount -t 9p -o trans=virtio,ro judge {Lent} && {{ {RealOstree} --repo=/sysroot/ostree/repo fsck -q >/run/fsck 2>&1 || {{ tail -c 2000 /run/fsck; false; }}; }}",
            UpgradeLimit).OrThrow();
        string upgraded = again.Run("sbox upgrade", UpgradeLimit).OrThrow();
        output.WriteLine($"cut {number} after {after.TotalSeconds:0.0} s: version {runs} booted; the next upgrade: {upgraded.Split('\n')[^1]}");
        Assert.Contains("\"version\":\"2\"", again.Run("sbox status --json").OrThrow(), StringComparison.Ordinal);
    }
}
