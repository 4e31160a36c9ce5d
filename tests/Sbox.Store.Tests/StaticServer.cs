using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
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

    public string Url => $"http{(Certificate is null ? "" : "s")}://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}";

    /// <summary>Answers as HTTP/1.0 and hangs up, as the simplest servers do.</summary>
    public bool OldStyle { get; init; }

    /// <summary>Speaks TLS, and shows this.</summary>
    public X509Certificate2? Certificate { get; init; }

    /// <summary>Over TLS, answers only who shows a certificate with this thumbprint.</summary>
    public string? ClientThumbprint { get; init; }

    /// <summary>Is a proxy that asks for a login (<c>name:password</c>): what it is asked for of any host, it answers from its own directory. Null: it is none.</summary>
    public string? ProxyLogin { get; init; }

    /// <summary>Bytes in an answer that trickles, of which one comes each 20 ms.</summary>
    public const int TrickledBytes = 100_000;

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
            await using Stream stream = await Spoken(client.GetStream());
            using var reader = new StreamReader(stream, Encoding.ASCII);
            while (await reader.ReadLineAsync() is { } request)
            {
                bool isLoggedIn = false;
                while (await reader.ReadLineAsync() is { Length: > 0 } header)
                {
                    Headers.Enqueue(header);
                    isLoggedIn |= ProxyLogin is not null && header == $"Proxy-Authorization: Basic {Convert.ToBase64String(Encoding.ASCII.GetBytes(ProxyLogin))}";
                }

                string path = request.Split(' ')[1].TrimStart('/');
                if (ProxyLogin is not null && !isLoggedIn)
                {
                    await stream.WriteAsync("HTTP/1.1 407 X\r\nProxy-Authenticate: Basic realm=\"here\"\r\nContent-Length: 0\r\n\r\n"u8.ToArray());
                    continue;
                }

                Requests.Enqueue(path);
                if (ProxyLogin is not null)
                    path = new Uri(path).AbsolutePath.TrimStart('/');
                if (!await Answer(stream, path))
                    return;
            }
        }
    }

    private async Task<Stream> Spoken(NetworkStream plain)
    {
        if (Certificate is null)
            return plain;
        var stream = new SslStream(plain);
        await stream.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
        {
            ServerCertificate = Certificate, ClientCertificateRequired = ClientThumbprint is not null,
            RemoteCertificateValidationCallback = (_, shown, _, _) => ClientThumbprint is null || (shown as X509Certificate2)?.Thumbprint == ClientThumbprint,
        });
        return stream;
    }

    private async Task Trickle(Stream stream, byte[] bytes)
    {
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 200 X\r\nContent-Length: {TrickledBytes}\r\n\r\n"));
        try
        {
            for (int sent = 0; sent < TrickledBytes; sent++)
            {
                await stream.WriteAsync(bytes.AsMemory(sent % bytes.Length, 1), stop.Token);
                await Task.Delay(20, stop.Token);
            }
        }
        catch (IOException)
        {
            // hung up, as is right
        }
    }

    // What is there comes first; where no length is told, it comes in chunks.
    private async Task Endless(Stream stream, byte[] begin, bool tellsLength)
    {
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 200 X\r\n{(tellsLength ? "Content-Length: 1125899906842624" : "Transfer-Encoding: chunked")}\r\n\r\n"));
        var piece = new byte[1 << 20];
        if (tellsLength)
            await stream.WriteAsync(begin);
        else
            piece = [.. "100000\r\n"u8, .. begin.AsSpan(0, Math.Min(begin.Length, 1 << 20)), .. new byte[Math.Max(0, (1 << 20) - begin.Length)], .. "\r\n"u8];
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

    private async Task<bool> Answer(Stream stream, string path)
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
                await Endless(stream, bytes, tellsLength: true);
                return false;
            case Fault.EndlessChunks:
                await Endless(stream, bytes, tellsLength: false);
                return false;
            case Fault.Trickle:
                await Trickle(stream, bytes);
                return false;
            case Fault.Swollen: // an object's header tells of more than any disk has
                bytes[9] = 0x04;
                await Endless(stream, bytes, tellsLength: false);
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
    EndlessChunks,
    Trickle,
    Swollen,
    NotFound,
    Forbidden,
    Unavailable,
    Corrupt,
    Truncate,
    ShortFile,
    Hang,
    Close,
}
