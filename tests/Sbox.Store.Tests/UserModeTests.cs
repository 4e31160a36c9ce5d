using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>Modes bare-user and bare-user-only, beside real ostree.</summary>
public sealed class UserModeTests
{
    public static TheoryData<RepositoryMode> Modes => [RepositoryMode.BareUser, RepositoryMode.BareUserOnly];

    [Theory, MemberData(nameof(Modes))]
    public void The_same_tree_gives_the_same_objects_as_ostree_makes_with_the_same_metadata_on_disk(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        string tree = scratch.Tree();
        Judge.Ostree.Run("init", $"--repo={scratch["theirs"]}", $"--mode={mode.Name()}");
        string theirs = Judge.Ostree.Run("commit", $"--repo={scratch["theirs"]}", "-b", "main", $"--timestamp={Scratch.Timestamp}", tree).Trim();
        using Repository ours = Repository.Create(scratch["ours"], mode);
        Checksum commit = ours.CommitDirectory(tree, new CommitOptions { Branches = ["main"], Timestamp = Scratch.Time });
        Assert.Equal(theirs, commit.ToString());
        Assert.Equal(Scratch.Describe(scratch["theirs"] + "/objects"), Scratch.Describe(scratch["ours"] + "/objects"));
        Assert.Empty(ours.Fsck().Problems);
        using Repository read = Repository.Open(scratch["theirs"]);
        Assert.Empty(read.Fsck().Problems);
        Judge.Ostree.Run("fsck", $"--repo={ours.Path}");
    }

    [Theory]
    [InlineData(RepositoryMode.BareUser, "")]
    [InlineData(RepositoryMode.BareUser, "-U")]
    [InlineData(RepositoryMode.BareUser, "-C")]
    [InlineData(RepositoryMode.BareUserOnly, "-U")]
    [InlineData(RepositoryMode.BareUserOnly, "-C")]
    public void A_checkout_is_what_ostree_makes_of_it(RepositoryMode mode, string option)
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], mode);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        Judge.Ostree.Run([.. new[] { "checkout", $"--repo={ours.Path}", option, "main", scratch["theirs"] }.Where(static word => word != "")]);
        using Dir here = Dir.Open(scratch.Root);
        ours.Checkout(commit, here, "ours", new CheckoutOptions { UserMode = option == "-U", ForceCopy = option == "-C" });
        Assert.Equal(Scratch.Describe(scratch["theirs"]), Scratch.Describe(scratch["ours"]));
    }

    [Fact]
    public void Hardlinks_are_refused_in_ostrees_words_where_a_mode_has_none()
    {
        using var scratch = new Scratch();
        foreach ((RepositoryMode mode, bool user, string option) in new[] { (RepositoryMode.Bare, true, "-U"), (RepositoryMode.BareUser, false, "") })
        {
            using Repository ours = Repository.Create(scratch[mode.Name()], mode);
            Checksum commit = ours.CommitDirectory(scratch.Tree(mode.Name() + "-tree"), new CommitOptions { Branches = ["main"] });
            Verdict theirs = Judge.Ostree.Ask([.. new[] { "checkout", $"--repo={ours.Path}", "-H", option, "main", scratch["x" + mode] }.Where(static word => word != "")]);
            using Dir here = Dir.Open(scratch.Root);
            CannotLinkException refused = Assert.Throws<CannotLinkException>(
                () => ours.Checkout(commit, here, "out", new CheckoutOptions { RequireHardlinks = true, UserMode = user }));
            Assert.Equal($"error: {refused.Message}", theirs.Error.Trim());
        }
    }

    [Fact]
    public void A_commit_goes_from_archive_to_bare_user_and_back_and_stays_whole()
    {
        using var scratch = new Scratch();
        using Repository first = Repository.Create(scratch["first"], RepositoryMode.Archive);
        Checksum commit = first.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        using Repository user = Repository.Create(scratch["user"], RepositoryMode.BareUser);
        user.PullLocal(first);
        using Repository last = Repository.Create(scratch["last"], RepositoryMode.Archive);
        last.PullLocal(user);
        foreach (Repository repository in new[] { user, last })
        {
            Assert.Empty(repository.Fsck().Problems);
            Assert.Equal(commit, repository.Resolve("main"));
            Judge.Ostree.Run("fsck", $"--repo={repository.Path}");
        }

        // A setuid file cannot be kept where nothing is root's.
        using Repository only = Repository.Create(scratch["only"], RepositoryMode.BareUserOnly);
        Assert.Throws<CannotKeepException>(() => only.PullLocal(first));
    }

    [Fact]
    public void What_is_plain_in_bare_user_is_linked_into_bare_user_only_as_ostree_links_it()
    {
        using var scratch = new Scratch();
        Directory.CreateDirectory(scratch["tree"]);
        using (Dir tree = Dir.Open(scratch["tree"]))
        {
            Scratch.Write(tree, "plain", "plain\n"u8.ToArray());
            Scratch.Write(tree, "shared", "shared\n"u8.ToArray(), 0x1B4 /* 0664 */);
            Scratch.Write(tree, "unreadable", "unreadable\n"u8.ToArray(), 0x80 /* 0200 */);
            tree.Symlink("plain", "link");
        }

        using Repository user = Repository.Create(scratch["user"], RepositoryMode.BareUser);
        Checksum commit = user.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"], OwnerUid = 0, OwnerGid = 0 });
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.BareUserOnly);
        ours.PullLocal(user);
        Assert.Empty(ours.Fsck().Problems);
        Judge.Ostree.Run("init", $"--repo={scratch["theirs"]}", "--mode=bare-user-only");
        Judge.Ostree.Run("pull-local", $"--repo={scratch["theirs"]}", scratch["user"]);
        using Repository theirs = Repository.Open(scratch["theirs"]);
        foreach (string name in (string[])["plain", "shared", "link"])
            Assert.Equal(IsLinked(theirs, name), IsLinked(ours, name));
        // What lies there is readable, and says that it is not: ostree links that too, and its fsck then finds another object.
        Assert.False(IsLinked(ours, "unreadable"));

        bool IsLinked(Repository repository, string name)
        {
            string path = $"objects/{new ObjectName(user.Find(commit, name).Content!.Value, ObjectType.File).LoosePath(RepositoryMode.BareUserOnly)}";
            return repository.Dir.Stat(path).Inode == user.Dir.Stat(path).Inode;
        }
    }

    [Theory, InlineData("-U"), InlineData("-C"), InlineData("-H")]
    public void Of_a_directory_that_all_may_write_bare_user_only_makes_one_that_they_may_not(string how)
    {
        using var scratch = new Scratch();
        Directory.CreateDirectory(scratch["tree/open"]);
        using (Dir tree = Dir.Open(scratch["tree"]))
            tree.ChangeMode("open", 0x1FF /* 0777 */);
        using Repository archive = Repository.Create(scratch["archive"], RepositoryMode.Archive);
        Checksum commit = archive.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"] });
        using Repository only = Repository.Create(scratch["only"], RepositoryMode.BareUserOnly);
        only.PullLocal(archive);
        Judge.Ostree.Run("checkout", $"--repo={scratch["only"]}", "-U", how, "main", scratch["theirs"]);
        using Dir here = Dir.Open(scratch.Root);
        only.Checkout(commit, here, "ours", new CheckoutOptions { UserMode = true, ForceCopy = how == "-C", RequireHardlinks = how == "-H" });
        Assert.Equal(0x1FDu /* 0775 */, here.Stat("ours/open").Permissions);
        Assert.Equal(here.Stat("theirs/open").Permissions, here.Stat("ours/open").Permissions);
    }
}
