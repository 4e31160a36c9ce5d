using System.Buffers;
using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>Bytes outside the managed heap that can be lent as <see cref="Memory{T}"/>: large buffers that the collector would zero, move and keep.</summary>
public sealed unsafe class NativeBlock : MemoryManager<byte>
{
    private byte* memory;
    private readonly int length;

    /// <summary>Takes memory; what is in it is not defined.</summary>
    /// <param name="length">Bytes.</param>
    public NativeBlock(int length)
    {
        this.length = length;
        memory = (byte*)NativeMemory.AlignedAlloc((nuint)length, 4096);
    }

    /// <summary>Its size in bytes.</summary>
    public int Length => length;

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
        NativeMemory.AlignedFree(memory);
        memory = null;
    }
}
