using Sbox.Judges;

namespace Sbox.Store.Tests;

/// <summary>The program as it is published: what starts in no time, and is what people run.</summary>
internal static class Published
{
    /// <summary>It, by the name that makes it the drop-in.</summary>
    /// <exception cref="InvalidOperationException">It is not built.</exception>
    public static string Ostree => Built("ostree");

    /// <summary>It, by its own name.</summary>
    /// <exception cref="InvalidOperationException">It is not built.</exception>
    public static string Sbox => Built("sbox");

    private static string Built(string name) =>
        SourceTree.Of("out", name) is var program && File.Exists(program) ? program : throw new InvalidOperationException($"{program} is not built; ./build makes it");
}
