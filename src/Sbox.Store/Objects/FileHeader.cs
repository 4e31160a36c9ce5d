using System.Buffers.Binary;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>What a file object says beside its content: the part that is hashed before it, and that an archive object begins with.</summary>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="Mode">Type (regular or symbolic link) and permission bits.</param>
/// <param name="SymlinkTarget">Where a symbolic link points; null for a regular file.</param>
/// <param name="Xattrs">Extended attributes.</param>
/// <remarks>docs/formats/file-object.md.</remarks>
public sealed record FileHeader(uint Uid, uint Gid, Mode Mode, string? SymlinkTarget, XattrList Xattrs)
{
    private const string Format = "file header";

    /// <summary>The largest header that is read: the kernel allows 64 KiB of xattrs, libostree objects are capped at 10 MiB.</summary>
    internal const int MaximumSize = 10 * 1024 * 1024;

    private static readonly GVariantType ArchiveType = GVariantType.Parse("(tuuuusa(ayay))");

    /// <summary>
    /// The bytes that are hashed before a file's content: the header's size as 4 bytes, most significant first, 4 zeros,
    /// and GVariant <c>(uuuusa(ayay))</c>: uid, gid, mode, 0, symlink target, xattrs.
    /// </summary>
    internal byte[] ToHashedBytes() => SymlinkTarget is null && Xattrs.Count == 0 ? Plain() : Framed(GVariant.Tuple(
        BigEndian.Of(Uid), BigEndian.Of(Gid), BigEndian.Of(Mode.Bits), GVariant.Of(0u),
        GVariant.Of(SymlinkTarget ?? ""), Xattrs.ToVariant()));

    /// <summary>The bytes that an archive object begins with: as the hashed ones, with the content's size (8 bytes) first.</summary>
    /// <param name="size">Bytes of the content before compression; 0 for a symbolic link.</param>
    internal byte[] ToArchiveBytes(ulong size) => Framed(GVariant.Tuple(
        BigEndian.Of(size), BigEndian.Of(Uid), BigEndian.Of(Gid), BigEndian.Of(Mode.Bits), GVariant.Of(0u),
        GVariant.Of(SymlinkTarget ?? ""), Xattrs.ToVariant()));

    /// <summary>Reads the GVariant of an archive object's header, without the frame before it.</summary>
    /// <exception cref="MalformedException">The bytes are none, or the mode is neither a regular file's nor a symbolic link's.</exception>
    internal static (FileHeader Header, ulong Size) ParseArchive(ReadOnlySpan<byte> bytes)
    {
        IReadOnlyList<GVariant> items = GVariant.Parse(ArchiveType, bytes).Items;
        var mode = new Mode(BigEndian.From(items[3]));
        if (!mode.IsRegular && !mode.IsSymlink)
            throw new MalformedException(Format, "mode", "a regular file or symbolic link", $"{mode}");
        if (items[4].Unsigned != 0)
            throw new MalformedException(Format, "rdev", "0", $"{items[4].Unsigned}");
        if (mode.IsSymlink == (items[5].Text.Length == 0))
            throw new MalformedException(Format, "symlink target", mode.IsSymlink ? "a path" : "none", $"'{items[5].Text}'");
        var header = new FileHeader(
            BigEndian.From(items[1]), BigEndian.From(items[2]), mode,
            mode.IsSymlink ? items[5].Text : null, XattrList.From(items[6], Format));
        return (header, BigEndian.From64(items[0]));
    }

    // Most files have neither target nor xattrs, and then only three numbers of these bytes ever change.
    private byte[] Plain()
    {
        const byte size = 18, targetEnd = 17;
        var bytes = new byte[8 + size];
        bytes[3] = size;
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(8), Uid);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(12), Gid);
        BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(16), Mode.Bits);
        bytes[25] = targetEnd; // behind the empty target's NUL at 24 lies no xattr, and then where the target ends
        return bytes;
    }

    private static byte[] Framed(GVariant header)
    {
        byte[] bytes = header.ToBytes();
        var framed = new byte[8 + bytes.Length];
        BinaryPrimitives.WriteUInt32BigEndian(framed, (uint)bytes.Length);
        bytes.CopyTo(framed, 8);
        return framed;
    }
}
