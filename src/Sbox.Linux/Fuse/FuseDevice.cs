using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using static Sbox.Linux.FuseProtocol;

namespace Sbox.Linux;

/// <summary>/dev/fuse as one server has it: requests in, replies out, buffers lent in between.</summary>
internal sealed unsafe class FuseDevice : IDisposable
{
    private const ulong Clone = 0x8004E500; // _IOR(229, 0, uint32_t)
    private const int LargeKept = 4;

    private readonly ConcurrentBag<FuseRequest> idle = [];
    private readonly ConcurrentBag<NativeBlock> large = [];
    private readonly List<FuseRequest> all = [];
    private readonly List<SafeFileHandle> handles = [];
    private readonly Lock gate = new();
    private volatile bool closed;
    private long deafUntil; // in milliseconds since the machine started

    public FuseDevice()
    {
        using Dir dev = Dir.Open("/dev");
        Handle = dev.OpenToWrite("fuse");
        handles.Add(Handle);
    }

    /// <summary>The descriptor that is mounted.</summary>
    public SafeFileHandle Handle { get; }

    /// <summary>A second descriptor of the same connection, with a queue of its own: workers do not wait for each other.</summary>
    public SafeFileHandle Another()
    {
        using Dir dev = Dir.Open("/dev");
        SafeFileHandle second = dev.OpenToWrite("fuse");
        using (var first = new Borrowed(Handle))
        using (var fd = new Borrowed(second))
        {
            uint number = (uint)first.Number;
            Answer.Check(LibC.ioctl(fd.Number, Clone, &number), "ioctl FUSE_DEV_IOC_CLONE", "/dev/fuse");
        }

        lock (gate)
            handles.Add(second);
        return second;
    }

    /// <summary>Room for a request.</summary>
    public FuseRequest Take()
    {
        if (idle.TryTake(out FuseRequest? request))
            return request;
        request = new FuseRequest();
        lock (gate)
            all.Add(request);
        return request;
    }

    public void Return(FuseRequest request)
    {
        request.Reset();
        if (closed)
            request.Free();
        else
            idle.Add(request);
    }

    /// <summary>Room for a reply of 1 MiB and its header.</summary>
    public NativeBlock TakeLarge() => large.TryTake(out NativeBlock? block) ? block : new NativeBlock(FuseMount.MaxRead + OutHeaderSize);

    public void Return(NativeBlock block)
    {
        if (!closed && large.Count < LargeKept)
            large.Add(block);
        else
            block.Free();
    }

    /// <summary>For so long no request is interrupted.</summary>
    public void IgnoreInterrupts(TimeSpan howLong) => Volatile.Write(ref deafUntil, Environment.TickCount64 + (long)howLong.TotalMilliseconds);

    /// <summary>Interrupts a request that is being worked on; false where there is none by that number (any more, or yet).</summary>
    public bool Interrupt(ulong unique)
    {
        if (Environment.TickCount64 < Volatile.Read(ref deafUntil))
            return true;
        lock (gate)
        {
            FuseRequest? found = all.Find(request => Volatile.Read(ref request.Unique) == unique);
            found?.Interrupt();
            return found is not null;
        }
    }

    /// <summary>Waits for the next request.</summary>
    /// <returns>False when the file system is unmounted or its connection aborted.</returns>
    /// <exception cref="LinuxException">Refused for another reason.</exception>
    public static bool Receive(SafeFileHandle device, FuseRequest into)
    {
        using var fd = new Borrowed(device);
        while (true)
        {
            nint length = LibC.read(fd.Number, into.Buffer.Pointer, into.Buffer.Length);
            Errno errno = Answer.Of(length);
            switch (errno)
            {
                case Errno.None when length < sizeof(InHeader):
                    throw new LinuxException(Errno.EIO, "read", "/dev/fuse");
                case Errno.None:
                    into.Length = (int)length;
                    Volatile.Write(ref into.Unique, into.Header.Unique);
                    return true;
                case Errno.ENODEV or Errno.ECONNABORTED:
                    return false;
                case Errno.EINTR or Errno.EAGAIN or Errno.ENOENT: // ENOENT: whoever asked was killed before we read it
                    continue;
                default:
                    throw new LinuxException(errno, "read", "/dev/fuse");
            }
        }
    }

    /// <summary>Replies. A reader that is gone (ENOENT) or a file system that is unmounted is no error.</summary>
    /// <param name="device">The descriptor that the request came by.</param>
    /// <param name="unique">Which request.</param>
    /// <param name="errno">None, or why not.</param>
    /// <param name="block">Holds the reply after room for the header; null where it has no body.</param>
    /// <param name="length">Bytes of the body.</param>
    public static void Reply(SafeFileHandle device, ulong unique, Errno errno, NativeBlock? block, int length)
    {
        var header = new OutHeader { Length = (uint)(OutHeaderSize + length), Error = -(int)errno, Unique = unique };
        byte* bytes = block is null ? (byte*)&header : block.Pointer;
        *(OutHeader*)bytes = header;
        var whole = new LibC.IoVec { Bytes = bytes, Length = OutHeaderSize + length };
        Reply(device, &whole, 1);
    }

    /// <summary>Replies with a header and what follows it, wherever that is.</summary>
    public static void Reply(SafeFileHandle device, LibC.IoVec* parts, int count)
    {
        if (device.IsClosed)
            return;
        using var fd = new Borrowed(device);
        while (Answer.Of(LibC.writev(fd.Number, parts, count)) == Errno.EINTR)
            continue;
    }

    /// <summary>Puts bytes of a file into the kernel's cache, unasked.</summary>
    /// <returns>None; ENOENT where the kernel does not know the node (any more).</returns>
    public Errno Store(ulong node, long offset, ReadOnlySpan<byte> bytes)
    {
        if (closed || Handle.IsClosed)
            return Errno.ENODEV;
        using var fd = new Borrowed(Handle);
        var header = new StoreHeader
        {
            Out = new OutHeader { Length = (uint)(sizeof(StoreHeader) + bytes.Length), Error = NotifyStore },
            Store = new StoreOut { Node = node, Offset = (ulong)offset, Size = (uint)bytes.Length },
        };
        fixed (byte* content = bytes)
        {
            LibC.IoVec* parts = stackalloc LibC.IoVec[2];
            parts[0] = new LibC.IoVec { Bytes = (byte*)&header, Length = sizeof(StoreHeader) };
            parts[1] = new LibC.IoVec { Bytes = content, Length = bytes.Length };
            return Answer.Of(LibC.writev(fd.Number, parts, 2));
        }
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct StoreHeader
    {
        public OutHeader Out;
        public StoreOut Store;
    }

    /// <summary>Closes it. Requests that still wait for something keep their memory until they have it; a reply then goes nowhere.</summary>
    public void Dispose()
    {
        closed = true;
        lock (gate)
            handles.ForEach(static handle => handle.Dispose());
        while (idle.TryTake(out FuseRequest? request))
            request.Free();
        while (large.TryTake(out NativeBlock? block))
            block.Free();
    }
}
