using CsCheck;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

public sealed class FormatTests
{
    private static readonly Gen<Checksum> AnyChecksum = Gen.Byte.Array[32].Select(static bytes => Checksum.FromBytes(bytes));

    private static readonly Gen<string> AnyName = Gen.String[Gen.Char["abc.- é日\n"], 1, 60].Where(static name => name is not ("." or ".."));

    private static readonly Gen<XattrList> AnyXattrs = Gen.Select(Gen.String[Gen.Char.AlphaNumeric, 1, 40], Gen.Byte.Array[0, 300])
        .Array[0, 4].Select(static pairs => XattrList.From([.. pairs.DistinctBy(static pair => pair.Item1).Select(static pair => new Xattr("user." + pair.Item1, pair.Item2))]));

    private static readonly Gen<DirMeta> AnyDirMeta = Gen.Select(Gen.UInt, Gen.UInt, Gen.UInt[0, 0xFFF], AnyXattrs)
        .Select(static (uid, gid, bits, xattrs) => new DirMeta(uid, gid, new Mode(0x4000 | bits), xattrs));

    internal static readonly Gen<DirTree> AnyDirTree = Gen.Select(
        Gen.Select(AnyName, AnyChecksum).Array[0, 30], Gen.Select(AnyName, AnyChecksum, AnyChecksum).Array[0, 30])
        .Select(static (files, dirs) => new DirTree(
            [.. files.Select(static file => new DirTreeFile(file.Item1, file.Item2))],
            [.. dirs.Select(static dir => new DirTreeDirectory(dir.Item1, dir.Item2, dir.Item3))]));

    private static readonly Gen<Commit> AnyCommit = Gen.Select(AnyChecksum, AnyChecksum, AnyName, AnyName, Gen.ULong, Gen.Bool)
        .Select(static (tree, meta, subject, body, time, first) => new Commit(
            VariantDictionary.Empty.With("version", subject).With("n", GVariant.Of(time)), first ? null : tree, subject, body, time, tree, meta));

    [Fact]
    public void Any_object_reads_back_as_written()
    {
        AnyDirMeta.Sample(static meta => DirMeta.Parse(meta.ToBytes()) == meta);
        AnyDirTree.Sample(static tree => DirTree.Parse(tree.ToBytes()) == tree);
        AnyCommit.Sample(static commit => Commit.Parse(commit.ToBytes()) == commit);
    }

    [Fact]
    public void Any_damage_is_refused_as_malformed_or_reads_as_another_object_of_the_very_same_bytes()
    {
        Damaged(AnyDirMeta.Select(static meta => meta.ToBytes()), static bytes => DirMeta.Parse(bytes).ToBytes());
        Damaged(AnyDirTree.Select(static tree => tree.ToBytes()), static bytes => DirTree.Parse(bytes).ToBytes());
        Damaged(AnyCommit.Select(static commit => commit.ToBytes()), static bytes => Commit.Parse(bytes).ToBytes());
    }

    [Fact]
    public void A_root_owned_0755_directory_has_the_checksum_ostree_gives_it() => Assert.Equal(
        "446a0ef11b7cc167f3b603e585c7eeeeb675faa412d5ec73f62988eb0b6c5488",
        Checksum.Of(new DirMeta(0, 0, new Mode(0x41ED), XattrList.Empty).ToBytes()).ToString());

    [Fact]
    public void An_empty_dirtree_is_one_byte_and_has_the_checksum_ostree_gives_it()
    {
        byte[] bytes = new DirTree([], []).ToBytes();
        Assert.Equal(new byte[1], bytes);
        Assert.Equal("6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d", Checksum.Of(bytes).ToString());
    }

    [Theory]
    [InlineData("..")]
    [InlineData(".")]
    [InlineData("")]
    [InlineData("a/b")]
    public void A_name_that_would_leave_its_directory_is_refused(string name)
    {
        byte[] file = new DirTree([new DirTreeFile(name, Checksum.Of([]))], []).ToBytes();
        byte[] directory = new DirTree([], [new DirTreeDirectory(name, Checksum.Of([]), Checksum.Of([]))]).ToBytes();
        Assert.Equal("name", Assert.Throws<MalformedException>(() => DirTree.Parse(file)).Part);
        Assert.Equal("name", Assert.Throws<MalformedException>(() => DirTree.Parse(directory)).Part);
    }

    [Fact]
    public void A_dirmeta_of_a_file_is_refused() => Assert.Equal(
        "mode", Assert.Throws<MalformedException>(() => DirMeta.Parse(new DirMeta(0, 0, new Mode(0x81A4), XattrList.Empty).ToBytes())).Part);

    [Fact]
    public void A_commit_shows_as_ostree_shows_it_raw()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        VariantDictionary metadata = VariantDictionary.Empty
            .With("version", "1 'quoted' \"both\" \n\u00e9\u0001").With("list", GVariant.Of(["a", "b"])).With("none", GVariant.Of(Array.Empty<string>()))
            .With("number", GVariant.Of(7ul)).With("flag", GVariant.Of(true)).With("bytes", GVariant.Of([1, 2, 0])).With("text", GVariant.Of("hi\0"u8.ToArray()))
            .With("nested", VariantDictionary.Empty.With("x", GVariant.Tuple(GVariant.Of(1u), GVariant.Of(-1))).Variant);
        Checksum commit = ours.CommitDirectory(
            scratch.Tree(), new CommitOptions { Branches = ["main"], Subject = "s'", Body = "b\n", Timestamp = Scratch.Time, Metadata = metadata });
        Commit loaded = ours.LoadCommit(commit);
        string raw = Judge.Ostree.Run("show", $"--repo={ours.Path}", "--raw", "main");
        Assert.Equal(loaded.ToVariant().ByteSwapped().ToString(), raw.Split('\n').Single(static line => line.StartsWith('(')));
        foreach (string key in loaded.Metadata.Keys)
            Assert.Equal(Judge.Ostree.Run("show", $"--repo={ours.Path}", $"--print-metadata-key={key}", "main").TrimEnd('\n'), loaded.Metadata[key]!.ByteSwapped().ToString());
        Assert.Contains($"ContentChecksum:  {loaded.ContentChecksum}", Judge.Ostree.Run("show", $"--repo={ours.Path}", "main"));
    }

    [Fact]
    public void A_summary_of_theirs_lists_the_refs()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Archive);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main", "os/other"] });
        Judge.Ostree.Run("summary", $"--repo={ours.Path}", "-u");
        Summary summary = Summary.Parse(ours.Dir.ReadAll("summary"));
        Assert.Equal(new Dictionary<string, Checksum> { ["main"] = commit, ["os/other"] = commit }, summary.Refs);
        Assert.NotEmpty(summary.Metadata.Keys);
    }

    [Fact]
    public void A_summary_of_ours_is_what_ostree_reads_and_pulls_by()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Archive);
        Checksum commit = ours.CommitDirectory(
            scratch.Tree(), new CommitOptions { Branches = ["main", "os/other"], Metadata = VariantDictionary.Empty.With("version", "7") });
        ours.SetRef("origin:not-mine", commit);
        ours.WriteSummary();
        Assert.Equal(["main", "os/other"], Summary.Parse(ours.Dir.ReadAll("summary")).Refs.Keys);
        string shown = Judge.Ostree.Run("summary", $"--repo={ours.Path}", "-v");
        Assert.Contains(commit.ToString(), shown);
        Assert.Contains("Version (ostree.commit.version): 7", shown);
        using var server = new StaticServer(ours.Path);
        Judge.HostOstree.Run("init", $"--repo={scratch["theirs"]}", "--mode=archive");
        Judge.HostOstree.Run("remote", $"--repo={scratch["theirs"]}", "add", "--no-gpg-verify", "origin", server.Url);
        Assert.Equal("origin:main\norigin:os/other\n", Judge.HostOstree.Run("remote", $"--repo={scratch["theirs"]}", "refs", "origin"));
        Judge.HostOstree.Run("pull", $"--repo={scratch["theirs"]}", "--mirror", "origin");
        Assert.Equal(commit.ToString(), Judge.HostOstree.Run("rev-parse", $"--repo={scratch["theirs"]}", "os/other").Trim());
    }

    private static void Damaged(Gen<byte[]> any, Func<byte[], byte[]> again) =>
        Gen.Select(any, Gen.Int[0, int.MaxValue], Gen.Byte[1, 255]).Sample((bytes, where, with) =>
        {
            bytes[where % bytes.Length] ^= with;
            try
            {
                Assert.Equal(bytes, again(bytes));
            }
            catch (MalformedException)
            {
            }
        });
}
