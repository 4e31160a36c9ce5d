using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Judges;
using Sbox.Tour;
using Sbox.Vm;

namespace Sbox.Integrity.Tests;

/// <summary>Every way of tests/red-team/ways on a real box, in one boot. What the sentinel says is read from its history.</summary>
public sealed class RedTeamTests(ITestOutputHelper output)
{
    private const string History = "/var/lib/sbox/sentinel/history.jsonl";

    // Under emulation a program starts in half a second; a stopped sentinel is noticed by its watchdog, which waits ten.
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12);
    private static readonly TimeSpan WayLimit = TimeSpan.FromMinutes(4);

    [Fact]
    public void There_are_at_least_forty_ways_and_each_says_what_is_expected()
    {
        IReadOnlyList<Way> ways = Way.ReadAll(WaysFile);
        Assert.True(ways.Count(static way => way.Expected.Count > 0) >= 40);
        Assert.Subset(PolicyReader.FindingNames.Keys.ToHashSet(), ways.SelectMany(static way => way.Expected).ToHashSet());
    }

    [Fact, Trait("Category", "Slow")]
    public void Whatever_root_tries_on_a_running_box_is_told_and_normal_life_is_not()
    {
        DemoImage image = DemoImage.Ensure(new Tools(SourceTree.Root), Judge.Cache);
        string machine = Path.Combine(image.Directory, "red-team");
        if (Directory.Exists(machine))
            Directory.Delete(machine, recursive: true);
        using Vm.Vm vm = Vm.Vm.Start(new VmOptions(machine, image.Disk));
        vm.WaitForLogin(BootLimit);
        output.WriteLine(vm.Run("systemctl is-system-running --wait; systemctl --no-pager status sbox-watch; journalctl -b -u sbox-watch -t sbox-watch --no-pager | tail -n 30; cat /run/sbox/sentinel/metrics.prom", BootLimit).Output);
        output.WriteLine(vm.Run("systemd-analyze security sbox-watch.service --no-pager | tail -n 1; grep -E 'VmRSS|Threads' /proc/$(systemctl show -P MainPID sbox-watch)/status; systemctl show -P CPUUsageNSec sbox-watch; cut -d' ' -f1 /proc/uptime", WayLimit).Output);
        Assert.Equal("", vm.Run($"cat {History} 2>/dev/null; true").Output); // a boot is normal life too
        string test = vm.Run("sbox watch test", WayLimit).OrThrow();
        output.WriteLine(test);
        Assert.Contains("awake", test, StringComparison.Ordinal);

        vm.Run("mkdir -p /run/evil /run/evil/p; cd /");
        var failed = new StringBuilder();
        var latencies = new List<long>();
        foreach (Way way in Way.ReadAll(WaysFile))
        {
            (string words, List<JsonElement> alarms) = Try(vm, way);
            string[] found = [.. alarms.Select(static alarm => alarm.GetProperty("finding").GetString()!)];
            bool right = way.Expected.Count == 0 ? found.Length == 0 : found.Intersect(way.Expected).Any();
            output.WriteLine($"{(right ? "ok  " : "FAIL")} {way.Name}: {(found.Length == 0 ? "nothing" : string.Join(' ', found))}{(words.Length > 0 ? $"   ({words.ReplaceLineEndings(" ")})" : "")}");
            foreach (JsonElement alarm in alarms)
                output.WriteLine($"       {alarm}");
            latencies.AddRange(alarms.Where(static alarm => alarm.TryGetProperty("latency-us", out _)).Select(static alarm => alarm.GetProperty("latency-us").GetInt64()));
            if (!right)
                failed.Append(CultureInfo.InvariantCulture, $"{way.Name}: expected {(way.Expected.Count == 0 ? "nothing" : string.Join(" or ", way.Expected))}, found {string.Join(' ', found)} {words}\n");
        }

        latencies.Sort();
        if (latencies.Count > 0)
            output.WriteLine($"latency of {latencies.Count} alarms under emulation: median {latencies[latencies.Count / 2]} us, worst {latencies[^1]} us");
        Assert.True(failed.Length == 0, failed.ToString());
    }

    private static string WaysFile => SourceTree.Of("tests", "red-team", "ways");

    private static (string Words, List<JsonElement> Alarms) Try(Vm.Vm vm, Way way)
    {
        int before = int.Parse(vm.Run($"cat {History}.old {History} 2>/dev/null | wc -l").Output.Trim(), CultureInfo.InvariantCulture);
        string words = vm.Run($"( {way.Attack}\n)", WayLimit).Output;
        string news = $"cat {History}.old {History} 2>/dev/null | tail -n +{before + 1}";
        string expected = string.Join("|", way.Expected.Select(static finding => $"\"finding\":\"{finding}\""));
        string waiting = way.Expected.Count == 0 ? "sleep 2" : $"for i in $(seq 60); do {news} | grep -qE '{expected}' && break; sleep 0.5; done";
        string lines = vm.Run($"{waiting}; {news}", WayLimit).Output;
        if (way.Cleanup.Length > 0)
            vm.Run($"( {way.Cleanup}\n)", WayLimit);
        vm.Run("systemctl is-active --quiet sbox-watch || systemctl start sbox-watch; sleep 1", WayLimit);
        return (words, [.. lines.Split('\n').Where(static line => line.StartsWith('{')).Select(static line => JsonDocument.Parse(line).RootElement)]);
    }
}
