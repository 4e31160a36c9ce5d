using System.Formats.Tar;
using System.IO.Compression;
using System.Text;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>Collections, tombstones, archives, and what a commit says beside its tree, each beside real ostree.</summary>
public sealed class WholeCommandTests
{
    private const string Time = "--timestamp=@1700000000";
    private static readonly DateTimeOffset At = DateTimeOffset.FromUnixTimeSeconds(1_700_000_000);

    [Fact]
    public void Refs_of_collections_keep_their_commits_and_ostree_lists_them()
    {
        using var scratch = new Scratch();
        using Repository repository = Repository.Create(scratch["repo"], RepositoryMode.Archive, "org.example.Own");
        Checksum own = repository.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        Checksum orphan = repository.CommitDirectory(scratch["tree"], new CommitOptions { Subject = "mirrored" });
        repository.SetCollectionRef(new CollectionRef("org.example.Other", "os/theirs"), orphan);
        Assert.Equal("(org.example.Other, os/theirs)\n(org.example.Own, main)\n", Sorted(Judge.Ostree.Run("refs", $"--repo={repository.Path}", "--collections")));
        Assert.Equal([own, orphan], repository.CollectionRefs().OrderByDescending(static each => each.Key.Collection).Select(static each => each.Value));
        Assert.Equal("org.example.Own", repository.LoadCommit(own).Metadata.GetString("ostree.collection-binding"));

        repository.Prune(new PruneOptions { RefsOnly = true, Depth = 0 });
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={repository.Path}", "-a"));
        Assert.True(repository.Has(new ObjectName(orphan, ObjectType.Commit)));
        repository.SetCollectionRef(new CollectionRef("org.example.Other", "os/theirs"), null);
        Assert.True(repository.Prune(new PruneOptions { RefsOnly = true, Depth = 0 }).ObjectsDeleted > 0);
        Assert.Throws<InvalidRefException>(() => repository.SetCollectionRef(new CollectionRef("no dots", "a"), own));
        Assert.Throws<InvalidRefException>(() => repository.SetCollectionRef(new CollectionRef("org.example.Other", "../../x"), own));
    }

    [Fact]
    public void A_summary_with_collections_and_more_metadata_is_byte_for_byte_ostrees()
    {
        using var scratch = new Scratch();
        using Repository repository = Repository.Create(scratch["repo"], RepositoryMode.Archive);
        Checksum commit = repository.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"], Timestamp = At });
        repository.SetCollectionRef(new CollectionRef("org.example.Other", "os/theirs"), commit);
        Judge.Ostree.Run("summary", $"--repo={repository.Path}", "-u", "-m", "a='b'", "-m", "zeta=uint64 5", "-m", "map=@a{sv} {}", "-m", "list=['x', 'y']");
        byte[] theirs = repository.Dir.ReadAll("summary");
        long seconds = (long)Summary.Parse(theirs).Metadata["ostree.summary.last-modified"]!.ByteSwapped().Unsigned;
        VariantDictionary more = VariantDictionary.Empty;
        foreach ((string key, string value) in new[] { ("a", "'b'"), ("zeta", "uint64 5"), ("map", "@a{sv} {}"), ("list", "['x', 'y']") })
            more = more.With(key, GVariant.ParseText(value));
        repository.WriteSummary(new Fixed(DateTimeOffset.FromUnixTimeSeconds(seconds)), more);
        Assert.Equal(theirs, repository.Dir.ReadAll("summary"));
    }

    [Theory]
    [InlineData(RepositoryMode.Bare, "--bootable")]
    [InlineData(RepositoryMode.Bare, "--generate-composefs-metadata")]
    [InlineData(RepositoryMode.Archive, "--generate-sizes")]
    [InlineData(RepositoryMode.Bare, "--mode-ro-executables")]
    [InlineData(RepositoryMode.Bare, "--add-metadata=a=uint64 5")]
    public void What_a_commit_says_beside_its_tree_is_what_ostrees_says(RepositoryMode mode, string flag)
    {
        using var scratch = new Scratch();
        // Small files: how much larger ones shrink depends on the compressor.
        string tree = mode == RepositoryMode.Archive ? scratch["small"] : scratch.Tree();
        Directory.CreateDirectory($"{tree}/usr/lib/modules/6.12");
        File.WriteAllText($"{tree}/usr/lib/modules/6.12/vmlinuz", "kernel");
        string theirs = scratch["theirs"];
        Judge.Ostree.Run("init", $"--repo={theirs}", $"--mode={mode.Name()}");
        string real = Judge.Ostree.Run("commit", $"--repo={theirs}", "-b", "main", Time, flag, "--add-metadata-string=k=v", $"--tree=dir={tree}").Trim();
        using Repository ours = Repository.Create(scratch["ours"], mode);
        VariantDictionary metadata = VariantDictionary.Empty.With("k", "v");
        Checksum mine = ours.CommitDirectory(tree, new CommitOptions
        {
            Branches = ["main"],
            Timestamp = At,
            Metadata = flag.StartsWith("--add", StringComparison.Ordinal) ? metadata.With("a", GVariant.Of(5UL)) : metadata,
            Bootable = flag == "--bootable",
            ComposefsDigest = flag == "--generate-composefs-metadata",
            Sizes = flag == "--generate-sizes",
            ReadOnlyExecutables = flag == "--mode-ro-executables",
        });
        Assert.Equal(real, mine.ToString());
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={ours.Path}"));
    }

    [Fact]
    public void A_commit_of_a_commit_with_another_owner_is_ostrees()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        Checksum first = ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"], Timestamp = At });
        string real = Judge.Ostree.Run("commit", $"--repo={ours.Path}", "-b", "again", Time, "--owner-uid=5", "--no-xattrs", "--tree=ref=main").Trim();
        CommitResult mine = ours.CommitTrees([new TreeSource.OfCommit(first)], new CommitOptions { Branches = ["again"], NoParent = true, Timestamp = At, OwnerUid = 5, NoXattrs = true });
        Assert.Equal(real, mine.Checksum.ToString());
    }

    [Fact]
    public void A_tombstone_says_that_a_commit_was_deleted_on_purpose_until_it_comes_back()
    {
        using var scratch = new Scratch();
        using Repository repository = Repository.Create(scratch["repo"], RepositoryMode.Archive);
        Checksum old = repository.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        using Repository other = Repository.Create(scratch["other"], RepositoryMode.Archive);
        other.PullLocal(repository);
        repository.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"], Subject = "newer" });
        repository.Fsck(new FsckOptions { AddTombstones = true });
        Assert.Throws<CommitInUseException>(() => repository.Prune(new PruneOptions { DeleteCommit = repository.Resolve("main") }));
        Judge.OnPath("cp").Run("-a", repository.Path, scratch["theirs"]);
        Judge.Ostree.Run("prune", $"--repo={scratch["theirs"]}", $"--delete-commit={old}");
        repository.Prune(new PruneOptions { DeleteCommit = old, RefsOnly = true, Depth = 0 });
        var tombstone = new ObjectName(old, ObjectType.TombstoneCommit);
        string inside = $"objects/{tombstone.LoosePath(RepositoryMode.Archive)}";
        Assert.Equal(File.ReadAllBytes($"{scratch["theirs"]}/{inside}"), File.ReadAllBytes($"{repository.Path}/{inside}"));
        Assert.True(repository.Has(tombstone));
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={repository.Path}"));
        repository.PullLocal(other);
        Assert.False(repository.Has(tombstone));
        Assert.True(repository.Has(new ObjectName(old, ObjectType.Commit)));
    }

    [Fact]
    public void A_tree_goes_out_as_tar_and_comes_back_the_same()
    {
        using var scratch = new Scratch();
        using Repository repository = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        string tree = scratch["plain"];
        Directory.CreateDirectory($"{tree}/d/e");
        File.WriteAllText($"{tree}/d/hello", "hello\n");
        File.WriteAllText($"{tree}/d/e/{new string('n', 150)}", "long name");
        File.WriteAllText($"{tree}/empty", "");
        File.CreateSymbolicLink($"{tree}/d/link", "hello");
        using (Dir dir = Dir.Open(tree))
            dir.TryLink("d/hello", dir, "d/other-name");
        CommitOptions options = new() { Timestamp = At, NoParent = true };
        Checksum direct = repository.CommitDirectory(tree, options);
        Judge.OnPath("tar").Run("-C", tree, "-czf", scratch["tree.tar.gz"], ".");
        Assert.Equal(direct, FromArchive(repository, File.ReadAllBytes(scratch["tree.tar.gz"]), options));
        Judge.OnPath("sh").Run("-c", $"cd {tree} && find . | cpio -o -H newc --quiet > {scratch["tree.cpio"]}");
        Assert.Equal(direct, FromArchive(repository, File.ReadAllBytes(scratch["tree.cpio"]), options));
    }

    [Fact]
    public void Archives_that_lead_out_of_the_tree_or_are_none_are_refused_and_cut_short_ones_too()
    {
        using var scratch = new Scratch();
        using Repository repository = Repository.Create(scratch["repo"], RepositoryMode.Archive);
        var made = new MemoryStream();
        using (var writer = new System.Formats.Tar.TarWriter(made, leaveOpen: true))
            writer.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, "a/../../etc/passwd") { DataStream = new MemoryStream("x"u8.ToArray()) });
        Assert.Contains("leads out of the tree", Assert.Throws<CannotCommitException>(() => FromArchive(repository, made.ToArray(), new CommitOptions())).Message);

        made.SetLength(0);
        using (var writer = new System.Formats.Tar.TarWriter(made, leaveOpen: true))
        {
            writer.WriteEntry(new PaxTarEntry(TarEntryType.Directory, "./"));
            writer.WriteEntry(new PaxTarEntry(TarEntryType.RegularFile, "file") { DataStream = new MemoryStream(new byte[5000]) });
        }

        byte[] whole = made.ToArray();
        var random = new Random(3);
        for (int i = 0; i < 400; i++)
        {
            byte[] bytes = whole[..(i % 2 == 0 ? random.Next(whole.Length) : whole.Length)];
            for (int change = i % 2 == 0 ? 0 : 1 + random.Next(4); change > 0; change--)
                bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
            try
            {
                FromArchive(repository, bytes, new CommitOptions());
            }
            catch (RepositoryException)
            {
                // refused: that is what it should be
            }
        }

        Assert.True(repository.Fsck().IsWhole);
        Assert.Throws<CannotCommitException>(() => FromArchive(repository, [0xFD, .. "7zXZ\0 and more"u8], new CommitOptions()));
    }

    [Fact, Trait("Category", "Slow")]
    public void A_summary_cut_short_at_any_step_is_the_old_or_the_new_and_never_beside_anothers_signature()
    {
        using var scratch = new Scratch();
        using Repository repository = Repository.Create(scratch["repo"], RepositoryMode.Archive);
        repository.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        repository.WriteSummary();
        string[] deed = ["summary", $"--repo={repository.Path}", "--update"];
        int killed = 0;
        foreach (string call in new[] { "renameat2", "fsync", "linkat", "unlinkat", "pwrite64" })
        {
            for (int when = 1; when <= 3; when++)
            {
                byte[] before = repository.Dir.ReadAll("summary");
                File.WriteAllText($"{repository.Path}/summary.sig", "of the old one");
                repository.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"], Subject = $"{call} {when}" });
                Verdict verdict = Judge.OnPath("strace").Ask(["-f", "-qq", "-o", "/dev/null", "-e", $"inject={call}:signal=KILL:when={when}", Published.Ostree, .. deed]);
                killed += verdict.ExitCode == 0 ? 0 : 1;
                bool isOld = repository.Dir.ReadAll("summary").AsSpan().SequenceEqual(before);
                Assert.True(isOld || !repository.Dir.Exists("summary.sig"), $"{call} {when}: the new summary beside the old one's signature");
                Summary.Parse(repository.Dir.ReadAll("summary"));
                Assert.Contains("main", Judge.Ostree.Run("summary", $"--repo={repository.Path}", "-v"));
                Judge.OnPath(Published.Ostree).Run(deed);
            }
        }

        Assert.True(killed > 3, $"only {killed} kills hit a call");
    }

    private static Checksum FromArchive(Repository repository, byte[] bytes, CommitOptions options) =>
        repository.CommitTrees([new TreeSource.Archive(new MemoryStream(bytes), "archive")], options).Checksum;

    private static string Sorted(string lines) => string.Concat(lines.Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal).Select(static line => line + "\n"));

    private sealed class Fixed(DateTimeOffset now) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => now;
    }
}
