using Sbox.Linux;

namespace Sbox.Image.Tests;

public sealed class TreeRootTests : IDisposable
{
    private readonly TempDirectory directory = new();
    private readonly TreeRoot tree;

    public TreeRootTests()
    {
        Directory.CreateDirectory(directory.Of("tree"));
        tree = new TreeRoot(directory.Of("tree"));
        tree.MakeDirs("usr/lib");
        tree.Link("lib", "usr/lib");
    }

    public void Dispose()
    {
        tree.Dispose();
        directory.Dispose();
    }

    [Theory]
    [InlineData("lib/x", "usr/lib/x")]
    [InlineData("/lib/x", "usr/lib/x")]
    [InlineData("lib", "lib")]
    [InlineData("lib/../x", "usr/x")]
    [InlineData("../../x", "x")]
    [InlineData("absolute/x", "usr/lib/x")]
    [InlineData("escape/etc/x", "etc/x")]
    public void Links_are_followed_as_if_the_tree_were_the_root(string path, string located)
    {
        tree.Link("absolute", "/lib");
        tree.Link("escape", "../../../..");
        Assert.Equal(located, tree.Locate(path));
    }

    [Fact]
    public void A_file_written_through_an_absolute_link_stays_in_the_tree()
    {
        string outside = directory.Of("outside");
        Directory.CreateDirectory(outside);
        tree.Link("trap", outside);
        tree.Write("trap/file", "x");
        Assert.Empty(Directory.GetFileSystemEntries(outside));
        Assert.Equal("x", File.ReadAllText($"{tree.Path}{outside}/file"));
    }

    [Fact]
    public void Links_in_a_circle_are_refused()
    {
        tree.Link("a", "b");
        tree.Link("b", "a");
        Assert.Equal(Errno.ELOOP, Assert.Throws<LinuxException>(() => tree.Locate("a/x")).Errno);
    }

    [Fact]
    public void Removing_a_link_leaves_what_it_leads_to()
    {
        tree.Write("usr/lib/kept", "x");
        tree.Remove("lib");
        Assert.True(tree.Exists("usr/lib/kept"));
    }
}
