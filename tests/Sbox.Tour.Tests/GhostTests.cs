using System.Globalization;
using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>After a busy session the disk is, block by block, what it was, and the memory of the machine that was switched off has nothing of it.</summary>
[Collection("machine")]
public sealed class GhostTests(ITestOutputHelper output) : IDisposable
{
    private const int MemoryMiB = 1024;
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12);
    private readonly string directory = Directory.CreateDirectory(Path.Combine(Judge.Cache, "ghost")).FullName;

    // Names, bytes, arguments, a program's memory, the journal, a login that fails, a crash, a stick, a browser's profile: each leaves one of these where it goes.
    private static readonly string[] Traces = ["name", "bytes", "typed", "memory", "journal", "login", "crash", "deleted", "tmp", "etc", "directory", "run", "stick", "browser"];
    private readonly string secret = $"xq{Random.Shared.Next(100_000, 999_999)}";

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact, Trait("Category", "Slow")]
    public void A_busy_session_leaves_nothing_on_the_disk_and_nothing_in_the_memory()
    {
        string image = DemoImage.Ensure(new Tools(SourceTree.Root), Judge.Cache).Disk;
        (Sbox.Vm.Vm ghost, string disk) = StartAsGhost(image);
        using (Sbox.Vm.Vm vm = ghost)
        {
            BeBusy(vm);
            Browse(vm);
            UseAStick(vm);
            vm.WriteMemory(Of("alive"), MemoryMiB);
            vm.Console.SendLine("systemctl poweroff");
            vm.Console.WaitFor("reboot: Power down", BootLimit);
            vm.WriteMemory(Of("off"), MemoryMiB);
            vm.Kill();
        }

        Assert.Equal(Traces.Order(), Found(Of("alive")).Order()); // else this judges nothing
        Assert.Empty(Found(Of("off")));
        string compared = Judge.OnPath("qemu-img").Run("compare", "-f", "raw", "-F", "qcow2", image, disk);
        output.WriteLine(compared);
        Assert.Contains("Images are identical", compared, StringComparison.Ordinal);
    }

    // The menu waits for three seconds, and on a busy host they may be over when its key comes. What booted then has written to its disk: the next attempt has another one.
    private (Sbox.Vm.Vm Vm, string Disk) StartAsGhost(string image)
    {
        for (int attempt = 1; ; attempt++)
        {
            var options = new VmOptions(Of($"machine-{attempt}"), image) { MemoryMiB = MemoryMiB, MoreArguments = ["-no-shutdown", "-device", "qemu-xhci,id=usb"] };
            Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options);
            bool isGhost = false;
            try
            {
                string status = ChooseGhost(vm);
                isGhost = status.Contains("Ghost: this boot keeps nothing", StringComparison.Ordinal);
                Assert.True(isGhost || attempt < 3, status);
                if (isGhost)
                    return (vm, Path.Combine(options.Directory, "disk.qcow2"));
            }
            finally
            {
                if (!isGhost)
                    vm.Dispose();
            }
        }
    }

    // What status says then.
    private static string ChooseGhost(Sbox.Vm.Vm vm)
    {
        vm.Console.WaitFor("Boot in", BootLimit);
        vm.Console.Send("\u001b[B"); // down
        Thread.Sleep(TimeSpan.FromSeconds(2));
        vm.Console.Send("\r");
        vm.WaitForLogin(BootLimit);
        return vm.Run("sbox status").OrThrow();
    }

    private void BeBusy(Sbox.Vm.Vm vm)
    {
        vm.Run($"useradd -m ann; touch /home/ann/{Trace("name")}; for n in $(seq 500); do echo {Trace("bytes")} $n; done >/home/ann/letter").OrThrow();
        vm.Run($"echo {Trace("typed")} >/dev/null; (exec -a {Trace("memory")} sleep 1000) & disown; logger {Trace("journal")}").OrThrow();
        vm.Run($"su {Trace("login")} -c true; (exec -a {Trace("crash")} sh -c 'kill -SEGV $$'); true").OrThrow();
        vm.Run($"echo {Trace("deleted")} >/var/gone; rm /var/gone; echo {Trace("tmp")} >/tmp/file; echo {Trace("etc")} >>/etc/hosts; find / -xdev -name hosts >/dev/null; sync").OrThrow();
        vm.Run($"mkdir /home/ann/{Trace("directory")} /run/{Trace("run")}").OrThrow();
        vm.Run("printf 'farewell-seconds = 2\\n' >/etc/sbox/ghost.toml").OrThrow(); // its words go to the console and the kernel's log
    }

    // No browser is in this box: what one does to its files, as sqlite has them with a write-ahead log, and a cache.
    private void Browse(Sbox.Vm.Vm vm) => vm.Run($$"""
        mkdir -p /home/ann/.mozilla/firefox/x.default /home/ann/.cache/mozilla/firefox/x.default/cache2/entries && cd /home/ann/.mozilla/firefox/x.default
        yes '{{Trace("browser")}}' | dd of=places.sqlite bs=4096 count=64 iflag=fullblock conv=fsync status=none
        for n in 1 2 3; do
          yes '{{Trace("browser")}}' | dd of=places.sqlite-wal bs=4120 count=20 iflag=fullblock conv=fsync,notrunc oflag=append status=none && dd if=places.sqlite-wal of=places.sqlite bs=4096 seek=$n conv=fsync,notrunc status=none
          yes '{{Trace("browser")}}' | head -c 300000 >~ann/.cache/mozilla/firefox/x.default/cache2/entries/$n
        done
        : >places.sqlite-wal && mv places.sqlite places.sqlite.old && cp places.sqlite.old places.sqlite && rm places.sqlite-wal places.sqlite.old && sync
        """).OrThrow();

    // What was written there is there; of where it came from the box has nothing.
    private void UseAStick(Sbox.Vm.Vm vm)
    {
        const string name = "a-stick";
        string stick = Of("stick.img");
        Judge.OnPath("mkfs.vfat").Run("-C", stick, "32768");
        vm.PlugIn(name, stick);
        vm.Run("for n in $(seq 60); do test -e /dev/sda && break; sleep 1; done; mkdir /var/stick && mount /dev/sda /var/stick").OrThrow();
        vm.Run($"for n in $(seq 500); do echo {Trace("stick")} $n; done >/var/stick/letter && umount /var/stick").OrThrow();
        vm.PullOut(name);
        Assert.Contains(Trace("stick"), Judge.OnPath("mtype").Run("-i", stick, "::letter"), StringComparison.Ordinal);
    }

    private string Trace(string kind) => $"{secret}-{kind}-{secret}";

    // Which of the traces lie in a memory, as bytes.
    private IReadOnlyCollection<string> Found(string path)
    {
        var found = new HashSet<string>();
        byte[] buffer = new byte[(16 << 20) + 64];
        using FileStream file = File.OpenRead(path);
        for (int kept = 0, read; (read = file.ReadAtLeast(buffer.AsSpan(kept, 16 << 20), 16 << 20, throwOnEndOfStream: false)) > 0;)
        {
            ReadOnlySpan<byte> window = buffer.AsSpan(0, kept + read);
            foreach (string trace in Traces)
            {
                int at = window.IndexOf(System.Text.Encoding.ASCII.GetBytes(Trace(trace)));
                if (at < 0 || !found.Add(trace))
                    continue;
                int from = Math.Max(0, at - 80);
                output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileName(path)}: {trace} at {file.Position - read - kept + at:x}: "
                    + $"{string.Concat(System.Text.Encoding.Latin1.GetString(window[from..Math.Min(window.Length, at + 100)]).Select(static c => c is >= ' ' and <= '~' ? c : '.'))}"));
            }

            kept = Math.Min(64, window.Length);
            window[^kept..].CopyTo(buffer);
        }

        return found;
    }

    private string Of(string name) => Path.Combine(directory, name);
}
