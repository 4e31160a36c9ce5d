using System.ComponentModel;
using System.Diagnostics;

namespace Sbox.Linux;

/// <summary>A program that is talked to: what is written goes to its standard input, what it answers is read from its standard output. Its complaints go to this program's standard error, or are kept for who asks.</summary>
public sealed class PipedChild : IDisposable
{
    private const int LinesAtMost = 64;
    private readonly Process process;
    private readonly Queue<string> held = new();
    private readonly Task listening = Task.CompletedTask;

    private PipedChild(Process process, bool holds)
    {
        this.process = process;
        if (holds)
            listening = Task.Run(Listen);
    }

    /// <summary>Its standard input.</summary>
    public Stream Input => process.StandardInput.BaseStream;

    /// <summary>Its standard output.</summary>
    public Stream Output => process.StandardOutput.BaseStream;

    /// <summary>Starts it, in this program's environment: ssh, for one, wants its agent and its home.</summary>
    /// <param name="command">What is started.</param>
    /// <param name="holds">Whether its complaints are kept for <see cref="LastWords"/>. It then sees no terminal on its standard error, to which some programs say what they wait for.</param>
    /// <exception cref="ChildFailedException">It could not be started.</exception>
    public static PipedChild Start(ChildCommand command, bool holds = false)
    {
        var info = new ProcessStartInfo(command.Program, command.Arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = holds, UseShellExecute = false };
        try
        {
            return new PipedChild(Process.Start(info)!, holds);
        }
        catch (Win32Exception refused)
        {
            throw new ChildFailedException(command, 127, [refused.Message]);
        }
    }

    /// <summary>The last lines of its complaints that were kept, when it has ended, or does not within a second.</summary>
    public async Task<IReadOnlyList<string>> LastWords()
    {
        await Task.WhenAny(listening, Task.Delay(TimeSpan.FromSeconds(1)));
        lock (held)
            return [.. held];
    }

    private async Task Listen()
    {
        while (await process.StandardError.ReadLineAsync() is { } line)
        {
            lock (held)
            {
                held.Enqueue(line);
                if (held.Count > LinesAtMost)
                    held.Dequeue();
            }
        }
    }

    /// <summary>Ends it at once, whatever it does, and lets go of whoever waits for its pipes.</summary>
    public void Kill()
    {
        try
        {
            process.Kill(entireProcessTree: true);
        }
        catch (Exception gone) when (gone is InvalidOperationException or Win32Exception)
        {
            return; // it has ended by itself
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        try
        {
            process.StandardInput.Close();
            if (!process.WaitForExit(500))
                process.Kill(entireProcessTree: true);
        }
        catch (Exception gone) when (gone is IOException or InvalidOperationException)
        {
            // It has ended by itself.
            process.Dispose();
            return;
        }

        process.Dispose();
    }
}
