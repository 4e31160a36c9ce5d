using System.Buffers;
using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>Bytes outside the managed heap that can be lent as <see cref="Memory{T}"/>: large buffers that the collector would zero, move and keep.</summary>
public sealed unsafe class NativeBlock : MemoryManager<byte>
{
    // Large blocks come from the kernel and go back to it: the C library would keep them, in pieces, for as long as the process lives.
    private const int MappedFrom = 128 * 1024, HugePage = 2 << 20;

    private byte* memory;
    private readonly int length;

    /// <summary>Takes memory; what is in it is not defined.</summary>
    /// <param name="length">Bytes.</param>
    public NativeBlock(int length)
    {
        this.length = length;
        if (length < MappedFrom)
        {
            memory = (byte*)NativeMemory.AlignedAlloc((nuint)length, 64);
            return;
        }

        memory = (byte*)Map(length);
    }

    /// <summary>Takes memory, all zeros, that will be written whole: in pages of 2 MiB where the kernel has them, each of which is one fault instead of 512.</summary>
    /// <param name="length">Bytes: a multiple of 2 MiB.</param>
    /// <exception cref="LinuxException">There is no room for it.</exception>
    public static NativeBlock OfHugePages(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(length % HugePage, 0, nameof(length));
        nint mapped = Map((nint)length + HugePage), aligned = (mapped + HugePage - 1) & ~(nint)(HugePage - 1);
        // Such a page begins at a multiple of its size; what lies around it goes back.
        if (aligned > mapped)
            _ = LibC.munmap(mapped, aligned - mapped);
        if (mapped + HugePage > aligned)
            _ = LibC.munmap(aligned + length, mapped + HugePage - aligned);
        _ = LibC.madvise((void*)aligned, length, LibC.MADV_HUGEPAGE); // refused: then they are small ones
        return new NativeBlock((byte*)aligned, length);
    }

    private NativeBlock(byte* mapped, int length)
    {
        memory = mapped;
        this.length = length;
    }

    private static nint Map(nint length)
    {
        nint mapped = LibC.mmap(0, length, LibC.PROT_READ | LibC.PROT_WRITE, LibC.MAP_PRIVATE | LibC.MAP_ANONYMOUS, -1, 0);
        Errno errno = mapped == -1 ? Answer.Of(-1) : Errno.None;
        return errno == Errno.None ? mapped : throw new LinuxException(errno, "mmap", $"{length} bytes");
    }

    /// <summary>Its size in bytes.</summary>
    public int Length => length;

    /// <summary>Whether it comes from the kernel and goes back to it, and not to the C library.</summary>
    public bool IsMapped => length >= MappedFrom;

    internal byte* Pointer => memory;

    /// <inheritdoc/>
    public override Span<byte> GetSpan() => new(memory, length);

    /// <inheritdoc/>
    public override MemoryHandle Pin(int elementIndex = 0) => new(memory + elementIndex);

    /// <inheritdoc/>
    public override void Unpin()
    {
        // It never moves.
    }

    /// <summary>Gives the memory back.</summary>
    public void Free() => ((IDisposable)this).Dispose();

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        byte* mine = memory;
        memory = null;
        if (mine == null)
            return;
        if (length < MappedFrom)
            NativeMemory.AlignedFree(mine);
        else
            _ = LibC.munmap((nint)mine, length); // it can only fail for an address that is no mapping
    }
}
