using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using static Sbox.Linux.FuseProtocol;

namespace Sbox.Linux;

/// <summary>A page of a directory's entries on its way to the kernel.</summary>
public sealed class FuseDirectoryPage
{
    /// <summary>Entries before the tree's own: <c>.</c> and <c>..</c>.</summary>
    internal const int OwnEntries = 2;

    private Memory<byte> page;

    /// <summary>Whether each entry is told with its attributes, and so made known to the kernel.</summary>
    public bool WithAttributes { get; private set; }

    /// <summary>Bytes in use.</summary>
    internal int Used { get; private set; }

    /// <summary>Whether an entry of that name has its place here still.</summary>
    public bool HasRoomFor(ReadOnlySpan<byte> name) => SizeOf(name) <= page.Length - Used;

    /// <summary>Adds the entry at a place in the directory.</summary>
    /// <param name="at">Its place, 0 for the first.</param>
    /// <param name="name">Its name's bytes.</param>
    /// <param name="attributes">What it is; without <see cref="WithAttributes"/> only number and kind are read.</param>
    /// <returns>False when the page is full, and the entry is not on it.</returns>
    public bool TryAdd(int at, ReadOnlySpan<byte> name, in FuseAttributes attributes) =>
        TryAdd((ulong)(at + OwnEntries), name, attributes, WithAttributes ? EntryOf(attributes) : default);

    internal void Begin(Memory<byte> into, bool withAttributes)
    {
        page = into;
        WithAttributes = withAttributes;
        Used = 0;
    }

    // Told with node 0 the kernel takes the name alone, which is what it wants of these two.
    internal bool TryAddOwn(int at, ulong node) =>
        TryAdd((ulong)at, at == 0 ? "."u8 : ".."u8, new FuseAttributes { Node = node, Mode = (uint)FileKind.Directory }, default);

    private bool TryAdd(ulong place, ReadOnlySpan<byte> name, in FuseAttributes attributes, EntryOut told)
    {
        if (!HasRoomFor(name))
            return false;
        Span<byte> free = page.Span.Slice(Used, SizeOf(name));
        Used += free.Length;
        if (WithAttributes)
        {
            MemoryMarshal.Write(free, told);
            free = free[Unsafe.SizeOf<EntryOut>()..];
        }

        MemoryMarshal.Write(free, new DirectoryEntry
        {
            Inode = attributes.Node, Offset = place + 1, NameLength = (uint)name.Length, Type = attributes.Mode >> 12 & 0xF,
        });
        name.CopyTo(free[Unsafe.SizeOf<DirectoryEntry>()..]);
        free[(Unsafe.SizeOf<DirectoryEntry>() + name.Length)..].Clear();
        return true;
    }

    private int SizeOf(ReadOnlySpan<byte> name) => ((Unsafe.SizeOf<DirectoryEntry>() + name.Length + 7) & ~7) + (WithAttributes ? Unsafe.SizeOf<EntryOut>() : 0);
}
