using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;

namespace Sbox.Bench;

/// <summary>
/// A link that is far and bad, in front of a server on the loopback: what goes either way comes half a round trip later, and where packets get lost a connection is as
/// slow as TCP is then. A model, for kernels without netem: a connection carries no more than MSS/RTT·√(3/2p) bytes a second (Mathis et al., 1997), and what is too short to be
/// paced by that comes two round trips later where it was lost, as Linux finds out by a probe (RFC 8985). Requests are counted as they pass.
/// </summary>
internal sealed class SlowLink : IDisposable
{
    private const int SegmentBytes = 1448;
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly int behind;
    private readonly TimeSpan roundTrip;
    private readonly double loss;
    private readonly double ticksPerByte;
    private int requests, connections;

    /// <param name="behind">The server's port.</param>
    /// <param name="roundTrip">How far away it is.</param>
    /// <param name="loss">Which part of the packets is lost, from 0 to 1.</param>
    public SlowLink(int behind, TimeSpan roundTrip, double loss = 0)
    {
        (this.behind, this.roundTrip, this.loss) = (behind, roundTrip, loss);
        ticksPerByte = loss > 0 ? Ticks(roundTrip) * Math.Sqrt(2 * loss / 3) / SegmentBytes : 0;
        listener.Start();
        _ = Accept();
    }

    /// <summary>Where it listens.</summary>
    public int Port => ((IPEndPoint)listener.LocalEndpoint).Port;

    /// <summary>Requests so far.</summary>
    public int Requests => Volatile.Read(ref requests);

    /// <summary>Connections so far.</summary>
    public int Connections => Volatile.Read(ref connections);

    public void Dispose() => listener.Dispose();

    /// <summary>A port that nobody has just now.</summary>
    public static int FreePort()
    {
        using var free = new TcpListener(IPAddress.Loopback, 0);
        free.Start();
        return ((IPEndPoint)free.LocalEndpoint).Port;
    }

    /// <summary>Waits until a server that was started listens.</summary>
    public static void WaitFor(int port) => SpinWait.SpinUntil(() => Answers(port), TimeSpan.FromSeconds(30));

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

    private static long Ticks(TimeSpan time) => (long)(time.TotalSeconds * Stopwatch.Frequency);

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
        Interlocked.Increment(ref connections);
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
            long last = 0;
            for (int read; (read = await from.ReadAsync(buffer)) > 0;)
            {
                if (counts && buffer.AsSpan(0, read).IndexOf(" HTTP/1.1\r\n"u8) >= 0)
                    Interlocked.Increment(ref requests);
                last = Arrival(read, last);
                await travelling.Writer.WriteAsync((last, buffer[..read]));
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

    // In order: what follows something late is late too.
    private long Arrival(int bytes, long last)
    {
        long due = Math.Max(last, Stopwatch.GetTimestamp() + Ticks(roundTrip / 2)) + (long)(bytes * ticksPerByte);
        int segments = 1 + ((bytes - 1) / SegmentBytes);
        return segments <= 3 && Random.Shared.NextDouble() > Math.Pow(1 - loss, segments) ? due + Ticks(2 * roundTrip) : due;
    }
}
