using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;

namespace Sbox.Vm;

/// <summary>One thing that a guest asked of its disk.</summary>
/// <param name="Offset">Where, in bytes; of a flush, nothing.</param>
/// <param name="Bytes">What was written there; null for a flush, which has answered when everything that was answered before it is on the disk.</param>
public sealed record DiskRequest(long Offset, byte[]? Bytes)
{
    /// <summary>Whether it is a flush.</summary>
    public bool IsFlush => Bytes is null;
}

/// <summary>
/// A disk that QEMU reaches by NBD, and of which everything that the guest writes is known in its order: so the disk can be had as it would be if the power had failed
/// at any moment. What was written after the last flush is then there or not, piece by piece, in any order, as a disk's own memory loses it.
/// </summary>
/// <remarks>The protocol is the NBD project's doc/proto.md: newstyle negotiation with NBD_OPT_GO and NBD_OPT_EXPORT_NAME, simple replies.</remarks>
public sealed class RecordedDisk : IDisposable
{
    private const ulong Magic = 0x4e42444d41474943, OptionMagic = 0x49484156454f5054, OptionReplyMagic = 0x3e889045565a9;
    private const uint RequestMagic = 0x25609513, ReplyMagic = 0x67446698;
    private const ushort HasFlags = 1, SendsFlush = 4, SendsForceUnitAccess = 8, SendsTrim = 32, SendsWriteZeroes = 64;
    private const int Sector = 512;

    private readonly Lock gate = new();
    private readonly FileStream image;
    private readonly Socket listener;
    private readonly string directory;
    private readonly List<DiskRequest> log = [];

    /// <summary>Serves an image. It is written as the guest writes it.</summary>
    /// <param name="path">A raw image of the disk's size.</param>
    public RecordedDisk(string path)
    {
        image = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        directory = Directory.CreateTempSubdirectory("sbox-disk-").FullName; // a socket's path holds 107 bytes
        listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint($"{directory}/nbd"));
        listener.Listen();
        new Thread(Accept) { IsBackground = true, Name = "disk" }.Start();
    }

    /// <summary>The drive for QEMU's <c>-drive</c>.</summary>
    public string Drive => $"if=virtio,format=raw,cache=writeback,file.driver=nbd,file.server.type=unix,file.server.path={directory}/nbd";

    /// <summary>What was asked so far.</summary>
    public int Length
    {
        get
        {
            lock (gate)
                return log.Count;
        }
    }

    /// <summary>What was asked, in the order in which it was answered.</summary>
    public IReadOnlyList<DiskRequest> Log
    {
        get
        {
            lock (gate)
                return [.. log];
        }
    }

    /// <summary>Forgets what was asked; the disk stays as it is.</summary>
    public void Forget()
    {
        lock (gate)
            log.Clear();
    }

    /// <summary>
    /// Makes a disk out of one that the power failed on: all that was on it before a flush is there, of what came later some sectors are.
    /// </summary>
    /// <param name="stream">The disk as it was before the first request.</param>
    /// <param name="log">What was asked of it until the power failed.</param>
    /// <param name="survives">Whether a piece (a sector's place) that no flush covers reached the disk.</param>
    public static void Replay(Stream stream, IReadOnlyList<DiskRequest> log, Func<bool> survives)
    {
        int flushed = log.Count - 1;
        while (flushed >= 0 && !log[flushed].IsFlush)
            flushed--;
        for (int at = 0; at < log.Count; at++)
        {
            if (log[at].Bytes is not { } bytes)
                continue;
            if (at < flushed)
            {
                stream.Position = log[at].Offset;
                stream.Write(bytes);
                continue;
            }

            // A sector is there as a whole or not at all, whatever the request's size.
            for (int sector = 0; sector < bytes.Length; sector += Sector)
            {
                if (!survives())
                    continue;
                stream.Position = log[at].Offset + sector;
                stream.Write(bytes, sector, Math.Min(Sector, bytes.Length - sector));
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        listener.Dispose();
        image.Dispose();
        Directory.Delete(directory, recursive: true);
    }

    private void Accept()
    {
        while (true)
        {
            try
            {
                Socket socket = listener.Accept();
                new Thread(() => Serve(socket)) { IsBackground = true, Name = "disk" }.Start();
            }
            catch (Exception ended) when (ended is SocketException or ObjectDisposedException)
            {
                return;
            }
        }
    }

    private void Serve(Socket socket)
    {
        try
        {
            using var stream = new NetworkStream(socket, ownsSocket: true);
            if (Negotiate(stream))
                Answer(stream);
        }
        catch (Exception ended) when (ended is IOException or ObjectDisposedException)
        {
            return; // QEMU was killed: that is what this is for
        }
    }

    private bool Negotiate(NetworkStream stream)
    {
        Send(stream, Words.Long(Magic), Words.Long(OptionMagic), Words.Short(3)); // fixed newstyle, no zeroes
        Take(stream, 4);
        while (true)
        {
            byte[] header = Take(stream, 16);
            uint option = BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(8));
            Take(stream, (int)BinaryPrimitives.ReadUInt32BigEndian(header.AsSpan(12)));
            byte[] size = Words.Long((ulong)image.Length), flags = Words.Short(HasFlags | SendsFlush | SendsForceUnitAccess | SendsTrim | SendsWriteZeroes);
            switch (option)
            {
                case 1: // EXPORT_NAME
                    Send(stream, size, flags);
                    return true;
                case 6 or 7: // INFO, GO
                    Reply(stream, option, 3, [.. Words.Short(0), .. size, .. flags]);
                    Reply(stream, option, 1, []);
                    if (option == 7)
                        return true;
                    break;
                case 2: // ABORT
                    Reply(stream, option, 1, []);
                    return false;
                default:
                    Reply(stream, option, 0x80000001, []); // not supported
                    break;
            }
        }
    }

    private static void Reply(NetworkStream stream, uint option, uint kind, byte[] body) =>
        Send(stream, Words.Long(OptionReplyMagic), Words.Int(option), Words.Int(kind), Words.Int((uint)body.Length), body);

    private void Answer(NetworkStream stream)
    {
        while (true)
        {
            byte[] request = Take(stream, 28);
            if (BinaryPrimitives.ReadUInt32BigEndian(request) != RequestMagic)
                throw new IOException("that is no NBD request");
            bool forced = (BinaryPrimitives.ReadUInt16BigEndian(request.AsSpan(4)) & 1) != 0;
            int command = BinaryPrimitives.ReadUInt16BigEndian(request.AsSpan(6));
            long offset = BinaryPrimitives.ReadInt64BigEndian(request.AsSpan(16));
            int length = (int)BinaryPrimitives.ReadUInt32BigEndian(request.AsSpan(24));
            byte[] answer = [];
            switch (command)
            {
                case 0: // READ
                    answer = new byte[length];
                    lock (gate)
                    {
                        image.Position = offset;
                        image.ReadExactly(answer);
                    }

                    break;
                case 1: // WRITE
                    Write(offset, Take(stream, length), forced);
                    break;
                case 6: // WRITE_ZEROES
                    Write(offset, new byte[length], forced);
                    break;
                case 3: // FLUSH
                    Note(new DiskRequest(0, null));
                    break;
                case 2: // DISCONNECT
                    return;
                default: // TRIM: what was there stays
                    break;
            }

            Send(stream, Words.Int(ReplyMagic), Words.Int(0), request[8..16], answer);
        }
    }

    private void Write(long offset, byte[] bytes, bool forced)
    {
        lock (gate)
        {
            image.Position = offset;
            image.Write(bytes);
            log.Add(new DiskRequest(offset, bytes));
            if (forced)
                log.Add(new DiskRequest(0, null)); // stricter than it is: only this one had to reach the disk
        }
    }

    private void Note(DiskRequest request)
    {
        lock (gate)
            log.Add(request);
    }

    private static byte[] Take(NetworkStream stream, int length)
    {
        var bytes = new byte[length];
        stream.ReadExactly(bytes);
        return bytes;
    }

    private static void Send(NetworkStream stream, params byte[][] parts) => stream.Write([.. parts.SelectMany(static part => part)]);

    private static class Words
    {
        public static byte[] Short(int value)
        {
            var bytes = new byte[2];
            BinaryPrimitives.WriteUInt16BigEndian(bytes, (ushort)value);
            return bytes;
        }

        public static byte[] Int(uint value)
        {
            var bytes = new byte[4];
            BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
            return bytes;
        }

        public static byte[] Long(ulong value)
        {
            var bytes = new byte[8];
            BinaryPrimitives.WriteUInt64BigEndian(bytes, value);
            return bytes;
        }
    }
}
