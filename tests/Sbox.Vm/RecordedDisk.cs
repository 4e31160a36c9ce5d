using System.Buffers.Binary;
using System.Net.Sockets;
using System.Text;

namespace Sbox.Vm;

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

    private readonly Lock gate = new();
    private readonly FileStream image;
    private readonly Socket listener;
    private readonly string directory;

    /// <summary>Serves an image. It is written as the guest writes it.</summary>
    /// <param name="path">A raw image of the disk's size.</param>
    /// <param name="log">The file that gets what was written; what was in it is gone.</param>
    public RecordedDisk(string path, string log)
    {
        Log = DiskLog.Create(log);
        image = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        directory = Directory.CreateTempSubdirectory("sbox-disk-").FullName; // a socket's path holds 107 bytes
        listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint($"{directory}/nbd"));
        listener.Listen();
        new Thread(Accept) { IsBackground = true, Name = "disk" }.Start();
    }

    /// <summary>The drive for QEMU's <c>-drive</c>.</summary>
    public string Drive => $"if=virtio,format=raw,cache=writeback,file.driver=nbd,file.server.type=unix,file.server.path={directory}/nbd";

    /// <summary>What was asked, in the order in which it was answered. It is the disk's, and closed with it.</summary>
    public DiskLog Log { get; }

    /// <inheritdoc/>
    public void Dispose()
    {
        listener.Dispose();
        lock (gate)
        {
            image.Dispose();
            Log.Dispose();
        }

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
                    lock (gate)
                        Log.AddFlush();
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
            Log.AddWrite(offset, bytes);
            if (forced)
                Log.AddFlush(); // more than was asked, only this one had to reach the disk; a guest of virtio asks for none
        }
    }

    private static byte[] Take(NetworkStream stream, int length)
    {
        var bytes = new byte[length];
        stream.ReadExactly(bytes);
        return bytes;
    }

    private static void Send(NetworkStream stream, params byte[][] parts)
    {
        var whole = new byte[parts.Sum(static part => part.Length)];
        int at = 0;
        foreach (byte[] part in parts)
        {
            part.CopyTo(whole, at);
            at += part.Length;
        }

        stream.Write(whole);
    }

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
