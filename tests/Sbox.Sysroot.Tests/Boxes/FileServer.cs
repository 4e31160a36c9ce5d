using System.Net;
using System.Net.Sockets;

namespace Sbox.Sysroot.Tests;

/// <summary>Serves a directory's files over HTTP on 127.0.0.1, as any web server serves a repository.</summary>
internal sealed class FileServer : IDisposable
{
    private readonly HttpListener listener = new();

    public FileServer(string directory)
    {
        int port;
        using (var free = new TcpListener(IPAddress.Loopback, 0))
        {
            free.Start();
            port = ((IPEndPoint)free.LocalEndpoint).Port;
        }

        Url = $"http://127.0.0.1:{port}";
        listener.Prefixes.Add($"{Url}/");
        listener.Start();
        _ = Serve(directory);
    }

    public string Url { get; }

    public void Dispose() => listener.Close();

    private async Task Serve(string directory)
    {
        while (listener.IsListening)
        {
            HttpListenerContext context;
            try
            {
                context = await listener.GetContextAsync();
            }
            catch (Exception closed) when (closed is HttpListenerException or ObjectDisposedException)
            {
                return;
            }

            string path = Path.Combine(directory, Uri.UnescapeDataString(context.Request.Url!.AbsolutePath).TrimStart('/'));
            if (File.Exists(path))
            {
                byte[] bytes = await File.ReadAllBytesAsync(path);
                context.Response.ContentLength64 = bytes.Length;
                await context.Response.OutputStream.WriteAsync(bytes);
            }
            else
            {
                context.Response.StatusCode = 404;
            }

            context.Response.Close();
        }
    }
}
