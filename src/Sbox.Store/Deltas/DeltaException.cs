using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>A static delta is not what it should be, or does not fit the repository.</summary>
/// <param name="path">The delta, or one of its files.</param>
/// <param name="finding">What is wrong with it.</param>
/// <param name="inner">What it follows from, if anything.</param>
public sealed class DeltaException(string path, string finding, Exception? inner = null) : RepositoryException($"{path}: {finding}", inner)
{
    /// <summary>The delta, or one of its files.</summary>
    public string Path { get; } = path;

    /// <summary>What is wrong with it.</summary>
    public string Finding { get; } = finding;
}

/// <summary>A delta leaves files to be compressed where it is applied, and liblzma or zstd here makes other bytes of them than those where it was made.</summary>
/// <param name="path">The delta.</param>
/// <param name="name">One of the files.</param>
/// <param name="file">Where that is in the tree; null where that is not known.</param>
/// <param name="count">How many there are.</param>
public sealed class CompressedOtherwiseException(string path, ObjectName name, string? file, int count)
    : RepositoryException($"{path}: {file ?? $"{name}"}{(count > 1 ? $" and {count - 1} more" : "")} would come out otherwise than it must be: liblzma or zstd here compresses otherwise than where the delta was made")
{
    /// <summary>The delta.</summary>
    public string Path { get; } = path;

    /// <summary>One of the files.</summary>
    public ObjectName Name { get; } = name;

    /// <summary>Where that is in the tree; null where that is not known.</summary>
    public string? File { get; } = file;

    /// <summary>How many there are.</summary>
    public int Count { get; } = count;
}
