namespace Sbox.Tomb;

/// <summary>Finds the snapshot that a person means.</summary>
public static class SnapshotChoice
{
    /// <summary>The word for the newest.</summary>
    public const string Latest = "latest";

    /// <summary><c>latest</c>, or an id or the beginning of one.</summary>
    /// <exception cref="SnapshotNotFoundException">There is none, or the beginning fits several.</exception>
    public static Snapshot Find(TombRepository tomb, IReadOnlyList<Snapshot> snapshots, string wanted)
    {
        if (wanted == Latest)
            return snapshots.Count > 0 ? snapshots[^1] : throw new SnapshotNotFoundException(tomb.Backend.Location, wanted, "there are none");
        Snapshot[] fitting = wanted.Length == 0 ? [] : [.. snapshots.Where(each => each.Id.ToString().StartsWith(wanted, StringComparison.Ordinal))];
        return fitting.Length == 1 ? fitting[0] : throw new SnapshotNotFoundException(
            tomb.Backend.Location, wanted, fitting.Length == 0 ? "there is none that begins so" : $"{fitting.Length} begin so");
    }
}
