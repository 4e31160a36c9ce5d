namespace Sbox.Tour.Tests;

/// <summary>Where these tests were built from.</summary>
internal static class SourceTree
{
    /// <summary>The nearest directory above the binaries that holds Sbox.slnx.</summary>
    public static string Root { get; } = Find();

    private static string Find()
    {
        DirectoryInfo at = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(at.FullName, "Sbox.slnx")))
            at = at.Parent ?? throw new InvalidOperationException("no Sbox.slnx above the tests");
        return at.FullName;
    }
}
