namespace Sbox.Codecs.Erofs;

/// <summary>An extended attribute as EROFS stores it: the first part of well-known names is a one-byte index.</summary>
internal sealed class XattrEntry
{
    private const uint FilterSeed = 0x25BBE08F;

    public XattrEntry(ReadOnlyMemory<byte> name, ReadOnlyMemory<byte> value)
    {
        Name = name;
        Value = value;
        (Index, int prefix) = Split(name.Span);
        Suffix = name[prefix..];
    }

    public ReadOnlyMemory<byte> Name { get; }
    public ReadOnlyMemory<byte> Value { get; }
    public byte Index { get; }
    public ReadOnlyMemory<byte> Suffix { get; }

    /// <summary>Offset among the shared xattrs, or negative when the inode holds it itself.</summary>
    public long SharedOffset { get; set; } = -1;

    public bool IsShared => SharedOffset >= 0;

    public int Bytes => (int)ErofsFormat.AlignUp(ErofsFormat.XattrEntrySize + Suffix.Length + Value.Length, 4);

    /// <summary>The bit that this name clears in an inode's filter, so that a look-up of an absent name can stop early.</summary>
    public uint FilterBit => 1u << (int)(XxHash32.Of(Suffix.Span, FilterSeed + Index) & 31);

    private static (byte Index, int PrefixLength) Split(ReadOnlySpan<byte> name) =>
        name.StartsWith("user."u8) ? ((byte)1, 5)
        : name.StartsWith("system.posix_acl_access"u8) ? ((byte)2, 23)
        : name.StartsWith("system.posix_acl_default"u8) ? ((byte)3, 24)
        : name.StartsWith("trusted."u8) ? ((byte)4, 8)
        : name.StartsWith("security."u8) ? ((byte)6, 9)
        : ((byte)0, 0);
}
