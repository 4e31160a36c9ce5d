using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>
/// The power fails at random moments of what changes the versions that boot: QEMU is killed, and what it had not given to the host is lost. The disk is looked at as it lies (fsck.vfat, e2fsck,
/// fsck of real ostree), and then the box has to boot.
/// </summary>
[Collection("machine")]
public sealed class PowerCutTests(ITestOutputHelper output) : IDisposable
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12), ChangeLimit = TimeSpan.FromMinutes(15);
    private readonly string directory = Directory.CreateDirectory(Path.Combine(Judge.Cache, $"power-{Environment.ProcessId}")).FullName;
    private readonly Lock counting = new();
    private readonly CutCount count = new(Environment.GetEnvironmentVariable("SBOX_POWER_CUTS_PAGE"));

    // What is cut, with the state that it begins in and the versions that may boot behind it. The first start of a new version is a part of finalize: until its shell answers.
    private static readonly Deed[] Deeds =
    [
        new("upgrade", "before", "sbox upgrade", ["1", "2"]),
        new("finalize", "staged", "systemctl reboot", ["1", "2"]),
        new("rollback", "after", "sbox rollback", ["1", "2"]),
        new("cleanup", "after", "sbox undeploy 1", ["2"]),
    ];

    private static int Cuts => Given("SBOX_POWER_CUTS", 1);

    private static int Machines => Given("SBOX_POWER_CUTS_AT_ONCE", 1);

    private static string Original => "machine";

    public void Dispose() => Directory.Delete(directory, recursive: true);

    // The tour's record is cut at a hundred places in the time of one boot; this starts each, and is asked for by name (-explicit only).
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public async Task Wherever_the_power_fails_the_disk_is_whole_and_the_box_boots_a_version_that_it_had()
    {
        DemoImage image = DemoImage.Ensure(new Tools(SourceTree.Root), Judge.Cache);
        image.Withdraw();
        image.Publish();
        await using FileServer server = await FileServer.Start(image.Served, DemoImage.Port);
        int seed = Given("SBOX_SEED", Random.Shared.Next());
        output.WriteLine($"SBOX_SEED={seed}");
        IReadOnlyDictionary<string, TimeSpan> times = Prepare(image);
        await Task.WhenAll(Enumerable.Range(0, Machines).Select(machine => Task.Run(() =>
        {
            var random = new Random(seed + machine);
            for (int cut = machine; cut < Cuts; cut += Machines)
            {
                Deed deed = Deeds[cut % Deeds.Length];
                CutOnce(image, $"machine-{machine}", deed, random.NextDouble() * times[deed.Name], goesOn: cut % 10 == 0);
            }
        })));
    }

    private static int Given(string name, int usual) => Environment.GetEnvironmentVariable(name) is { } given ? int.Parse(given, CultureInfo.InvariantCulture) : usual;

    // Boots once, keeps the machine as it is before each of the deeds, and times each of them.
    private Dictionary<string, TimeSpan> Prepare(DemoImage image)
    {
        var times = new Dictionary<string, TimeSpan>();
        var options = new VmOptions(Of(Original), image.Disk);
        using (Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options))
        {
            vm.WaitForLogin(BootLimit);
            vm.Run("systemctl start sbox-health.service", BootLimit).OrThrow();
            vm.Save("before");
            times["upgrade"] = Timed(() => vm.Run("sbox upgrade", ChangeLimit).OrThrow());
            vm.Save("staged");
            times["finalize"] = Timed(() => vm.Reboot(BootLimit));
            vm.Run("systemctl start sbox-health.service", BootLimit).OrThrow();
            vm.Save("after");
        }

        foreach (Deed deed in Deeds.Where(deed => !times.ContainsKey(deed.Name)))
        {
            using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options with { MoreArguments = ["-loadvm", deed.From] });
            times[deed.Name] = Timed(() => vm.Run(deed.Command, ChangeLimit).OrThrow());
        }

        output.WriteLine(string.Join(", ", times.Select(static each => $"{each.Key} {each.Value.TotalSeconds:0.0} s")));
        return times;
    }

    private static TimeSpan Timed(Action act)
    {
        long started = Stopwatch.GetTimestamp();
        act();
        return Stopwatch.GetElapsedTime(started);
    }

    private void CutOnce(DemoImage image, string machine, Deed deed, TimeSpan after, bool goesOn)
    {
        string what = $"{deed.Name} cut after {after.TotalSeconds:0.0} s";
        try
        {
            Directory.CreateDirectory(Of(machine));
            foreach (string file in Directory.GetFiles(Of(Original), "*.qcow2"))
                File.Copy(file, Path.Combine(Of(machine), Path.GetFileName(file)), overwrite: true);
            var options = new VmOptions(Of(machine), image.Disk);
            using (Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options with { MoreArguments = ["-loadvm", deed.From] }))
            {
                vm.Console.SendLine(deed.Command);
                Thread.Sleep(after);
                vm.Kill();
            }

            IsSound(machine, image);
            string booted = Boots(options, deed, goesOn);
            Say($"{what}: version {booted} booted", deed);
        }
        catch (Exception failed)
        {
            Say($"{what}: {failed.Message}", deed, failed: true);
            throw;
        }
    }

    private void Say(string what, Deed deed, bool failed = false)
    {
        lock (counting)
        {
            output.WriteLine(what);
            count.Add(deed.Name, failed);
        }
    }

    // As it lies there, before any boot replays or mends something.
    private void IsSound(string machine, DemoImage image)
    {
        string disk = Path.Combine(Of(machine), "disk.qcow2"), looked = Directory.CreateDirectory(Of($"{machine}-look")).FullName;
        string esp = MachineDisk.TakeOut(disk, image.Disk, 0, Path.Combine(looked, "esp.img")), root = MachineDisk.TakeOut(disk, image.Disk, 1, Path.Combine(looked, "root.img"));
        Assert.Empty(EspJudge.Fsck(esp));
        RootLook look = RootLook.At(root, looked, new Dictionary<string, string>(), askOstree: true);
        Assert.NotEmpty(look.Menu);
        Assert.Subset(new HashSet<string> { image.First, image.Second }, look.Menu.ToHashSet());
    }

    private static string Boots(VmOptions options, Deed deed, bool goesOn)
    {
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options);
        vm.WaitForLogin(BootLimit);
        string version = JsonDocument.Parse(vm.Run("sbox status --json").OrThrow()).RootElement.GetProperty("booted").GetProperty("version").GetString()!;
        Assert.Contains(version, deed.Versions);
        Assert.DoesNotContain("sbox.ghost", vm.Run("cat /proc/cmdline").OrThrow(), StringComparison.Ordinal);
        if (goesOn)
        {
            vm.Run("sbox upgrade", ChangeLimit).OrThrow();
            vm.Reboot(BootLimit);
            Assert.Contains("\"booted\":{\"version\":\"2\"", vm.Run("sbox status --json").OrThrow(), StringComparison.Ordinal);
        }

        return version;
    }

    private string Of(string name) => Path.Combine(directory, name);

    private sealed record Deed(string Name, string From, string Command, string[] Versions);
}
