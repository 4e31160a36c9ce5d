using System.Diagnostics;
using System.Net.Sockets;
using System.Text.RegularExpressions;

namespace Sbox.Vm;

/// <summary>A running virtual machine: QEMU with UEFI firmware (or a kernel of its own), a disk, a serial console. Disposing ends it.</summary>
public sealed class Vm : IDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(30);

    private readonly Process qemu;
    private readonly Qmp? qmp;
    private readonly SerialConsole? console;
    private readonly Stopwatch clock;
    private TimeSpan? login;

    private Vm(Process qemu, SerialConsole? console, Qmp? qmp, Stopwatch clock) =>
        (this.qemu, this.console, this.qmp, this.clock) = (qemu, console, qmp, clock);

    /// <summary>The serial console.</summary>
    /// <exception cref="InvalidOperationException">The machine is interactive: the terminal has it.</exception>
    public SerialConsole Console => console ?? throw new InvalidOperationException("an interactive machine's console is the terminal");

    /// <summary>How far the last boot came, and when.</summary>
    public VmTimings Timings => new(console?.FirstOutput, console?.Kernel, login);

    /// <summary>Processor time that QEMU has used: what a boot costs, whatever else the host does.</summary>
    public TimeSpan ProcessorTime
    {
        get
        {
            qemu.Refresh();
            return qemu.TotalProcessorTime;
        }
    }

    /// <summary>Bytes that the guest wrote to its disks since QEMU started; the firmware's variables are none.</summary>
    public long BytesWritten => (qmp ?? throw new InvalidOperationException("an interactive machine has no monitor")).Execute("query-blockstats").EnumerateArray()
        .Where(static drive => !drive.GetProperty("device").GetString()!.StartsWith("pflash", StringComparison.Ordinal))
        .Sum(static drive => drive.GetProperty("stats").GetProperty("wr_bytes").GetInt64());

    /// <summary>QEMU's process id.</summary>
    public int ProcessId => qemu.Id;

    /// <summary>Starts a machine; the guest has not run yet when the console listens, so nothing it says is lost.</summary>
    /// <exception cref="VmException">QEMU did not start; its own words are in the message.</exception>
    public static Vm Start(VmOptions options)
    {
        Directory.CreateDirectory(options.Directory);
        // Unix socket paths hold 107 bytes: the machine's directory may be longer.
        string sockets = Directory.CreateTempSubdirectory("sbox-vm-").FullName;
        try
        {
            IReadOnlyList<string> arguments = QemuArguments.For(options, sockets);
            if (options.Tpm)
                SoftwareTpm.Start(options.Directory, $"{sockets}/tpm");
            var clock = Stopwatch.StartNew();
            Process qemu = Launch(arguments, options);
            if (options.Interactive)
                return new Vm(qemu, null, null, clock);
            try
            {
                var console = new SerialConsole(Connect($"{sockets}/serial", qemu), Path.Combine(options.Directory, "console.log"), clock);
                return new Vm(qemu, console, new Qmp(Connect($"{sockets}/qmp", qemu)), clock);
            }
            catch (Exception failure)
            {
                // It makes its sockets first and looks at its disks next: what it says then would be lost.
                bool ended = qemu.WaitForExit(TimeSpan.FromSeconds(1));
                qemu.Kill();
                string words = ended ? qemu.StandardError.ReadToEnd().Trim() : "";
                qemu.Dispose();
                if (failure is not VmException && words.Length > 0)
                    throw new VmException($"{QemuArguments.Program} did not start: {words}");
                throw;
            }
        }
        finally
        {
            Directory.Delete(sockets, recursive: true); // connected sockets live on without their names
        }
    }

    private const string Outcome = @"\S+@\S+:\S*# |emergency mode|Kernel panic[^\n]*\n";

    /// <summary>Waits until root's shell answers on the console, and makes it ready for <see cref="SerialConsole.Run"/>.</summary>
    /// <param name="timeout">How long; under emulation a boot takes minutes.</param>
    /// <exception cref="VmException">No shell in time, or an emergency shell instead.</exception>
    public void WaitForLogin(TimeSpan timeout)
    {
        Match match = Console.WaitFor(Outcome, timeout);
        // The kernel counts the emulated timer's ticks for a moment of its first second. On a host where QEMU gets no processor just then there
        // are none, and the kernel gives up before it has touched anything: a finding about the host, so the button is pressed again.
        for (int again = 0; again < 3 && match.Value.Contains("timer doesn't work", StringComparison.Ordinal); again++)
        {
            Monitor("system_reset");
            Console.NewBoot();
            match = Console.WaitFor(Outcome, timeout);
        }

        if (!match.Value.EndsWith("# ", StringComparison.Ordinal))
            throw new VmException($"the boot ended in '{match.Value}'; the console's transcript: {Console.TranscriptPath}");
        Console.PrepareShell(TimeSpan.FromMinutes(3));
        login ??= clock.Elapsed;
    }

    /// <summary>Waits for the shell of an emergency, sbox-root's own or systemd's, and makes it ready for <see cref="SerialConsole.Run"/>.</summary>
    /// <exception cref="VmException">It did not come in time.</exception>
    public void WaitForEmergencyShell(TimeSpan timeout)
    {
        TimeSpan patience = TimeSpan.FromMinutes(3);
        // Words that only one of the two says: the console brings a line in pieces.
        bool asksForEnter = Console.WaitFor("shell in the initrd|Press Enter for (system )?maintenance", timeout).Value.StartsWith("Press", StringComparison.Ordinal);
        // sulogin throws away what was typed before it listens: on a machine that is quick enough, an answer that comes at once.
        var waited = Stopwatch.StartNew();
        do
        {
            if (asksForEnter)
                Console.SendLine("");
        }
        while (Console.TryWaitFor("# ", asksForEnter ? TimeSpan.FromSeconds(5) : patience) is null && waited.Elapsed < patience);
        Console.PrepareShell(patience);
    }

    /// <summary>Runs a command in the guest's shell.</summary>
    /// <exception cref="VmException">It did not end in time.</exception>
    public CommandResult Run(string command, TimeSpan? timeout = null) => Console.Run(command, timeout);

    /// <summary>Where the boot's time went, in the guest's own words: firmware, loader, kernel, initrd, userspace. Waits for its end.</summary>
    public string GuestBootTimes(TimeSpan? timeout = null) =>
        Console.Run("systemctl is-system-running --wait >/dev/null; systemd-analyze time | head -n 1", timeout ?? TimeSpan.FromMinutes(10)).OrThrow();

    /// <summary>Reboots the guest from inside and waits for the shell of the next boot.</summary>
    /// <param name="timeout">How long it may take.</param>
    /// <param name="command">What makes it.</param>
    public void Reboot(TimeSpan timeout, string command = "systemctl reboot")
    {
        Console.SendLine(command);
        // The kernel's last words, then the firmware or the next kernel; a prompt before that is not the next boot's.
        Console.WaitFor("Restarting system", timeout);
        Console.NewBoot();
        login = null;
        WaitForLogin(timeout);
    }

    /// <summary>Ends all that runs above the guest's kernel from inside, and waits for the shell of what is started then.</summary>
    /// <param name="timeout">How long it may take.</param>
    /// <param name="command">What makes it.</param>
    public void SoftReboot(TimeSpan timeout, string command)
    {
        // The shell that is told shows no prompt, and the kernel says nothing: the next prompt is the new shell's.
        Console.SendLine(command);
        Console.NewBoot();
        login = null;
        WaitForLogin(timeout);
    }

    /// <summary>Presses the power button and waits for the guest to shut down in order.</summary>
    /// <exception cref="VmException">It did not within the time; it still runs.</exception>
    public void PowerDown(TimeSpan timeout)
    {
        Monitor("system_powerdown");
        WaitForExit(timeout);
    }

    /// <summary>Waits for QEMU to end.</summary>
    /// <returns>Its exit code.</returns>
    /// <exception cref="VmException">It did not within the time; it still runs.</exception>
    public int WaitForExit(TimeSpan timeout) => qemu.WaitForExit(timeout)
        ? qemu.ExitCode
        : throw new VmException($"the machine did not end within {timeout.TotalSeconds:F0} s");

    /// <summary>Cuts the power: SIGKILL, nothing is flushed. The next start with the same directory finds the disk as the host has it.</summary>
    public void Kill()
    {
        if (!qemu.HasExited)
            qemu.Kill();
        qemu.WaitForExit();
    }

    /// <summary>Writes the guest's memory to a file, as it is. A machine that was switched off still has it where QEMU was started with <c>-no-shutdown</c>.</summary>
    /// <param name="path">A new file, as large as the memory.</param>
    /// <param name="mebibytes">The machine's memory (<see cref="VmOptions.MemoryMiB"/>), 2048 at most: above that it does not lie in one piece.</param>
    public void WriteMemory(string path, int mebibytes) =>
        Command("pmemsave", new Dictionary<string, object> { ["val"] = 0, ["size"] = (long)mebibytes << 20, ["filename"] = path });

    /// <summary>Saves memory, disk and firmware variables under a name, inside of the machine's disk.</summary>
    public void Save(string name) => HumanMonitor($"savevm {name}");

    /// <summary>Goes back to what was saved under a name.</summary>
    public void Load(string name) => HumanMonitor($"loadvm {name}");

    /// <summary>Plugs a USB stick in; the machine needs a controller named <c>usb</c> (<see cref="VmOptions.MoreArguments"/>).</summary>
    /// <param name="name">What it is unplugged by.</param>
    /// <param name="image">A raw image, written in place.</param>
    public void PlugIn(string name, string image)
    {
        Command("blockdev-add", new Dictionary<string, object> { ["driver"] = "raw", ["node-name"] = name, ["file"] = new Dictionary<string, string> { ["driver"] = "file", ["filename"] = image } });
        Command("device_add", new Dictionary<string, string> { ["driver"] = "usb-storage", ["id"] = name, ["drive"] = name, ["bus"] = "usb.0" });
    }

    /// <summary>Pulls a USB stick out.</summary>
    public void PullOut(string name) => Command("device_del", new Dictionary<string, string> { ["id"] = name });

    /// <inheritdoc/>
    public void Dispose()
    {
        Kill();
        console?.Dispose();
        qmp?.Dispose();
        qemu.Dispose();
    }

    private void Monitor(string command) => Command(command);

    private void Command(string command, object? arguments = null) => (qmp ?? throw new InvalidOperationException("an interactive machine has no monitor")).Execute(command, arguments);

    private void HumanMonitor(string command)
    {
        if (qmp is null)
            throw new InvalidOperationException("an interactive machine has no monitor");
        string? answer = qmp.Execute("human-monitor-command", new Dictionary<string, string> { ["command-line"] = command }).GetString();
        if (!string.IsNullOrWhiteSpace(answer))
            throw new VmException($"QEMU, {command}: {answer.Trim()}");
    }

    private static Process Launch(IReadOnlyList<string> arguments, VmOptions options)
    {
        var start = new ProcessStartInfo(QemuArguments.Program, arguments) { UseShellExecute = false, RedirectStandardError = !options.Interactive };
        Process qemu = Process.Start(start) ?? throw new VmException($"{QemuArguments.Program} did not start");
        return qemu;
    }

    private static Socket Connect(string path, Process qemu)
    {
        var endPoint = new UnixDomainSocketEndPoint(path);
        for (var waited = Stopwatch.StartNew(); ;)
        {
            var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                socket.Connect(endPoint);
                return socket;
            }
            catch (SocketException) when (!qemu.HasExited && waited.Elapsed < StartLimit)
            {
                socket.Dispose();
                Thread.Sleep(20); // QEMU has no way to tell that its sockets are there
            }
            catch (SocketException)
            {
                socket.Dispose();
                string words = qemu.HasExited ? qemu.StandardError.ReadToEnd().Trim() : $"no {path} within {StartLimit.TotalSeconds} s";
                throw new VmException($"{QemuArguments.Program} did not start: {words}");
            }
        }
    }
}
