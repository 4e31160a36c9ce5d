using System.Buffers.Binary;
using System.Collections.Concurrent;
using System.Text;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>The server refused a request, by its own code and words.</summary>
internal sealed class SftpException(uint code, string words) : IOException(words)
{
    public const uint NoSuchFile = 2, Failure = 4;

    public uint Code { get; } = code;
}

/// <summary>
/// SFTP version 3 over a child's pipes (<c>ssh HOST -s sftp</c>): many requests may be under way at once, each answer finds its request
/// by number. Source: draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL for its extensions.
/// </summary>
internal sealed class SftpConnection : IDisposable
{
    public const int PieceSize = 32 * 1024; // what every server takes in one request

    private const byte Init = 1, Version = 2, StatusReply = 101, HandleReply = 102, DataReply = 103, NameReply = 104, AttributesReply = 105, Extended = 200, ExtendedReply = 201;
    private const int PacketAtMost = 1 << 20;
    private readonly PipedChild child;
    private readonly SemaphoreSlim writing = new(1);
    private readonly ConcurrentDictionary<uint, TaskCompletionSource<byte[]>> waiting = new();
    private readonly HashSet<string> extensions = [];
    private uint last;
    private IOException? broken;

    private SftpConnection(PipedChild child) => this.child = child;

    /// <summary>Whether the server can still be talked to.</summary>
    public bool IsBroken => broken is not null;

    /// <summary>Connects.</summary>
    /// <param name="command">What connects.</param>
    /// <param name="holds">Whether its complaints are kept for the message of a failure, and not on this program's stderr.</param>
    /// <param name="cancel">Gives it up.</param>
    /// <exception cref="SshEndedException">It ended before the server answered.</exception>
    public static async Task<SftpConnection> Open(ChildCommand command, bool holds, CancellationToken cancel)
    {
        var connection = new SftpConnection(PipedChild.Start(command, holds));
        try
        {
            await connection.Write(new byte[] { Init, 0, 0, 0, 3 }, cancel);
            byte[] hello = await connection.ReadPacket(CancellationToken.None).WaitAsync(cancel);
            if (hello.Length < 5 || hello[0] != Version)
                throw new IOException("it does not speak SFTP");
            var reader = new Packet(hello.AsSpan(5));
            while (!reader.IsEmpty)
            {
                connection.extensions.Add(reader.Text());
                reader.Bytes();
            }

            _ = Task.Run(connection.ReadAnswers, CancellationToken.None);
            return connection;
        }
        catch (IOException ended) when (!cancel.IsCancellationRequested)
        {
            IReadOnlyList<string> words = await connection.child.LastWords();
            connection.Dispose();
            throw new SshEndedException(words, ended is EndOfStreamException ? null : ended.Message);
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    public async Task<byte[]> OpenFile(string path, bool write, CancellationToken cancel)
    {
        const uint Read = 1, WriteFlag = 2, Create = 8, Exclusive = 0x20;
        Request request = Make(3).Text(path).Number(write ? WriteFlag | Create | Exclusive : Read);
        request = write ? request.Number(4).Number(0x180 /* 0600 */) : request.Number(0);
        return new Packet(Expect(await Ask(request, cancel), HandleReply)).Bytes().ToArray();
    }

    public async Task Close(byte[] handle, CancellationToken cancel) => Check(await Ask(Make(4).Bytes(handle), cancel));

    /// <summary>Bytes of an open file; null at its end.</summary>
    public async Task<byte[]?> Read(byte[] handle, long offset, int length, CancellationToken cancel)
    {
        byte[] answer = await Ask(Make(5).Bytes(handle).Long(offset).Number((uint)length), cancel);
        if (answer[0] == DataReply)
            return new Packet(answer.AsSpan(5)).Bytes().ToArray();
        return Code(answer) == 1 ? null : throw Refusal(answer);
    }

    public async Task Write(byte[] handle, long offset, ReadOnlyMemory<byte> bytes, CancellationToken cancel) =>
        Check(await Ask(Make(6).Bytes(handle).Long(offset).Bytes(bytes.Span), cancel));

    /// <summary>Size and mode of a path; null when there is none.</summary>
    public async Task<(long Size, uint Mode)?> Stat(string path, CancellationToken cancel)
    {
        byte[] answer = await Ask(Make(17).Text(path), cancel);
        if (answer[0] == AttributesReply)
            return new Packet(answer.AsSpan(5)).Attributes();
        return Code(answer) == SftpException.NoSuchFile ? null : throw Refusal(answer);
    }

    public async Task<IReadOnlyList<(string Name, long Size, uint Mode)>> List(string path, CancellationToken cancel)
    {
        byte[] handle = new Packet(Expect(await Ask(Make(11).Text(path), cancel), HandleReply)).Bytes().ToArray();
        var names = new List<(string, long, uint)>();
        while (true)
        {
            byte[] answer = await Ask(Make(12).Bytes(handle), cancel);
            if (answer[0] == StatusReply)
            {
                await Close(handle, cancel);
                return Code(answer) == 1 ? names : throw Refusal(answer);
            }

            var reader = new Packet(Expect(answer, NameReply));
            for (uint left = reader.Number(); left > 0; left--)
            {
                string name = reader.Text();
                reader.Bytes(); // the line that ls would print
                (long size, uint mode) = reader.Attributes();
                names.Add((name, size, mode));
            }
        }
    }

    public async Task Remove(string path, CancellationToken cancel) => Check(await Ask(Make(13).Text(path), cancel));

    public async Task MakeDirectory(string path, CancellationToken cancel) => Check(await Ask(Make(14).Text(path).Number(4).Number(0x1C0 /* 0700 */), cancel));

    public async Task Rename(string from, string to, CancellationToken cancel)
    {
        Request request = extensions.Contains("posix-rename@openssh.com") ? Make(Extended).Text("posix-rename@openssh.com") : Make(18);
        Check(await Ask(request.Text(from).Text(to), cancel));
    }

    /// <summary>fsync on the server, where it can.</summary>
    public async Task Sync(byte[] handle, CancellationToken cancel)
    {
        if (extensions.Contains("fsync@openssh.com"))
            Check(await Ask(Make(Extended).Text("fsync@openssh.com").Bytes(handle), cancel));
    }

    /// <summary>Bytes that may still be written where a path is; null where the server does not say.</summary>
    public async Task<long?> FreeBytes(string path, CancellationToken cancel)
    {
        if (!extensions.Contains("statvfs@openssh.com"))
            return null;
        byte[] answer = await Ask(Make(Extended).Text("statvfs@openssh.com").Text(path), cancel);
        if (answer[0] != ExtendedReply || answer.Length < 5 + (5 * 8))
            return null;
        long unit = BinaryPrimitives.ReadInt64BigEndian(answer.AsSpan(5 + 8)), blocks = BinaryPrimitives.ReadInt64BigEndian(answer.AsSpan(5 + (4 * 8)));
        return unit * blocks;
    }

    /// <summary>Gives the connection up, with all that is under way on it.</summary>
    public void Abandon(string why)
    {
        Break(new IOException(why));
        child.Kill();
    }

    public void Dispose()
    {
        Break(new IOException("the connection was closed"));
        child.Dispose();
        writing.Dispose();
    }

    private Request Make(byte type) => new(type, Interlocked.Increment(ref last));

    private async Task<byte[]> Ask(Request request, CancellationToken cancel)
    {
        if (broken is { } gone)
            throw new IOException(gone.Message, gone);
        var answer = new TaskCompletionSource<byte[]>(TaskCreationOptions.RunContinuationsAsynchronously);
        waiting[request.Number_] = answer;
        await using CancellationTokenRegistration stopping = cancel.Register(() => answer.TrySetCanceled(cancel));
        try
        {
            await Write(request.ToArray(), cancel);
            return await answer.Task;
        }
        finally
        {
            waiting.TryRemove(request.Number_, out _);
        }
    }

    private async Task Write(ReadOnlyMemory<byte> packet, CancellationToken cancel)
    {
        await writing.WaitAsync(cancel);
        try
        {
            var framed = new byte[packet.Length + 4];
            BinaryPrimitives.WriteInt32BigEndian(framed, packet.Length);
            packet.CopyTo(framed.AsMemory(4));
            await WriteWhole(framed).WaitAsync(cancel);
        }
        catch (OperationCanceledException)
        {
            Abandon("a request could not be written in time"); // half a packet would garble all that follow
            throw;
        }
        finally
        {
            writing.Release();
        }
    }

    // On a thread of its own: a pipe that nobody reads holds whoever writes, and only the end of ssh lets go of it.
    private Task WriteWhole(byte[] framed) => Task.Run(async () =>
    {
        await child.Input.WriteAsync(framed, CancellationToken.None);
        await child.Input.FlushAsync(CancellationToken.None);
    }, CancellationToken.None);

    private async Task<byte[]> ReadPacket(CancellationToken cancel)
    {
        var length = new byte[4];
        await child.Output.ReadExactlyAsync(length, cancel);
        uint size = BinaryPrimitives.ReadUInt32BigEndian(length);
        if (size is < 5 or > PacketAtMost)
            throw new IOException($"a packet of {size} bytes");
        var packet = new byte[size];
        await child.Output.ReadExactlyAsync(packet, cancel);
        return packet;
    }

    private async Task ReadAnswers()
    {
        try
        {
            while (true)
            {
                byte[] packet = await ReadPacket(CancellationToken.None);
                if (waiting.TryGetValue(BinaryPrimitives.ReadUInt32BigEndian(packet.AsSpan(1)), out TaskCompletionSource<byte[]>? request))
                    request.TrySetResult(packet);
            }
        }
        catch (Exception ended)
        {
            Break(new IOException($"the connection broke: {(ended is EndOfStreamException ? new SshEndedException(await child.LastWords(), null).Message : ended.Message)}"));
        }
    }

    private void Break(IOException why)
    {
        broken ??= why;
        foreach (TaskCompletionSource<byte[]> request in waiting.Values)
            request.TrySetException(broken);
    }

    private static byte[] Expect(byte[] answer, byte type) => answer[0] == type ? answer[5..] : throw Refusal(answer);

    private static void Check(byte[] answer)
    {
        if (answer[0] != StatusReply || Code(answer) != 0)
            throw Refusal(answer);
    }

    private static uint Code(byte[] answer) => answer[0] == StatusReply && answer.Length >= 9 ? BinaryPrimitives.ReadUInt32BigEndian(answer.AsSpan(5)) : uint.MaxValue;

    private static IOException Refusal(byte[] answer)
    {
        if (Code(answer) == uint.MaxValue)
            return new IOException($"an answer of type {answer[0]} was not expected");
        var reader = new Packet(answer.AsSpan(9));
        return new SftpException(Code(answer), reader.IsEmpty ? $"refused with code {Code(answer)}" : reader.Text());
    }

    /// <summary>A request being put together.</summary>
    private sealed class Request
    {
        private readonly MemoryStream bytes = new();

        public Request(byte type, uint number)
        {
            Number_ = number;
            bytes.WriteByte(type);
            Number(number);
        }

        public uint Number_ { get; }

        public Request Number(uint value)
        {
            Span<byte> four = stackalloc byte[4];
            BinaryPrimitives.WriteUInt32BigEndian(four, value);
            bytes.Write(four);
            return this;
        }

        public Request Long(long value)
        {
            Span<byte> eight = stackalloc byte[8];
            BinaryPrimitives.WriteInt64BigEndian(eight, value);
            bytes.Write(eight);
            return this;
        }

        public Request Bytes(ReadOnlySpan<byte> value)
        {
            Number((uint)value.Length);
            bytes.Write(value);
            return this;
        }

        public Request Text(string value) => Bytes(Encoding.UTF8.GetBytes(value));

        public byte[] ToArray() => bytes.ToArray();
    }

    /// <summary>An answer being taken apart; running out is an error.</summary>
    private ref struct Packet(ReadOnlySpan<byte> bytes)
    {
        private ReadOnlySpan<byte> rest = bytes;

        public readonly bool IsEmpty => rest.IsEmpty;

        public uint Number()
        {
            ReadOnlySpan<byte> four = Take(4);
            return BinaryPrimitives.ReadUInt32BigEndian(four);
        }

        public ReadOnlySpan<byte> Bytes() => Take((int)Math.Min(Number(), int.MaxValue));

        public string Text() => Encoding.UTF8.GetString(Bytes());

        public (long Size, uint Mode) Attributes()
        {
            uint flags = Number();
            long size = -1;
            uint mode = 0;
            if ((flags & 1) != 0)
                size = BinaryPrimitives.ReadInt64BigEndian(Take(8));
            if ((flags & 2) != 0)
                Take(8);
            if ((flags & 4) != 0)
                mode = Number();
            if ((flags & 8) != 0)
                Take(8);
            if ((flags & 0x80000000) != 0)
            {
                for (uint left = Number(); left > 0; left--)
                {
                    Bytes();
                    Bytes();
                }
            }

            return (size, mode);
        }

        private ReadOnlySpan<byte> Take(int count)
        {
            if (count > rest.Length)
                throw new IOException("an answer is cut short");
            ReadOnlySpan<byte> taken = rest[..count];
            rest = rest[count..];
            return taken;
        }
    }
}
