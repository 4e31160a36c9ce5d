using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Image.Tests;

/// <summary>The road from a recipe to a commit, over a base tree and an initrd that are in the cache: what every second build does.</summary>
public sealed class ImageBuilderTests : IDisposable
{
    private const string Text = """
        name = "debian"
        ref = "debian/13/amd64/minimal"
        version = "1"
        suite = "trixie"
        programs = false
        source-date-epoch = 1700000000
        kernel-arguments = ["quiet", "console=ttyS0"]

        [[file]]
        path = "/etc/greeting"
        content = "hello"
        """;

    private readonly TempDirectory directory = new();
    private readonly BuildCache cache;

    public ImageBuilderTests()
    {
        cache = new BuildCache(directory.Of("cache"));
        Seed(Read(Text));
    }

    public void Dispose() => directory.Dispose();

    [Fact]
    public void One_recipe_has_one_commit_in_every_repository()
    {
        using Repository one = Create("one"), two = Create("two");
        Assert.Equal(Build(one, Text).Commit, Build(two, Text).Commit);
    }

    [Fact]
    public void Another_version_in_between_changes_nothing()
    {
        using Repository repository = Create("repo");
        Checksum first = Build(repository, Text).Commit;
        Assert.NotEqual(first, Build(repository, Text.Replace("\"hello\"", "\"bye\"", StringComparison.Ordinal)).Commit);
        Assert.Equal(first, Build(repository, Text).Commit);
    }

    [Fact]
    public void What_the_branch_has_already_is_not_built_again()
    {
        using Repository repository = Create("repo");
        ImageBuildResult first = Build(repository, Text), second = Build(repository, Text);
        Assert.Equal((false, true, first.Commit), (first.AlreadyThere, second.AlreadyThere, second.Commit));
    }

    [Fact]
    public void With_history_the_commit_before_is_the_parent()
    {
        using Repository repository = Create("repo");
        Checksum first = Build(repository, Text).Commit;
        Recipe next = Read(Text.Replace("\"hello\"", "\"bye\"", StringComparison.Ordinal));
        Checksum second = new ImageBuilder(cache).Build(next, null, repository, new ImageBuildOptions { KeepHistory = true }).Commit;
        Assert.Equal(first, repository.LoadCommit(second).Parent);
    }

    [Fact]
    public void Real_ostree_finds_the_repository_whole_and_reads_what_the_commit_was_built_from()
    {
        using Repository repository = Create("repo");
        ImageBuildResult built = Build(repository, Text);
        string Shown(string key) => Judge.Ostree.Run("show", "--repo=" + repository.Path, "--print-metadata-key=" + key, "debian/13/amd64/minimal").Trim();

        Judge.Ostree.Run("fsck", "--repo=" + repository.Path);
        Assert.Equal("'1'", Shown("version"));
        Assert.Equal($"'{FakeDebian.Kernel}'", Shown("ostree.linux"));
        Assert.Equal("true", Shown("ostree.bootable"));
        Assert.Equal($"'{built.Plan.Digest}'", Shown("sbox.recipe-digest"));
        Assert.Equal("['quiet', 'console=ttyS0']", Shown("sbox.kargs"));
        Assert.Equal("['bash 5.2 amd64']", Shown("sbox.packages"));
        Assert.Contains("2023-11-14 22:13:20 +0000", Judge.Ostree.Run("show", "--repo=" + repository.Path, "debian/13/amd64/minimal"), StringComparison.Ordinal);
        Assert.Equal("hello", Judge.Ostree.Run("cat", "--repo=" + repository.Path, "debian/13/amd64/minimal", "/usr/etc/greeting"));
    }

    [Fact]
    public void A_commit_says_that_a_new_box_of_it_is_a_ghost_and_says_nothing_of_a_normal_one()
    {
        using Repository repository = Create("repo");
        Assert.Null(repository.LoadCommit(Build(repository, Text).Commit).Metadata.GetString("sbox.boots-as"));
        new ImageBuilder(cache).Build(Read(Text) with { BootsAs = DefaultBoot.Ghost }, null, repository);
        Assert.Equal("'ghost'", Judge.Ostree.Run("show", "--repo=" + repository.Path, "--print-metadata-key=sbox.boots-as", "debian/13/amd64/minimal").Trim());
    }

    [Fact]
    public void Real_ostree_gives_the_same_tree_the_same_checksum()
    {
        using Repository repository = Create("repo");
        using BuiltTree tree = new TreeBuilder(cache).Build(new TreeBuilder(cache).Plan(Read(Text), null), null, default);
        Checksum ours = repository.CommitDirectory(tree.Path, new CommitOptions { Timestamp = DateTimeOffset.UnixEpoch.AddDays(1) });
        string theirs = Judge.Ostree.Run("commit", "--repo=" + repository.Path, "--orphan", "--no-bindings", "--timestamp=@86400", "--tree=dir=" + tree.Path);
        Judge.Ostree.Run("fsck", "--repo=" + repository.Path);
        Assert.Equal(repository.LoadCommit(ours).RootTree, repository.LoadCommit(Checksum.Parse(theirs.Trim())).RootTree);
    }

    [Fact]
    public void A_tool_that_fails_is_named_and_leaves_the_repository_and_the_machine_as_they_were()
    {
        using Repository repository = Create("repo");
        Checksum before = Build(repository, Text).Commit;
        Directory.Delete($"{cache.Root}/initrd", recursive: true); // now dracut is needed, and the fake tree's is none
        string[] mounts = Mounted();
        var failed = Assert.Throws<BuildFailedException>(() => Build(repository, Text.Replace("\"hello\"", "\"bye\"", StringComparison.Ordinal) + "\n[initrd]\nmade-by = \"dracut\"\n"));

        Assert.Equal(("initrd", "dracut", 127), (failed.Step, failed.Tool, failed.ExitCode));
        Assert.Contains(failed.LastLines, line => line.Contains("dracut", StringComparison.Ordinal));
        Assert.Equal(before, repository.Resolve("debian/13/amd64/minimal"));
        Assert.Empty(Directory.GetFileSystemEntries($"{cache.Root}/work"));
        Assert.Equal(mounts, Mounted());

        // Other tests run meanwhile and mount elsewhere.
        string[] Mounted() => [.. File.ReadAllLines("/proc/self/mounts").Where(line => line.Contains(cache.Root, StringComparison.Ordinal))];
    }

    [Fact]
    public void An_unreachable_mirror_shows_the_last_lines_of_mmdebstrap_and_leaves_nothing()
    {
        using Repository repository = Create("repo");
        var failed = Assert.Throws<BuildFailedException>(() => Build(repository, "mirrors = [\"http://127.0.0.1:1/debian\"]\n" + Text));
        Assert.Equal(("packages", "mmdebstrap"), (failed.Step, failed.Tool));
        Assert.Contains(failed.LastLines, line => line.Contains("127.0.0.1:1", StringComparison.Ordinal));
        Assert.Null(repository.TryResolve("debian/13/amd64/minimal"));
        Assert.Empty(Directory.GetFileSystemEntries($"{cache.Root}/work"));
        Assert.Single(Directory.GetFiles($"{cache.Root}/base", "*.tar.zst"));
    }

    [Fact]
    public void A_cancelled_build_leaves_nothing()
    {
        using Repository repository = Create("repo");
        using var cancel = new CancellationTokenSource();
        var progress = new Direct(step => { if (step.Step == "unpack") cancel.Cancel(); });
        Assert.ThrowsAny<OperationCanceledException>(() => new ImageBuilder(cache).Build(Read(Text), null, repository, null, progress, cancel.Token));
        Assert.Empty(Directory.GetFileSystemEntries($"{cache.Root}/work"));
        Assert.Null(repository.TryResolve("debian/13/amd64/minimal"));
    }

    [Fact]
    public void What_a_killed_build_left_is_removed_by_the_next()
    {
        // No process has this number: it is above the kernel's limit.
        string left = $"{cache.Root}/work/99999999-dead/tree";
        Directory.CreateDirectory(left);
        using Repository repository = Create("repo");
        Build(repository, Text);
        Assert.False(Directory.Exists(left));
    }

    [Fact]
    public void A_box_without_its_programs_is_refused_before_anything_is_built() => Assert.Equal(
        "programs: the recipe puts sbox into the tree, but there is no /nowhere/sbox, no /nowhere/sbox-root, no /nowhere/90sbox",
        Assert.Throws<BuildFailedException>(() => new TreeBuilder(cache).Plan(
            Read(Text) with { Programs = true }, new BoxPrograms("/nowhere/sbox", "/nowhere/sbox-root", "/nowhere/90sbox"))).Message);

    [Fact]
    public void The_plan_says_what_is_in_the_cache()
    {
        File.SetLastWriteTimeUtc(cache.BasePackages($"{RecipeDigest.OfPackages(Read(Text).Packages)}"), new DateTime(2026, 11, 1, 0, 0, 0, DateTimeKind.Utc));
        Assert.Contains("packages  1 of trixie as of 2026-11-01, from the cache", $"{new TreeBuilder(cache).Plan(Read(Text), null)}", StringComparison.Ordinal);
        Assert.Contains("mmdebstrap installs 1", $"{new TreeBuilder(cache).Plan(Read("packages = [\"less\"]\n" + Text), null)}", StringComparison.Ordinal);
    }

    // A tar and an initrd under the keys of the recipe, as builds leave them.
    private void Seed(Recipe recipe)
    {
        string key = $"{RecipeDigest.OfPackages(recipe.Packages)}";
        using TreeRoot tree = FakeDebian.Make(directory.Of("fake"));
        Judge.OnPath("tar").Run("--create", "--zstd", "--file", cache.BaseTree(key), "--directory", tree.Path, ".");
        IReadOnlyList<InstalledPackage> packages = PackageList.Parse(tree.ReadText("var/lib/dpkg/status"));
        File.WriteAllLines(cache.BasePackages(key), packages.Select(package => $"{package}"));
        File.WriteAllText(cache.Initrd($"{Initrd.Key(recipe, packages, null)}"), "initrd");
    }

    private Recipe Read(string text) => RecipeReader.Read(directory.Write("recipe.toml", text));

    private Repository Create(string name) => Repository.Create(directory.Of(name), RepositoryMode.Bare);

    private ImageBuildResult Build(Repository repository, string text) => new ImageBuilder(cache).Build(Read(text), null, repository);

    private sealed class Direct(Action<BuildStep> report) : IProgress<BuildStep>
    {
        public void Report(BuildStep value) => report(value);
    }
}
