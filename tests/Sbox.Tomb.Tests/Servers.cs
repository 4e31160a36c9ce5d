using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Sbox.Judges;

namespace Sbox.Tomb.Tests;

/// <summary>A server of a test's own on the loopback, ended with it.</summary>
internal sealed class Server : IDisposable
{
    private readonly Process process;

    private Server(Process process, int port) => (this.process, Port) = (process, port);

    public int Port { get; }

    public int ProcessId => process.Id;

    /// <summary>restic's own server on a directory.</summary>
    public static async Task<Server> Rest(Place place, string? password = null, int port = 0, long? room = null)
    {
        port = port == 0 ? FreePort() : port;
        if (password is not null)
        {
            string sum = Judge.OnPath("sh").Run("-c", $"printf %s {password} | openssl dgst -sha1 -binary | base64").Trim();
            File.WriteAllText(place["htpasswd"], $"me:{{SHA}}{sum}\n");
        }

        string[] login = password is null ? ["--no-auth"] : ["--htpasswd-file", place["htpasswd"]];
        Process process = Start(Judge.ResticRestServer, ["--listen", $"127.0.0.1:{port}", "--path", place["served"], .. login, .. room is { } most ? [$"--max-size={most}"] : Array.Empty<string>()]);
        return await Answering(new Server(process, port));
    }

    public void Dispose()
    {
        if (!process.HasExited)
            process.Kill(entireProcessTree: true);
        process.WaitForExit();
        process.Dispose();
    }

    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    public static Process Start(string program, IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(program) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach (string argument in arguments)
            start.ArgumentList.Add(argument);
        Process process = Process.Start(start)!;
        process.OutputDataReceived += static (_, _) => { };
        process.ErrorDataReceived += static (_, _) => { };
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return process;
    }

    private static async Task<Server> Answering(Server server)
    {
        for (int n = 0; n < 600; n++)
        {
            try
            {
                using var client = new TcpClient();
                await client.ConnectAsync(IPAddress.Loopback, server.Port, TestContext.Current.CancellationToken);
                return server;
            }
            catch (SocketException)
            {
                await Task.Delay(100, TestContext.Current.CancellationToken);
            }
        }

        throw new InvalidOperationException("a server did not answer within a minute");
    }
}
