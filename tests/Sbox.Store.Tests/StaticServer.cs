using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Sbox.Store.Tests;

/// <summary>Serves a directory over HTTP on 127.0.0.1, and can be told to misbehave for some paths.</summary>
internal sealed class StaticServer : IDisposable
{
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly string root;
    private readonly CancellationTokenSource stop = new();

    public StaticServer(string root)
    {
        this.root = root;
        listener.Start();
        _ = Task.Run(AcceptAll);
    }

    public string Url => $"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}";

    /// <summary>Answers as HTTP/1.0 and hangs up, as the simplest servers do.</summary>
    public bool OldStyle { get; init; }

    public ConcurrentQueue<string> Requests { get; } = new();

    /// <summary>Header lines that came, of all requests.</summary>
    public ConcurrentQueue<string> Headers { get; } = new();

    /// <summary>Where a path is to be had instead; null for here.</summary>
    public Func<string, string?> Redirect { get; set; } = static _ => null;

    /// <summary>How much an endless answer may be, so that a pull that does not stop it ends all the same.</summary>
    public const long EndlessBytes = 600L << 20;

    /// <summary>Bytes that went out in endless answers.</summary>
    public long SentEndlessly { get; private set; }

    /// <summary>Says what is done with a path; null serves it as it is.</summary>
    public Func<string, Fault?> Misbehave { get; set; } = static _ => null;

    public void Dispose()
    {
        stop.Cancel();
        listener.Stop();
    }

    private async Task AcceptAll()
    {
        while (!stop.IsCancellationRequested)
        {
            try
            {
                TcpClient client = await listener.AcceptTcpClientAsync(stop.Token);
                _ = Task.Run(() => Serve(client));
            }
            catch (Exception) when (stop.IsCancellationRequested)
            {
                return;
            }
        }
    }

    private async Task Serve(TcpClient client)
    {
        using (client)
        {
            NetworkStream stream = client.GetStream();
            using var reader = new StreamReader(stream, Encoding.ASCII);
            while (await reader.ReadLineAsync() is { } request)
            {
                while (await reader.ReadLineAsync() is { Length: > 0 } header)
                    Headers.Enqueue(header);

                string path = request.Split(' ')[1].TrimStart('/');
                Requests.Enqueue(path);
                if (!await Answer(stream, path))
                    return;
            }
        }
    }

    private async Task Endless(NetworkStream stream)
    {
        await stream.WriteAsync("HTTP/1.1 200 X\r\nContent-Length: 1125899906842624\r\n\r\n"u8.ToArray());
        var piece = new byte[1 << 20];
        try
        {
            for (; SentEndlessly < EndlessBytes; SentEndlessly += piece.Length)
                await stream.WriteAsync(piece, stop.Token);
        }
        catch (IOException)
        {
            // hung up, as is right
        }
    }

    private async Task<bool> Answer(NetworkStream stream, string path)
    {
        if (Redirect(path) is { } elsewhere)
        {
            await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 302 X\r\nLocation: {elsewhere}\r\nContent-Length: 0\r\n\r\n"));
            return true;
        }

        string file = Path.Combine(root, path);
        byte[] bytes = System.IO.File.Exists(file) ? await System.IO.File.ReadAllBytesAsync(file) : [];
        int status = System.IO.File.Exists(file) ? 200 : 404;
        int length = bytes.Length;
        switch (Misbehave(path))
        {
            case Fault.NotFound:
                (status, bytes, length) = (404, [], 0);
                break;
            case Fault.Forbidden:
                (status, bytes, length) = (403, [], 0);
                break;
            case Fault.Unavailable:
                (status, bytes, length) = (503, [], 0);
                break;
            case Fault.Corrupt:
                bytes[bytes.Length / 2] ^= 4;
                break;
            case Fault.Truncate:
                bytes = bytes[..(bytes.Length / 2)];
                break;
            case Fault.ShortFile:
                bytes = bytes[..(bytes.Length / 2)];
                length = bytes.Length;
                break;
            case Fault.Endless:
                await Endless(stream);
                return false;
            case Fault.Hang:
                await Task.Delay(Timeout.Infinite, stop.Token);
                break;
            case Fault.Close:
                return false;
        }

        await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.{(OldStyle ? 0 : 1)} {status} X\r\nContent-Length: {length}\r\n\r\n"));
        await stream.WriteAsync(bytes);
        return bytes.Length == length && !OldStyle;
    }
}

internal enum Fault
{
    Endless,
    NotFound,
    Forbidden,
    Unavailable,
    Corrupt,
    Truncate,
    ShortFile,
    Hang,
    Close,
}
