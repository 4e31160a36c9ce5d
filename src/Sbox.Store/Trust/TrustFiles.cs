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

    /// <summary>Reads those of a repository on this machine.</summary>
    internal static TrustedRemote.Fetch Of(Repository source) => (path, _) => Task.FromResult(TryRead(source.Dir, path));

    /// <summary>Reads one; null where there is none, or something that is larger than any may be.</summary>
    internal static byte[]? TryRead(Dir repository, string path)
    {
        using Dir? holder = repository.TryOpenParent(path, out string name);
        using SafeFileHandle? file = holder?.TryOpenFile(name);
        return file is null ? null : Files.ReadAtMost(file, repository.Of(path), TrustDocument.MaximumSize);
    }
}
