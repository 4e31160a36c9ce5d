using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>Something that reached a disk: bytes, or a flush of its cache (no bytes).</summary>
/// <param name="Disk">Which disk, from 0.</param>
/// <param name="Offset">Where.</param>
/// <param name="Bytes">What; null for a flush.</param>
internal sealed record DiskEvent(int Disk, long Offset, byte[]? Bytes);

/// <summary>
/// Disks that remember everything that is written to them and when their caches are flushed: files <c>0</c>, <c>1</c> ... of a FUSE file system in memory, for block devices to stand on. A write of
/// the device is a WRITE here, and its flush an FSYNC, in the order in which they come, over all disks.
/// </summary>
internal sealed class WriteLog : IDisposable
{
    private const int Entry = 1, Forget = 2, GetAttr = 3, SetAttr = 4, Open = 14, Read = 15, Write = 16, StatFs = 17, Release = 18, FSync = 20, Flush = 25, Init = 26, Interrupt = 36, BatchForget = 42;
    private const int Header = 16, NoSys = -38, NoEntry = -2, MaxWrite = 1 << 20, FirstNode = 2;
    private readonly SafeFileHandle device;
    private readonly FileStream stream;
    private readonly byte[][] disks;
    private readonly List<DiskEvent> events = [];
    private readonly Thread worker;

    /// <param name="mountPoint">Where the files appear.</param>
    /// <param name="disks">What they hold.</param>
    public WriteLog(string mountPoint, params byte[][] disks)
    {
        this.disks = disks;
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
            Read => (0, ReadReply(Disk(node), body)),
            Write => (0, WriteReply(Disk(node), body)),
            FSync => Flushed(Disk(node)),
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
        if (!int.TryParse(Encoding.ASCII.GetString(name).TrimEnd('\0'), NumberStyles.None, CultureInfo.InvariantCulture, out int disk) || disk >= disks.Length)
            return (NoEntry, []);
        var reply = new byte[128];
        ulong node = (ulong)(FirstNode + disk);
        BinaryPrimitives.WriteUInt64LittleEndian(reply, node);
        Attributes(node).CopyTo(reply, 40);
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
        long size = node < FirstNode ? 0 : disks[Disk(node)].Length;
        BinaryPrimitives.WriteInt64LittleEndian(attributes.AsSpan(8), size);
        BinaryPrimitives.WriteInt64LittleEndian(attributes.AsSpan(16), size / 512);
        BinaryPrimitives.WriteUInt32LittleEndian(attributes.AsSpan(60), node < FirstNode ? 0x41EDu : 0x8180u); // drwxr-xr-x, -rw-------
        BinaryPrimitives.WriteInt32LittleEndian(attributes.AsSpan(64), 1);
        BinaryPrimitives.WriteInt32LittleEndian(attributes.AsSpan(80), 4096);
        return attributes;
    }

    private static int Disk(ulong node) => (int)node - FirstNode;

    private byte[] ReadReply(int which, ReadOnlySpan<byte> body)
    {
        byte[] disk = disks[which];
        long offset = BinaryPrimitives.ReadInt64LittleEndian(body[8..]);
        int size = (int)Math.Clamp(disk.Length - offset, 0, BinaryPrimitives.ReadInt32LittleEndian(body[16..]));
        return disk.AsSpan((int)offset, size).ToArray();
    }

    private byte[] WriteReply(int disk, ReadOnlySpan<byte> body)
    {
        long offset = BinaryPrimitives.ReadInt64LittleEndian(body[8..]);
        int size = BinaryPrimitives.ReadInt32LittleEndian(body[16..]);
        byte[] bytes = body.Slice(40, size).ToArray();
        bytes.CopyTo(disks[disk], offset);
        lock (events)
            events.Add(new DiskEvent(disk, offset, bytes));
        var reply = new byte[8];
        BinaryPrimitives.WriteInt32LittleEndian(reply, size);
        return reply;
    }

    private (int Error, byte[] Reply) Flushed(int disk)
    {
        lock (events)
            events.Add(new DiskEvent(disk, 0, null));
        return (0, []);
    }
}
