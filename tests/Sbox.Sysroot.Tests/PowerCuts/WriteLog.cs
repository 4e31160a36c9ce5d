using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>Something that reached a disk: bytes, or a flush of its cache (no bytes).</summary>
/// <param name="Offset">Where.</param>
/// <param name="Bytes">What; null for a flush.</param>
/// <param name="Beside">At a flush: what else there was at this moment, path and bytes; who flushed waits until it was looked at.</param>
internal sealed record DiskEvent(long Offset, byte[]? Bytes, IReadOnlyDictionary<string, byte[]>? Beside);

/// <summary>
/// A disk that remembers everything that is written to it and when its cache is flushed: a file of a FUSE file system in memory, for a loop device to stand on. A write of
/// the loop device is a WRITE here, and its flush an FSYNC, in the order in which the kernel sends them.
/// </summary>
internal sealed class WriteLog : IDisposable
{
    private const int Entry = 1, Forget = 2, GetAttr = 3, SetAttr = 4, Open = 14, Read = 15, Write = 16, StatFs = 17, Release = 18, FSync = 20, Flush = 25, Init = 26, Interrupt = 36, BatchForget = 42;
    private const int Header = 16, NoSys = -38, NoEntry = -2, MaxWrite = 1 << 20;
    private readonly SafeFileHandle device;
    private readonly FileStream stream;
    private readonly byte[] disk;
    private readonly string beside;
    private readonly List<DiskEvent> events = [];
    private readonly Thread worker;

    /// <param name="mountPoint">Where the file <c>disk</c> appears.</param>
    /// <param name="disk">What it holds.</param>
    /// <param name="beside">A directory that is looked at whenever the disk is flushed.</param>
    public WriteLog(string mountPoint, byte[] disk, string beside)
    {
        (this.disk, this.beside) = (disk, beside);
        using (Dir dev = Dir.Open("/dev"))
            device = dev.OpenToWrite("fuse");
        stream = new FileStream(device, FileAccess.ReadWrite, bufferSize: 0);
        using FileSystemContext context = FileSystemContext.Open("fuse").Set("source", "write-log").Set("fd", ((int)device.DangerousGetHandle()).ToString(CultureInfo.InvariantCulture))
            .Set("rootmode", "40000").Set("user_id", "0").Set("group_id", "0").Set("allow_other");
        using DetachedMount made = context.Create();
        worker = new Thread(Work) { IsBackground = true, Name = "write log" };
        worker.Start();
        made.AttachAt(mountPoint);
    }

    /// <summary>What was written and flushed, in order.</summary>
    public IReadOnlyList<DiskEvent> Events
    {
        get
        {
            lock (events)
                return [.. events];
        }
    }

    public void Dispose() => stream.Dispose();

    private void Work()
    {
        var request = new byte[MaxWrite + 65536];
        try
        {
            while (stream.Read(request) is > 0 and var length)
                Answer(request.AsSpan(0, length));
        }
        catch (Exception end) when (end is IOException or ObjectDisposedException or UnauthorizedAccessException)
        {
            return; // unmounted
        }
        finally
        {
            stream.Dispose(); // whoever still waits for an answer gets none, and an error
        }
    }

    private void Answer(ReadOnlySpan<byte> request)
    {
        int operation = BinaryPrimitives.ReadInt32LittleEndian(request[4..]);
        ulong unique = BinaryPrimitives.ReadUInt64LittleEndian(request[8..]), node = BinaryPrimitives.ReadUInt64LittleEndian(request[16..]);
        ReadOnlySpan<byte> body = request[40..];
        if (operation is Forget or BatchForget or Interrupt)
            return;
        (int error, byte[] reply) = operation switch
        {
            Init => (0, InitReply()),
            Entry => Lookup(body),
            GetAttr or SetAttr => (0, AttrReply(node)),
            Open => (0, new byte[16]),
            Read => (0, ReadReply(body)),
            Write => (0, WriteReply(body)),
            FSync => Flushed(),
            Flush or Release => (0, []),
            StatFs => (0, new byte[80]),
            _ => (NoSys, Array.Empty<byte>()),
        };
        var answer = new byte[Header + reply.Length];
        BinaryPrimitives.WriteInt32LittleEndian(answer, answer.Length);
        BinaryPrimitives.WriteInt32LittleEndian(answer.AsSpan(4), error);
        BinaryPrimitives.WriteUInt64LittleEndian(answer.AsSpan(8), unique);
        reply.CopyTo(answer, Header);
        stream.Write(answer);
    }

    // 7.31; one mebibyte a write (FUSE_MAX_PAGES, FUSE_BIG_WRITES), no cache of writes in the kernel: what was written is here.
    private static byte[] InitReply()
    {
        var reply = new byte[64];
        BinaryPrimitives.WriteInt32LittleEndian(reply, 7);
        BinaryPrimitives.WriteInt32LittleEndian(reply.AsSpan(4), 31);
        BinaryPrimitives.WriteInt32LittleEndian(reply.AsSpan(8), 1 << 17);
        BinaryPrimitives.WriteInt32LittleEndian(reply.AsSpan(12), (1 << 22) | (1 << 5));
        BinaryPrimitives.WriteInt32LittleEndian(reply.AsSpan(20), MaxWrite);
        BinaryPrimitives.WriteInt32LittleEndian(reply.AsSpan(24), 1);
        BinaryPrimitives.WriteUInt16LittleEndian(reply.AsSpan(28), MaxWrite / 4096);
        return reply;
    }

    private (int Error, byte[] Reply) Lookup(ReadOnlySpan<byte> name)
    {
        if (Encoding.ASCII.GetString(name).TrimEnd('\0') != "disk")
            return (NoEntry, []);
        var reply = new byte[128];
        BinaryPrimitives.WriteInt64LittleEndian(reply, 2);
        Attributes(2).CopyTo(reply, 40);
        return (0, reply);
    }

    private byte[] AttrReply(ulong node)
    {
        var reply = new byte[104];
        Attributes(node).CopyTo(reply, 16);
        return reply;
    }

    private byte[] Attributes(ulong node)
    {
        var attributes = new byte[88];
        BinaryPrimitives.WriteUInt64LittleEndian(attributes, node);
        long size = node == 1 ? 0 : disk.Length;
        BinaryPrimitives.WriteInt64LittleEndian(attributes.AsSpan(8), size);
        BinaryPrimitives.WriteInt64LittleEndian(attributes.AsSpan(16), size / 512);
        BinaryPrimitives.WriteUInt32LittleEndian(attributes.AsSpan(60), node == 1 ? 0x41EDu : 0x8180u); // drwxr-xr-x, -rw-------
        BinaryPrimitives.WriteInt32LittleEndian(attributes.AsSpan(64), 1);
        BinaryPrimitives.WriteInt32LittleEndian(attributes.AsSpan(80), 4096);
        return attributes;
    }

    private byte[] ReadReply(ReadOnlySpan<byte> body)
    {
        long offset = BinaryPrimitives.ReadInt64LittleEndian(body[8..]);
        int size = (int)Math.Clamp(disk.Length - offset, 0, BinaryPrimitives.ReadInt32LittleEndian(body[16..]));
        return disk.AsSpan((int)offset, size).ToArray();
    }

    private byte[] WriteReply(ReadOnlySpan<byte> body)
    {
        long offset = BinaryPrimitives.ReadInt64LittleEndian(body[8..]);
        int size = BinaryPrimitives.ReadInt32LittleEndian(body[16..]);
        byte[] bytes = body.Slice(40, size).ToArray();
        bytes.CopyTo(disk, offset);
        lock (events)
            events.Add(new DiskEvent(offset, bytes, null));
        var reply = new byte[8];
        BinaryPrimitives.WriteInt32LittleEndian(reply, size);
        return reply;
    }

    private (int Error, byte[] Reply) Flushed()
    {
        IReadOnlyDictionary<string, byte[]> now = Look();
        lock (events)
            events.Add(new DiskEvent(0, null, now));
        return (0, []);
    }

    // Whoever asked for the flush waits; the kernel may flush by itself while somebody writes there, so it counts when it looks the same twice.
    private Dictionary<string, byte[]> Look()
    {
        for (Dictionary<string, byte[]>? last = null; ;)
        {
            var now = new Dictionary<string, byte[]>();
            try
            {
                foreach (string file in Directory.GetFiles(beside, "*", SearchOption.AllDirectories))
                    now[Path.GetRelativePath(beside, file)] = File.ReadAllBytes(file);
            }
            catch (IOException)
            {
                continue; // it was renamed while it was looked at
            }

            if (last is not null && last.Count == now.Count && last.All(each => now.TryGetValue(each.Key, out byte[]? other) && other.AsSpan().SequenceEqual(each.Value)))
                return now;
            last = now;
        }
    }
}
