using System.Diagnostics;
using System.Text.Json;
using Sbox.Vm;

namespace Sbox.Tour;

/// <summary>
/// The whole story in one machine: boot, look, try to write, live in it, upgrade, reboot, roll back, reboot. Each step says what it
/// expects; the first that is not met ends the story.
/// </summary>
/// <param name="image">What it is about.</param>
/// <param name="machine">The machine's directory; what is in it is gone.</param>
/// <param name="say">Told how it goes.</param>
/// <param name="recorded">Whether all that the machine asks of its disk is kept (<see cref="DiskRecord"/>).</param>
public sealed class Story(DemoImage image, string machine, Action<string> say, bool recorded = false)
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12);
    private static readonly TimeSpan UpgradeLimit = TimeSpan.FromMinutes(15);

    private readonly List<StepCost> costs = [];
    private DiskRecorder? recorder;
    private Sbox.Vm.Vm? vm;
    private FileServer? server;

    /// <summary>What each step cost.</summary>
    public IReadOnlyList<StepCost> Costs => costs;

    /// <summary>How the first boot went.</summary>
    public VmTimings? FirstBoot { get; private set; }

    /// <summary>Tells the story.</summary>
    /// <exception cref="TourException">A step did not go as told.</exception>
    /// <exception cref="VmException">The machine did not do what was waited for.</exception>
    public async Task Tell()
    {
        image.Withdraw();
        if (Directory.Exists(machine))
            Directory.Delete(machine, recursive: true);
        await using FileServer served = server = await FileServer.Start(image.Served, DemoImage.Port);
        using DiskRecorder? recording = recorder = recorded ? new DiskRecorder(image.Disk, machine) : null;
        using Sbox.Vm.Vm running = vm = Sbox.Vm.Vm.Start(new VmOptions(machine, image.Disk) { BootDrive = recording?.Drive });
        Step("boot version 1", () => { running.WaitForLogin(BootLimit); FirstBoot = running.Timings; });
        Step("look: sbox status", () => Runs("1"));
        Step("nothing in /usr can be written, remounting included", CannotWrite);
        Step("live in it: a user, an edit in /etc, data in /var", Live);
        Step("publish version 2 on the host", image.Publish, () => 0);
        Step("sbox upgrade, over HTTP (MiB sent by the server)", Upgrade, Sent());
        Step("reboot into version 2", () => running.Reboot(BootLimit));
        Step("version 2 runs, and what was made is there", IsUpgraded);
        Step("sbox rollback", () => say(Guest("sbox rollback", TimeSpan.FromMinutes(5))));
        Step("reboot into version 1", () => running.Reboot(BootLimit));
        Step("version 1 runs, and the data is there", IsRolledBack);
        Step("the sentinel told of what was tried, and of nothing that was done in the meantime", NoFalseAlarm);
        Step("sbox undeploy: version 2 goes", () => say(Guest("sbox undeploy 2", UpgradeLimit)));
        Step("no unit failed", () => Expect("systemctl --failed --no-legend --plain", ""));
    }

    private void CannotWrite()
    {
        Refused("touch /usr/tour", "Read-only file system");
        Refused("touch /usr/bin/tour", "Read-only file system");
        Refused("mount -o remount,rw /", "");
        Refused("mount -o remount,rw /usr", "");
        Guest("mount -o remount,bind,rw / || true"); // may clear the mount's own flag: there is still no layer to write to
        Refused("touch /usr/tour", "Read-only file system");
        Refused("touch /tour", "Read-only file system");
        Refused("touch /sysroot/tour", "Read-only file system");
        Refused("rm /usr/bin/true", "Read-only file system");
    }

    private void Live()
    {
        Guest("useradd --create-home --shell /bin/bash alice");
        Expect("readlink -f ~alice", "/var/home/alice");
        Guest("echo 'a letter' > /home/alice/letter && chown alice: /home/alice/letter");
        Guest("echo '# edited on the tour' >> /etc/profile");
        Guest("echo 'kept' > /var/lib/tour-data");
        Expect("grep greeting /etc/sbox-demo.conf", "greeting = hello from version 1");
    }

    private void Upgrade()
    {
        say(Guest("sbox upgrade", UpgradeLimit));
        JsonElement status = Status();
        Equal("the version that boots next", "2", Of(status, "next", "version"));
        Equal("the version that runs", "1", Of(status, "booted", "version"));
        Equal("the commit that boots next", image.Second, Of(status, "next", "checksum"));
    }

    private void IsUpgraded()
    {
        Runs("2");
        Guest("command -v tree");
        Expect("grep greeting /etc/sbox-demo.conf", "greeting = hello from version 2");
        Kept();
        Refused("touch /usr/tour", "Read-only file system");
        // It was started once; now it is found good, and stays.
        Guest("systemctl start sbox-health.service", TimeSpan.FromMinutes(5));
        Refused("sbox status --json | grep tries-left", "");
    }

    private void IsRolledBack()
    {
        Runs("1");
        Refused("command -v tree", "");
        Expect("grep greeting /etc/sbox-demo.conf", "greeting = hello from version 1");
        Kept();
    }

    // Three boots, an upgrade, a rollback, a user's life: of all that, only the remounts of "cannot write" are worth a word.
    private void NoFalseAlarm()
    {
        string[] findings = Guest("sed 's/.*\"finding\":\"\\([a-z-]*\\)\".*/\\1/' /var/lib/sbox/sentinel/history.jsonl | sort | uniq -c").Split('\n', StringSplitOptions.RemoveEmptyEntries);
        foreach (string finding in findings)
            say($"   {finding.Trim()}");
        if (findings.Length == 0 || findings.Any(static finding => finding.Trim().Split(' ')[^1] is not ("loosened" or "writable")))
            throw new TourException($"the sentinel's findings: expected those of the remounts and no others, found {string.Join(", ", findings.Select(static finding => finding.Trim()))}: {Guest("cat /var/lib/sbox/sentinel/history.jsonl")}");
    }

    private void Kept()
    {
        Expect("cat /home/alice/letter", "a letter");
        Expect("su - alice -c 'cat letter'", "a letter");
        Expect("tail -n 1 /etc/profile", "# edited on the tour");
        Expect("cat /var/lib/tour-data", "kept");
    }

    private void Runs(string version)
    {
        say(Guest("sbox status"));
        JsonElement status = Status();
        Equal("the version that runs", version, Of(status, "booted", "version"));
        Refused("grep -w sbox.ghost /proc/cmdline", ""); // the menu's normal entry
        // Read from the EFI partition itself, by the kernel's FAT.
        Equal("whether the EFI partition holds what is deployed", "True", status.GetProperty("settled").ToString());
        Equal("the commit that runs", version == "1" ? image.First : image.Second, Of(status, "booted", "checksum"));
    }

    private JsonElement Status() => JsonDocument.Parse(Guest("sbox status --json")).RootElement;

    private static string Of(JsonElement status, string deployment, string property) =>
        status.GetProperty(deployment).GetProperty(property).GetString() ?? "";

    private void Step(string name, Action run) => Step(name, run, Written());

    private void Step(string name, Action run, Func<long> bytes)
    {
        say($"── {name}");
        long started = Stopwatch.GetTimestamp();
        try
        {
            costs.Add(StepCost.Measure(name, run, bytes));
        }
        catch (Exception failure) when (failure is TourException or VmException or KeyNotFoundException or JsonException)
        {
            throw new TourException($"{name}: {failure.Message}");
        }

        recorder?.Remember(name);
        say($"   {Stopwatch.GetElapsedTime(started).TotalSeconds:0.0} s");
    }

    // The overlay below the machine grows by what the guest writes, a record by all that it ever writes.
    private Func<long> Written()
    {
        string overlay = Path.Combine(machine, recorded ? DiskRecord.Writes : "disk.qcow2");
        long before = File.Exists(overlay) ? StepCost.DiskUsage(overlay) : 0;
        return () => StepCost.DiskUsage(overlay) - before;
    }

    private Func<long> Sent()
    {
        long before = server!.BytesSent;
        return () => server.BytesSent - before;
    }

    private string Guest(string command, TimeSpan? limit = null)
    {
        CommandResult result = vm!.Run(command, limit);
        return result.ExitCode == 0
            ? result.Output
            : throw new TourException($"'{command}' in the box ended with {result.ExitCode}: {result.Output}");
    }

    private void Expect(string command, string output) => Equal($"what '{command}' says", output, Guest(command).Trim());

    private void Refused(string command, string because)
    {
        CommandResult result = vm!.Run(command);
        if (result.ExitCode == 0 || !result.Output.Contains(because, StringComparison.Ordinal))
            throw new TourException($"'{command}' should have been refused{(because.Length > 0 ? $" with '{because}'" : "")}; exit status {result.ExitCode}: {result.Output}");
        say($"   {command}: {(result.Output.Length > 0 ? result.Output.Trim().Split('\n')[0] : $"exit status {result.ExitCode}")}");
    }

    private static void Equal(string what, string expected, string found)
    {
        if (expected != found)
            throw new TourException($"{what}: expected '{expected}', found '{found}'");
    }
}
