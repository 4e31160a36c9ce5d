using System.Diagnostics;
using System.Globalization;
using System.Text;
using Sbox.Judges;

namespace Sbox.Bench;

/// <summary>
/// Reading an opened tomb beside real <c>restic mount</c>: what the process that serves the mount costs, and how long the reader waits. Both
/// mount the same repository; each round mounts anew, so that nothing is cached.
/// </summary>
internal sealed class MountComparison(string[] ours, string work, int rounds)
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(2);

    private readonly string password = Path.Combine(work, "password"), tomb = Path.Combine(work, "tomb"), home = Path.Combine(work, "home"), run = Path.Combine(work, "run");

    /// <summary>What is read, and by which shell words, in the mounted home.</summary>
    private static readonly (string Name, string Warm, string Script)[] Works =
    [
        ("find, cold, 9,000 files", "", "find . > /dev/null"),
        ("stat of all, warm, ten times", "find . -printf '%s' > /dev/null", "for n in 1 2 3 4 5 6 7 8 9 10; do find . -printf '%s' > /dev/null; done"),
        ("one file of 200 MB", "", "cat large > /dev/null"),
        ("9,000 small files", "", "find small -type f -print0 | xargs -0 cat > /dev/null"),
        ("2,000 random 4 KiB", "", "python3 -c 'import os, random; f = os.open(\"large\", os.O_RDONLY); random.seed(1); [os.pread(f, 4096, random.randrange(200_000_000 - 4096)) for _ in range(2000)]'"),
    ];

    public IEnumerable<Row> Run()
    {
        MakeHome();
        File.WriteAllText(password, "bench\n");
        Judge.Restic.Run("-r", tomb, "--password-file", password, "--no-cache", "init");
        Judge.Restic.Run("-r", tomb, "--password-file", password, "--no-cache", "backup", "--quiet", home);
        foreach ((string name, string warm, string script) in Works)
        {
            Console.Error.WriteLine(name);
            List<Cost> ourCosts = [], theirCosts = [];
            for (int round = 0; round < rounds; round++)
            {
                ourCosts.Add(Measure(mine: true, warm, script));
                theirCosts.Add(Measure(mine: false, warm, script));
            }

            yield return new Row(name, Cost.MedianOf(ourCosts), Cost.MedianOf(theirCosts));
            if (warm.Length > 0)
                yield return new Row("the same (theirs: the files themselves, in a tmpfs)", Cost.MedianOf(ourCosts), InMemory(script));
        }

        yield return FindAmongMany();
        yield return Saving("save, open and unchanged", "");
        yield return Saving("save, open, 1 % of the files changed", "for file in small/*/file*00; do date >> $file; done");
        foreach (Row row in Untar())
            yield return row;
        yield return FarFiles();
    }

    // What the kernel and the reader cost by themselves: no server can need less.
    private Cost InMemory(string script)
    {
        string bare = Directory.CreateDirectory(Path.Combine(work, "in-memory")).FullName;
        Shell($"mount -t tmpfs bench '{bare}' && cp -a '{home}/.' '{bare}'", "/");
        try
        {
            var costs = new List<Cost>();
            for (int round = 0; round < rounds; round++)
            {
                long begun = Stopwatch.GetTimestamp();
                Shell(script, bare);
                costs.Add(new Cost(Stopwatch.GetElapsedTime(begun).TotalSeconds, 0, 0));
            }

            return Cost.MedianOf(costs);
        }
        finally
        {
            Shell($"umount '{bare}'", "/");
        }
    }

    // As many names as a home of some years has: what it costs to begin counts for less.
    private Row FindAmongMany()
    {
        const string name = "find, cold, 100,000 files";
        Console.Error.WriteLine(name);
        string many = Path.Combine(work, "many"), place = Path.Combine(work, "many-tomb");
        for (int file = 0; file < 100_000; file++)
        {
            if (file % 100 == 0)
                Directory.CreateDirectory($"{many}/{file / 1000}/{file / 100 % 10}");
            File.WriteAllText($"{many}/{file / 1000}/{file / 100 % 10}/file{file}", $"{file % 977}");
        }

        string[] repository = ["-r", place, "--password-file", password, "--no-cache"];
        Judge.Restic.Run([.. repository, "init"]);
        Judge.Restic.Run([.. repository, "backup", "--quiet", many]);
        List<Cost> ourCosts = [], theirCosts = [];
        for (int round = 0; round < rounds; round++)
        {
            ourCosts.Add(Measure(mine: true, "", "find . > /dev/null", place, many, "0", static () => { }));
            theirCosts.Add(Measure(mine: false, "", "find . > /dev/null", place, many, "0", static () => { }));
        }

        return new Row(name, Cost.MedianOf(ourCosts), Cost.MedianOf(theirCosts));
    }

    // What tar costs in the open home, in a tmpfs, and in what the home is made of without a tomb: an overlayfs with nothing beneath.
    private IEnumerable<Row> Untar()
    {
        Console.Error.WriteLine("untar");
        string archive = Path.Combine(work, "untar.tar"), figures = Path.Combine(work, "figures"), bare = Directory.CreateDirectory(Path.Combine(work, "bare")).FullName;
        Shell($"find small -type f | sort | sed -n 1,3400p > ../names; tar cf '{archive}' -T ../names", home);
        Shell($"mount -t tmpfs bench '{bare}' && cd '{bare}' && mkdir plain low up work over && mount -t overlay bench -o lowerdir=low,upperdir=up,workdir=work,redirect_dir=on,metacopy=on,index=off over", "/");
        try
        {
            List<Cost> ourCosts = [], memory = [], overlay = [];
            for (int round = 0; round < rounds; round++)
            {
                // Ten times: once is over in a tenth of a second, and a clock of hundredths would say little.
                string[] tenTimes = ["sh", "-c", $"for n in 0 1 2 3 4 5 6 7 8 9; do mkdir $0/$n; tar xf '{archive}' -C $0/$n; done"];
                Measure(mine: true, $"mkdir new{round}", $"/usr/bin/time -f '%e %U %S %M' -o '{figures}' sh -c \"{tenTimes[2].Replace("$", "\\$", StringComparison.Ordinal)}\" new{round}; rm -rf new{round}");
                ourCosts.Add(Timed.Read(figures));
                memory.Add(Timed.Run([.. tenTimes, $"{bare}/plain"]));
                overlay.Add(Timed.Run([.. tenTimes, $"{bare}/over"]));
                Shell("rm -rf plain/* over/*", bare);
            }

            return
            [
                new Row("untar of 3,400 files, ten times (theirs: into a tmpfs)", Cost.MedianOf(ourCosts), Cost.MedianOf(memory)),
                new Row("the same (theirs: an overlayfs on a tmpfs, nothing beneath)", Cost.MedianOf(ourCosts), Cost.MedianOf(overlay)),
            ];
        }
        finally
        {
            Shell($"umount -l '{bare}/over' '{bare}'", "/");
        }
    }

    // An open tomb knows what changed; restic looks at all of the home.
    private Row Saving(string name, string change)
    {
        Console.Error.WriteLine(name);
        List<Cost> ourCosts = [], theirCosts = [];
        for (int round = 0; round < rounds; round++)
        {
            ourCosts.Add(Measure(mine: true, change, $"{string.Join(' ', ours)} tomb save --run-directory '{run}' > /dev/null"));
            if (change.Length > 0)
                Shell(change, home);
            theirCosts.Add(Timed.Run([.. Judge.Restic.Command, "-r", tomb, "--password-file", password, "--no-cache", "backup", "--quiet", home]));
        }

        return new Row(name, Cost.MedianOf(ourCosts), Cost.MedianOf(theirCosts));
    }

    /// <summary>Requests that the small files far away took: ours, theirs.</summary>
    public (int Ours, int Theirs) Requests { get; private set; }

    private Row FarFiles()
    {
        const string name = "500 small files of a 42 MB tomb, 20 ms away";
        Console.Error.WriteLine(name);
        string files = Path.Combine(work, "far"), places = Path.Combine(work, "places");
        Directory.CreateDirectory(places);
        var random = new Random(5);
        var bytes = new byte[28_000];
        for (int file = 0; file < 1500; file++)
        {
            Directory.CreateDirectory($"{files}/d{file / 50}");
            random.NextBytes(bytes);
            File.WriteAllBytes($"{files}/d{file / 50}/f{file}", bytes);
        }

        string[] repository = ["-r", Path.Combine(places, "far"), "--password-file", password, "--no-cache"];
        Judge.Restic.Run([.. repository, "init"]);
        Judge.Restic.Run([.. repository, "backup", "--quiet", files]);
        using var far = new FarAway(places, TimeSpan.FromMilliseconds(20));
        List<Cost> ourCosts = [], theirCosts = [];
        for (int round = 0; round < rounds; round++)
        {
            int before = 0;
            ourCosts.Add(Measure(mine: true, "", "cat d?/* > /dev/null", far.Url("far"), files, "d0", () => before = far.Requests));
            int ourRequests = far.Requests - before;
            theirCosts.Add(Measure(mine: false, "", "cat d?/* > /dev/null", far.Url("far"), files, "d0", () => before = far.Requests));
            Requests = (ourRequests, far.Requests - before);
        }

        return new Row(name, Cost.MedianOf(ourCosts), Cost.MedianOf(theirCosts));
    }

    /// <summary>The results as a page.</summary>
    public string Page()
    {
        Row[] rows = [.. Run()];
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# An open tomb beside restic mount ({Judge.Restic.Run("version").Trim()})\n\n");
        text.Append(CultureInfo.InvariantCulture, $"Made by `./bench tomb-mount` on {DateTime.UtcNow:yyyy-MM-dd}: the same repository in a directory (9,000 small files, one of 200 MB), mounted anew for every run, medians of\n");
        text.Append("interleaved runs. Wall: the reader's. CPU and memory: of the process that serves the mount, from the mount on; ours has overlayfs above it. A ratio above 1 means that ours needs less.\n\n");
        text.Append(Table.Rows(rows));
        text.Append(CultureInfo.InvariantCulture, $"\nThe small files far away took ours {Requests.Ours} requests, theirs {Requests.Theirs}.\n");
        string[] load = File.ReadAllText("/proc/loadavg").Split(' ');
        text.Append(CultureInfo.InvariantCulture, $"The machine's load at the end was {load[0]} on {Environment.ProcessorCount} processors ({load[2]} on average of the last quarter of an hour): the more it is, the less wall times say, and CPU seconds say more.\n");
        return text.ToString();
    }

    private Cost Measure(bool mine, string warm, string script) => Measure(mine, warm, script, tomb, home, "large", static () => { });

    private Cost Measure(bool mine, string warm, string script, string place, string saved, string sign, Action mounted)
    {
        string at = Path.Combine(work, "at");
        Directory.CreateDirectory(at);
        string[] command = mine
            ? [.. ours, "tomb", "--tomb", place, "--password-file", password, "open", "--at", at, "--name", "bench", "--save-every", "0", "--run-directory", run, "--foreground"]
            : [.. Judge.Restic.Command, "-r", place, "--password-file", password, "--no-cache", "mount", at];
        var start = new ProcessStartInfo(command[0], command[1..]) { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        using Process server = Process.Start(start)!;
        _ = server.StandardError.ReadToEndAsync();
        _ = server.StandardOutput.ReadToEndAsync();
        string inside = mine ? at : $"{at}/snapshots/latest{saved}";
        if (!SpinWait.SpinUntil(() => Path.Exists($"{inside}/{sign}"), Patience))
            throw new InvalidOperationException($"{string.Join(' ', command)}: nothing is mounted");
        try
        {
            if (warm.Length > 0)
                Shell(warm, inside);
            mounted();
            TimeSpan before = Cpu(server.Id);
            long begun = Stopwatch.GetTimestamp();
            Shell(script, inside);
            double wall = Stopwatch.GetElapsedTime(begun).TotalSeconds;
            return new Cost(wall, (Cpu(server.Id) - before).TotalSeconds, Memory(server.Id));
        }
        finally
        {
            Shell(mine ? $"kill -TERM {server.Id}" : $"kill -INT {server.Id}", "/");
            if (!server.WaitForExit(Patience))
                server.Kill();
            Shell($"umount -l '{at}' 2>/dev/null; true", "/");
        }
    }

    private void MakeHome()
    {
        var random = new Random(1);
        Directory.CreateDirectory(home);
        var words = new byte[40_000];
        for (int file = 0; file < 9000; file++)
        {
            string directory = $"{home}/small/{file / 100}";
            Directory.CreateDirectory(directory);
            int length = random.Next(200, 12_000);
            for (int at = 0; at < length; at++)
                words[at] = (byte)"etaoin shrdlu\n"[random.Next(14)];
            File.WriteAllBytes($"{directory}/file{file}", words.AsSpan(0, length));
        }

        using FileStream large = File.Create($"{home}/large");
        var block = new byte[1_000_000];
        for (int at = 0; at < 200; at++)
        {
            random.NextBytes(block.AsSpan(0, 700_000)); // the rest repeats, so that it compresses a little
            large.Write(block);
        }
    }

    internal static void Shell(string script, string directory)
    {
        using Process shell = Process.Start(new ProcessStartInfo("sh", ["-c", script]) { WorkingDirectory = directory })!;
        shell.WaitForExit();
        if (shell.ExitCode != 0)
            throw new InvalidOperationException($"{script}: exit status {shell.ExitCode}");
    }

    // User and system time so far, fields 14 and 15 of proc_pid_stat(5), in hundredths of a second.
    internal static TimeSpan Cpu(int process)
    {
        string stat = File.ReadAllText($"/proc/{process}/stat");
        string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return TimeSpan.FromSeconds((long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture)) / 100.0);
    }

    internal static double Memory(int process) => File.ReadLines($"/proc/{process}/status")
        .Where(static line => line.StartsWith("VmHWM:", StringComparison.Ordinal))
        .Select(static line => double.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[^2], CultureInfo.InvariantCulture) / 1024).FirstOrDefault();
}
