using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Where documents and their signatures lie in a published repository.</summary>
public static class TrustFiles
{
    /// <summary>Their directory.</summary>
    public const string Directory = "trust";

    /// <summary>A document.</summary>
    public static string Document(long version) => string.Create(CultureInfo.InvariantCulture, $"{Directory}/{version}.toml");

    /// <summary>Its signatures.</summary>
    public static string Signatures(long version) => string.Create(CultureInfo.InvariantCulture, $"{Directory}/{version}.sig");

    /// <summary>Reads one; null where there is none.</summary>
    /// <exception cref="TrustException">It is larger than any may be.</exception>
    internal static byte[]? TryRead(Dir repository, string path)
    {
        using Dir? holder = repository.TryOpenParent(path, out string name);
        using SafeFileHandle? file = holder?.TryOpenFile(name);
        return file is null ? null : Files.ReadAtMost(file, repository.Of(path), TrustDocument.MaximumSize)
            ?? throw new TrustException(repository.Of(path), TrustProblem.Malformed, $"more than {TrustDocument.MaximumSize} bytes");
    }
}
