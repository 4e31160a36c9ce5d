using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using Sbox.Judges;

namespace Sbox.Bench;

/// <summary>restic's rest-server behind a link that is slow to answer: whatever goes either way comes half a round trip later. Requests are counted as they pass.</summary>
internal sealed class FarAway : IDisposable
{
    private readonly Process server;
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly TimeSpan roundTrip;
    private readonly int behind;
    private int requests;

    /// <param name="directory">What the server keeps: repositories, each a directory.</param>
    /// <param name="roundTrip">How far away it is.</param>
    public FarAway(string directory, TimeSpan roundTrip)
    {
        this.roundTrip = roundTrip;
        using (var free = new TcpListener(IPAddress.Loopback, 0))
        {
            free.Start();
            behind = ((IPEndPoint)free.LocalEndpoint).Port;
        }

        server = Process.Start(new ProcessStartInfo(Judge.ResticRestServer, ["--no-auth", "--listen", $"127.0.0.1:{behind}", "--path", directory]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        _ = server.StandardError.ReadToEndAsync();
        _ = server.StandardOutput.ReadToEndAsync();
        SpinWait.SpinUntil(() => Answers(behind), TimeSpan.FromSeconds(30));
        listener.Start();
        _ = Accept();
    }

    /// <summary>Requests so far.</summary>
    public int Requests => Volatile.Read(ref requests);

    /// <summary>A repository's URL, as both programs have it.</summary>
    public string Url(string repository) => $"rest:http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}/{repository}/";

    public void Dispose()
    {
        listener.Dispose();
        server.Kill();
        server.Dispose();
    }

    private static bool Answers(int port)
    {
        try
        {
            using var probe = new TcpClient("127.0.0.1", port);
            return true;
        }
        catch (SocketException)
        {
            Thread.Sleep(50);
            return false;
        }
    }

    private async Task Accept()
    {
        try
        {
            while (true)
                _ = Serve(await listener.AcceptTcpClientAsync());
        }
        catch (Exception over) when (over is ObjectDisposedException or SocketException)
        {
            return;
        }
    }

    private async Task Serve(TcpClient near)
    {
        using (near)
        using (var far = new TcpClient { NoDelay = true })
        {
            near.NoDelay = true;
            await Task.Delay(roundTrip); // the handshake
            await far.ConnectAsync(IPAddress.Loopback, behind);
            await Task.WhenAny(Pump(near.GetStream(), far.GetStream(), counts: true), Pump(far.GetStream(), near.GetStream(), counts: false));
        }
    }

    private async Task Pump(NetworkStream from, NetworkStream to, bool counts)
    {
        var travelling = Channel.CreateBounded<(long Due, byte[] Bytes)>(64);
        Task arriving = Task.Run(async () =>
        {
            await foreach ((long due, byte[] bytes) in travelling.Reader.ReadAllAsync())
            {
                TimeSpan left = TimeSpan.FromSeconds((due - Stopwatch.GetTimestamp()) / (double)Stopwatch.Frequency);
                if (left > TimeSpan.Zero)
                    await Task.Delay(left);
                await to.WriteAsync(bytes);
            }
        });
        try
        {
            var buffer = new byte[64 * 1024];
            for (int read; (read = await from.ReadAsync(buffer)) > 0;)
            {
                if (counts && buffer.AsSpan(0, read).IndexOf(" HTTP/1.1\r\n"u8) >= 0)
                    Interlocked.Increment(ref requests);
                await travelling.Writer.WriteAsync((Stopwatch.GetTimestamp() + (long)(roundTrip.TotalSeconds / 2 * Stopwatch.Frequency), buffer[..read]));
            }
        }
        catch (IOException)
        {
            return; // one of them hung up
        }
        finally
        {
            travelling.Writer.TryComplete();
        }

        await arriving;
    }
}
