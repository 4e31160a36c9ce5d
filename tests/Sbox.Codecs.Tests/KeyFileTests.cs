namespace Sbox.Codecs.Tests;

public sealed class KeyFileTests
{
    private const string Text = "# a comment\n[core]\nrepo_version=1\nmode=bare\n\n[remote \"origin\"]\nurl=http://x/y\nbranches=a;b;\nempty=\nspaced = \\sfirst \\\\ two\\nlines\n";

    [Fact]
    public void A_file_writes_back_as_it_was_read()
    {
        Assert.Equal("# a comment\n\n[core]\nrepo_version=1\nmode=bare\n\n[remote \"origin\"]\nurl=http://x/y\nbranches=a;b;\nempty=\nspaced=\\sfirst \\\\ two\\nlines\n", KeyFile.Parse(Text).ToString());
        string written = KeyFile.Parse(Text).ToString();
        Assert.Equal(written, KeyFile.Parse(written).ToString());
    }

    [Fact]
    public void Values_read_as_glib_reads_them()
    {
        var file = KeyFile.Parse(Text);
        Assert.Equal(["core", "remote \"origin\""], file.Groups);
        Assert.Equal("bare", file.Get("core", "mode"));
        Assert.Null(file.Get("core", "none"));
        Assert.Null(file.Get("none", "mode"));
        Assert.Equal("", file.Get("remote \"origin\"", "empty"));
        Assert.Equal(["a", "b"], file.GetList("remote \"origin\"", "branches"));
        Assert.Equal(" first \\ two\nlines", file.GetString("remote \"origin\"", "spaced"));
        Assert.True(file.GetBoolean("core", "repo_version"));
        Assert.Throws<MalformedException>(() => file.GetBoolean("core", "mode"));
        Assert.True(file.GetBoolean("core", "none", otherwise: true));
    }

    [Fact]
    public void Changing_one_value_leaves_the_rest_as_it_is()
    {
        KeyFile changed = KeyFile.Parse("[a]\nx=1\ny=2\n\n[b]\nz=3\n").With("a", "x", "new").With("b", "w", " lead").With("c", "k", "v");
        Assert.Equal("[a]\nx=new\ny=2\n\n[b]\nz=3\nw=\\slead\n\n[c]\nk=v\n", changed.ToString());
        Assert.Equal("[a]\ny=2\n\n[c]\nk=v\n", changed.Without("a", "x").WithoutGroup("b").ToString());
        Assert.Equal("[core]\nrepo_version=1\nmode=bare\n", KeyFile.Empty.With("core", "repo_version", "1").With("core", "mode", "bare").ToString());
    }

    [Theory]
    [InlineData("x=1", 1)]
    [InlineData("[a]\nnothing", 2)]
    [InlineData("[a\n", 1)]
    [InlineData("[a]\n=1", 2)]
    [InlineData("[a]\n\n[]\n", 3)]
    public void A_line_that_is_none_is_refused_by_its_number(string text, int line) =>
        Assert.Equal($"line {line}", Assert.Throws<MalformedException>(() => KeyFile.Parse(text)).Part);
}
