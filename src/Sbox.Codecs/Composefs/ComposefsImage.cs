using System.Buffers.Binary;
using Sbox.Codecs.Erofs;

namespace Sbox.Codecs.Composefs;

/// <summary>
/// Makes composefs images: an EROFS file system of names and metadata alone, mounted with overlayfs over a store of contents. The same
/// tree gives the same bytes as mkcomposefs 1.0.8 makes, so the digest of an image says what is in it whoever made it.
/// </summary>
/// <remarks>docs/formats/composefs-image.md.</remarks>
public static class ComposefsImage
{
    /// <summary>The newest format version known here and to libcomposefs.</summary>
    public const uint NewestVersion = 1;

    private const uint Magic = 0xD078629A;

    /// <summary>Which contents an image leads to, with the digests that it asks of them; those without one are left out.</summary>
    /// <param name="image">The whole image; the answer refers to it.</param>
    /// <returns>In the order of a walk by level, a content once for each of its names.</returns>
    /// <exception cref="MalformedException">The bytes are no such image.</exception>
    public static IReadOnlyList<ContentDigest> ReadDigests(ReadOnlyMemory<byte> image) => ImageDigests.Read(image);

    /// <summary>Writes the image of a tree.</summary>
    /// <param name="root">The root directory; it must stay as it is during the call.</param>
    /// <param name="output">Where the image goes, front to back, in pieces of 64 KiB.</param>
    /// <param name="minVersion">The lowest format version to write: 0, or 1.</param>
    /// <param name="maxVersion">
    /// The version to go up to when the tree needs it (it does when it holds whiteouts). 0 and 1 are what mkcomposefs and ostree use
    /// when nothing else is asked for.
    /// </param>
    /// <returns>The image's fs-verity digest, which is the composefs digest that goes into a commit or on a kernel command line.</returns>
    /// <exception cref="ArgumentException">The tree cannot be an image (a name, a length, a link); the message says what and why. Nothing was written.</exception>
    /// <exception cref="IOException">The output failed.</exception>
    public static Checksum Write(DirectoryNode root, Stream output, uint minVersion = 0, uint maxVersion = NewestVersion)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(minVersion, NewestVersion);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(maxVersion, NewestVersion);
        OverlayTree tree = OverlayTree.Build(root, minVersion, Math.Max(minVersion, maxVersion));
        List<Inode> inodes = tree.Inodes;
        Layout layout = Layout.Of(inodes);

        Span<byte> header = stackalloc byte[32];
        header.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(header, Magic);
        BinaryPrimitives.WriteUInt32LittleEndian(header[4..], 1); // of this header
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], tree.HasAcl ? 1u : 0);
        BinaryPrimitives.WriteUInt32LittleEndian(header[12..], tree.Version);

        var sink = new ImageSink(output);
        new ImageWriter(inodes, layout, sink).Write(header);
        return sink.Finish();
    }
}
