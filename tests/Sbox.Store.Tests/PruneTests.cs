using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Store.Tests;

public sealed class PruneTests
{
    [Fact]
    public void What_no_ref_needs_goes_and_as_much_of_it_as_ostree_deletes()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        string tree = scratch.Tree();
        Checksum first = ours.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
        using (Linux.Dir dir = Linux.Dir.Open(tree))
            Scratch.Write(dir, "new", "new"u8.ToArray());
        Checksum second = ours.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
        System.Diagnostics.Process.Start("cp", ["-a", ours.Path, scratch["theirs"]]).WaitForExit();

        Assert.Equal(0, ours.Prune().ObjectsDeleted);
        PruneReport planned = ours.Prune(new PruneOptions { Depth = 0, DryRun = true });
        Assert.True(ours.Has(new ObjectName(first, ObjectType.Commit)));
        Assert.Equal(0, ours.Prune(new PruneOptions { Depth = 0, Keep = [first] }).ObjectsDeleted);
        PruneReport report = ours.Prune(new PruneOptions { Depth = 0 });
        Assert.Equal(planned, report);
        Assert.False(ours.Has(new ObjectName(first, ObjectType.Commit)));
        Assert.True(ours.Fsck().IsWhole);
        Judge.Ostree.Run("fsck", $"--repo={ours.Path}");
        Judge.Ostree.Run("prune", $"--repo={scratch["theirs"]}", "--refs-only", "--depth=0");
        using Repository theirs = Repository.Open(scratch["theirs"]);
        Assert.Equal(theirs.EnumerateObjects().ToHashSet(), ours.EnumerateObjects().ToHashSet());

        ours.SetRef("main", null);
        ours.Prune(new PruneOptions { Depth = 0 });
        Assert.Empty(ours.EnumerateObjects());
        Assert.NotEqual(first, second);
    }

    [Fact]
    public void What_lay_beside_a_commit_is_counted_as_ostree_counts_it()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"], DetachedMetadata = VariantDictionary.Empty.With("note", "a note") });
        ours.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"], Subject = "second" });
        System.Diagnostics.Process.Start("cp", ["-a", ours.Path, scratch["theirs"]]).WaitForExit();

        PruneReport report = ours.Prune(new PruneOptions { Depth = 0 });
        string told = Judge.Ostree.Run("prune", $"--repo={scratch["theirs"]}", "--refs-only", "--depth=0");
        Assert.Contains($"Deleted {report.ObjectsDeleted} objects, {report.BytesFreed} bytes freed", told, StringComparison.Ordinal);
        using Repository theirs = Repository.Open(scratch["theirs"]);
        Assert.Equal(theirs.EnumerateObjects().ToHashSet(), ours.EnumerateObjects().ToHashSet());
    }

    [Fact]
    public void A_commit_to_keep_that_is_not_whole_stops_it_before_anything_is_deleted()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        Checksum tree = ours.Find(commit, "/etc").Tree!.Value;
        ours.Dir.Unlink("objects/" + new ObjectName(tree, ObjectType.DirTree).LoosePath(ours.Mode));
        int before = ours.EnumerateObjects().Count();
        Assert.Equal(tree, Assert.Throws<ObjectMissingException>(() => ours.Prune()).Name.Checksum);
        Assert.Equal(before, ours.EnumerateObjects().Count());
    }

    [Fact]
    public void It_waits_for_those_who_write_and_gives_up_when_the_config_says_so()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        ours.WriteConfig(ours.Config.With("core", "lock-timeout-secs", "0"));
        using Transaction writing = ours.Begin();
        using Transaction another = ours.Begin();
        Assert.Throws<RepositoryBusyException>(() => ours.Prune());
        Verdict theirs = Judge.HostOstree.Ask("prune", $"--repo={ours.Path}");
        Assert.NotEqual(0, theirs.ExitCode);
        Assert.Contains("lock", theirs.Error, StringComparison.OrdinalIgnoreCase);
    }
}
