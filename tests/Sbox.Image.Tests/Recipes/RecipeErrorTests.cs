namespace Sbox.Image.Tests;

public sealed class RecipeErrorTests
{
    private const string Start = "name = \"debian\"\nref = \"debian/13\"\nversion = \"1\"\nsuite = \"trixie\"\n"; // lines 1 to 4

    [Theory]
    [InlineData("packages = [\"less\"", "6: Unexpected token `<eof>` (token: `Eof`). Expecting a closing `]` for an array; expected TOML")]
    [InlineData("package = [\"less\"]", "5: package: unknown key; expected 'packages'?")]
    [InlineData("colour = \"blue\"", "5: colour: unknown key; expected one of apt-options, architecture, boots-as, components, docs, extends, hostname, kernel-arguments, locales, mirrors, name, packages, programs, ref, source-date-epoch, suite, tmp, variant, version, without-packages")]
    [InlineData("[initrd]\nmodules = [\"crypt\"]", "5: initrd.modules: 'crypt'; expected made-by = \"dracut\" beside them: they are dracut's")]
    [InlineData("[initrd]\nmade-by = \"dracut\"\nencrypted-root = true", "5: initrd.encrypted-root: true; expected made-by = \"sbox\" beside it: it is sbox-root that opens the disk")]
    [InlineData("boots-as = \"poltergeist\"", "5: boots-as: 'poltergeist'; expected 'normal', 'ghost' or 'ghost-in-memory'")]
    [InlineData("boots-as = \"ghost\"\nprograms = false", "5: boots-as: 'ghost'; expected programs beside it: it is sbox-root that makes a ghost")]
    [InlineData("kernel-arguments = [\"quiet\", \"sbox.ghost\"]", "5: kernel-arguments: 'sbox.ghost'; expected arguments for all entries of the boot menu; boots-as = \"ghost\" chooses the entry that boots")]
    [InlineData("[initrd]\nmade-by = \"me\"", "6: initrd.made-by: 'me'; expected 'sbox' or 'dracut'")]
    [InlineData("docs = \"yes\"", "5: docs: \"yes\"; expected true or false")]
    [InlineData("docs = true\ndocs = false", "6: The key `docs` is already defined at (5,1) with `docs = true` and cannot be redefined; expected TOML")]
    [InlineData("packages = [\"less\",\n  \"Le ss\"]", "6: packages: 'Le ss'; expected names of Debian packages")]
    [InlineData("packages = \"less\"", "5: packages: \"less\"; expected a list of strings")]
    [InlineData("packages = [1]", "5: packages: 1; expected a list of strings")]
    [InlineData("without-packages = [\"less\"]", "5: without-packages: 'less'; expected packages that the extended recipe names")]
    [InlineData("tmp = \"floppy\"", "5: tmp: 'floppy'; expected 'memory' or 'disk'")]
    [InlineData("variant = \"tiny\"", "5: variant: 'tiny'; expected 'minbase', 'apt', 'essential', 'required', 'important', 'standard' or 'custom'")]
    [InlineData("extends = \"nowhere.toml\"", "5: extends: no file 'nowhere.toml'; expected a recipe beside this one")]
    [InlineData("extends = \"recipe.toml\"", "5: extends: 'recipe.toml' leads back to itself; expected another recipe")]
    [InlineData("source-date-epoch = -1", "5: source-date-epoch: -1; expected a number from 0 to 4294967295")]
    [InlineData("[[flie]]\npath = \"/etc/motd\"", "5: flie: unknown table; expected 'file'?")]
    [InlineData("[colours]", "5: colours: unknown table; expected [[file]], [[user]], [[group]], [units] or [initrd]")]
    [InlineData("[file]\npath = \"/etc/motd\"", "5: file: [file]; expected [[file]], since there can be many")]
    [InlineData("[[units]]", "5: units: [[units]]; expected [units], since there is one")]
    [InlineData("[[file]]\ncontent = \"x\"", "5: file.path: missing; expected an absolute path")]
    [InlineData("[[file]]\npath = \"/etc/../motd\"\ncontent = \"x\"", "6: file.path: '/etc/../motd'; expected an absolute path without '.', '..' or '//'")]
    [InlineData("[[file]]\npath = \"/etc/motd\"", "5: file.source: none of them; expected one of 'content', 'source' and 'link'")]
    [InlineData("[[file]]\npath = \"/x\"\ncontent = \"\"\nlink = \"y\"", "7: file.content: more than one; expected one of 'content', 'source' and 'link'")]
    [InlineData("[[file]]\npath = \"/x\"\nsource = \"none\"", "7: file.source: no file 'none'; expected a file beside the recipe")]
    [InlineData("[[file]]\npath = \"/x\"\ncontent = \"\"\nmode = \"rw\"", "8: file.mode: 'rw'; expected three or four octal digits in quotes, such as \"0644\"")]
    [InlineData("[[file]]\npath = \"/x\"\ncontent = \"\"\nmode = 0o644", "8: file.mode: 0o644; expected three or four octal digits in quotes, such as \"0644\"")]
    [InlineData("[units]\nenable = [\"ssh\"]", "6: units.enable: 'ssh'; expected names of systemd units")]
    [InlineData("[units]\nenabled = []", "6: units.enabled: unknown key; expected 'enable'?")]
    [InlineData("[[user]]\nname = \"Ann\"", "6: user.name: 'Ann'; expected lower-case letters, digits, '_' and '-'")]
    [InlineData("a.b = 1", "5: a.b: a dotted key; expected a plain key; tables are written [table]")]
    public void A_bad_line_is_named_with_what_was_expected(string text, string finding)
    {
        using var directory = new TempDirectory();
        string path = directory.Write("recipe.toml", Start + text + "\n");
        string message = Assert.Throws<RecipeException>(() => RecipeReader.Read(path)).Message;
        Assert.Equal($"{path}:{finding}", message);
    }

    [Fact]
    public void A_recipe_without_its_essentials_says_which_one_it_lacks()
    {
        using var directory = new TempDirectory();
        string path = directory.Write("recipe.toml", "name = \"debian\"\nref = \"debian/13\"\nsuite = \"trixie\"\n");
        var finding = Assert.Throws<RecipeException>(() => RecipeReader.Read(path));
        Assert.Equal((path, 1, "version", "missing"), (finding.File, finding.Line, finding.Key, finding.Found));
    }

    [Fact]
    public void A_mistake_in_an_extended_recipe_is_named_in_its_own_file()
    {
        using var directory = new TempDirectory();
        string parent = directory.Write("base/parent.toml", Start + "hostname = \"no host\"\n");
        string path = directory.Write("child.toml", "extends = \"base/parent.toml\"\n");
        Assert.StartsWith($"{parent}:5: hostname: 'no host'", Assert.Throws<RecipeException>(() => RecipeReader.Read(path)).Message, StringComparison.Ordinal);
    }
}
