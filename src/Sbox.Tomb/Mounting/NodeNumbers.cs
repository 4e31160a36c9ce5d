using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>
/// Inode numbers of a mounted snapshot: the same each time it is mounted, made of the path, or for a file with several names of what
/// the snapshot says it was. Below 2^60, so that overlayfs has room for its own bits.
/// </summary>
internal static class NodeNumbers
{
    /// <summary>The root's number; the kernel's rule.</summary>
    public const ulong Root = 1;

    private const ulong Mask = (1UL << 60) - 1;
    private const ulong First = 0x9E3779B97F4A7C15, Second = 0xD1B54A32D192ED03;

    /// <summary>The number of an entry.</summary>
    /// <param name="directory">The number of its directory.</param>
    /// <param name="entry">The entry.</param>
    public static ulong Of(ulong directory, in PackedEntry entry) => entry.IsHardlinked
        ? Usable(Mix(Mix(Second, entry.DeviceId), entry.Inode))
        : Usable(OfName(directory, entry.Name));

    private static ulong OfName(ulong directory, ReadOnlySpan<byte> name)
    {
        ulong state = Mix(First, directory);
        foreach (byte c in name)
            state = (state ^ c) * 0x100000001B3; // FNV-1a, mixed at the end
        return Mix(state, (ulong)name.Length);
    }

    private static ulong Mix(ulong state, ulong value)
    {
        ulong high = Math.BigMul(state ^ value, First ^ (value << 32), out ulong low);
        return (high ^ low) + Second;
    }

    private static ulong Usable(ulong number) => (number & Mask) is var masked && masked <= Root ? masked + 2 : masked;
}
