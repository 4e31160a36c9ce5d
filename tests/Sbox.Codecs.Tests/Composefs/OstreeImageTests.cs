using System.Text;
using CsCheck;
using Sbox.Codecs.Composefs;
using Sbox.Codecs.Verity;
using Sbox.Judges;
using Sbox.Linux;
using Xattr = Sbox.Codecs.Composefs.Xattr;

namespace Sbox.Codecs.Tests.Composefs;

/// <summary>docs/formats/composefs-image.md says which image ostree makes of a commit: here ostree says whether that is so.</summary>
public sealed class OstreeImageTests : IDisposable
{
    private readonly Scratch scratch = new();

    public OstreeImageTests()
    {
        Judge.Ostree.Run("init", $"--repo={scratch.Path}/bare", "--mode=bare");
        Judge.Ostree.Run("init", $"--repo={scratch.Path}/archive", "--mode=archive");
    }

    public void Dispose() => scratch.Dispose();

    [Fact]
    public void Any_commit_gives_the_image_that_ostree_makes() => AnyCheckout.Sample(
        tree =>
        {
            Dictionary<string, string> checksums = Commit(tree);
            AssertLikeOstree("bare", "--composefs", AsOstreeMaps(tree, checksums, verity: true));
            AssertLikeOstree("bare", "--composefs-noverity", AsOstreeMaps(tree, checksums, verity: false));
        },
        iter: 15, threads: 1);

    [Fact]
    public void The_mode_of_the_repository_does_not_matter()
    {
        Dictionary<string, string> checksums = Commit(Example);
        Judge.Ostree.Run("pull-local", $"--repo={scratch.Path}/archive", $"{scratch.Path}/bare", "main");
        AssertLikeOstree("archive", "--composefs", AsOstreeMaps(Example, checksums, verity: true));
    }

    [Fact]
    public void A_commit_carries_the_digest_of_its_image()
    {
        Dictionary<string, string> checksums = Commit(Example, "--generate-composefs-metadata");
        Checksum digest = ComposefsImage.Write(AsOstreeMaps(Example, checksums, verity: true), Stream.Null);
        string stored = string.Join(", ", digest.ToArray().Select(static value => $"0x{value:x2}"));
        Assert.Contains($"'ostree.composefs.digest.v0': <[byte {stored}]>", Judge.Ostree.Run("show", $"--repo={scratch.Path}/bare", "--raw", "main"), StringComparison.Ordinal);
    }

    private static readonly DirectoryNode Example = new(
        new Attributes(0b111_101_101, 0, 0, 0, 0, []),
        [
            new Entry(Bytes("usr"), new DirectoryNode(new Attributes(0b111_101_101, 0, 0, 0, 0, [new Xattr(Bytes("trusted.x"), Bytes("y"))]), [
                new Entry(Bytes("file"), new InlineFile(new Attributes(0b100_111_101_101, 1, 2, 0, 0, []), Bytes("content"))),
                new Entry(Bytes("empty"), new InlineFile(new Attributes(0b110_100_100, 0, 0, 0, 0, []), default))])),
            new Entry(Bytes("bin"), new SymbolicLink(new Attributes(0b111_111_111, 0, 0, 0, 0, []), Bytes("usr/bin"))),
        ]);

    // What lies on the disk: files inline, times as they come. Not here: empty xattrs, which libostree's commit leaves out,
    // and link targets of about 4,000 bytes and more, on which its checkout aborts.
    private static Gen<DirectoryNode> AnyCheckout
    {
        get
        {
            Gen<Attributes> attributes = Gen.Select(
                Gen.OneOf(0b110_100_100u, 0b111_101_101u, 0b100_111_101_101u, 0b1_111_111_111u, 0u),
                Gen.OneOf(0u, 0u, 33u, 70000u),
                Gen.Select(Gen.OneOf("trusted.x", "trusted.overlay.opaque", "trusted.y"), Gen.OneOf("y", "longer"), static (name, value) => new Xattr(Bytes(name), Bytes(value))).Array[0, 2],
                static (mode, id, xattrs) => new Attributes(mode, id, id / 3, 0, 0, [.. xattrs.DistinctBy(static xattr => Encoding.UTF8.GetString(xattr.Name.Span))]));
            Gen<byte[]> name = Gen.OneOf("usr", "etc", "boot", "var", "sysroot", "00", "7f", "!a", "-b", ".c", "ü", "a b", "bin", new string('n', 255)).Select(Bytes);
            Gen<Node> leaf = Gen.Frequency(
                (4, Gen.Select(attributes, Gen.OneOf(0, 1, 64, 4096, 4097, 600_000), static (of, size) => (Node)new InlineFile(of, Enumerable.Range(0, size).Select(static i => (byte)i).ToArray()))),
                (1, Gen.Select(attributes, Gen.Int[1, 3000], static (of, size) => (Node)new SymbolicLink(of with { Permissions = 0b111_111_111 }, Bytes(new string('t', size))))));
            Gen<DirectoryNode> directory = Directory(attributes, name, leaf);
            directory = Directory(attributes, name, Gen.Frequency((1, leaf), (1, directory.Select(static below => (Node)below))));
            return Directory(attributes, name, Gen.Frequency((1, leaf), (1, directory.Select(static below => (Node)below))));
        }
    }

    private static Gen<DirectoryNode> Directory(Gen<Attributes> attributes, Gen<byte[]> name, Gen<Node> child) => Gen.Select(
        attributes, Gen.Select(name, child).Array[0, 6],
        static (of, entries) => new DirectoryNode(of, [.. entries.DistinctBy(static entry => Encoding.UTF8.GetString(entry.Item1)).Select(static entry => new Entry(entry.Item1, entry.Item2))]));

    /// <summary>The rules: no times, every name an inode, contents outside, and a root that others can be mounted in.</summary>
    private static DirectoryNode AsOstreeMaps(DirectoryNode tree, Dictionary<string, string> checksums, bool verity)
    {
        var root = (DirectoryNode)Map(tree, "/");
        var mountPoint = new DirectoryNode(new Attributes(0b111_101_101, 0, 0, 0, 0, []), []);
        IEnumerable<Entry> missing = new[] { "usr", "etc", "boot", "var", "sysroot" }
            .Where(name => !root.Entries.Any(entry => entry.Name.Span.SequenceEqual(Bytes(name))))
            .Select(name => new Entry(Bytes(name), mountPoint));
        return root with { Entries = [.. root.Entries, .. missing] };

        Node Map(Node node, string path) => node switch
        {
            DirectoryNode directory => directory with
            {
                Entries = [.. directory.Entries.Select(entry => new Entry(entry.Name, Map(entry.Node, $"{path.TrimEnd('/')}/{Encoding.UTF8.GetString(entry.Name.Span)}")))],
            },
            InlineFile { Content.IsEmpty: true } file => new BackedFile(file.Attributes, 0, default, null),
            InlineFile file => new BackedFile(
                file.Attributes, (ulong)file.Content.Length, Bytes($"{checksums[path][..2]}/{checksums[path][2..]}.file"), verity ? VerityHasher.Of(file.Content.Span) : null),
            _ => node,
        };
    }

    private Dictionary<string, string> Commit(DirectoryNode tree, params string[] options)
    {
        string disk = Path.Combine(scratch.Path, "tree");
        if (System.IO.Directory.Exists(disk))
            System.IO.Directory.Delete(disk, recursive: true);
        using Dir parent = Dir.Open(scratch.Path);
        Materialize(parent, "tree", tree);
        Judge.Ostree.Run(["commit", $"--repo={scratch.Path}/bare", "--branch=main", .. options, disk]);

        // "-00644 0 0 3 CHECKSUM /path": of a link the target follows, of a directory there are two checksums.
        return Judge.Ostree.Run("ls", $"--repo={scratch.Path}/bare", "-R", "-C", "main").Split('\n')
            .Where(static line => line.StartsWith('-'))
            .Select(static line => line.Split(' ', 6, StringSplitOptions.RemoveEmptyEntries))
            .ToDictionary(static fields => fields[5], static fields => fields[4]);
    }

    private static void Materialize(Dir parent, string name, Node node)
    {
        switch (node)
        {
            case DirectoryNode directory:
                using (Dir here = parent.MakeAndOpenDir(name))
                    foreach (Entry entry in directory.Entries)
                        Materialize(here, Encoding.UTF8.GetString(entry.Name.Span), entry.Node);
                break;
            case InlineFile file:
                File.WriteAllBytes(parent.Of(name), file.Content.ToArray());
                break;
            case SymbolicLink link:
                parent.Symlink(Encoding.UTF8.GetString(link.Target.Span), name);
                break;
        }

        parent.ChangeOwner(name, node.Attributes.Uid, node.Attributes.Gid);
        if (node is not SymbolicLink)
            parent.ChangeMode(name, node.Attributes.Permissions);
        foreach ((ReadOnlyMemory<byte> attribute, ReadOnlyMemory<byte> value) in node.Attributes.Xattrs)
            Xattrs.Set(parent, name, new Linux.Xattr(Encoding.UTF8.GetString(attribute.Span), value.ToArray()));
    }

    private void AssertLikeOstree(string repository, string option, DirectoryNode expected)
    {
        Verdict verdict = Judge.Ostree.Ask(scratch.Path, null, ["checkout", $"--repo={repository}", option, "main", "image.cfs"]);
        Assert.True(verdict.ExitCode == 0, verdict.Error);
        string image = Path.Combine(scratch.Path, "image.cfs");
        Images.AssertSame(
            File.ReadAllBytes(image), Images.Ours(expected),
            () => $"theirs:\n{Judge.ComposefsInfo.Run("dump", image)}ours:\n{Encoding.Latin1.GetString(ComposefsDump.Write(expected))}");
    }

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);
}
