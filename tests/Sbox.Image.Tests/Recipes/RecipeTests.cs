using System.Text;
using Sbox.Judges;
using Sbox.Sysroot;

namespace Sbox.Image.Tests;

public sealed class RecipeTests : IDisposable
{
    private const string Parent = """
        name = "debian"
        ref = "debian/13/amd64/minimal"
        version = "1"
        suite = "trixie"
        packages = ["less", "bash", "less"]
        kernel-arguments = ["quiet"]

        [units]
        enable = ["systemd-networkd.service"]

        [[file]]
        path = "/etc/motd"
        mode = "0600"
        owner = "daemon"
        content = "one"

        [[file]]
        path = "/etc/link"
        link = "motd"
        """;

    private readonly TempDirectory directory = new();

    public void Dispose() => directory.Dispose();

    [Fact]
    public void A_recipe_says_what_to_install_each_package_once_and_in_order()
    {
        Recipe recipe = Read(Parent);
        Assert.Equal(["bash", "less"], recipe.Packages.Packages);
        Assert.Equal(("debian", "debian/13/amd64/minimal", "1"), (recipe.Name, recipe.Ref, recipe.Version));
        Assert.Equal(["systemd-networkd.service"], recipe.Units.Enable);
    }

    [Fact]
    public void What_a_recipe_leaves_out_has_a_default()
    {
        Recipe recipe = Read(Parent);
        Assert.Equal(("minbase", "amd64", false, false), (recipe.Packages.Variant, recipe.Packages.Architecture, recipe.Packages.Docs, recipe.Packages.Locales));
        Assert.Empty(recipe.Packages.Mirrors);
        Assert.Equal((TmpPlace.Memory, true, null), (recipe.Tmp, recipe.Programs, recipe.SourceDateEpoch));
        Assert.Equal(DefaultBoot.Normal, recipe.BootsAs);
    }

    [Theory, InlineData("normal", DefaultBoot.Normal), InlineData("ghost", DefaultBoot.Ghost), InlineData("ghost-in-memory", DefaultBoot.GhostInMemory)]
    public void A_recipe_says_what_a_new_box_starts_as(string said, DefaultBoot boots)
    {
        Recipe recipe = Read($"boots-as = \"{said}\"\n{Parent}");
        Assert.Equal(boots, recipe.BootsAs);
        // A recipe that asks for nothing new gives the commit that it gave.
        Assert.Equal(boots == DefaultBoot.Normal, RecipeDigest.Of(recipe) == RecipeDigest.Of(Read(Parent)));
    }

    [Fact]
    public void A_file_has_an_owner_a_mode_and_content_of_its_own_or_of_a_file_beside_the_recipe()
    {
        directory.Write("motd", "two");
        Recipe recipe = Read(Parent + "\n[[file]]\npath = \"/etc/issue\"\nsource = \"motd\"\n");
        Assert.Equal(new RecipeFile("/etc/motd", 0x180, "daemon", "root", null, null), recipe.Files[0] with { Content = null });
        Assert.Equal("one", Text(recipe.Files[0]));
        Assert.Equal(("/etc/link", "motd"), (recipe.Files[1].Path, recipe.Files[1].LinkTarget));
        Assert.Equal(("two", 0x1A4u), (Text(recipe.Files[2]), recipe.Files[2].Mode));
    }

    [Fact]
    public void An_extending_recipe_adds_to_lists_and_replaces_what_has_one_value()
    {
        directory.Write("parent.toml", Parent);
        Recipe recipe = Read("""
            extends = "parent.toml"
            version = "2"
            packages = ["tree"]
            without-packages = ["bash"]
            kernel-arguments = ["debug"]

            [[file]]
            path = "/etc/motd"
            content = "two"
            """);
        Assert.Equal(("debian", "2"), (recipe.Name, recipe.Version));
        Assert.Equal(["less", "tree"], recipe.Packages.Packages);
        Assert.Equal(["quiet", "debug"], recipe.KernelArguments);
        Assert.Equal(["/etc/motd", "/etc/link"], recipe.Files.Select(file => file.Path));
        Assert.Equal(("two", 0x1A4u), (Text(recipe.Files[0]), recipe.Files[0].Mode));
    }

    [Fact]
    public void One_recipe_has_one_digest_however_it_is_written()
    {
        string other = Parent.Replace("\"less\", \"bash\", \"less\"", "\n  \"bash\", # a shell\n  \"less\",\n", StringComparison.Ordinal);
        Assert.Equal(RecipeDigest.Of(Read(Parent)), RecipeDigest.Of(Read(other)));
    }

    [Theory]
    [InlineData("\"less\", ", "\"nano\", ")]
    [InlineData("mode = \"0600\"", "mode = \"0640\"")]
    [InlineData("content = \"one\"", "content = \"eno\"")]
    [InlineData("link = \"motd\"", "link = \"issue\"")]
    [InlineData("version = \"1\"", "version = \"2\"")]
    [InlineData("\"quiet\"", "\"quiet\", \"debug\"")]
    public void Every_difference_is_another_digest(string before, string after) =>
        Assert.NotEqual(RecipeDigest.Of(Read(Parent)), RecipeDigest.Of(Read(Parent.Replace(before, after, StringComparison.Ordinal))));

    [Fact]
    public void Files_do_not_decide_the_base_tree() =>
        Assert.Equal(
            RecipeDigest.OfPackages(Read(Parent).Packages),
            RecipeDigest.OfPackages(Read(Parent.Replace("content = \"one\"", "content = \"two\"", StringComparison.Ordinal)).Packages));

    [Theory]
    [InlineData("debian-minimal.toml", "1")]
    [InlineData("debian-minimal-v2.toml", "2")]
    public void The_recipes_of_the_project_can_be_read(string name, string version)
    {
        Recipe recipe = RecipeReader.Read(SourceTree.Of("images", name));
        Assert.Equal(("debian", version), (recipe.Name, recipe.Version));
        Assert.Contains("linux-image-amd64", recipe.Packages.Packages);
    }

    private Recipe Read(string text) => RecipeReader.Read(directory.Write("recipe.toml", text));

    private static string Text(RecipeFile file) => Encoding.UTF8.GetString(file.Content!.Value.Span);
}
