namespace Sbox.Tomb.Sessions;

/// <summary>A file that takes much of an upper layer.</summary>
/// <param name="Path">From the home's top.</param>
/// <param name="Bytes">What it takes there.</param>
public sealed record LargeFile(string Path, long Bytes);

/// <summary>How an open tomb stands.</summary>
public sealed record SessionStatus
{
    /// <summary>What it is called.</summary>
    public required string Name { get; init; }

    /// <summary>Where it is seen.</summary>
    public required string MountPoint { get; init; }

    /// <summary>Where it is kept.</summary>
    public required string Location { get; init; }

    /// <summary>The snapshot that is mounted; null for a tomb that was empty.</summary>
    public string? Opened { get; init; }

    /// <summary>The snapshot of the last save; null when there was none.</summary>
    public string? Saved { get; init; }

    /// <summary>When that was, or when what is mounted was saved.</summary>
    public DateTimeOffset? SavedAt { get; init; }

    /// <summary>Files of which the bytes are not offsite yet, each name of one, those without bytes too: those that a save would read.</summary>
    public long UnsavedFiles { get; init; }

    /// <summary>Their bytes.</summary>
    public long UnsavedBytes { get; init; }

    /// <summary>Whether anything at all changed since the last save: names and attributes too.</summary>
    public bool Changed { get; init; }

    /// <summary>How long a save will take by the rate of those before; null while no rate is known.</summary>
    public TimeSpan? Expected { get; init; }

    /// <summary>Bytes that the upper layer holds, saved or not.</summary>
    public long UpperBytes { get; init; }

    /// <summary>Where they are: <c>memory</c> or a directory.</summary>
    public required string UpperPlace { get; init; }

    /// <summary>How many bytes it can hold; null where that is the disk's business.</summary>
    public long? UpperLimit { get; init; }

    /// <summary>The files that take most of it, largest first, by their paths in the home: a few of those of 64 MiB and more. The first byte that is written to a file brings all of it here.</summary>
    public IReadOnlyList<LargeFile> Largest { get; init; } = [];

    /// <summary>Requests for contents so far.</summary>
    public long Requests { get; init; }

    /// <summary>Bytes fetched so far.</summary>
    public long Fetched { get; init; }

    /// <summary>Since when the remote does not answer; null while it does.</summary>
    public DateTimeOffset? OfflineSince { get; init; }

    /// <summary>Why the last save failed; null when it did not.</summary>
    public string? SaveFailure { get; init; }

    /// <summary>What of the tomb was found missing or changed; null while all was whole.</summary>
    public string? Damage { get; init; }

    /// <summary>The newest snapshot of another box that does not know of what is open here, as far as the last save or the opening saw; null where there is none.</summary>
    public string? Conflict { get; init; }

    /// <summary>Writes its properties into an object that is begun.</summary>
    public void WriteTo(System.Text.Json.Utf8JsonWriter json) => SessionMessage.Write(json, this);
}

/// <summary>What a save of an open tomb did.</summary>
/// <param name="Snapshot">The snapshot; null when nothing had changed.</param>
/// <param name="Files">Files read, each name of one; the snapshot's summary tells which of them are new.</param>
/// <param name="BytesRead">Their bytes.</param>
/// <param name="BytesStored">Bytes that travelled.</param>
/// <param name="Seconds">How long it took.</param>
/// <param name="Conflict">A snapshot of another box that does not know what was saved here; null where there is none.</param>
public sealed record SessionSave(string? Snapshot, long Files, long BytesRead, long BytesStored, double Seconds, string? Conflict)
{
    /// <summary>Why what was saved is not the home as it was at one moment; null where it is.</summary>
    public string? Blurred { get; init; }

    /// <summary>Writes its properties into an object that is begun.</summary>
    public void WriteTo(System.Text.Json.Utf8JsonWriter json) => SessionMessage.Write(json, this);
}

/// <summary>The tomb is in use, and was not closed.</summary>
/// <param name="mountPoint">Where it is seen.</param>
/// <param name="users">By whom.</param>
public sealed class TombInUseException(string mountPoint, IReadOnlyList<Linux.MountUser> users)
    : TombException($"{mountPoint}: in use by {(users.Count == 0 ? "somebody who ended meanwhile" : string.Join(", ", users.Take(5).Select(static each => $"{each.Program} ({each.Process}: {each.Use})")))}"
        + (users.Count > 5 ? $" and {users.Count - 5} more" : ""))
{
    /// <summary>By whom.</summary>
    public IReadOnlyList<Linux.MountUser> Users { get; } = users;
}
