using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static Sbox.Linux.FuseProtocol;

namespace Sbox.Linux;

/// <summary>One request and room for its reply. Used again and again; a request that waits for something keeps its own.</summary>
internal sealed class FuseRequest
{
    /// <summary>What the kernel insists on, and more than any request of a tree that is not written to.</summary>
    public const int InSize = 16 * 1024;

    /// <summary>The longest reply to anything but READ and READDIR: an extended attribute.</summary>
    public const int SmallReply = (64 * 1024) + OutHeaderSize;

    private readonly NativeBlock buffer = new(InSize);
    private CancellationTokenSource cancel = new();
    private NativeBlock? small;

    public NativeBlock Buffer => buffer;

    /// <summary>Bytes that the kernel wrote.</summary>
    public int Length { get; set; }

    /// <summary>Which request this is, for an interrupt; 0 while there is none.</summary>
    public ulong Unique;

    public FuseDirectoryPage Page { get; } = new();

    public FuseContent Content { get; } = new();

    public CancellationToken Cancelled => cancel.Token;

    public InHeader Header => MemoryMarshal.Read<InHeader>(buffer.GetSpan());

    /// <summary>What follows the header.</summary>
    public ReadOnlyMemory<byte> Body => buffer.Memory[Unsafe.SizeOf<InHeader>()..Length];

    /// <summary>Room for a reply with its header, 64 KiB of it.</summary>
    public NativeBlock Small => small ??= new NativeBlock(SmallReply);

    public T Read<T>() where T : struct => MemoryMarshal.Read<T>(Body.Span);

    /// <summary>A name that follows so many bytes of the body, without its NUL.</summary>
    public ReadOnlyMemory<byte> Name(int after)
    {
        ReadOnlyMemory<byte> rest = Body[after..];
        int end = rest.Span.IndexOf((byte)0);
        return end < 0 ? throw new LinuxException(Errno.EINVAL, "fuse", "a name without its end") : rest[..end];
    }

    public void Interrupt() => cancel.Cancel();

    public void Reset()
    {
        Volatile.Write(ref Unique, 0);
        if (!cancel.TryReset())
            cancel = new CancellationTokenSource();
    }

    public void Free()
    {
        buffer.Free();
        small?.Free();
    }
}
