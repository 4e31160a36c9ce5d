using Sbox.Judges;

namespace Sbox.Image.Tests;

/// <summary>The reference names every key that the reader knows: it is asked for them by its own complaint about one that does not exist.</summary>
public sealed class RecipeDocsTests
{
    [Theory]
    [InlineData("")]
    [InlineData("[units]\n")]
    [InlineData("[initrd]\n")]
    [InlineData("[[user]]\nname = \"ann\"\n")]
    [InlineData("[[group]]\nname = \"ann\"\n")]
    [InlineData("[[file]]\npath = \"/x\"\ncontent = \"\"\n")]
    public void Every_key_is_in_the_reference_and_in_the_manual(string table)
    {
        using var directory = new TempDirectory();
        string path = directory.Write("recipe.toml", table + "xxxxxxxxxxxx = 1\n");
        string expected = Assert.Throws<RecipeException>(() => RecipeReader.Read(path)).Expected;
        Assert.StartsWith("one of ", expected, StringComparison.Ordinal);
        string reference = File.ReadAllText(SourceTree.Of("docs", "recipe.md"));
        string manual = File.ReadAllText(SourceTree.Of("docs", "man", "sbox-recipe.5")).Replace("\\-", "-", StringComparison.Ordinal);
        foreach (string key in expected["one of ".Length..].Split(", "))
        {
            Assert.Contains($"`{key}`", reference, StringComparison.Ordinal);
            Assert.Matches($@"\b{key}\b", manual);
        }
    }
}
