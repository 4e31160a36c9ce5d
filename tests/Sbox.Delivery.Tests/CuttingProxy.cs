using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;

namespace Sbox.Delivery.Tests;

/// <summary>A line to a server that breaks: passes bytes on, counts those of bodies, and at chosen counts cuts all connections at once, at that very byte.</summary>
internal sealed class CuttingProxy : IDisposable
{
    private const int Piece = 16 * 1024, SendBuffer = 4 * 1024;

    // tcp(7): struct tcp_info, of which tcpi_notsent_bytes is what this end's kernel has not sent. On the loopback what was sent is at the other end, where it can still be read when the connection is no more.
    private const int Tcp = 6, TcpInfo = 11, TcpInfoSize = 192, NotSent = 144;
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly SemaphoreSlim line = new(1); // one piece after the other, as on a real line
    private readonly HashSet<Socket> open = [];
    private readonly Queue<long> cuts;
    private readonly Random random;
    private readonly int server;
    private readonly bool http2;

    /// <param name="server">The server's port.</param>
    /// <param name="http2">Whether HTTP/2 is spoken, without TLS; else HTTP/1.1.</param>
    /// <param name="cuts">How many bytes of bodies had been passed on at each cut, in order.</param>
    /// <param name="seed">Chooses how each of them is cut.</param>
    public CuttingProxy(int server, bool http2, IEnumerable<long> cuts, int seed)
    {
        (this.server, this.http2, this.cuts, random) = (server, http2, new Queue<long>(cuts), new Random(seed));
        listener.Start();
        _ = Accept();
    }

    public string Url => $"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}";

    /// <summary>Bytes of bodies that were passed on to whoever asked; heads of answers are not counted.</summary>
    public long Passed { get; private set; }

    /// <summary>Bytes among them, or of heads, that never left, as their connection was cut without a goodbye while they waited here in a buffer for sending.</summary>
    public long Lost { get; private set; }

    /// <summary>How often all was cut.</summary>
    public int Cuts { get; private set; }

    /// <summary>Connections that were cut, of all cuts together.</summary>
    public int Broken { get; private set; }

    public void Dispose() => listener.Stop();

    private async Task Accept()
    {
        try
        {
            while (true)
                _ = Carry(await listener.AcceptSocketAsync());
        }
        catch (Exception over) when (over is SocketException or ObjectDisposedException)
        {
            return;
        }
    }

    private async Task Carry(Socket client)
    {
        using Socket there = new(SocketType.Stream, ProtocolType.Tcp);
        try
        {
            client.NoDelay = true;
            client.SendBufferSize = SendBuffer;
            lock (open)
                open.Add(client);
            await there.ConnectAsync(IPAddress.Loopback, server);
            Task asking = Requests(client, there);
            await Answers(there, client);
            await asking;
        }
        catch (Exception broken) when (broken is SocketException or ObjectDisposedException or IOException)
        {
            return; // it was cut, or one end hung up
        }
        finally
        {
            lock (open)
                open.Remove(client);
            client.Dispose();
        }
    }

    private static async Task Requests(Socket client, Socket there)
    {
        var buffer = new byte[Piece];
        try
        {
            while (await client.ReceiveAsync(buffer, SocketFlags.None) is > 0 and var read)
                await there.SendAsync(buffer.AsMemory(0, read), SocketFlags.None);
        }
        finally
        {
            there.Dispose();
        }
    }

    private async Task Answers(Socket there, Socket client)
    {
        IBodies bodies = http2 ? new Http2Bodies() : new Http1Bodies();
        var buffer = new byte[Piece];
        while (await there.ReceiveAsync(buffer, SocketFlags.None) is > 0 and var read)
        {
            for (int at = 0; at < read;)
            {
                await line.WaitAsync();
                try
                {
                    long left = cuts.TryPeek(out long cut) ? cut - Passed : long.MaxValue;
                    (int used, long body) = bodies.Take(buffer.AsSpan(at, read - at), left);
                    for (int sent = 0; sent < used;)
                        sent += await client.SendAsync(buffer.AsMemory(at + sent, used - sent), SocketFlags.None);
                    at += used;
                    Passed += body;
                    if (body >= left)
                        CutAll();
                }
                finally
                {
                    line.Release();
                }
            }
        }
    }

    // By a goodbye, as from a server that ends, or by none, as from a router that forgets.
    private void CutAll()
    {
        cuts.Dequeue();
        Cuts++;
        bool politely = random.Next(2) == 0;
        lock (open)
        {
            foreach (Socket client in open)
            {
                Broken++;
                if (!politely)
                {
                    Lost += Waiting(client);
                    client.LingerState = new LingerOption(true, 0);
                }

                client.Dispose();
            }

            open.Clear();
        }
    }

    private static long Waiting(Socket client)
    {
        var info = new byte[TcpInfoSize];
        client.GetRawSocketOption(Tcp, TcpInfo, info);
        return BinaryPrimitives.ReadUInt32LittleEndian(info.AsSpan(NotSent));
    }

    private interface IBodies
    {
        /// <summary>Looks at what comes, until so many bytes of bodies have.</summary>
        /// <returns>How many bytes that are, and how many of them are of bodies.</returns>
        (int Used, long Body) Take(ReadOnlySpan<byte> bytes, long most);
    }

    /// <summary>Answers with a Content-Length, one after the other.</summary>
    private sealed class Http1Bodies : IBodies
    {
        private readonly List<byte> head = [];
        private long left;

        public (int Used, long Body) Take(ReadOnlySpan<byte> bytes, long most)
        {
            int used = 0;
            long body = 0;
            while (used < bytes.Length && body < most)
            {
                if (left > 0)
                {
                    int some = (int)Math.Min(Math.Min(left, bytes.Length - used), most - body);
                    (left, used, body) = (left - some, used + some, body + some);
                    continue;
                }

                head.Add(bytes[used++]);
                if (head.Count < 4 || head[^1] != '\n' || head[^3] != '\n')
                    continue;
                string text = System.Text.Encoding.ASCII.GetString([.. head]);
                head.Clear();
                string? length = text.Split("\r\n").FirstOrDefault(static line => line.StartsWith("Content-Length: ", StringComparison.Ordinal));
                left = length is null || text.StartsWith("HTTP/1.1 304", StringComparison.Ordinal) ? 0 : long.Parse(length["Content-Length: ".Length..]);
            }

            return (used, body);
        }
    }

    /// <summary>Frames: nine bytes, of which the first three are the length and the fourth the kind, and so many more.</summary>
    private sealed class Http2Bodies : IBodies
    {
        private const int Head = 9, Data = 0;
        private readonly byte[] head = new byte[Head];
        private int filled;
        private long left;

        public (int Used, long Body) Take(ReadOnlySpan<byte> bytes, long most)
        {
            int used = 0;
            long body = 0;
            while (used < bytes.Length && body < most)
            {
                if (filled < Head)
                {
                    head[filled++] = bytes[used++];
                    left = filled == Head ? BinaryPrimitives.ReadUInt32BigEndian(head) >> 8 : 0;
                }
                else
                {
                    bool isBody = head[3] == Data;
                    int some = (int)Math.Min(left, bytes.Length - used);
                    if (isBody)
                        some = (int)Math.Min(some, most - body);
                    (left, used, body) = (left - some, used + some, body + (isBody ? some : 0));
                }

                if (filled == Head && left == 0)
                    filled = 0;
            }

            return (used, body);
        }
    }
}
