using System.Diagnostics;

namespace Sbox.Vm;

/// <summary>A TPM 2.0 as a process of its own. It ends with the machine that is connected to it.</summary>
internal static class SoftwareTpm
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(30);

    public static void Start(string directory, string socket)
    {
        string state = Directory.CreateDirectory(Path.Combine(directory, "tpm")).FullName;
        string[] arguments = ["socket", "--tpm2", "--tpmstate", $"dir={state}", "--ctrl", $"type=unixio,path={socket}", "--terminate", "--log", $"file={state}/log,level=1"];
        using Process tpm = Process.Start(new ProcessStartInfo("swtpm", arguments)) ?? throw new VmException("swtpm did not start");
        for (var waited = Stopwatch.StartNew(); !File.Exists(socket); Thread.Sleep(20))
        {
            if (tpm.HasExited || waited.Elapsed > StartLimit)
                throw new VmException($"swtpm did not start; its words are in {state}/log");
        }
    }
}
