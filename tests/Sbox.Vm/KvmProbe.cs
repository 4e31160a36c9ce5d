using System.Collections.Concurrent;
using System.Diagnostics;

namespace Sbox.Vm;

/// <summary>
/// Whether KVM runs a machine here. A hypervisor in a hypervisor may lend a part of the processor only: QEMU then ends at its start, or the
/// machine stops at its first instructions (<c>KVM internal error</c>) and waits for ever. So the firmware is asked to say a word.
/// </summary>
internal static class KvmProbe
{
    private const string Device = "/dev/kvm";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);
    private static readonly ConcurrentDictionary<string, string?> Known = new();

    /// <summary>The processor that works with KVM, as QEMU's -cpu has it; null where none does.</summary>
    /// <param name="machine">QEMU's -machine.</param>
    /// <param name="firmware">QEMU's arguments for a firmware whose variables are not kept.</param>
    public static string? ProcessorFor(string machine, IReadOnlyList<string> firmware) => Known.GetOrAdd(machine, _ => !CanOpen() ? null
        : ((string[])["host", "host,-arch-capabilities"]).FirstOrDefault(processor => Speaks(["-machine", machine, "-accel", "kvm", "-cpu", processor, .. firmware])));

    private static bool Speaks(string[] arguments)
    {
        string words = Path.GetTempFileName();
        using Process qemu = Process.Start(new ProcessStartInfo(QemuArguments.Program, ["-nodefaults", "-no-user-config", "-display", "none", "-m", "512", "-serial", $"file:{words}", .. arguments])
        {
            RedirectStandardError = true,
        }) ?? throw new VmException($"{QemuArguments.Program} did not start");
        qemu.ErrorDataReceived += static (_, _) => { }; // the kernel's complaint is long; it must not fill the pipe
        qemu.BeginErrorReadLine();
        try
        {
            for (var waited = Stopwatch.StartNew(); waited.Elapsed < Patience && !qemu.HasExited; Thread.Sleep(100))
            {
                if (new FileInfo(words).Length > 0)
                    return true;
            }

            return false;
        }
        finally
        {
            qemu.Kill();
            qemu.WaitForExit();
            File.Delete(words);
        }
    }

    private static bool CanOpen()
    {
        try
        {
            using FileStream stream = new(Device, FileMode.Open, FileAccess.ReadWrite);
            return true;
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }
}
