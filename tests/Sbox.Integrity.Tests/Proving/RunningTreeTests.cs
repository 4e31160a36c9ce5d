using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Integrity.Tests;

/// <summary>A tree as it is seen, beside the commit that it should be.</summary>
public sealed class RunningTreeTests : IDisposable
{
    private readonly TestBox box = new(inMemory: true);
    private readonly Checksum commit;

    public RunningTreeTests()
    {
        commit = box.PublishWith(1, ("usr/lib/empty/", ""), ("usr/share/x/y", "text"));
        box.Installed(commit).Dispose();
        // A copy: what is changed here is no object.
        Judge.OnPath("cp").Run("-a", $"{box.SysrootPath}/ostree/deploy/debian/deploy/{commit}.0/usr", $"{box.Path}/usr");
    }

    public void Dispose() => box.Dispose();

    [Fact]
    public void A_tree_as_it_was_published_has_no_difference()
    {
        (int names, IReadOnlyList<string> differences) = Compare();
        Assert.Empty(differences);
        Assert.True(names > 15);
    }

    [Theory]
    [InlineData("echo more >>usr/bin/version", "/usr/bin/version: 6 bytes, and the commit has 1")]
    [InlineData("chmod 4755 usr/bin/version", "/usr/bin/version: 4755 0:0, and the commit has 0755 0:0")]
    [InlineData("chown 1:2 usr/bin/version", "/usr/bin/version: 0755 1:2, and the commit has 0755 0:0")]
    [InlineData("rm usr/bin/version", "/usr/bin/version: missing")]
    [InlineData("rm usr/bin/version; ln -s x usr/bin/version", "/usr/bin/version: no regular file")]
    [InlineData("touch usr/lib/empty/new", "/usr/lib/empty/new: not in the commit")]
    [InlineData("rm -r usr/share/x", "/usr/share/x: missing")]
    [InlineData("chmod 777 usr/share/x", "/usr/share/x: 0777 0:0, and the commit has 0755 0:0")]
    [InlineData("rm -r usr/share/x; touch usr/share/x", "/usr/share/x: no directory")]
    public void One_change_is_one_difference(string change, string difference)
    {
        Judge.OnPath("sh").Run("-c", $"cd {box.Path}; {change}");
        Assert.Equal([difference], Compare().Differences);
    }

    [Fact]
    public void A_directory_object_that_is_not_its_name_is_no_base_for_anything()
    {
        using Repository repository = Repository.Open($"{box.SysrootPath}/ostree/repo");
        string id = repository.Find(commit, "/usr/share").Tree!.Value.ToString(), file = $"{box.SysrootPath}/ostree/repo/objects/{id[..2]}/{id[2..]}.dirtree";
        byte[] bytes = File.ReadAllBytes(file);
        bytes[0] ^= 1;
        File.WriteAllBytes(file, bytes);
        Assert.Throws<ObjectCorruptException>(() => Compare());
    }

    private (int Names, IReadOnlyList<string> Differences) Compare()
    {
        using Repository repository = Repository.Open($"{box.SysrootPath}/ostree/repo");
        var tree = new RunningTree(repository, TestContext.Current.CancellationToken);
        using Dir usr = Dir.Open($"{box.Path}/usr");
        tree.Compare(usr, repository.Find(commit, "/usr").Tree!.Value, "/usr");
        return (tree.Names, tree.Differences);
    }
}
