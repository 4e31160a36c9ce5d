using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>
/// How deep directories may be nested. A path is at most PATH_MAX (4096) bytes with its NUL, and a level takes two of them, so nothing
/// real is deeper; and everything that walks a tree by calling itself can rely on it, whoever made the commit.
/// </summary>
internal static class TreeDepth
{
    public const int Maximum = 2048;

    private const int MaximumPath = 4096;

    /// <summary>For those who keep the path: its length too is the work of whoever made the commit.</summary>
    /// <exception cref="TooDeepException">The path in the tree is longer than the kernel takes one.</exception>
    public static void Check(string path, string where)
    {
        if (path.Length >= MaximumPath)
            throw new TooDeepException(where);
    }

    /// <exception cref="TooDeepException">The level is beyond the limit.</exception>
    public static void Check(int depth, Checksum commit)
    {
        if (depth > Maximum)
            throw new TooDeepException($"commit {commit}");
    }
}
