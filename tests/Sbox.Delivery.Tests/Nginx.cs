using System.Diagnostics;

namespace Sbox.Delivery.Tests;

/// <summary>Debian's nginx on the directory <c>www</c> of a place, as a child of the test's own.</summary>
internal sealed class Nginx : IDisposable
{
    private readonly Process process;
    private readonly string log;
    private bool ended;

    /// <param name="root">The place; its configuration and logs are kept there too, under the port's number.</param>
    /// <param name="listen">What its line <c>listen</c> says besides: <c>ssl http2</c>.</param>
    /// <param name="more">More lines for the server.</param>
    public Nginx(string root, string listen = "", string more = "")
    {
        int port = Ports.Free();
        Port = port;
        string own = Path.Combine(root, $"nginx-{port}");
        log = Path.Combine(own, "access.log");
        Directory.CreateDirectory(own);
        File.WriteAllText(Path.Combine(own, "conf"), $$"""
            daemon off;
            master_process off;
            pid {{own}}/pid;
            error_log {{own}}/error.log;
            events {}
            http {
                log_format requests '$server_protocol $connection $status $body_bytes_sent $uri';
                access_log {{log}} requests;
                client_body_temp_path {{own}}/body;
                server { listen 127.0.0.1:{{port}} {{listen}}; root {{root}}/www; {{more}} }
            }
            """);
        Assert.True(File.Exists("/usr/sbin/nginx"), "a judge is missing: nginx; ./test installs it");
        process = Process.Start("/usr/sbin/nginx", ["-c", Path.Combine(own, "conf")]);
        Ports.WaitFor(port);
    }

    public int Port { get; }

    public string Url => $"http://127.0.0.1:{Port}";

    /// <summary>What it was asked for so far.</summary>
    public Request[] Requests => [.. File.ReadAllLines(log).Select(static line => line.Split(' ', 5)).Where(static words => words.Length == 5)
        .Select(static words => new Request(words[0], words[1], int.Parse(words[2]), long.Parse(words[3]), words[4]))];

    public void Dispose()
    {
        if (ended)
            return;
        ended = true;
        process.Kill();
        process.WaitForExit();
        process.Dispose();
    }

    /// <summary>A line of its log.</summary>
    /// <param name="Protocol">Such as <c>HTTP/2.0</c>.</param>
    /// <param name="Connection">The connection's number.</param>
    /// <param name="Status">The answer's status.</param>
    /// <param name="Bytes">Bytes of the body that it sent.</param>
    /// <param name="Path">What was asked for.</param>
    internal sealed record Request(string Protocol, string Connection, int Status, long Bytes, string Path);
}
