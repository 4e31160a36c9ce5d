using System.Text;
using Sbox.Codecs.Erofs;

namespace Sbox.Codecs.Composefs;

/// <summary>What a tree must keep to so that it can be an image; libcomposefs refuses the same.</summary>
internal static class TreeRules
{
    public const int MaxInlineBytes = 5000;

    private const int MaxNameBytes = 255;
    private const int MaxPathBytes = 4095;
    private const int MaxChunks = 1024;

    /// <summary>Half of what an EROFS inode can hold; the other half is composefs's own.</summary>
    private const int MaxXattrBytes = ushort.MaxValue / 2;

    public static void CheckName(ReadOnlySpan<byte> name)
    {
        if (name.Length is 0 or > MaxNameBytes || name.ContainsAny("/\0"u8) || name.SequenceEqual("."u8) || name.SequenceEqual(".."u8))
            throw new ArgumentException($"'{Encoding.UTF8.GetString(name)}' ({name.Length} bytes) cannot be a file's name.");
    }

    public static void CheckTarget(SymbolicLink link)
    {
        if (link.Target.Length is 0 or > MaxPathBytes || link.Target.Span.Contains((byte)0))
            throw new ArgumentException($"A symbolic link's target has {link.Target.Length} bytes; 1 to {MaxPathBytes}, none zero, can be stored.");
    }

    /// <summary>Whether a backed file may have so many bytes: some, since an empty one lies in the image.</summary>
    public static bool CanHave(ulong size) => size > 0 && Layout.Chunks(size).Count <= MaxChunks;

    public static void CheckBackedFile(BackedFile file)
    {
        if (file.BackingPath.Length > MaxPathBytes)
            throw new ArgumentException($"A backing path has {file.BackingPath.Length} bytes; {MaxPathBytes} can be stored.");
        if (!CanHave(file.Size))
            throw new ArgumentException($"A file has {file.Size} bytes; 1 is the least, and libcomposefs describes at most {MaxChunks} chunks of 8 TiB.");
    }

    public static void CheckInlineFile(InlineFile file)
    {
        if (file.Content.Length > MaxInlineBytes)
            throw new ArgumentException($"A file of {file.Content.Length} bytes cannot lie in the image; {MaxInlineBytes} can.");
    }

    public static void CheckXattrs(IReadOnlyList<Xattr> xattrs)
    {
        int total = ErofsFormat.XattrHeaderSize;
        foreach (Xattr xattr in xattrs)
        {
            if (xattr.Name.Length is 0 or > MaxNameBytes || xattr.Name.Span.Contains((byte)0))
                throw new ArgumentException($"An extended attribute's name has {xattr.Name.Length} bytes; 1 to {MaxNameBytes}, none zero, can be stored.");

            // Twice the entry's header covers the worst alignment: libcomposefs's own sum, so that both refuse the same trees.
            total += (2 * ErofsFormat.XattrEntrySize) - 1 + xattr.Name.Length + xattr.Value.Length;
            if (total > MaxXattrBytes)
                throw new ArgumentException($"A node's extended attributes take more than {MaxXattrBytes} bytes.");
        }
    }
}
