namespace Sbox.Codecs.Composefs;

/// <summary>The extended attributes with which an image speaks to overlayfs, after the kernel's Documentation/filesystems/overlayfs.rst.</summary>
internal static class OverlayXattr
{
    /// <summary>Names that overlayfs would take for its own.</summary>
    public static ReadOnlySpan<byte> Prefix => "trusted.overlay."u8;

    /// <summary>overlayfs shows <c>trusted.overlay.overlay.X</c> as <c>trusted.overlay.X</c>.</summary>
    public static ReadOnlySpan<byte> EscapedPrefix => "trusted.overlay.overlay."u8;

    /// <summary>The content lies in another layer; the value may hold the digest it must have.</summary>
    public static readonly byte[] Metacopy = "trusted.overlay.metacopy"u8.ToArray();

    /// <summary>Where in the other layer.</summary>
    public static readonly byte[] Redirect = "trusted.overlay.redirect"u8.ToArray();

    /// <summary>Nothing of the layers below shows through.</summary>
    public static readonly byte[] Opaque = "trusted.overlay.opaque"u8.ToArray();

    /// <summary>Marks a file that must show as a whiteout to an overlay mounted over the tree; also in the namespace of users.</summary>
    public static readonly byte[][] Whiteout = ["trusted.overlay.overlay.whiteout"u8.ToArray(), "user.overlay.whiteout"u8.ToArray()];

    /// <summary>Marks the directory of such files, as format version 0 has it.</summary>
    public static readonly byte[][] HasWhiteouts = ["trusted.overlay.overlay.whiteouts"u8.ToArray(), "user.overlay.whiteouts"u8.ToArray()];

    /// <summary>Marks it as Linux 6.7 and later want it, with value "x"; format version 1 adds it.</summary>
    public static readonly byte[][] OpaqueForWhiteouts = ["trusted.overlay.overlay.opaque"u8.ToArray(), "user.overlay.opaque"u8.ToArray()];

    public static readonly byte[] SelinuxLabel = "security.selinux"u8.ToArray();

    public static byte[] Escape(ReadOnlySpan<byte> name) => [.. EscapedPrefix, .. name[Prefix.Length..]];

    /// <summary>The value of <see cref="Metacopy"/>: version 0, its own length, no flags, SHA-256 as fs-verity numbers it, the digest.</summary>
    public static byte[] MetacopyValue(Checksum? digest)
    {
        if (digest is not { } known)
            return [];
        var value = new byte[4 + Checksum.Size];
        value[1] = (byte)value.Length;
        value[3] = 1;
        known.CopyTo(value.AsSpan(4));
        return value;
    }

    /// <summary>The digest in such a value; null where it has none, or one of another kind.</summary>
    public static Checksum? DigestOf(ReadOnlySpan<byte> value) =>
        value.Length == 4 + Checksum.Size && value[0] == 0 && value[3] == 1 ? Checksum.FromBytes(value[4..]) : null;
}
