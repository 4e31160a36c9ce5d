using System.Globalization;
using System.Text.Json;
using Sbox.Judges;
using Sbox.Tour;
using Sbox.Vm;

namespace Sbox.Integrity.Tests;

/// <summary>A real box that runs, and what its sentinel says, read from the sentinel's history.</summary>
internal sealed class WatchedBox : IDisposable
{
    private const string History = "/var/lib/sbox/sentinel/history.jsonl";

    // Under emulation a program starts in half a second; a stopped sentinel is noticed by its watchdog, which waits ten.
    public static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12), Limit = TimeSpan.FromMinutes(6);

    private readonly Vm.Vm vm;
    private readonly string directory;

    public WatchedBox()
    {
        DemoImage image = DemoImage.Ensure(new Tools(SourceTree.Root), Judge.Cache);
        Builds = image.Builds;
        directory = Path.Combine(image.Directory, "red-team");
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
        vm = Vm.Vm.Start(new VmOptions(directory, image.Disk)
        {
            MoreArguments =
            [
                "-device", "qemu-xhci,id=usb", "-virtfs", $"local,path={Path.GetFullPath(Judge.Day)},mount_tag=day,security_model=none,readonly=on",
                "-virtfs", $"local,path={SourceTree.Of("tests", "red-team", "day")},mount_tag=scripts,security_model=none,readonly=on",
            ],
        });
        vm.WaitForLogin(BootLimit);
    }

    /// <summary>A repository of this version and the next, whose ref leads to the next.</summary>
    public string Builds { get; }

    public void Dispose() => vm.Dispose();

    public string Run(string script, TimeSpan? limit = null) => vm.Run(script, limit ?? Limit).OrThrow();

    public string Words(string script) => vm.Run(script, Limit).Output;

    /// <summary>Types a command that ends the boot, and waits for the shell of the next one.</summary>
    public void Reboots(string command) => vm.Reboot(BootLimit, command);

    /// <summary>How many alarms there were so far.</summary>
    public int Count()
    {
        // What is said to all terminals stands before it.
        string said = vm.Run($"cat {History}.old {History} 2>/dev/null | wc -l", Limit).Output;
        return int.Parse(said.Split('\n', StringSplitOptions.RemoveEmptyEntries).Last(static line => line.Trim().All(char.IsAsciiDigit) && line.Trim().Length > 0).Trim(), CultureInfo.InvariantCulture);
    }

    /// <summary>The alarms since then, when one of these findings came, or after two quiet seconds where none is expected.</summary>
    public List<JsonElement> Since(int count, IReadOnlyList<string> expected)
    {
        string news = $"cat {History}.old {History} 2>/dev/null | tail -n +{count + 1}";
        string findings = string.Join("|", expected.Select(static finding => $"\"finding\":\"{finding}\""));
        string waiting = expected.Count == 0 ? "sleep 2" : $"for i in $(seq 60); do {news} | grep -qE '{findings}' && break; sleep 0.5; done";
        return [.. vm.Run($"{waiting}; {news}", Limit).Output.Split('\n').Where(static line => line.StartsWith('{')).Select(static line => JsonDocument.Parse(line).RootElement)];
    }

    /// <summary>MiB that the sentinel keeps when it has been quiet for a while: it gives back what it worked with after half a minute.</summary>
    public double QuietMebibytes()
    {
        const string resident = "awk '/^VmRSS/ {print $2}' /proc/$(systemctl show -P MainPID sbox-watch)/status";
        string least = Run($"least=99999999; for i in $(seq 20); do now=$({resident}); [ $now -ge $least ] || least=$now; [ $least -gt 16384 ] || break; sleep 4; done; echo $least");
        return double.Parse(least.Trim().Split('\n')[^1], CultureInfo.InvariantCulture) / 1024; // what is said to all terminals stands before it
    }

    /// <summary>Plugs in a stick with a FAT file system called STICK.</summary>
    public void PlugInStick()
    {
        string stick = Path.Combine(directory, "stick.img");
        using (FileStream file = File.Create(stick))
            file.SetLength(16 << 20);
        Judge.OnPath("mkfs.vfat").Run("-n", "STICK", stick);
        vm.PlugIn("stick", stick);
    }

    public void PullOutStick() => vm.PullOut("stick");
}
