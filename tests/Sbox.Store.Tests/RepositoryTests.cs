using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

public sealed class RepositoryTests
{
    [Theory, MemberData(nameof(CommitTests.Modes), MemberType = typeof(CommitTests))]
    public void A_new_repository_looks_as_ostree_makes_it(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        Repository.Create(scratch["ours"], mode).Dispose();
        Judge.Ostree.Run("init", $"--repo={scratch["theirs"]}", $"--mode={mode.Name()}");
        string[] theirs = Listing(scratch["theirs"]), ours = Listing(scratch["ours"]);
        Assert.Equal(theirs, ours);
        Assert.Equal(System.IO.File.ReadAllText(scratch["theirs"] + "/config"), System.IO.File.ReadAllText(scratch["ours"] + "/config"));
    }

    [Fact]
    public void Making_it_again_changes_nothing_and_opens_what_is_there()
    {
        using var scratch = new Scratch();
        using Repository first = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        first.WriteConfig(first.Config.With("core", "fsync", "false"));
        using Repository second = Repository.Create(scratch["repo"], RepositoryMode.Archive);
        Assert.Equal(RepositoryMode.Bare, second.Mode);
        Assert.Equal("false", second.Config.Get("core", "fsync"));
    }

    [Fact]
    public void What_is_no_repository_or_none_that_is_handled_is_refused_by_name()
    {
        using var scratch = new Scratch();
        Assert.Throws<NotARepositoryException>(() => Repository.Open(scratch["nowhere"]));
        Assert.Throws<NotARepositoryException>(() => Repository.Open(scratch.Root));

        Repository.Create(scratch["repo"], RepositoryMode.Bare).Dispose();
        System.IO.File.WriteAllText(scratch["repo"] + "/config", "[core]\nrepo_version=2\nmode=bare\n");
        Assert.Equal("2", Assert.Throws<UnsupportedRepositoryException>(() => Repository.Open(scratch["repo"])).Value);
        System.IO.File.WriteAllText(scratch["repo"] + "/config", "nonsense");
        Assert.Throws<NotARepositoryException>(() => Repository.Open(scratch["repo"]));
    }

    [Fact]
    public void A_repository_of_mode_bare_split_xattrs_is_read_as_ostree_reads_it_and_takes_no_files_as_there()
    {
        using var scratch = new Scratch();
        Directory.CreateDirectory(scratch["tree"]);
        File.WriteAllText(scratch["tree/file"], "content\n");
        File.CreateSymbolicLink(scratch["tree/link"], "file");
        using (Dir tree = Dir.Open(scratch["tree"]))
            Xattrs.Set(tree, "file", new Xattr("user.x", "y"u8.ToArray()));
        using Repository bare = Repository.Create(scratch["bare"], RepositoryMode.Bare);
        Checksum commit = bare.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"] });

        using Repository split = Repository.Create(scratch["split"], RepositoryMode.BareSplitXattrs);
        Assert.Contains("Not allowed due to repo mode", Assert.Throws<CannotCommitException>(() => split.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"] })).Message, StringComparison.Ordinal);
        Assert.Contains("Not allowed due to repo mode", Judge.Ostree.Ask("commit", $"--repo={split.Path}", "-b", "main", scratch["tree"]).Error, StringComparison.Ordinal);
        Assert.Throws<CannotCommitException>(() => split.PullLocal(bare, new PullLocalOptions { Refs = ["main"] }));

        // No program makes such files, so they are made here: as in bare, and what each has of xattrs beside it.
        foreach (ObjectName name in bare.EnumerateObjects())
        {
            string path = name.LoosePath(RepositoryMode.Bare);
            split.Dir.MakeDirs($"objects/{path[..2]}");
            bare.Dir.TryLink($"objects/{path}", split.Dir, $"objects/{path}");
            if (name.Type == ObjectType.File)
                File.WriteAllBytes($"{split.Path}/objects/{path}-xattrs-link", bare.LoadFile(name.Checksum).Xattrs.ToVariant().ToBytes());
        }

        split.ClearPartial([commit]); // as the pull that ended left it
        Judge.Ostree.Run("refs", $"--repo={split.Path}", "--create=main", $"{commit}");
        Judge.Ostree.Run("fsck", $"--repo={split.Path}");
        Assert.True(split.Fsck().IsWhole);
        Assert.Equal(Judge.Ostree.Run("ls", $"--repo={split.Path}", "-X", "-C", "main", "/file"), Judge.Ostree.Run("ls", $"--repo={bare.Path}", "-X", "-C", "main", "/file"));
        FileObject file = split.LoadFile(split.Find(commit, "/file").Content!.Value);
        Assert.Equal("user.x", Assert.Single(file.Xattrs).Name);
        using (Dir root = Dir.Open(scratch.Root))
            split.Checkout(commit, root, "out", new CheckoutOptions());
        Assert.Equal("content\n", File.ReadAllText(scratch["out/file"]));
        File.WriteAllBytes($"{split.Path}/objects/{new ObjectName(file.Checksum, ObjectType.File).LoosePath(RepositoryMode.Bare)}-xattrs-link", []);
        Assert.False(split.Fsck().IsWhole);
    }

    [Fact]
    public void Revisions_resolve_as_ostree_resolves_them()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        string tree = scratch.Tree();
        for (int i = 0; i < 3; i++)
            ours.CommitDirectory(tree, new CommitOptions { Branches = ["main"], Subject = $"{i}" });
        Checksum tip = ours.Resolve("main");
        ours.SetRef("origin:os/debian", ours.Resolve("main^"));
        foreach (string revision in new[] { "main", "main^", "main^^", "origin:os/debian", "os/debian", tip.ToString(), tip.ToString()[..12], tip.ToString()[..12] + "^" })
            Assert.Equal(Judge.Ostree.Run("rev-parse", $"--repo={ours.Path}", revision).Trim(), ours.Resolve(revision).ToString());
        Assert.Null(ours.TryResolve("nope"));
        Assert.Throws<RefNotFoundException>(() => ours.Resolve("nope"));
        Assert.Throws<RefNotFoundException>(() => ours.Resolve("main^^^"));
        Assert.Throws<InvalidRefException>(() => ours.Resolve("a b"));
        Assert.Throws<InvalidRefException>(() => ours.SetRef("../config", tip));
        Assert.Throws<InvalidRefException>(() => ours.SetRef("a//b", tip));
        Assert.Throws<InvalidRefException>(() => ours.SetRef("a/../../config", tip));
    }

    [Fact]
    public void Refs_list_as_ostree_lists_them_and_go_when_deleted()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        foreach (string name in new[] { "a/b/c", "a/b/d", "z", "origin:a/b", "other:x.y-z_1" })
            ours.SetRef(name, commit);
        Assert.Equal(
            Judge.Ostree.Run("refs", $"--repo={ours.Path}").Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal),
            ours.Refs().Keys.Order(StringComparer.Ordinal));
        Assert.Equal(["a/b/c", "a/b/d"], ours.Refs("a").Keys);
        Assert.Equal(["origin:a/b"], ours.Refs("origin:").Keys);
        ours.SetRef("a/b/c", null);
        ours.SetRef("a/b/d", null);
        ours.SetRef("a/b/d", null);
        ours.SetRef("a/b", commit); // where a directory was
        Assert.Equal(commit, ours.Resolve("a/b"));
        Assert.Equal(
            Judge.Ostree.Run("refs", $"--repo={ours.Path}").Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal),
            ours.Refs().Keys.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void An_alias_stands_for_its_branch_in_both_programs_and_never_leads_out_of_the_branches()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["os/1/server"] });
        ours.SetAlias("os/stable/server", "os/1/server");
        Judge.Ostree.Run("refs", $"--repo={ours.Path}", "-A", "--create=theirs", "os/1/server");
        Assert.Equal(
            Judge.Ostree.Run("refs", $"--repo={ours.Path}", "-A").Split('\n', StringSplitOptions.RemoveEmptyEntries).Order(StringComparer.Ordinal),
            ours.Aliases().Select(static alias => $"{alias.Key} -> {alias.Value}"));
        Assert.Equal(commit.ToString(), Judge.Ostree.Run("rev-parse", $"--repo={ours.Path}", "os/stable/server").Trim());
        Assert.Equal(commit, ours.Resolve("theirs"));
        ours.Dir.Symlink("../../../../etc/passwd", "refs/heads/escape");
        ours.Dir.Symlink("loop", "refs/heads/loop");
        Assert.Null(ours.TryResolve("escape"));
        Assert.Null(ours.TryResolve("loop"));
        Assert.Throws<InvalidRefException>(() => ours.SetAlias("origin:x", "os/1/server"));
    }

    [Fact]
    public void What_others_leave_among_the_refs_is_no_ref()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        Scratch.Write(ours.Dir, "refs/heads/.latest_rsync", "x"u8.ToArray());
        Assert.Equal(["main"], ours.Refs().Keys);
        foreach (string name in new[] { ".", "-", ".foo", "-bar", "!", "a/.b" })
            Assert.Throws<InvalidRefException>(() => ours.SetRef(name, ours.Resolve("main")));
    }

    [Fact]
    public void A_tree_lists_as_ostree_lists_it()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Archive);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        var names = new List<string>();
        Collect(ours.Find(commit, "/"));
        string[] theirs = Judge.Ostree.Run("ls", $"--repo={ours.Path}", "-R", "--nul-filenames-only", "main").Split('\0', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(theirs.Order(StringComparer.Ordinal), names.Order(StringComparer.Ordinal));
        using Stream content = ours.LoadFile(ours.Find(commit, "/hello").Content!.Value).OpenContent();
        Assert.Equal("hello\n", new StreamReader(content).ReadToEnd());
        Assert.Throws<TreePathException>(() => ours.Find(commit, "/hello/inside"));

        void Collect(TreeEntry entry)
        {
            names.Add(entry.Path);
            foreach (TreeEntry child in entry.IsDirectory ? ours.Children(entry) : [])
                Collect(child);
        }
    }

    [Fact]
    public void What_another_boot_left_half_done_is_cleared_and_what_this_one_left_is_used()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        string boot = System.IO.File.ReadAllText("/proc/sys/kernel/random/boot_id").Trim();
        ours.Dir.MakeDirs("tmp/staging-00000000-0000-0000-0000-000000000000-AbCdEf/ab");
        ours.Dir.MakeDirs($"tmp/staging-{boot}-AbCdEf/ab");
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        Assert.Equal(["cache"], System.IO.Directory.EnumerateFileSystemEntries(ours.Path + "/tmp").Select(System.IO.Path.GetFileName));

        using (Transaction kept = ours.Begin())
            kept.WriteFile(new FileHeader(0, 0, new Mode(0x81A4), null, XattrList.Empty), new MemoryStream("staged"u8.ToArray()));
        Assert.Contains(System.IO.Directory.EnumerateDirectories(ours.Path + "/tmp"), static path => path.Contains("staging-", StringComparison.Ordinal));
        string[] staged = System.IO.Directory.GetFiles(ours.Path + "/tmp", "*.file", SearchOption.AllDirectories);
        Assert.Single(staged);
        using (Transaction other = ours.Begin(resumes: false))
        {
            other.SetRef("named", commit);
            other.Commit();
        }

        Assert.Equal(staged, System.IO.Directory.GetFiles(ours.Path + "/tmp", "*.file", SearchOption.AllDirectories));
        Judge.Ostree.Run("commit", $"--repo={ours.Path}", "-b", "theirs", scratch["tree"]);
        Assert.Equal(["cache"], System.IO.Directory.EnumerateFileSystemEntries(ours.Path + "/tmp").Select(System.IO.Path.GetFileName));
        Assert.True(ours.Fsck().IsWhole);
        Assert.NotEqual(commit, ours.Resolve("theirs"));
    }

    [Fact]
    public void Several_commit_at_once_into_one_repository()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        string tree = scratch.Tree();
        Parallel.For(0, 6, i =>
        {
            using Repository own = Repository.Open(ours.Path);
            own.CommitDirectory(tree, new CommitOptions { Branches = [$"branch{i}"], Subject = $"{i}" });
        });
        Assert.Equal(6, ours.Refs().Count);
        Judge.Ostree.Run("fsck", $"--repo={ours.Path}");
    }

    [Theory]
    [InlineData("077")]
    [InlineData("022")]
    [InlineData("000")]
    public void Under_any_umask_others_may_read_a_published_repository_as_far_as_they_may_read_ostrees(string umask)
    {
        using var scratch = new Scratch();
        string tree = scratch.Tree();
        string victim = System.IO.Path.Combine(AppContext.BaseDirectory, "Sbox.Store.Victim");
        Shell(victim, "init", scratch["ours"]);
        Shell(victim, "commit", scratch["ours"], tree);
        Shell(victim, "summary", scratch["ours"]);
        Shell([.. Judge.Ostree.Command, "init", $"--repo={scratch["theirs"]}", "--mode=archive"]);
        Shell([.. Judge.Ostree.Command, "commit", $"--repo={scratch["theirs"]}", "-b", "main", "--timestamp=@0", tree]);
        Shell([.. Judge.Ostree.Command, "summary", $"--repo={scratch["theirs"]}", "-u"]);
        Assert.Equal(Permissions("theirs"), Permissions("ours"));

        void Shell(params string[] words) =>
            Judge.OnPath("sh").Run(["-c", $"umask {umask}; exec \"$@\"", "sh", .. words]);

        string[] Permissions(string name)
        {
            using Dir dir = Dir.Open(scratch[name]);
            return [.. Listing(scratch[name]).Select(path => $"{path} {new Mode(dir.Stat(path[1..]).Mode)}")];
        }
    }

    private static string[] Listing(string path) =>
        [.. System.IO.Directory.EnumerateFileSystemEntries(path, "*", SearchOption.AllDirectories).Select(entry => entry[path.Length..]).Order(StringComparer.Ordinal)];

    [Fact]
    public void A_directory_that_is_remembered_is_read_once_and_then_asked_of_the_disk_again()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        Commit commit = ours.LoadCommit(ours.CommitDirectory(scratch.Tree(), new CommitOptions()));
        using (ours.RememberTrees())
        {
            DirTree read = ours.LoadDirTree(commit.RootTree);
            DirMeta meta = ours.LoadDirMeta(commit.RootMeta);
            System.IO.File.Delete(Object(commit.RootTree, "dirtree"));
            System.IO.File.Delete(Object(commit.RootMeta, "dirmeta"));
            Assert.Same(read, ours.LoadDirTree(commit.RootTree));
            Assert.Same(meta, ours.LoadDirMeta(commit.RootMeta));
        }

        Assert.Throws<ObjectMissingException>(() => ours.LoadDirTree(commit.RootTree));
        Assert.Throws<ObjectMissingException>(() => ours.LoadDirMeta(commit.RootMeta));

        string Object(Checksum name, string kind) => scratch[$"repo/objects/{name.ToString()[..2]}/{name.ToString()[2..]}.{kind}"];
    }

    [Theory, InlineData(RepositoryMode.Bare), InlineData(RepositoryMode.Archive)]
    public void Files_that_could_be_sealed_are_counted_and_links_and_what_is_no_object_are_not(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], mode);
        ours.CommitDirectory(scratch.Tree(), new CommitOptions());
        string objects = scratch["repo/objects"];
        string[] files = [.. System.IO.Directory.GetFiles(objects, mode == RepositoryMode.Archive ? "*.filez" : "*.file", SearchOption.AllDirectories).Where(static path => new FileInfo(path).LinkTarget is null)];
        System.IO.File.WriteAllText(System.IO.Path.Combine(System.IO.Path.GetDirectoryName(files[0])!, mode == RepositoryMode.Archive ? "no object.filez" : "no object.file"), "");
        Assert.NotEmpty(files);
        VerityCoverage counted = ours.CountVerity();
        Assert.Equal(files.Length, counted.Total);
        Assert.Equal(0, counted.Sealed);
        Assert.Equal(counted.Supported ? counted : new VerityCoverage(0, 0, Supported: false), ours.CountVerity(orNone: true));
    }
}
