using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>What is saved, and how.</summary>
public sealed record SaveOptions
{
    /// <summary>What is saved: absolute paths without <c>.</c> and <c>..</c>.</summary>
    public required IReadOnlyList<string> Paths { get; init; }

    /// <summary>What of it is not.</summary>
    public Excludes Excludes { get; init; } = new([]);

    /// <summary>Whether directories that say they are caches (CACHEDIR.TAG) are left out.</summary>
    public bool ExcludeCaches { get; init; }

    /// <summary>Whether other file systems that are mounted below the paths are left out.</summary>
    public bool OneFileSystem { get; init; }

    /// <summary>Words for the snapshot.</summary>
    public IReadOnlyList<string> Tags { get; init; } = [];

    /// <summary>The machine's name in the snapshot.</summary>
    public string Hostname { get; init; } = Environment.MachineName;

    /// <summary>What wrote the snapshot: its name and version.</summary>
    public string ProgramVersion { get; init; } = "sbox";

    /// <summary>Whether every file is read, also those that seem unchanged.</summary>
    public bool ReadAll { get; init; }

    /// <summary>Whether no snapshot is written when nothing changed since the parent.</summary>
    public bool SkipIfUnchanged { get; init; }

    /// <summary>Whether nothing is written at all: what would be is counted.</summary>
    public bool DryRun { get; init; }
}

/// <summary>How far a save is.</summary>
/// <param name="Files">Files seen.</param>
/// <param name="Directories">Directories seen.</param>
/// <param name="BytesRead">Bytes read of files that changed.</param>
/// <param name="Path">What is being looked at.</param>
public readonly record struct SaveProgress(long Files, long Directories, long BytesRead, string Path);

/// <summary>Something that was not saved, and why.</summary>
/// <param name="Path">Its path.</param>
/// <param name="Reason">What the kernel said.</param>
public sealed record Unsaved(string Path, string Reason);

/// <summary>What a save did.</summary>
public sealed record SaveReport
{
    /// <summary>The snapshot that was written; null for a dry run, or when nothing had changed and none was asked for then.</summary>
    public Snapshot? Snapshot { get; init; }

    /// <summary>The tree of <c>/</c>.</summary>
    public required Checksum Tree { get; init; }

    /// <summary>The tree of each saved path that is a directory. The directories on the way to it may change without it.</summary>
    public IReadOnlyDictionary<string, Checksum> SavedTrees { get; init; } = new Dictionary<string, Checksum>();

    /// <summary>The snapshot that was compared with.</summary>
    public Checksum? Parent { get; init; }

    /// <summary>Files where the parent has nothing of that name. As restic counts, here and below: each name of a regular file that is in the snapshot; links, devices and what could not be read are none.</summary>
    public long FilesNew { get; init; }

    /// <summary>Files that are not as in the parent.</summary>
    public long FilesChanged { get; init; }

    /// <summary>Files that are as in the parent, most of which were not read.</summary>
    public long FilesUnmodified { get; init; }

    /// <summary>Directories that the parent does not have; those on the way to what is saved are counted too.</summary>
    public long DirectoriesNew { get; init; }

    /// <summary>Directories in which something changed, or that changed themselves.</summary>
    public long DirectoriesChanged { get; init; }

    /// <summary>Directories in which nothing did.</summary>
    public long DirectoriesUnmodified { get; init; }

    /// <summary>Data blobs written.</summary>
    public long DataBlobs { get; init; }

    /// <summary>Tree blobs written.</summary>
    public long TreeBlobs { get; init; }

    /// <summary>Plain bytes of the blobs written.</summary>
    public long BytesAdded { get; init; }

    /// <summary>The same as they are stored.</summary>
    public long BytesStored { get; init; }

    /// <summary>Bytes of all files in the snapshot.</summary>
    public long BytesTotal { get; init; }

    /// <summary>What was not saved: then the snapshot lacks it.</summary>
    public required IReadOnlyList<Unsaved> Unsaved { get; init; }
}
