using System.Text;
using CsCheck;
using Sbox.Codecs.Composefs;

namespace Sbox.Codecs.Tests.Composefs;

/// <summary>Random trees, leaning towards what the format treats in its own way: edges of sizes, shared xattrs, names around the dot.</summary>
internal static class AnyTree
{
    private static readonly Gen<byte[]> NameBytes = Gen.Frequency(
        (8, Gen.OneOf("!-.+ab0f~\\= \n\t\r\u007f"u8.ToArray()).Array[1, 6]),
        (4, Gen.Byte[1, 255].Where(static b => b != '/').Array[1, 20]),
        (1, Gen.Byte[(byte)'a', (byte)'z'].Array[200, 255]));

    private static readonly Gen<byte[]> Name = NameBytes.Where(static name => !name.AsSpan().SequenceEqual("."u8) && !name.AsSpan().SequenceEqual(".."u8));

    // overlay.opaque keeps to one byte: libcomposefs replaces it beside a whiteout, and fails when what it replaces is longer.
    private static readonly Gen<Xattr> Xattr = Gen.Select(
        Gen.OneOf(
            "user.a", "user.overlay.opaque", "trusted.overlay.opaque", "trusted.overlay.overlay.redirect", "trusted.overlay.metacopy", "trusted.x",
            "security.selinux", "security.capability", "system.posix_acl_access", "system.posix_acl_default", "system.nfs4_acl", "other", "user.", "user.zzzzzzzzzzzzzzzzzzzz"),
        Gen.Frequency(
            (6, Gen.OneOf("", "a", "b", "abc", "system_u:object_r:usr_t:s0\0").Select(static text => Bytes(text))),
            (3, Gen.Byte.Array[0, 40]),
            (1, Gen.Byte.Array[1000, 3000])),
        static (name, value) => new Xattr(Bytes(name), name.EndsWith("overlay.opaque", StringComparison.Ordinal) ? "y"u8.ToArray() : value));

    private static readonly Gen<Attributes> Attributes = Gen.Select(
        Gen.UInt[0, 0xFFF],
        Gen.OneOf(0u, 0u, 0u, 1000u, 65535u, 65536u, uint.MaxValue),
        Gen.OneOf(0L, 0L, 0L, 1L, 1_700_000_000L, -5L, long.MaxValue),
        Gen.OneOf(0u, 0u, 0u, 1u, 999_999_999u),
        Gen.Frequency((3, Gen.Const(Array.Empty<Xattr>())), (2, Xattr.Array[1, 6])),
        static (mode, id, seconds, nanoseconds, xattrs) =>
            new Attributes(mode, id, id / 2, seconds, nanoseconds, [.. xattrs.DistinctBy(static xattr => Convert.ToHexString(xattr.Name.Span))]));

    private static readonly Gen<Checksum?> Digest = Gen.Byte.Array[32].Select(static bytes => bytes[0] < 200 ? Checksum.FromBytes(bytes) : (Checksum?)null);

    private static readonly Gen<ulong> Size = Gen.OneOf(
        Gen.OneOf(0ul, 1ul, 2ul, 4095ul, 4096ul, 4097ul, uint.MaxValue, 1ul << 32, 1ul << 43, (1ul << 43) + 1, 1ul << 50, 1ul << 53),
        Gen.ULong[1, 100_000]);

    private static readonly Gen<Node> Leaf = Gen.Frequency<Node>(
        (6, Gen.Select(Attributes, Size, Gen.OneOf("", "44/6a0e.file", "-", "/a b"), Digest, static (of, size, path, digest) =>
            (Node)new BackedFile(of, size, Bytes(path), digest))),
        (3, Gen.Select(Attributes, Content([1, 64, 2047, 2048, 2049, 4095, 4096, 4097, 5000]), static (of, content) => (Node)new InlineFile(of, content))),
        (3, Gen.Select(Attributes, Content([1, 30, 300, 3900, 4030, 4063, 4064, 4065, 4095]), static (of, target) =>
            (Node)new SymbolicLink(of, Array.ConvertAll(target, static b => b == 0 ? (byte)'x' : b)))),
        (1, Gen.Select(Attributes, Gen.Bool, Gen.UInt[0, 3], static (of, block, number) => (Node)new DeviceNode(of, block, number))),
        (1, Attributes.Select(static of => (Node)new NamedPipe(of))),
        (1, Attributes.Select(static of => (Node)new SocketNode(of))));

    private static readonly Gen<Node> LeafWithLinks = Gen.Select(Leaf, Gen.OneOf(1u, 1u, 1u, 2u, 65535u, 65536u), static (node, links) => node with { Links = links });

    /// <summary>Up to some hundred files, up to four directories deep, some with several names.</summary>
    public static Gen<DirectoryNode> Any { get; } = Gen.Select(Directory(3), Gen.Int[0, 1000], WithLinks);

    private static Gen<DirectoryNode> Directory(int depth)
    {
        Gen<Node> child = depth == 0
            ? LeafWithLinks
            : Gen.Frequency((4, LeafWithLinks), (1, Directory(depth - 1).Select(static directory => (Node)directory)));
        Gen<(byte[] Name, Node Node)> entry = Gen.Select(Name, child);
        Gen<(byte[] Name, Node Node)> leafEntry = Gen.Select(Name, LeafWithLinks);
        return Gen.Select(
            Attributes,
            Gen.Frequency((12, entry.Array[0, 6]), (1, leafEntry.Array[60, 200])),
            static (of, entries) => new DirectoryNode(
                of,
                [.. entries.DistinctBy(static entry => Convert.ToHexString(entry.Name)).Select(static entry => new Entry(entry.Name, entry.Node))]));
    }

    private static byte[] Bytes(string latin1) => Encoding.Latin1.GetBytes(latin1);

    private static Gen<byte[]> Content(int[] sizes) =>
        Gen.Select(Gen.OneOf(sizes), Gen.Byte, static (size, first) => Enumerable.Range(first, size).Select(static i => (byte)(i * 7)).ToArray());

    private static DirectoryNode WithLinks(DirectoryNode root, int choice)
    {
        Node[] leaves = [.. root.Entries.SelectMany(static entry => entry.Node is DirectoryNode below ? below.Entries : [entry]).Select(static entry => entry.Node).Where(static node => node is not DirectoryNode)];
        if (leaves.Length == 0 || choice % 3 == 0)
            return root;
        Node target = leaves[choice % leaves.Length];
        Entry[] links = [.. new[] { "!link", "zlink", "a9" }.Take(1 + (choice % 3)).Select(name => new Entry(Bytes(name), new HardLink(target)))];
        return root with { Entries = [.. root.Entries.Where(entry => !links.Any(link => link.Name.Span.SequenceEqual(entry.Name.Span))), .. links] };
    }
}
