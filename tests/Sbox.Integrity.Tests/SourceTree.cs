namespace Sbox.Integrity.Tests;

/// <summary>The sources that these tests belong to.</summary>
internal static class SourceTree
{
    public static string Root { get; } = Find();

    private static string Find()
    {
        DirectoryInfo at = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(at.FullName, "Sbox.slnx")))
            at = at.Parent ?? throw new InvalidOperationException("no Sbox.slnx above the tests");
        return at.FullName;
    }
}
