using System.ComponentModel;
using System.Diagnostics;

namespace Sbox.Linux;

/// <summary>A program to run, with everything that it sees of its surroundings.</summary>
/// <param name="Program">Its name, looked up in PATH and the sbin directories, or its path.</param>
/// <param name="Arguments">Its arguments, each passed as it is: no shell reads them.</param>
public sealed record ChildCommand(string Program, IReadOnlyList<string> Arguments)
{
    /// <summary>Variables beside the few that every child gets (see <see cref="ChildProcess"/>).</summary>
    public IReadOnlyDictionary<string, string> Environment { get; init; } = new Dictionary<string, string>();

    /// <summary>What a message calls the program: its name also when a wrapper starts it.</summary>
    public string Title { get; init; } = Program;

    /// <summary>What it reads from standard input; null for nothing.</summary>
    public string? Input { get; init; }

    /// <summary>Writes what it reads from standard input instead of <see cref="Input"/>: a secret, which must not become a string.</summary>
    public Action<Stream>? WriteInput { get; init; }

    /// <summary>The directory that it runs in; null for this program's.</summary>
    public string? WorkingDirectory { get; init; }

    /// <summary>The command as a person would type it, for messages.</summary>
    public override string ToString() => string.Join(' ', Arguments.Prepend(Program).Select(Quote));

    private static string Quote(string word) =>
        word.Length > 0 && !word.AsSpan().ContainsAny(" \t\n'\"\\$`*?[]{}()<>|&;#~!") ? word : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";
}

/// <summary>How a program ended.</summary>
/// <param name="ExitCode">0 to 255; 128 and the signal's number when a signal ended it.</param>
/// <param name="LastLines">The end of what it wrote, standard output and standard error as they came.</param>
public sealed record ChildResult(int ExitCode, IReadOnlyList<string> LastLines);

/// <summary>A program refused to start, or ended with a code that its caller did not expect.</summary>
/// <param name="command">What ran.</param>
/// <param name="exitCode">Its exit code; 127 when it could not be started, as a shell has it.</param>
/// <param name="lastLines">The end of what it wrote.</param>
public sealed class ChildFailedException(ChildCommand command, int exitCode, IReadOnlyList<string> lastLines)
    : IOException($"{command.Title} ended with {exitCode}{(lastLines.Count > 0 ? ": " + lastLines[^1] : "")}")
{
    /// <summary>What ran.</summary>
    public ChildCommand Command { get; } = command;

    /// <summary>Its exit code; 127 when it could not be started.</summary>
    public int ExitCode { get; } = exitCode;

    /// <summary>The end of what it wrote, oldest first.</summary>
    public IReadOnlyList<string> LastLines { get; } = lastLines;
}

/// <summary>
/// Runs programs without a shell, without the terminal's input, and in an environment that is the same on every machine: PATH, HOME,
/// LC_ALL=C.UTF-8, TZ=UTC, proxies as they were, and what the command names.
/// </summary>
public static class ChildProcess
{
    private const int LinesKept = 20;

    // A program that ended may have left others behind that hold its output open: what it wrote itself is here by then.
    private static readonly TimeSpan LeftBehind = TimeSpan.FromSeconds(10);
    private static readonly string[] Inherited =
        ["HOME", "TMPDIR", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "DOTNET_ROOT"];

    /// <summary>Runs a program to its end.</summary>
    /// <param name="command">What to run.</param>
    /// <param name="onLine">Told each line as it comes, from another thread but one at a time; null when nobody listens.</param>
    /// <param name="cancel">Kills the program and all it started; then <see cref="OperationCanceledException"/>.</param>
    /// <remarks>What the program leaves running behind it is not waited for, and no longer heard some seconds after its own end.</remarks>
    /// <exception cref="ChildFailedException">It could not be started (<c>ExitCode</c> 127).</exception>
    public static ChildResult Run(ChildCommand command, Action<string>? onLine = null, CancellationToken cancel = default)
    {
        cancel.ThrowIfCancellationRequested();
        using var tail = new Tail(onLine);
        using var process = new Process { StartInfo = StartInfo(command) };
        process.OutputDataReceived += (_, line) => tail.Add(line.Data);
        process.ErrorDataReceived += (_, line) => tail.Add(line.Data);
        try
        {
            process.Start();
        }
        catch (Win32Exception refused)
        {
            throw new ChildFailedException(command, 127, [refused.Message]);
        }

        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        Feed(process, command);
        using (cancel.Register(() => process.Kill(entireProcessTree: true)))
            process.WaitForExit(int.MaxValue); // without a limit it would wait for all that inherited its output
        cancel.ThrowIfCancellationRequested();
        tail.WaitForEnd(LeftBehind, cancel);
        return new ChildResult(process.ExitCode, tail.Lines());
    }

    /// <summary>Runs a program that must end with 0.</summary>
    /// <exception cref="ChildFailedException">It could not be started or ended with another code.</exception>
    /// <inheritdoc cref="Run"/>
    public static void Check(ChildCommand command, Action<string>? onLine = null, CancellationToken cancel = default)
    {
        ChildResult result = Run(command, onLine, cancel);
        if (result.ExitCode != 0)
            throw new ChildFailedException(command, result.ExitCode, result.LastLines);
    }

    /// <summary>
    /// The same command in mount and process namespaces of its own: its mounts are nobody else's and go with it, and when it dies, or
    /// the thread that runs it does, the kernel kills everything that it started, however it was started.
    /// </summary>
    /// <remarks>Call <see cref="Run"/> on the same thread: the parent-death signal is about the thread that forked.</remarks>
    public static ChildCommand InOwnNamespaces(ChildCommand command) => command with
    {
        Program = "setpriv",
        Arguments =
        [
            "--pdeathsig", "KILL",
            "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--",
            command.Program, .. command.Arguments,
        ],
    };

    private static void Feed(Process process, ChildCommand command)
    {
        try
        {
            if (command.WriteInput is { } write)
                write(process.StandardInput.BaseStream);
            else
                process.StandardInput.Write(command.Input);
            process.StandardInput.Close();
        }
        catch (IOException)
        {
            // It ended without reading: its exit code says why.
        }
    }

    private static ProcessStartInfo StartInfo(ChildCommand command)
    {
        var info = new ProcessStartInfo(command.Program, command.Arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
            WorkingDirectory = command.WorkingDirectory ?? "",
        };
        info.Environment.Clear();
        foreach (string name in Inherited)
        {
            if (System.Environment.GetEnvironmentVariable(name) is { } value)
                info.Environment[name] = value;
        }

        // A user's PATH often lacks the sbin directories, where mkfs and sfdisk live.
        info.Environment["PATH"] = $"{System.Environment.GetEnvironmentVariable("PATH")}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".TrimStart(':');
        info.Environment["LC_ALL"] = "C.UTF-8";
        info.Environment["TZ"] = "UTC";
        foreach ((string name, string value) in command.Environment)
            info.Environment[name] = value;
        return info;
    }

    // Lines come from two readers; what a person needs of a failure is the end of both, in the order they came.
    private sealed class Tail(Action<string>? onLine) : IDisposable
    {
        private readonly Queue<string> lines = new();
        private readonly Lock gate = new();
        private readonly CountdownEvent open = new(2);
        private bool isClosed;

        /// <summary>Takes a line; null is the end of one of the two.</summary>
        public void Add(string? line)
        {
            lock (gate)
            {
                if (isClosed)
                    return;
                if (line is null)
                    open.Signal();
                if (string.IsNullOrWhiteSpace(line))
                    return;
                if (lines.Count == LinesKept)
                    lines.Dequeue();
                lines.Enqueue(line);
                onLine?.Invoke(line);
            }
        }

        public void WaitForEnd(TimeSpan limit, CancellationToken cancel) => open.Wait(limit, cancel);

        public IReadOnlyList<string> Lines()
        {
            lock (gate)
                return [.. lines];
        }

        public void Dispose()
        {
            lock (gate)
            {
                isClosed = true;
                open.Dispose();
            }
        }
    }
}
