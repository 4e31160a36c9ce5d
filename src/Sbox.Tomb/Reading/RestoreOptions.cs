namespace Sbox.Tomb;

/// <summary>What happens to a file that is there already.</summary>
public enum Existing
{
    /// <summary>It stays as it is, and is reported unless it is the same.</summary>
    Keep,
    /// <summary>It is replaced by what was saved.</summary>
    Overwrite,
}

/// <summary>What is restored, and where to.</summary>
public sealed record RestoreOptions
{
    /// <summary>The directory that it is restored into; made when it is missing.</summary>
    public required string Target { get; init; }

    /// <summary>The part of the snapshot: an absolute path in it. <c>/</c> for all. What it names keeps its path's last name below the target; a directory's content lands in the target itself.</summary>
    public string Path { get; init; } = "/";

    /// <summary>What is left out, by paths in the snapshot.</summary>
    public Excludes Excludes { get; init; } = new([]);

    /// <summary>What happens to files that are there already.</summary>
    public Existing Existing { get; init; } = Existing.Keep;

    /// <summary>Whether owners are set: only root may.</summary>
    public bool Owners { get; init; }

    /// <summary>Whether nothing is written.</summary>
    public bool DryRun { get; init; }
}

/// <summary>How far a restore is.</summary>
/// <param name="Files">Files that are whole.</param>
/// <param name="FilesTotal">Files that are known of so far.</param>
/// <param name="Bytes">Bytes written.</param>
public readonly record struct RestoreProgress(long Files, long FilesTotal, long Bytes);

/// <summary>What a restore did.</summary>
public sealed record RestoreReport
{
    /// <summary>Files written.</summary>
    public long Files { get; init; }

    /// <summary>Directories, links, devices made.</summary>
    public long Others { get; init; }

    /// <summary>Bytes written.</summary>
    public long Bytes { get; init; }

    /// <summary>Paths that were there already with other content, and were kept.</summary>
    public required IReadOnlyList<string> Kept { get; init; }

    /// <summary>What is not as it was saved, and why.</summary>
    public required IReadOnlyList<Unsaved> Failed { get; init; }
}
