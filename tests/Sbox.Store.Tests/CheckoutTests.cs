using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

public sealed class CheckoutTests
{
    public static TheoryData<RepositoryMode, string, bool, bool> Ways => new()
    {
        { RepositoryMode.Bare, "-H", false, false },
        { RepositoryMode.Bare, "-C", false, true },
        { RepositoryMode.Bare, "-U", true, false },
        { RepositoryMode.Archive, "", false, false },
        { RepositoryMode.Archive, "-U", true, false },
    };

    [Theory, MemberData(nameof(Ways))]
    public void A_checkout_is_what_ostree_makes_of_the_same_commit(RepositoryMode mode, string option, bool user, bool copy)
    {
        using var scratch = new Scratch();
        string repo = scratch["repo"];
        Judge.Ostree.Run("init", $"--repo={repo}", $"--mode={mode.Name()}");
        Judge.Ostree.Run("commit", $"--repo={repo}", "-b", "main", scratch.Tree());
        Judge.Ostree.Run([.. new[] { "checkout", $"--repo={repo}", option, "main", scratch["theirs"] }.Where(static word => word != "")]);
        using Repository ours = Repository.Open(repo);
        using Dir here = Dir.Open(scratch.Root);
        ours.Checkout(ours.Resolve("main"), here, "ours", new CheckoutOptions { UserMode = user, ForceCopy = copy, Durable = true });
        Assert.Equal(Scratch.Describe(scratch["theirs"]), Scratch.Describe(scratch["ours"]));
    }

    [Fact]
    public void Files_are_hardlinks_to_their_objects_but_for_empty_ones()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions());
        using Dir here = Dir.Open(scratch.Root);
        ours.Checkout(commit, here, "out", new CheckoutOptions { RequireHardlinks = true });
        Checksum hello = ours.Find(commit, "/hello").Content!.Value;
        Assert.Equal(here.Stat("out/hello").Inode, ours.Dir.Stat($"objects/{new ObjectName(hello, ObjectType.File).LoosePath(ours.Mode)}").Inode);
        Assert.Equal(1u, here.Stat("out/empty").Links);
    }

    // What a new file is like is asked once in each directory.
    [Fact]
    public void Copies_in_one_directory_have_each_their_own_owner_permissions_and_attributes()
    {
        using var scratch = new Scratch();
        string tree = scratch["tree"];
        Directory.CreateDirectory(tree);
        using (Dir root = Dir.Open(tree))
        {
            (uint Mode, uint Uid, uint Gid)[] kinds = [(0x1A4, 0, 0), (0x1A4, 1000, 0), (0x1A4, 0, 1001), (0x1FF, 0, 0), (0x1B6, 0, 0), (0x9ED, 0, 7), (0x1ED, 0, 0), (0, 1, 1), (0x180, 0, 0)];
            for (int i = 0; i < kinds.Length * 4; i++)
            {
                Scratch.Write(root, $"file-{i}", System.Text.Encoding.UTF8.GetBytes($"{i}"), kinds[i % kinds.Length].Mode, kinds[i % kinds.Length].Uid, kinds[i % kinds.Length].Gid);
                if (i % 5 == 0)
                    Xattrs.Set(root, $"file-{i}", new Xattr("user.number", [(byte)i]));
                root.Symlink($"to-{i}", $"link-{i}");
                root.ChangeOwner($"link-{i}", (uint)(i % 3), (uint)(i % 2));
            }
        }

        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        Checksum commit = ours.CommitDirectory(tree, new CommitOptions());
        using Dir here = Dir.Open(scratch.Root);
        ours.Checkout(commit, here, "out", new CheckoutOptions { ForceCopy = true });
        Assert.Equal(Scratch.Describe(tree), Scratch.Describe(scratch["out"]));
    }

    [Fact]
    public void A_subpath_is_written_as_the_root()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions());
        using Dir here = Dir.Open(scratch.Root);
        ours.Checkout(commit, here, "etc", new CheckoutOptions { Subpath = "/etc" });
        Assert.True(here.Exists("etc/a/setuid"));
        Assert.Throws<TreePathException>(() => ours.Checkout(commit, here, "none", new CheckoutOptions { Subpath = "/nowhere" }));
    }

    [Fact]
    public void A_name_that_is_taken_is_refused_merged_or_kept_as_asked()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions());
        using Dir here = Dir.Open(scratch.Root);
        here.MakeDir("out");
        Scratch.Write(here, "out/hello", "mine"u8.ToArray());
        Scratch.Write(here, "out/other", "mine"u8.ToArray());
        Assert.Equal(Errno.EEXIST, Assert.Throws<LinuxException>(() => ours.Checkout(commit, here, "out")).Errno);
        Assert.Throws<LinuxException>(() => ours.Checkout(commit, here, "out", new CheckoutOptions { Overwrite = CheckoutOverwrite.UnionIdentical }));
        ours.Checkout(commit, here, "out", new CheckoutOptions { Overwrite = CheckoutOverwrite.AddFiles });
        Assert.Equal("mine"u8.ToArray(), here.ReadAll("out/hello"));
        ours.Checkout(commit, here, "out", new CheckoutOptions { Overwrite = CheckoutOverwrite.UnionFiles });
        Assert.Equal("hello\n"u8.ToArray(), here.ReadAll("out/hello"));
        Assert.Equal("mine"u8.ToArray(), here.ReadAll("out/other"));
        ours.Checkout(commit, here, "out", new CheckoutOptions { Overwrite = CheckoutOverwrite.UnionIdentical });
        Assert.DoesNotContain(here.OpenDir("out").Entries(), static entry => entry.Name.StartsWith(".checkout", StringComparison.Ordinal));
    }
}
