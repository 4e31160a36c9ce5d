namespace Sbox.Codecs.Composefs;

/// <summary>A tree as composefs-dump(5) text, which mkcomposefs and composefs-info share: one file a line.</summary>
/// <remarks>
/// docs/formats/composefs-image.md. A size on what is neither a regular file nor a link is dropped, since no image holds one.
/// </remarks>
public static class ComposefsDump
{
    internal const string Format = "composefs dump";

    /// <summary>Reads a whole dump; directories come before what is in them.</summary>
    /// <param name="text">The dump; borrowed for the call.</param>
    /// <exception cref="MalformedException">A line does not keep to the format; the message has its number.</exception>
    public static DirectoryNode Read(ReadOnlySpan<byte> text)
    {
        var tree = new DumpTree();
        for (int number = 1; !text.IsEmpty; number++)
        {
            int end = text.IndexOf((byte)'\n');
            ReadOnlySpan<byte> line = end < 0 ? text : text[..end];
            text = end < 0 ? default : text[(end + 1)..];
            tree.Add(DumpLine.Read(line, number));
        }

        return tree.Root();
    }

    /// <summary>Writes a tree as a dump that <c>mkcomposefs --from-file</c> makes the same image of.</summary>
    /// <param name="root">The root directory.</param>
    /// <exception cref="ArgumentException">A hard link leads out of the tree.</exception>
    /// <remarks>
    /// A dump has a link count for every file: where a node leaves it open it says 1, as ostree's images do. Only what the tree itself says
    /// is there, not what an image adds for overlayfs.
    /// </remarks>
    public static byte[] Write(DirectoryNode root) => DumpText.Of(root);
}
