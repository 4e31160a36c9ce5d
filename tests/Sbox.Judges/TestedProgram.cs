namespace Sbox.Judges;

/// <summary>
/// The program that tests start as people do. <c>./test</c> has them take what it just published (SBOX_PROGRAMS is the directory), which starts in a sixth
/// of the time; <c>./test fast</c> publishes nothing, and they take what is beside them.
/// </summary>
public static class TestedProgram
{
    /// <summary>The directory that <c>sbox</c> is in.</summary>
    public static string Directory { get; } =
        Environment.GetEnvironmentVariable("SBOX_PROGRAMS") is { Length: > 0 } published ? published : AppContext.BaseDirectory.TrimEnd('/');

    /// <summary>The program.</summary>
    public static string Sbox { get; } = Path.Combine(Directory, "sbox");
}
