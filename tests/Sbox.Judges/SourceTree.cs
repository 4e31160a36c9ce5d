namespace Sbox.Judges;

/// <summary>The sources that the running tests were built from.</summary>
public static class SourceTree
{
    /// <summary>The nearest directory above the binaries that holds Sbox.slnx.</summary>
    public static string Root { get; } = Find();

    /// <summary>A path below it.</summary>
    public static string Of(params ReadOnlySpan<string> parts) => Path.Combine([Root, .. parts]);

    private static string Find()
    {
        DirectoryInfo at = new(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(at.FullName, "Sbox.slnx")))
            at = at.Parent ?? throw new InvalidOperationException("no Sbox.slnx above the tests");
        return at.FullName;
    }
}
