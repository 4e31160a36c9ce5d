using System.Buffers.Binary;

namespace Sbox.Linux;

/// <summary>What getdents64(2) filled in: records of <c>struct linux_dirent64</c>, a u64 inode, s64 offset, u16 record length, u8 type, then the name and a NUL.</summary>
/// <param name="records">As many bytes as it said.</param>
internal ref struct DirRecords(ReadOnlySpan<byte> records)
{
    private ReadOnlySpan<byte> rest = records;

    /// <summary>The next name but <c>.</c> and <c>..</c>; false at the end.</summary>
    /// <param name="name">Its bytes; a NUL lies behind them.</param>
    /// <param name="kind">Its kind, or <see cref="FileKind.Unknown"/> where the file system does not say.</param>
    /// <param name="inode">Its inode number.</param>
    public bool TryNext(out ReadOnlySpan<byte> name, out FileKind kind, out ulong inode)
    {
        while (!rest.IsEmpty)
        {
            int length = BinaryPrimitives.ReadUInt16LittleEndian(rest[16..]);
            (inode, kind) = (BinaryPrimitives.ReadUInt64LittleEndian(rest), (FileKind)(rest[18] << 12));
            name = rest[19..length];
            name = name[..name.IndexOf((byte)0)];
            rest = rest[length..];
            if (!name.SequenceEqual("."u8) && !name.SequenceEqual(".."u8))
                return true;
        }

        name = [];
        (kind, inode) = (FileKind.Unknown, 0);
        return false;
    }
}
