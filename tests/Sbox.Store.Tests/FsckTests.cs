using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

public sealed class FsckTests
{
    [Theory, MemberData(nameof(CommitTests.Modes), MemberType = typeof(CommitTests))]
    public void Any_object_that_is_changed_truncated_or_gone_is_found(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        string pristine = scratch["pristine"];
        Judge.Ostree.Run("init", $"--repo={pristine}", $"--mode={mode.Name()}");
        Judge.Ostree.Run("commit", $"--repo={pristine}", "-b", "main", scratch.Tree());
        using Repository repository = Repository.Open(pristine);
        foreach (ObjectName name in repository.EnumerateObjects().ToList())
        {
            string path = name.LoosePath(mode);
            using Dir objects = Dir.Open($"{pristine}/objects");
            if (objects.Stat(path).IsSymlink)
                continue;
            foreach (Action<Dir, string> harm in new Action<Dir, string>[] { Flip, Truncate, Remove })
            {
                objects.TryLink(path, objects, "saved");
                byte[] bytes = objects.ReadAll(path);
                if (bytes.Length == 0 && harm != Remove)
                {
                    objects.Unlink("saved");
                    continue;
                }

                uint permissions = objects.Stat(path).Permissions;
                harm(objects, path);
                FsckReport report = repository.Fsck();
                Assert.True(
                    report.Problems.Any(problem => problem.Object == name || (name.Type == ObjectType.Commit && problem.Kind == FsckProblemKind.BrokenRef)),
                    $"{harm.Method.Name} {name}: {Convert.ToHexString(bytes.AsSpan(0, Math.Min(64, bytes.Length)))}");
                Restore(objects, path, bytes, permissions);
                // As libostree's, a check marks the commit whose object is missing, and the next one leaves it out.
                repository.ClearPartial(repository.EnumerateObjects().Select(static each => each.Checksum));
            }
        }

        Assert.Empty(repository.Fsck().Problems);
    }

    [Fact]
    public void A_changed_mode_owner_or_xattr_of_a_bare_file_is_found()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        string path = "objects/" + new ObjectName(ours.Find(commit, "/hello").Content!.Value, ObjectType.File).LoosePath(ours.Mode);
        ours.Dir.ChangeMode(path, 0x9A4);
        Assert.False(ours.Fsck().IsWhole);
        ours.Dir.ChangeMode(path, 0x1A4);
        ours.Dir.ChangeOwner(path, 3, 0);
        Assert.False(ours.Fsck().IsWhole);
        ours.Dir.ChangeOwner(path, 0, 0);
        Assert.True(ours.Fsck().IsWhole);
        Xattrs.Set(ours.Dir, path, new Xattr("user.new", [1]));
        Assert.False(ours.Fsck().IsWhole);
    }

    [Fact]
    public void Deleting_what_is_corrupt_marks_the_commit_as_partial_and_a_pull_makes_it_whole()
    {
        using var scratch = new Scratch();
        string tree = scratch.Tree();
        using Repository source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        Checksum commit = source.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        ours.PullLocal(source);
        ObjectName hello = new(ours.Find(commit, "/hello").Content!.Value, ObjectType.File);
        Flip(ours.Dir, "objects/" + hello.LoosePath(ours.Mode));
        FsckReport report = ours.Fsck(new FsckOptions { Delete = true });
        Assert.Equal(FsckProblemKind.Corrupt, Assert.Single(report.Problems).Kind);
        Assert.False(ours.Has(hello));
        Assert.True(ours.IsPartial(commit));
        ours.PullLocal(source);
        Assert.False(ours.IsPartial(commit));
        Assert.True(ours.Fsck().IsWhole);
        Judge.Ostree.Run("fsck", $"--repo={ours.Path}");
    }

    [Theory, MemberData(nameof(CommitTests.Modes), MemberType = typeof(CommitTests))]
    public void What_a_disk_refuses_to_read_is_named_and_never_deleted(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], mode);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        ObjectName[] victims =
        [
            new(ours.Find(commit, "/hello").Content!.Value, ObjectType.File),
            new(ours.Find(commit, "/etc").Tree!.Value, ObjectType.DirTree),
            new(ours.Find(commit, "/sticky").Meta!.Value, ObjectType.DirMeta),
            new(commit, ObjectType.Commit),
        ];
        foreach (ObjectName victim in victims)
        {
            string path = ours.Dir.Of("objects/" + victim.LoosePath(mode));
            Verdict verdict = Judge.OnPath("strace").Ask(
                "-f", "-qq", "-o", "/dev/null", "-P", path, "-e", "inject=read,pread64:error=EIO",
                Path.Combine(AppContext.BaseDirectory, "Sbox.Store.Victim"), "fsck", ours.Path);
            Assert.Equal($"Unreadable {victim}", verdict.Output.Trim());
            Assert.Equal(1, verdict.ExitCode);
            Assert.True(ours.Has(victim));
            Assert.False(ours.IsPartial(commit));
        }

        Assert.True(ours.Fsck(new FsckOptions { Delete = true }).IsWhole);
    }

    [Fact]
    public void A_ref_that_leads_nowhere_or_to_a_commit_bound_elsewhere_is_found()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["repo"], RepositoryMode.Bare);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        ours.SetRef("other", commit);
        Assert.True(ours.Fsck().IsWhole);
        Assert.Equal(FsckProblemKind.WrongBinding, Assert.Single(ours.Fsck(new FsckOptions { VerifyBindings = true }).Problems).Kind);
        ours.SetRef("other", Checksum.Of([1]));
        Assert.Equal(FsckProblemKind.BrokenRef, Assert.Single(ours.Fsck().Problems).Kind);
    }

    private static void Flip(Dir objects, string path)
    {
        byte[] bytes = objects.ReadAll(path);
        uint permissions = objects.Stat(path).Permissions;
        bytes[bytes.Length / 2] ^= 0x10;
        Restore(objects, path, bytes, permissions);
    }

    private static void Truncate(Dir objects, string path) =>
        Restore(objects, path, objects.ReadAll(path)[..^1], objects.Stat(path).Permissions);

    private static void Remove(Dir objects, string path) => objects.Unlink(path);

    // In place where there is a file: the xattrs and owner of a bare object stay as they are.
    private static void Restore(Dir objects, string path, byte[] bytes, uint permissions)
    {
        if (!objects.Exists(path))
        {
            objects.Rename("saved", objects, path);
        }
        else
        {
            objects.TryUnlink("saved");
        }

        using var handle = System.IO.File.OpenHandle(objects.Of(path), FileMode.Open, FileAccess.Write);
        RandomAccess.SetLength(handle, bytes.Length);
        RandomAccess.Write(handle, bytes, 0);
        objects.ChangeMode(path, permissions);
    }
}
