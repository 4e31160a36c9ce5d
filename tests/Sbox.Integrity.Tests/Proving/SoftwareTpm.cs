using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Sbox.Judges;

namespace Sbox.Integrity.Tests;

/// <summary>A TPM in software (swtpm), on the loopback, with something measured into PCR 0 and 7.</summary>
internal sealed class SoftwareTpm : IDisposable
{
    private readonly Process process;

    public SoftwareTpm(string directory)
    {
        Directory.CreateDirectory(directory);
        int port = FreePair();
        Tcti = $"swtpm:port={port}";
        _ = Judge.OnPath("swtpm"); // a missing judge fails
        var start = new ProcessStartInfo("swtpm") { RedirectStandardError = true };
        foreach (string word in (string[])["socket", "--tpm2", "--tpmstate", $"dir={directory}", "--server", $"type=tcp,port={port}", "--ctrl", $"type=tcp,port={port + 1}", "--flags", "not-need-init,startup-clear", "--seccomp", "action=none"])
            start.ArgumentList.Add(word);
        process = Process.Start(start)!;
        for (int tries = 0; !Answers(port + 1); tries++)
        {
            if (process.HasExited || tries > 600)
                throw new InvalidOperationException($"swtpm does not answer: {(process.HasExited ? process.StandardError.ReadToEnd() : "60 s")}");
            Thread.Sleep(100);
        }

        Run("tpm2_pcrextend", $"0:sha256={new string('1', 64)}");
        Run("tpm2_pcrextend", $"7:sha256={new string('7', 64)}");
    }

    /// <summary>How to reach it.</summary>
    public string Tcti { get; }

    /// <summary>Lets go of what its clients left in it, as the kernel's resource manager does for each of them.</summary>
    public void Flush() => Run("tpm2_flushcontext", "-t");

    public void Dispose()
    {
        if (!process.HasExited)
            process.Kill();
        process.WaitForExit();
        process.Dispose();
    }

    private void Run(string program, string argument) => Judge.OnPath("env").Run($"TPM2TOOLS_TCTI={Tcti}", program, argument);

    private static bool Answers(int port)
    {
        try
        {
            using var client = new TcpClient();
            client.Connect(IPAddress.Loopback, port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    // swtpm's clients look for its control channel at the next port.
    private static int FreePair()
    {
        while (true)
        {
            using var first = new TcpListener(IPAddress.Loopback, 0);
            first.Start();
            int port = ((IPEndPoint)first.LocalEndpoint).Port;
            using var second = new TcpListener(IPAddress.Loopback, port + 1);
            try
            {
                second.Start();
                return port;
            }
            catch (SocketException)
            {
                continue;
            }
        }
    }
}
