using System.Buffers.Binary;
using System.Text;

namespace Sbox.Boot;

/// <summary>
/// The bytes of /run/ostree-booted: GVariant <c>a{sv}</c>, by which <c>ostree admin status</c> finds the deployment that runs even though
/// its root is an overlay.
/// </summary>
/// <param name="Device">st_dev of the deployment's directory on the physical root.</param>
/// <param name="Inode">st_ino of it.</param>
/// <param name="Verity">Whether fs-verity is required of every file.</param>
/// <remarks>docs/boot.md. The keys are libostree's (src/libotcore/otcore.h); the layout is GVariant's, little-endian.</remarks>
public sealed record BootedMark(ulong Device, ulong Inode, bool Verity)
{
    /// <summary>The file's content.</summary>
    public byte[] ToBytes()
    {
        var pair = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(pair, Device);
        BinaryPrimitives.WriteUInt64LittleEndian(pair.AsSpan(8), Inode);
        return Array(
        [
            Entry("backing-root-device-inode", pair, "(tt)"),
            Entry("composefs", [1], "b"),
            Entry("composefs.verity", [Verity ? (byte)1 : (byte)0], "b"),
            Entry("sysroot-ro", [1], "b"),
        ]);
    }

    // A dictionary entry {sv}: the key and its NUL, the value at a multiple of 8, a NUL and the value's type; then where the key ended.
    private static byte[] Entry(string key, byte[] value, string type)
    {
        var bytes = new List<byte>();
        bytes.AddRange(Encoding.ASCII.GetBytes(key));
        bytes.Add(0);
        int keyEnd = bytes.Count;
        Pad(bytes);
        bytes.AddRange(value);
        bytes.Add(0);
        bytes.AddRange(Encoding.ASCII.GetBytes(type));
        AddOffsets(bytes, [keyEnd]);
        return [.. bytes];
    }

    // An array of entries: each at a multiple of 8; then where each one ended.
    private static byte[] Array(byte[][] entries)
    {
        var bytes = new List<byte>();
        var ends = new List<int>();
        foreach (byte[] entry in entries)
        {
            Pad(bytes);
            bytes.AddRange(entry);
            ends.Add(bytes.Count);
        }

        AddOffsets(bytes, ends);
        return [.. bytes];
    }

    private static void Pad(List<byte> bytes)
    {
        while (bytes.Count % 8 != 0)
            bytes.Add(0);
    }

    // Offsets are as wide as the whole, themselves included, needs: one byte up to 255, else two.
    private static void AddOffsets(List<byte> bytes, IReadOnlyList<int> offsets)
    {
        bool narrow = bytes.Count + offsets.Count <= byte.MaxValue;
        foreach (int offset in offsets)
        {
            bytes.Add((byte)offset);
            if (!narrow)
                bytes.Add((byte)(offset >> 8));
        }
    }
}
