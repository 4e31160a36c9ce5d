using System.Text;
using CsCheck;
using Sbox.Codecs.Composefs;
using Sbox.Codecs.Verity;
using Sbox.Judges;

namespace Sbox.Codecs.Tests.Composefs;

public class ComposefsImageTests
{
    private static readonly Attributes Plain = new(0b111_101_101, 0, 0, 0, 0, []);

    // mkcomposefs 1.0.8 made them; tests/golden/README.md has the command.
    private static readonly byte[] EveryKindDump = Goldens.Bytes("composefs-every-kind.dump");
    private static readonly byte[] EveryKindImage = Goldens.Unzipped("composefs-every-kind.cfs.gz");
    private static readonly string EveryKindDigest = Encoding.ASCII.GetString(Goldens.Bytes("composefs-every-kind.digest")).TrimEnd();

    [Fact]
    public void Every_kind_of_file_lies_in_the_image_where_mkcomposefs_puts_it() =>
        Images.AssertSame(EveryKindImage, Images.Ours(EveryKindDump), static () => "composefs-every-kind");

    [Fact]
    public void The_digest_is_the_one_that_mkcomposefs_prints() =>
        Assert.Equal(EveryKindDigest, ComposefsImage.Write(ComposefsDump.Read(EveryKindDump), Stream.Null).ToString());

    [Fact]
    public void Any_tree_gives_the_image_that_mkcomposefs_makes() => AnyTree.Any.Sample(
        static root =>
        {
            byte[] dump = ComposefsDump.Write(root);
            Images.AssertSame(Images.MkComposefs(dump), Images.Ours(root), () => Encoding.Latin1.GetString(dump));
        },
        iter: 300, print: static root => Encoding.Latin1.GetString(ComposefsDump.Write(root)));

    [Theory, InlineData(0, 0), InlineData(1, 1)]
    public void Any_tree_gives_it_in_each_format_version(uint minVersion, uint maxVersion) => AnyTree.Any.Sample(
        root =>
        {
            byte[] dump = ComposefsDump.Write(root);
            byte[] theirs = Images.MkComposefs(dump, $"--min-version={minVersion}", $"--max-version={maxVersion}");
            Images.AssertSame(theirs, Images.Ours(root, minVersion, maxVersion), () => Encoding.Latin1.GetString(dump));
        },
        iter: 60, print: static root => Encoding.Latin1.GetString(ComposefsDump.Write(root)));

    [Fact]
    public void The_digest_of_any_image_is_the_one_the_kernel_would_measure() => AnyTree.Any.Sample(
        static root =>
        {
            using var image = new MemoryStream();
            Checksum digest = ComposefsImage.Write(root, image);
            using var scratch = new Scratch();
            string path = scratch.File("image.cfs", image.ToArray());
            Assert.Equal(digest.ToString(), Judge.ComposefsInfo.Run("measure-file", path).TrimEnd());
            Assert.StartsWith(VerityHasher.ToText(digest), Judge.OnPath("fsverity").Run("digest", path), StringComparison.Ordinal);
        },
        iter: 20);

    [Fact]
    public void Fsck_erofs_finds_the_image_whole_and_a_broken_one_not()
    {
        byte[] image = Images.Ours(Tree(400));
        using var scratch = new Scratch();
        Verdict whole = Judge.FsckErofs.Ask("-d3", scratch.File("whole.cfs", image));
        Assert.Equal((0, "No errors found"), (whole.ExitCode, (whole.Output + whole.Error).Trim().Split("erofs: ")[^1]));

        image[1024 + 15] ^= 0x7F; // the root's place
        Assert.NotEqual(0, Judge.FsckErofs.Ask(scratch.File("broken.cfs", image)).ExitCode);
    }

    [Fact]
    public void Composefs_info_reads_back_every_file()
    {
        using var scratch = new Scratch();
        string path = scratch.File("image.cfs", Images.Ours(EveryKindDump));
        byte[] dump = Encoding.Latin1.GetBytes(Judge.ComposefsInfo.Run("dump", path));
        Images.AssertSame(EveryKindImage, Images.Ours(dump), static () => "composefs-info dump, made an image again");
    }

    [Fact]
    public void The_digests_of_any_tree_are_read_back_with_what_the_files_are() => AnyTree.Any.Sample(
        static root =>
        {
            string[] read = [.. ComposefsImage.ReadDigests(Images.Ours(root)).Select(static each => $"{Encoding.Latin1.GetString(each.BackingPath.Span)} {each.Digest} {What(each.File)}").Order(StringComparer.Ordinal)];
            Assert.Equal(Digests(root).Order(StringComparer.Ordinal), read);
        },
        iter: 300, print: static root => Encoding.Latin1.GetString(ComposefsDump.Write(root)));

    [Fact]
    public void Ten_thousand_files_have_ten_thousand_digests()
    {
        Entry[] entries = [.. Enumerable.Range(0, 10_000).Select(static i => new Entry(Bytes($"{i}"), new BackedFile(Plain, 1, Bytes($"{i:x4}.file"), Checksum.Of(BitConverter.GetBytes(i)))))];
        var root = new DirectoryNode(Plain, [new Entry(Bytes("usr"), new DirectoryNode(Plain, entries))]);
        Dictionary<string, Checksum> read = ComposefsImage.ReadDigests(Images.Ours(root)).ToDictionary(static each => Encoding.ASCII.GetString(each.BackingPath.Span), static each => each.Digest);
        Assert.Equal(10_000, read.Count);
        Assert.All(Enumerable.Range(0, 10_000), i => Assert.Equal(Checksum.Of(BitConverter.GetBytes(i)), read[$"{i:x4}.file"]));
    }

    [Fact]
    public void A_file_outside_the_image_is_neither_empty_nor_of_more_chunks_than_are_described()
    {
        Assert.False(TreeRules.CanHave(0));
        Assert.True(TreeRules.CanHave(1));
        Assert.False(TreeRules.CanHave(ulong.MaxValue));
    }

    [Fact]
    public void Damaged_images_tell_what_they_can_or_are_refused()
    {
        byte[] image = Images.Ours(EveryKindDump);
        Gen.Select(Gen.Int[1024, image.Length - 1], Gen.Byte[1, 255]).Array[1, 6].Select(Gen.Int[0, image.Length]).Sample(
            (damage, length) =>
            {
                byte[] damaged = [.. image];
                foreach ((int at, byte bits) in damage)
                    damaged[at] ^= bits;
                Refused(damaged);
                Refused(damaged[..length]);
            },
            iter: 3000);
        // Where a flipped bit hurts most: superblock, root and what it leads to.
        for (int bit = 1024 * 8; bit < 2048 * 8; bit++)
        {
            byte[] damaged = [.. image];
            damaged[bit / 8] ^= (byte)(1 << (bit % 8));
            Refused(damaged);
        }

        // The size of an inode that has 64 bits for it, in each place where one may begin.
        for (int at = 1024; at < image.Length; at += 32)
        {
            byte[] damaged = [.. image];
            damaged[at + 14] ^= 0x40;
            Refused(damaged);
        }

        static void Refused(byte[] damaged)
        {
            try
            {
                Assert.All(ComposefsImage.ReadDigests(damaged), static each => Assert.True(each.File is null || each.File.Size <= 1024UL << 43, $"{each.File?.Size}"));
            }
            catch (MalformedException refused)
            {
                Assert.Equal("composefs image", refused.Format);
            }
        }
    }

    // One for each inode: a node of a tree that is named twice is two, a hard link none.
    private static IEnumerable<string> Digests(DirectoryNode directory) => directory.Entries.SelectMany(static entry => entry.Node switch
    {
        DirectoryNode inner => Digests(inner),
        BackedFile { BackingPath.Length: > 0, Digest: { } digest, Size: > 0 } file => [$"{Encoding.Latin1.GetString(file.BackingPath.Span)} {digest} {What(file.Attributes.Xattrs.Count > 0 ? null : file)}"],
        _ => [],
    });

    private static string What(BackedFile? file) => file is null ? "with xattrs" : $"{file.Attributes.Permissions:x} {file.Attributes.Uid}:{file.Attributes.Gid} {file.Size} {Encoding.Latin1.GetString(file.BackingPath.Span)} {file.Digest}";

    [Fact]
    public void A_directory_of_ten_thousand_names_spans_many_blocks()
    {
        DirectoryNode root = Tree(10_000);
        Images.AssertSame(Images.MkComposefs(ComposefsDump.Write(root)), Images.Ours(root), static () => "10,000 names");
    }

    [Fact]
    public void More_shared_xattrs_than_a_header_counts_stay_in_the_inode()
    {
        var attributes = Plain with { Xattrs = [.. Enumerable.Range(0, 150).Select(static i => new Xattr(Bytes($"user.{i}"), Bytes("v")))] };
        var root = new DirectoryNode(Plain, [new Entry(Bytes("a"), new NamedPipe(attributes)), new Entry(Bytes("b"), new NamedPipe(attributes))]);
        Images.AssertSame(Images.MkComposefs(ComposefsDump.Write(root)), Images.Ours(root), static () => "150 shared xattrs");
    }

    [Fact]
    public void One_node_under_two_names_is_two_inodes_and_a_hard_link_is_one()
    {
        var file = new BackedFile(Plain, 1, Bytes("aa/bb.file"), null);
        byte[] copies = Images.Ours(new DirectoryNode(Plain, [new Entry(Bytes("a"), file), new Entry(Bytes("b"), file)]));
        byte[] links = Images.Ours(new DirectoryNode(Plain, [new Entry(Bytes("a"), file), new Entry(Bytes("b"), new HardLink(file))]));
        Assert.Equal(256 + 3, BitConverter.ToInt32(copies, 1024 + 16)); // the superblock's count of inodes, with the root and its stubs
        Assert.Equal(256 + 2, BitConverter.ToInt32(links, 1024 + 16));
        Images.AssertSame(
            Images.MkComposefs("/ 0 40755 2 0 0 0 0.0 - - -\n/a 1 100755 2 0 0 0 0.0 aa/bb.file - -\n/b 0 @100755 0 0 0 0 0.0 /a - -\n"u8), links, static () => "hard link");
    }

    public static TheoryData<string, DirectoryNode> Impossible => new()
    {
        { "two entries named 'a'", Root(("a", new NamedPipe(Plain)), ("a", new NamedPipe(Plain))) },
        { "'..'", Root(("..", new NamedPipe(Plain))) },
        { "'a/b'", Root(("a/b", new NamedPipe(Plain))) },
        { "256 bytes", Root((new string('a', 256), new NamedPipe(Plain))) },
        { "target has 0 bytes", Root(("a", new SymbolicLink(Plain, default))) },
        { "target has 4096 bytes", Root(("a", new SymbolicLink(Plain, new byte[4096]))) },
        { "5001 bytes", Root(("a", new InlineFile(Plain, new byte[5001]))) },
        { "outside the tree", Root(("a", new HardLink(new NamedPipe(Plain)))) },
        { "to a directory", Root(("a", new HardLink(Root()))) },
        { "two extended attributes named 'user.a'", Root(("a", new NamedPipe(Plain with { Xattrs = [new Xattr(Bytes("user.a"), default), new Xattr(Bytes("user.a"), default)] }))) },
        { "more than 32767 bytes", Root(("a", new NamedPipe(Plain with { Xattrs = [new Xattr(Bytes("user.a"), new byte[33000])] }))) },
        { "9007199254740993 bytes", Root(("a", new BackedFile(Plain, (1ul << 53) + 1, default, null))) },
    };

    [Theory, MemberData(nameof(Impossible), DisableDiscoveryEnumeration = true)]
    public void A_tree_that_cannot_be_an_image_is_refused_before_a_byte_is_written(string reason, DirectoryNode root)
    {
        using var image = new MemoryStream();
        ArgumentException refused = Assert.Throws<ArgumentException>(() => ComposefsImage.Write(root, image));
        Assert.Contains(reason, refused.Message, StringComparison.Ordinal);
        Assert.Equal(0, image.Length);
    }

    private static DirectoryNode Root(params (string Name, Node Node)[] entries) =>
        new(Plain, [.. entries.Select(static entry => new Entry(Bytes(entry.Name), entry.Node))]);

    private static DirectoryNode Tree(int files) => Root(
        ("usr", Root([.. Enumerable.Range(0, files).Select(static i => ($"file-{i}", (Node)new BackedFile(Plain, (ulong)i, Bytes($"aa/{i}.file"), Checksum.Of(Bytes($"{i}")))))])),
        ("etc", Root(("passwd", new InlineFile(Plain, Bytes("root:x:0:0::/root:/bin/sh\n"))), ("mtab", new SymbolicLink(Plain, Bytes("../proc/mounts"))))));

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);
}
