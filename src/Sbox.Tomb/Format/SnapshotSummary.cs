using System.Globalization;
using System.Text;
using System.Text.Json;

namespace Sbox.Tomb;

/// <summary>The figures that restic 0.17 and later keep in a snapshot; its list shows <see cref="Bytes"/> as the size.</summary>
public sealed record SnapshotSummary
{
    /// <summary>When the save began.</summary>
    public required Moment Begun { get; init; }

    /// <summary>When it ended.</summary>
    public required Moment Ended { get; init; }

    /// <summary>Files that the parent did not have.</summary>
    public long FilesNew { get; init; }

    /// <summary>Files that changed.</summary>
    public long FilesChanged { get; init; }

    /// <summary>Directories that the parent did not have.</summary>
    public long DirectoriesNew { get; init; }

    /// <summary>Directories of which something changed.</summary>
    public long DirectoriesChanged { get; init; }

    /// <summary>Directories that were looked at and are as they were.</summary>
    public long DirectoriesUnmodified { get; init; }

    /// <summary>Data blobs that the tomb did not have.</summary>
    public long DataBlobs { get; init; }

    /// <summary>Trees that the tomb did not have.</summary>
    public long TreeBlobs { get; init; }

    /// <summary>Bytes of these blobs.</summary>
    public long BytesAdded { get; init; }

    /// <summary>Bytes that they take, compressed and sealed.</summary>
    public long BytesStored { get; init; }

    /// <summary>All files of the snapshot.</summary>
    public long Files { get; init; }

    /// <summary>Their bytes.</summary>
    public long Bytes { get; init; }

    /// <summary>The JSON that restic would write. It cannot read a snapshot with a count below 0.</summary>
    public byte[] ToBytes() => Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $$"""
        {"backup_start":"{{Begun}}","backup_end":"{{Ended}}","files_new":{{FilesNew}},"files_changed":{{FilesChanged}},"files_unmodified":{{Math.Max(0, Files - FilesNew - FilesChanged)}},"dirs_new":{{DirectoriesNew}},"dirs_changed":{{DirectoriesChanged}},"dirs_unmodified":{{DirectoriesUnmodified}},"data_blobs":{{DataBlobs}},"tree_blobs":{{TreeBlobs}},"data_added":{{BytesAdded}},"data_added_packed":{{BytesStored}},"total_files_processed":{{Files}},"total_bytes_processed":{{Bytes}}}
        """));

    /// <summary>How many files a snapshot has, and their bytes; null where nobody counted.</summary>
    public static (long Files, long Bytes)? TotalsOf(Snapshot snapshot)
    {
        if (snapshot.Summary is null)
            return null;
        using JsonDocument json = JsonDocument.Parse(snapshot.Summary);
        return json.RootElement.ValueKind == JsonValueKind.Object
            && json.RootElement.TryGetProperty("total_files_processed", out JsonElement files) && files.TryGetInt64(out long counted)
            && json.RootElement.TryGetProperty("total_bytes_processed", out JsonElement bytes) && bytes.TryGetInt64(out long size)
            ? (counted, size)
            : null;
    }
}
