using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Sbox.Linux;

namespace Sbox.Integrity.Tests;

/// <summary>
/// A small system in a mount namespace of its own, with a real sentinel over it: read-only storage, a protected directory on it and one
/// directory that may be written. Nothing of the machine that tests is mounted over. Needs root.
/// </summary>
public sealed class WatchedWorld : IDisposable
{
    private readonly Process system;
    private readonly Process? earlier;
    private readonly Sentinel sentinel;
    private readonly CancellationTokenSource stop = new();
    private readonly Thread thread;
    private readonly BlockingCollection<Alarm> alarms = [];

    /// <param name="morePolicy">Behind the world's own policy.</param>
    /// <param name="before">A script that runs in a namespace of its own before the sentinel is there; it says <c>ready</c> and stays.</param>
    public WatchedWorld(string morePolicy = "", string? before = null)
    {
        Directory = System.IO.Directory.CreateTempSubdirectory("sbox-world-").FullName;
        // The process that stays is the system: all others enter its namespace, or copy it.
        system = Start("unshare", ["-m", "--propagation", "private", "sh", "-ec", $"""
            cd {Directory}
            mkdir storage protected free state
            mount -t tmpfs storage storage
            mkdir storage/usr storage/var
            mount --bind storage/usr protected
            mount -o remount,bind,ro protected
            mount -o remount,bind,ro storage
            mount --bind storage/var free
            mount -o remount,bind,rw free
            echo ready
            exec sleep 1000
            """]);
        Assert.Equal("ready", system.StandardOutput.ReadLine());
        System.IO.Directory.CreateDirectory($"{Directory}/policy");
        File.WriteAllText($"{Directory}/policy/10-test.toml", $"""
            [[protect]]
            path = "{Directory}/protected"
            storage = "/usr"

            [[storage]]
            mount = "{Directory}/storage"
            writable = ["/var"]

            [test]
            path = "{Directory}/protected"

            {morePolicy}
            """);
        if (before is not null)
        {
            earlier = Start("nsenter", ["-t", $"{system.Id}", "-m", "unshare", "-m", "--propagation", "private", "sh", "-ec", $"cd {Directory}\n{before}"]);
            Assert.Equal("ready", earlier.StandardOutput.ReadLine());
        }

        sentinel = new Sentinel(
            new SentinelOptions
            {
                TreePolicy = $"{Directory}/policy",
                OwnerPolicy = "/nowhere",
                StateDirectory = $"{Directory}/state",
                RuntimeDirectory = $"{Directory}/state",
                SystemProcess = system.Id,
                Sbox = $"{Directory}/sbox",
                GuardedDirectories = [],
            },
            alarms.Add, line => TestContext.Current.TestOutputHelper?.WriteLine(line));
        using var ready = new ManualResetEventSlim();
        thread = new Thread(() => sentinel.Run(ready.Set, stop.Token));
        thread.Start();
        Assert.True(ready.Wait(TimeSpan.FromMinutes(2)));
    }

    public string Directory { get; }

    public int SystemProcess => system.Id;

    public Outlook Outlook => sentinel.Outlook;

    /// <summary>Runs a script where the system's own programs run; PWD is the world's directory.</summary>
    public void InSystem(string script) => Run("nsenter", ["-t", $"{system.Id}", "-m", "sh", "-c", $"cd {Directory}\n{script}"]);

    /// <summary>Runs a script in a namespace of its own, a copy of the system's.</summary>
    public void InOwnNamespace(string script) =>
        Run("nsenter", ["-t", $"{system.Id}", "-m", "unshare", "-m", "--propagation", "private", "sh", "-c", $"cd {Directory}\n{script}"]);

    /// <summary>The next alarm.</summary>
    public Alarm Next(TimeSpan? patience = null) =>
        alarms.TryTake(out Alarm? alarm, patience ?? TimeSpan.FromSeconds(60)) ? alarm : throw new TimeoutException("no alarm came");

    /// <summary>The next alarm of a kind; others before it are passed over.</summary>
    public Alarm Next(FindingKind kind)
    {
        while (true)
        {
            if (Next() is var alarm && alarm.Finding.Kind == kind)
                return alarm;
        }
    }

    /// <summary>All that come until it is quiet.</summary>
    public IReadOnlyList<Alarm> Rest()
    {
        var rest = new List<Alarm>();
        while (alarms.TryTake(out Alarm? alarm, TimeSpan.FromMilliseconds(500)))
            rest.Add(alarm);
        return rest;
    }

    public void Dispose()
    {
        stop.Cancel();
        thread.Join();
        sentinel.Dispose();
        earlier?.Kill(entireProcessTree: true);
        earlier?.WaitForExit();
        earlier?.Dispose();
        system.Kill();
        system.WaitForExit();
        system.Dispose();
        System.IO.Directory.Delete(Directory, recursive: true);
    }

    private static Process Start(string program, string[] arguments) =>
        Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;

    private static void Run(string program, string[] arguments)
    {
        using Process process = Start(program, arguments);
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, string.Create(CultureInfo.InvariantCulture, $"{process.ExitCode}: {output}"));
    }
}
