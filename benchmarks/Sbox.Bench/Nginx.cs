using System.Diagnostics;
using System.Globalization;

namespace Sbox.Bench;

/// <summary>A directory served by nginx on the loopback, which counts what it sends.</summary>
internal sealed class Nginx : IDisposable
{
    private readonly Process process;
    private readonly string log;

    private Nginx(Process process, string log, int port) => (this.process, this.log, Port) = (process, log, port);

    /// <summary>Where it listens.</summary>
    public int Port { get; }

    /// <summary>Its address.</summary>
    public string Url => string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{Port}");

    /// <summary>Starts it.</summary>
    /// <param name="directory">What is served.</param>
    /// <param name="work">For its own files.</param>
    /// <param name="counts">Whether it counts: a log line for each answer costs it a little.</param>
    public static Nginx Start(string directory, string work, bool counts = false)
    {
        int port = SlowLink.FreePort();
        string config = Path.Combine(work, "nginx.conf"), log = Path.Combine(work, "sent.log");
        File.WriteAllText(log, "");
        File.WriteAllText(config, $$"""
            daemon off;
            master_process off;
            pid {{work}}/nginx.pid;
            error_log {{work}}/nginx.log;
            events { worker_connections 1024; }
            http {
                log_format sent '$bytes_sent';
                access_log {{(counts ? $"{log} sent" : "off")}};
                sendfile on;
                keepalive_requests 100000;
                client_body_temp_path {{work}}/nginx-body;
                server { listen 127.0.0.1:{{port}}; root {{directory}}; }
            }
            """);
        Process process = Process.Start("/usr/sbin/nginx", ["-c", config]);
        SlowLink.WaitFor(port);
        return new Nginx(process, log, port);
    }

    /// <summary>What was sent until now, answers' heads included, and in how many answers.</summary>
    public (long Bytes, int Answers) Sent()
    {
        string[] lines = File.ReadAllLines(log);
        return (lines.Sum(static line => long.Parse(line, CultureInfo.InvariantCulture)), lines.Length);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        process.Kill();
        process.WaitForExit();
        process.Dispose();
    }
}
