using System.ComponentModel;
using System.Diagnostics;

namespace Sbox.Linux;

/// <summary>A program that is talked to: what is written goes to its standard input, what it answers is read from its standard output. Its complaints stay on this program's standard error.</summary>
public sealed class PipedChild : IDisposable
{
    private readonly Process process;

    private PipedChild(Process process) => this.process = process;

    /// <summary>Its standard input.</summary>
    public Stream Input => process.StandardInput.BaseStream;

    /// <summary>Its standard output.</summary>
    public Stream Output => process.StandardOutput.BaseStream;

    /// <summary>Starts it, in this program's environment: ssh, for one, wants its agent and its home.</summary>
    /// <exception cref="ChildFailedException">It could not be started.</exception>
    public static PipedChild Start(ChildCommand command)
    {
        var info = new ProcessStartInfo(command.Program, command.Arguments) { RedirectStandardInput = true, RedirectStandardOutput = true, UseShellExecute = false };
        try
        {
            return new PipedChild(Process.Start(info)!);
        }
        catch (Win32Exception refused)
        {
            throw new ChildFailedException(command, 127, [refused.Message]);
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
