using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;

namespace Sbox.Vm;

/// <summary>The guest's serial console: what it says is waited for, what it is told is typed. All of it goes to a transcript.</summary>
public sealed class SerialConsole : IDisposable
{
    // A quiet kernel is silent, and so is its EFI stub: then this stays unknown, and the guest itself has to be asked.
    private static readonly Regex KernelWords = new(@"EFI stub|Linux version|^\[    0\.|systemd\[1\]|Welcome to", RegexOptions.Multiline);

    private readonly Socket socket;
    private readonly FileStream transcript;
    private readonly StringBuilder heard = new();
    private readonly object gate = new();
    private readonly Stopwatch clock;
    private readonly Thread reader;
    private int seen;
    private int bootStart;
    private bool ended;
    private int commands;

    internal SerialConsole(Socket socket, string transcriptPath, Stopwatch clock)
    {
        (this.socket, this.clock, TranscriptPath) = (socket, clock, transcriptPath);
        transcript = new FileStream(transcriptPath, FileMode.Append, FileAccess.Write, FileShare.Read, bufferSize: 0);
        reader = new Thread(Listen) { IsBackground = true, Name = "serial console" };
        reader.Start();
    }

    /// <summary>The file that holds all that was said since the machine's first boot, escapes removed.</summary>
    public string TranscriptPath { get; }

    /// <summary>When the first byte came.</summary>
    internal TimeSpan? FirstOutput { get; private set; }

    /// <summary>When the kernel or systemd was first heard of.</summary>
    internal TimeSpan? Kernel { get; private set; }

    /// <summary>All that was said since QEMU started.</summary>
    public string Text
    {
        get
        {
            lock (gate)
                return heard.ToString();
        }
    }

    /// <summary>Waits until something matches that was said since the last match.</summary>
    /// <param name="pattern">A regular expression; <c>^</c> and <c>$</c> are the ends of lines.</param>
    /// <param name="timeout">How long.</param>
    /// <returns>The match; what was said before it counts as seen.</returns>
    /// <exception cref="VmException">It was not said in time, or the machine ended.</exception>
    public Match WaitFor(string pattern, TimeSpan timeout) => TryWaitFor(pattern, timeout)
        ?? throw new VmException($"the console did not say '{pattern}' within {timeout.TotalSeconds:F0} s\n{LastLines()}");

    /// <summary>The same, for who has something else to try: null when it was not said in time.</summary>
    /// <exception cref="VmException">The machine ended.</exception>
    public Match? TryWaitFor(string pattern, TimeSpan timeout)
    {
        var expression = new Regex(pattern, RegexOptions.Multiline | RegexOptions.CultureInvariant, TimeSpan.FromMinutes(2)); // a host that is busy gives no processor for seconds
        long end = Stopwatch.GetTimestamp() + (long)(timeout.TotalSeconds * Stopwatch.Frequency);
        lock (gate)
        {
            while (true)
            {
                Match match = expression.Match(heard.ToString(seen, heard.Length - seen));
                if (match.Success)
                {
                    seen += match.Index + match.Length;
                    return match;
                }

                if (ended)
                    throw new VmException($"the machine ended while '{pattern}' was waited for\n{LastLines()}");
                TimeSpan left = TimeSpan.FromSeconds((end - Stopwatch.GetTimestamp()) / (double)Stopwatch.Frequency);
                if (left <= TimeSpan.Zero)
                    return null;
                Monitor.Wait(gate, left);
            }
        }
    }

    /// <summary>Types text.</summary>
    public void Send(string text)
    {
        // The 16-byte FIFO of a busy guest's UART: small bites, or characters go missing.
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        for (int at = 0; at < bytes.Length; at += 256)
            socket.Send(bytes.AsSpan(at, Math.Min(256, bytes.Length - at)));
    }

    /// <summary>Types a line.</summary>
    public void SendLine(string line) => Send(line + "\n");

    /// <summary>A new boot begins: its times are counted from here.</summary>
    internal void NewBoot()
    {
        lock (gate)
        {
            clock.Restart();
            (FirstOutput, Kernel, bootStart) = (null, null, heard.Length);
        }
    }

    /// <summary>Makes a shell that <see cref="Run"/> can talk to out of one that shows a prompt: no echo, no editing, no prompt.</summary>
    internal void PrepareShell(TimeSpan timeout)
    {
        SendLine("exec bash --noediting --norc");
        // The kernel's messages would land in the middle of answers: only emergencies reach the console from here on.
        SendLine("stty -echo; PS1= PS2= TERM=dumb SYSTEMD_PAGER=cat PAGER=cat; export TERM SYSTEMD_PAGER PAGER; echo 1 >/proc/sys/kernel/printk");
        SendLine("printf '\\n%s-%s\\n' shell ready");
        WaitFor("^shell-ready$", timeout);
    }

    /// <summary>Runs a command line of up to 4,000 bytes in the guest's shell.</summary>
    /// <param name="command">For bash; several lines are fine. It must not read from the terminal.</param>
    /// <param name="timeout">How long it may take; five minutes unless told.</param>
    /// <exception cref="VmException">It did not end in time.</exception>
    public CommandResult Run(string command, TimeSpan? timeout = null)
    {
        string mark = $"{Environment.ProcessId}.{++commands}";
        // printf joins the halves: a shell that echoes what is typed does not say the marker by that.
        SendLine($"printf '\\n%s %s\\n' '[begin' '{mark}]'; {{ {command}\n}} 2>&1 </dev/null; printf '\\n%s %s %d\\n' '[end' '{mark}]' $?");
        TimeSpan limit = timeout ?? TimeSpan.FromMinutes(5);
        WaitFor($"^{Regex.Escape($"[begin {mark}]")}\n", limit);
        Match match = WaitFor($"(?s)(.*?)\n?^{Regex.Escape($"[end {mark}]")} (\\d+)$", limit);
        return new CommandResult(match.Groups[1].Value.TrimEnd('\n'), int.Parse(match.Groups[2].ValueSpan));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        socket.Dispose();
        reader.Join(TimeSpan.FromSeconds(5));
        transcript.Dispose();
    }

    private void Listen()
    {
        var plain = new PlainText();
        var buffer = new byte[16 * 1024];
        try
        {
            for (int read; (read = socket.Receive(buffer)) > 0;)
                Hear(plain.Take(buffer.AsSpan(0, read)));
        }
        catch (Exception gone) when (gone is SocketException or ObjectDisposedException)
        {
            // The machine, or this object, ended: the finally says so.
        }
        finally
        {
            lock (gate)
            {
                ended = true;
                Monitor.PulseAll(gate);
            }
        }
    }

    private void Hear(string text)
    {
        transcript.Write(Encoding.UTF8.GetBytes(text));
        lock (gate)
        {
            heard.Append(text);
            FirstOutput ??= clock.Elapsed;
            if (Kernel is null && KernelWords.IsMatch(heard.ToString(bootStart, heard.Length - bootStart)))
                Kernel = clock.Elapsed;
            Monitor.PulseAll(gate);
        }
    }

    private string LastLines()
    {
        string[] lines = heard.ToString().TrimEnd('\n').Split('\n');
        return $"--- console, last lines ({TranscriptPath}) ---\n{string.Join('\n', lines[^Math.Min(lines.Length, 25)..])}";
    }
}
