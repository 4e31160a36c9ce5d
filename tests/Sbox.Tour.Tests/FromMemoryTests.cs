using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>A ghost that runs from memory: the stick is pulled out, everything goes on, and nothing of the copy is left when the power goes.</summary>
[Collection("machine")]
public sealed class FromMemoryTests(ITestOutputHelper output) : IDisposable
{
    private const int MemoryMiB = 2048;
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12);
    private readonly string directory = Directory.CreateDirectory(Path.Combine(Judge.Cache, "from-memory")).FullName;
    private readonly string secret = $"xq{Random.Shared.Next(100_000, 999_999)}onthestick{Random.Shared.Next(100_000, 999_999)}";
    private readonly Tools tools = new(SourceTree.Root);

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact(Explicit = true), Trait("Category", "Slow")]
    public void With_the_stick_pulled_out_everything_goes_on_and_at_the_end_the_memory_is_empty()
    {
        string image = Image();
        var options = new VmOptions(Of("machine"), image) { MemoryMiB = MemoryMiB, AsStick = true, MoreArguments = ["-no-shutdown"] };
        using (Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options))
        {
            Choose(vm);
            output.WriteLine(vm.Run("sbox status; cat /run/sbox/memory-disk; dmesg | grep sbox-root; free -m; losetup --list; systemd-analyze time | head -n 1").OrThrow());
            Assert.Contains("runs from a copy of /dev/sda2", vm.Run("sbox status").OrThrow(), StringComparison.Ordinal);
            vm.PullOut(VmOptions.Stick);
            vm.Run("for n in $(seq 60); do test -e /sys/class/block/sda || break; sleep 1; done; test ! -e /sys/class/block/sda").OrThrow();
            GoesOn(vm);
            vm.WriteMemory(Of("alive"), MemoryMiB);
            vm.Console.SendLine("systemctl poweroff");
            vm.Console.WaitFor("reboot: Power down", BootLimit);
            vm.WriteMemory(Of("off"), MemoryMiB);
            vm.Kill();
        }

        string said = File.ReadAllText(Path.Combine(options.Directory, "console.log"));
        output.WriteLine(said[^Math.Min(said.Length, 4000)..]);
        Assert.DoesNotContain("I/O error", said, StringComparison.Ordinal);
        Assert.True(Holds(Of("alive"))); // else this judges nothing
        Assert.False(Holds(Of("off")));
        string compared = Judge.OnPath("qemu-img").Run("compare", "-f", "raw", "-F", "qcow2", image, Path.Combine(options.Directory, "disk.qcow2"));
        Assert.Contains("Images are identical", compared, StringComparison.Ordinal);
    }

    [Fact(Explicit = true), Trait("Category", "Slow")]
    public void Where_the_memory_does_not_suffice_the_ghost_runs_from_the_stick_and_says_so()
    {
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(Of("small"), Image()) { MemoryMiB = 768, AsStick = true });
        Choose(vm);
        string status = vm.Run("sbox status; cat /run/motd.d/50-sbox-memory; findmnt -n -o SOURCE /sysroot").OrThrow();
        output.WriteLine(status);
        Assert.Contains("and runs from /dev/sda2: it has", status, StringComparison.Ordinal);
        Assert.Contains("Leave it in", status, StringComparison.Ordinal);
        vm.Run("echo kept >/var/file && sbox keep /var/file").OrThrow(); // an ordinary ghost
        vm.PowerDown(BootLimit);
    }

    // Programs and libraries that nobody has read yet, and what wants a disk.
    private void GoesOn(Sbox.Vm.Vm vm)
    {
        vm.Run("echo 3 >/proc/sys/vm/drop_caches; find /usr -xdev -type f -exec cat {} + >/dev/null", TimeSpan.FromMinutes(10)).OrThrow();
        Assert.Contains(secret, vm.Run("cat /var/planted").OrThrow(), StringComparison.Ordinal);
        foreach (string command in (string[])["sbox upgrade", "sbox keep /var/file", "sbox stick --to /dev/vdb --yes"])
        {
            CommandResult refused = vm.Run($"echo x >/var/file; {command}");
            output.WriteLine($"{command}: {refused.Output}");
            Assert.NotEqual(0, refused.ExitCode);
        }

        Assert.Contains("there is no disk", vm.Run("sbox upgrade").Output, StringComparison.Ordinal);
        foreach (string command in (string[])["sbox verity", "sbox disk grow"])
            Assert.NotEqual(0, vm.Run(command).ExitCode);
        output.WriteLine(vm.Run("sbox status; sbox ledger; sbox where /usr/bin/ls /var/planted /sysroot/ostree; sbox ghost memory; free -m; systemctl --failed --no-legend; systemctl is-system-running").Output);
        output.WriteLine(vm.Run("journalctl -b -o cat -t sbox-watch --no-pager | tail -n 20; journalctl -b -p warning -o cat --no-pager | tail -n 30").Output);
        vm.Run("sbox status && sbox ledger | grep -q /var/file && sbox where /sysroot/ostree").OrThrow();
        vm.Run("printf 'farewell-seconds = 2\\n' >/etc/sbox/ghost.toml").OrThrow();
    }

    private static void Choose(Sbox.Vm.Vm vm)
    {
        vm.Console.WaitFor("Boot in", BootLimit);
        for (int down = 0; down < 2; down++)
        {
            vm.Console.Send("\u001b[B");
            Thread.Sleep(TimeSpan.FromSeconds(2));
        }

        vm.Console.Send("\r");
        vm.WaitForLogin(BootLimit);
    }

    private string Image()
    {
        string builds = Of("builds"), image = Of("disk.img");
        tools.Ostree($"--repo={builds}", "init", "--mode=archive");
        tools.Sbox("build", "images/debian-minimal.toml", "--repo", builds);
        tools.Sbox("image", "--repo", builds, tools.Ostree($"--repo={builds}", "refs"), "--free-mib", "256", "--output", image);
        string planted = Of("planted"), start = Judge.OnPath("sfdisk").Run("-d", image).Split('\n').Last(static line => line.Contains("start=", StringComparison.Ordinal)).Split("start=")[1].Split(',')[0].Trim();
        File.WriteAllText(planted, string.Concat(Enumerable.Repeat(secret + "\n", 300)));
        Judge.OnPath("debugfs").Run("-w", "-R", $"write {planted} ostree/deploy/debian/var/planted", $"{image}?offset={long.Parse(start, System.Globalization.CultureInfo.InvariantCulture) * 512}");
        return image;
    }

    private bool Holds(string path)
    {
        byte[] wanted = System.Text.Encoding.ASCII.GetBytes(secret), buffer = new byte[(16 << 20) + 64];
        using FileStream file = File.OpenRead(path);
        for (int kept = 0, read; (read = file.ReadAtLeast(buffer.AsSpan(kept, 16 << 20), 16 << 20, throwOnEndOfStream: false)) > 0;)
        {
            ReadOnlySpan<byte> window = buffer.AsSpan(0, kept + read);
            if (window.IndexOf(wanted) >= 0)
                return true;
            kept = Math.Min(64, window.Length);
            window[^kept..].CopyTo(buffer);
        }

        return false;
    }

    private string Of(string name) => Path.Combine(directory, name);
}
