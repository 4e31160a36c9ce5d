using System.Buffers.Binary;
using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Who owns a directory and what may be done in it; its names live in the dirtree.</summary>
/// <param name="Uid">Owner.</param>
/// <param name="Gid">Group.</param>
/// <param name="Mode">A directory's type and permission bits.</param>
/// <param name="Xattrs">Its extended attributes.</param>
public sealed record DirMeta(uint Uid, uint Gid, Mode Mode, XattrList Xattrs)
{
    private const string Format = "dirmeta";
    private static readonly GVariantType Type = GVariantType.Parse("(uuua(ayay))");

    /// <summary>Reads GVariant <c>(uuua(ayay))</c>: three 4-byte integers, most significant byte first, then xattrs.</summary>
    /// <param name="bytes">The whole object, 12 bytes or more; borrowed for the call, never kept.</param>
    /// <exception cref="MalformedException">The bytes end early, or the mode is not a directory's.</exception>
    /// <remarks>docs/formats/dirmeta.md, after libostree's ostree-core.h.</remarks>
    public static DirMeta Parse(ReadOnlySpan<byte> bytes)
    {
        IReadOnlyList<GVariant> items = GVariant.Parse(Type, bytes).Items;
        var mode = new Mode(BigEndian.From(items[2]));
        return mode.IsDirectory
            ? new DirMeta(BigEndian.From(items[0]), BigEndian.From(items[1]), mode, XattrList.From(items[3], Format))
            : throw new MalformedException(Format, "mode", "a directory", $"{mode}");
    }

    /// <summary>The object's bytes.</summary>
    public byte[] ToBytes() =>
        GVariant.Tuple(BigEndian.Of(Uid), BigEndian.Of(Gid), BigEndian.Of(Mode.Bits), Xattrs.ToVariant()).ToBytes();
}

/// <summary>Numbers that libostree keeps most significant byte first inside GVariants, which are little-endian themselves.</summary>
internal static class BigEndian
{
    public static GVariant Of(uint number) => GVariant.Of(BinaryPrimitives.ReverseEndianness(number));

    public static GVariant Of(ulong number) => GVariant.Of(BinaryPrimitives.ReverseEndianness(number));

    public static uint From(GVariant number) => BinaryPrimitives.ReverseEndianness((uint)number.Unsigned);

    public static ulong From64(GVariant number) => BinaryPrimitives.ReverseEndianness(number.Unsigned);
}
