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
