using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Linux;

namespace Sbox.Bench;

/// <summary>
/// How long a real sentinel takes from a mount to its alarm, idle and beside programs that want every processor and the disk, and what it
/// costs when nothing happens. The world is a small one, in a mount namespace of its own; the program is the published one.
/// </summary>
internal sealed class WatchMeasure(string sbox, string work) : IDisposable
{
    private const int Mounts = 1000;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60), Idle = TimeSpan.FromSeconds(60), UntilRest = TimeSpan.FromSeconds(40);

    private readonly List<Process> running = [];
    private readonly BlockingCollection<(long Time, string Line)> alarms = [];

    private string Protected => Path.Combine(work, "protected");

    public void Dispose() => running.ForEach(End);

    public string Run()
    {
        Process system = World();
        Process sentinel = Start("nice", "-n", "-10", sbox, "watch", "--json", "--tree-policy", $"{work}/policy", "--owner-policy", "/nowhere", "--state-directory", $"{work}/state",
            "--runtime-directory", $"{work}/state", "--system-process", $"{system.Id}");
        new Thread(() => Listen(sentinel.StandardOutput)) { IsBackground = true }.Start();
        string outlook = Outlook(sentinel);
        Thread.Sleep(UntilRest);
        Footprint before = Footprint.Of(sentinel.Id);
        string idleLoad = LoadAverage();
        long asleep = ProcessorTime(sentinel.Id), begun = Stopwatch.GetTimestamp();
        Thread.Sleep(Idle);
        double share = (ProcessorTime(sentinel.Id) - asleep) / Stopwatch.GetElapsedTime(begun).TotalNanoseconds;

        Times idle = Measure(system.Id, "idle");
        Footprint working = Footprint.Of(sentinel.Id);
        Times loaded;
        string load;
        using (new Load(work))
        {
            Thread.Sleep(TimeSpan.FromSeconds(5));
            loaded = Measure(system.Id, "under load");
            load = LoadAverage();
        }

        Thread.Sleep(UntilRest);
        return Page(outlook, share, [("before any alarm", before), ($"right after {Mounts} alarms", working), ($"{UntilRest.TotalSeconds:0} s after {2 * Mounts} alarms", Footprint.Of(sentinel.Id))],
            [("idle", idle, idleLoad), ("under full load", loaded, load)]);
    }

    private Process World()
    {
        Directory.CreateDirectory($"{work}/policy");
        Process system = Start("unshare", "-m", "--propagation", "private", "sh", "-ec", $"""
            cd {work}
            mkdir storage protected state
            mount -t tmpfs storage storage
            mkdir storage/usr
            mount --bind storage/usr protected
            mount -o remount,bind,ro protected
            mount -o remount,bind,ro storage
            echo ready
            exec sleep 100000
            """);
        if (system.StandardOutput.ReadLine() != "ready")
            throw new InvalidOperationException("the world could not be made");
        File.WriteAllText($"{work}/policy/10-bench.toml", $"""
            [[protect]]
            path = "{Protected}"
            storage = "/usr"

            [[storage]]
            mount = "{work}/storage"

            [reaction.critical]
            do = ["journal", "metrics", "undo"]
            """);
        return system;
    }

    // Each mount waits for the alarm of the one before, which has been taken back by then.
    private Times Measure(int system, string name)
    {
        var whole = new List<double>();
        var own = new List<double>();
        uint number = Namespaces.MountNamespaceOf(system) ?? throw new InvalidOperationException("the world has ended");
        using MountNamespace place = MountNamespace.Find(number, [system]) ?? throw new InvalidOperationException("the world has ended");
        place.Run(_ =>
        {
            for (int at = 0; at < Mounts; at++)
            {
                using FileSystemContext context = FileSystemContext.Open("tmpfs");
                using DetachedMount mount = context.Set("source", $"evil-{at}").Create(MountAttributes.None);
                long begun = Stopwatch.GetTimestamp();
                mount.AttachAt(Protected);
                (long Time, string Line) alarm = AlarmOf($"evil-{at} ", name);
                whole.Add(Stopwatch.GetElapsedTime(begun, alarm.Time).TotalMilliseconds);
                own.Add(JsonDocument.Parse(alarm.Line).RootElement.GetProperty("latency-us").GetInt64() / 1000.0);
                if (at % 100 == 99)
                    Console.Error.WriteLine($"{name}: {at + 1} of {Mounts}");
            }
        }, TimeSpan.FromHours(1));
        return new Times([.. whole.Order()], [.. own.Order()]);
    }

    // Others may come beside it: the name of who did what was told before.
    private (long Time, string Line) AlarmOf(string source, string name)
    {
        while (alarms.TryTake(out (long Time, string Line) alarm, Patience))
        {
            if (alarm.Line.Contains(source, StringComparison.Ordinal))
                return alarm;
        }

        throw new IOException($"{source}, {name}: no alarm came within {Patience.TotalSeconds:0} s");
    }

    private void Listen(StreamReader lines)
    {
        while (lines.ReadLine() is { } line)
            alarms.Add((Stopwatch.GetTimestamp(), line));
    }

    private string Outlook(Process sentinel)
    {
        var said = new StringBuilder();
        sentinel.ErrorDataReceived += (_, line) => said.AppendLine(line.Data);
        sentinel.BeginErrorReadLine();
        if (!SpinWait.SpinUntil(() => File.Exists($"{work}/state/metrics.prom"), Patience))
            throw new InvalidOperationException($"the sentinel did not start: {said}");
        return File.ReadLines($"{work}/state/metrics.prom").First(static line => line.Contains("state=\"open\"", StringComparison.Ordinal)).Split(' ')[^1];
    }

    private Process Start(string program, params string[] arguments)
    {
        Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = program == "nice" })!;
        running.Add(process);
        return process;
    }

    private static void End(Process process)
    {
        process.Kill(entireProcessTree: true);
        process.WaitForExit();
        process.Dispose();
    }

    private static string LoadAverage() => File.ReadAllText("/proc/loadavg").Split(' ')[0];

    // Nanoseconds of all threads: the first number of proc_pid_schedstat(5).
    private static long ProcessorTime(int process) =>
        Directory.GetDirectories($"/proc/{process}/task").Sum(static task => long.Parse(File.ReadAllText($"{task}/schedstat").Split(' ')[0], CultureInfo.InvariantCulture));

    private static string Page(string eyes, double share, (string When, Footprint Memory)[] memory, (string Name, Times Times, string Load)[] rows)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# The sentinel: from a mount to its alarm, and what it costs\n\nMade by `./bench watch` on {DateTime.UtcNow:yyyy-MM-dd}: kernel {File.ReadAllText("/proc/sys/kernel/osrelease").Trim()}, {Environment.ProcessorCount} processors, {eyes} eyes open; {Mounts} file systems in memory mounted over a protected\n");
        text.Append("directory, one after the other, each taken back by the sentinel, which runs at nice -10 as its unit has it. *Whole*: from before the call that mounts until a program that reads the sentinel's output has the alarm, which is after the\n");
        text.Append("mount was undone and journal, history and metrics were written. *Own*: what the alarm itself says, from the call's end until it is undone. Full load: a busy loop and a half for each processor, and one\n");
        text.Append("program that writes and flushes. The load average is that of the whole machine, which others shared.\n\n");
        text.Append("| | load average | whole: p50 | p99 | max | own: p50 | p99 | max |\n|---|---|---|---|---|---|---|---|\n");
        foreach ((string name, Times times, string load) in rows)
            text.Append(CultureInfo.InvariantCulture, $"| {name} | {load} | {Row(times.Whole)} | {Row(times.Own)} |\n");
        text.Append("\nMilliseconds. The goal is 100 at the median and 1,000 at worst, under load.\n\n| memory | VmRSS | Pss | anonymous | of files |\n|---|---|---|---|---|\n");
        foreach ((string when, Footprint each) in memory)
            text.Append(CultureInfo.InvariantCulture, $"| {when} | {each.Resident:0.0} | {each.Proportional:0.0} | {each.Anonymous:0.0} | {each.Files:0.0} |\n");
        text.Append("\nMiB. VmRSS is the figure to judge by: it counts all that is mapped, shared or not. Anonymous memory is what nobody can take from it; the rest is the program's own code in the page cache.\n");
        text.Append(CultureInfo.InvariantCulture, $"\nProcessor when nothing is mounted over anything: {share * 100:0.000} % of one, over {Idle.TotalSeconds:0} s (nanoseconds of all threads in /proc/PID/task/*/schedstat).\n");
        return text.ToString();
    }

    private static string Row(double[] sorted) => string.Create(CultureInfo.InvariantCulture, $"{sorted[sorted.Length / 2]:0.0} | {sorted[sorted.Length * 99 / 100]:0.0} | {sorted[^1]:0.0}");

    private sealed record Times(double[] Whole, double[] Own);

    /// <summary>Memory of a process, in MiB; proc_pid_smaps(5).</summary>
    private sealed record Footprint(double Resident, double Proportional, double Anonymous, double Files)
    {
        public static Footprint Of(int process)
        {
            Dictionary<string, double> sizes = File.ReadLines($"/proc/{process}/status").Concat(File.ReadLines($"/proc/{process}/smaps_rollup"))
                .Select(static line => line.Split(':', 2)).Where(static words => words.Length == 2 && words[1].EndsWith(" kB", StringComparison.Ordinal))
                .ToDictionary(static words => words[0], static words => double.Parse(words[1].Trim().Split(' ')[0], CultureInfo.InvariantCulture) / 1024);
            return new Footprint(sizes["VmRSS"], sizes["Pss"], sizes["RssAnon"], sizes["RssFile"]);
        }
    }

    /// <summary>Programs that want every processor, and one that wants the disk.</summary>
    private sealed class Load : IDisposable
    {
        private readonly List<Process> programs = [];

        public Load(string work)
        {
            for (int at = 0; at < Environment.ProcessorCount * 3 / 2; at++)
                programs.Add(Process.Start("sh", ["-c", "while :; do :; done"])!);
            programs.Add(Process.Start(new ProcessStartInfo("sh", ["-c", $"while :; do dd if=/dev/zero of={work}/written bs=1M count=64 conv=fsync 2>/dev/null; done"]))!);
        }

        public void Dispose() => programs.ForEach(End);
    }
}
