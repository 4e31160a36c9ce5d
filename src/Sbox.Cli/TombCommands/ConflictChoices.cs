using Sbox.Cli.Terminal;
using Sbox.Tomb;
using Sbox.Tomb.Sessions;

namespace Sbox.Cli.TombCommands;

/// <summary>Of which files what this machine saved is taken, and of which what the other one saved.</summary>
/// <param name="mine">Paths as snapshots have them: files, or directories for all below them.</param>
/// <param name="theirs">Likewise.</param>
internal sealed class ConflictChoices(IReadOnlyList<string> mine, IReadOnlyList<string> theirs)
{
    private readonly string[] mine = [.. mine.Select(Path.GetFullPath)], theirs = [.. theirs.Select(Path.GetFullPath)];

    /// <summary>Whether anything was chosen.</summary>
    public bool Any => mine.Length + theirs.Length > 0;

    /// <summary>Sees, before anything is written, that each choice is of something that parted, and that it is clear whose is whose.</summary>
    /// <exception cref="Finding">It is not.</exception>
    public async Task Check(TombRepository tomb, SnapshotHistory history, IReadOnlyList<Snapshot> others, CancellationToken cancel)
    {
        if (!Any)
            return;
        if (mine.FirstOrDefault(path => theirs.Contains(path)) is { } twofold)
            throw new Finding($"{twofold}: both --mine and --theirs are given for it", "Name it once; without either it is there twice");
        Snapshot first = history.NewestParted!;
        if (others.Append(first).Count(static each => each.Hostname == Environment.MachineName) > 1)
        {
            // Brought together with the first of its own, the other machine's would be this machine's from there on.
            throw new Finding(
                $"more than one of the snapshots that parted is of this machine, {Environment.MachineName}, and which of them is mine is not clear",
                "Bring them together without --mine and --theirs first: nothing is left out, and what is there twice is yours to delete");
        }

        var parted = new List<string>();
        foreach (Snapshot other in others)
        {
            if ((first.Hostname == Environment.MachineName) == (other.Hostname == Environment.MachineName))
            {
                throw new Finding(
                    $"which of {first.Id.ToString()[..8]} of {first.Hostname} and {other.Id.ToString()[..8]} of {other.Hostname} is mine is not clear: this machine is {Environment.MachineName}",
                    "Choose on one of the boxes that saved them, or leave --mine and --theirs away: then both are there");
            }

            HistoryMerged plan = await HistoryMerge.Plan(tomb, history, first, other, static _ => MergeSide.Both, cancel);
            parted.AddRange(plan.Twice.Concat(plan.Kept));
        }

        foreach (string path in mine.Concat(theirs))
        {
            if (!parted.Exists(each => IsAtOrBelow(each, path)))
                throw new Finding($"{path}: nothing there was changed on both sides", "Without --merge the files that were are shown; nothing was changed");
        }
    }

    /// <summary>The choices for two snapshots.</summary>
    public Func<string, MergeSide> Between(Snapshot first, Snapshot second)
    {
        bool firstIsMine = first.Hostname == Environment.MachineName;
        return path => (Nearest(mine, path), Nearest(theirs, path)) switch
        {
            (0, 0) => MergeSide.Both,
            var (own, other) => own > other == firstIsMine ? MergeSide.First : MergeSide.Second,
        };
    }

    // A choice for a file goes before one for the directory that it is in.
    private static int Nearest(string[] choices, string path) => choices.Where(choice => IsAtOrBelow(path, choice)).Select(static choice => choice.Length).DefaultIfEmpty(0).Max();

    private static bool IsAtOrBelow(string path, string place) => path == place || path.StartsWith(place == "/" ? "/" : $"{place}/", StringComparison.Ordinal);
}
