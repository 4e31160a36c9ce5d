using System.Text;

namespace Sbox.Image.Tests;

public sealed class RecipeLayerTests : IDisposable
{
    private readonly TempDirectory directory = new();
    private readonly TreeRoot tree;

    public RecipeLayerTests() => tree = FakeDebian.Make(directory.Of("tree"));

    public void Dispose()
    {
        tree.Dispose();
        directory.Dispose();
    }

    [Fact]
    public void Files_replace_what_packages_brought_and_belong_to_users_of_the_tree()
    {
        RecipeLayer.PutFiles(tree, [File("/etc/passwd-", "man", "network", "new")]);
        var stat = tree.Dir.Stat("etc/passwd-");
        Assert.Equal((6u, 998u, 0x180u, "new"), (stat.Uid, stat.Gid, stat.Permissions, tree.ReadText("etc/passwd-")));
    }

    [Fact]
    public void A_user_that_the_tree_lacks_is_named() => Assert.Equal(
        "recipe: /etc/x shall belong to 'ann', a user that the tree lacks",
        Assert.Throws<BuildFailedException>(() => RecipeLayer.PutFiles(tree, [File("/etc/x", "ann", "root", "")])).Message);

    [Fact]
    public void A_file_through_a_link_of_the_tree_lands_where_the_link_leads()
    {
        RecipeLayer.PutFiles(tree, [File("/lib/modules-load.d/x.conf", "root", "root", "loop\n")]);
        Assert.Equal("loop\n", tree.ReadText("usr/lib/modules-load.d/x.conf"));
    }

    private static RecipeFile File(string path, string owner, string group, string content) =>
        new(path, 0x180, owner, group, Encoding.UTF8.GetBytes(content), LinkTarget: null);
}
