using System.Globalization;
using System.Text;

namespace Sbox.Sysroot;

/// <summary>What one step of a merge does to the new /etc.</summary>
public enum EtcAction
{
    /// <summary>Gives a new default another owner, group or mode: <see cref="EtcStep.Result"/>; its number means somebody else here.</summary>
    Own,
    /// <summary>Removes the new default and all below it.</summary>
    Remove,
    /// <summary>Copies the owner's file or symbolic link over whatever the new default is.</summary>
    CopyLeaf,
    /// <summary>Makes the directory where it is missing, and gives it the owner's mode, owner and attributes.</summary>
    TakeDirectory,
    /// <summary>Writes a file that is neither side's alone: <see cref="EtcStep.Content"/> and <see cref="EtcStep.Result"/>.</summary>
    Combine,
}

/// <summary>One step of a merge.</summary>
/// <param name="Action">What is done.</param>
/// <param name="Path">To what, relative to /etc.</param>
/// <param name="IsConflict">The new tree changed its default here too, and differently; the owner's version is kept.</param>
public sealed record EtcStep(EtcAction Action, string Path, bool IsConflict)
{
    /// <summary>The bytes that <see cref="EtcAction.Combine"/> writes; null for those of the side that <see cref="Result"/> names.</summary>
    public byte[]? Content { get; init; }

    /// <summary>Owner and mode that <see cref="EtcAction.Combine"/> gives.</summary>
    public EtcEntry Result { get; init; }

    /// <summary>What was decided beyond "yours is kept", a line each, for people.</summary>
    public IReadOnlyList<string> Findings { get; init; } = [];
}

/// <summary>
/// How the owner's changes to /etc are carried onto a new tree's defaults: three trees in, a list of steps out; pure.
/// A path the owner did not touch has the new default. A path the owner changed, added or removed is as the owner has it.
/// </summary>
/// <param name="Steps">In the order to apply them, to a fresh copy of the new defaults.</param>
/// <param name="Skipped">The owner's sockets, FIFOs and device nodes: never carried over, as in libostree.</param>
/// <remarks>docs/formats/sysroot.md says where libostree's own merge differs (it refuses what is resolved here).</remarks>
public sealed record EtcMergePlan(IReadOnlyList<EtcStep> Steps, IReadOnlyList<string> Skipped)
{
    /// <summary>The owner's changes to the old deployment's /etc.</summary>
    public IReadOnlyList<EtcChange> Changes { get; init; } = [];

    /// <summary>Numbers of accounts of the new tree that are not here and whose numbers somebody else has here: files in /usr with them are that one's.</summary>
    public IReadOnlyList<ForeignId> Foreign { get; init; } = [];

    /// <summary>The paths where both the owner and the new tree changed something, and the owner's version was kept.</summary>
    public IEnumerable<string> Conflicts => Steps.Where(static step => step.IsConflict).Select(static step => step.Path).Distinct();

    /// <summary>The owner's files and links that stay in the place of a new default directory; libostree merges no such /etc.</summary>
    public IEnumerable<string> LeavesOverDirectories => Steps.Where(static step => step.Action == EtcAction.Remove).Select(static step => step.Path)
        .Intersect(Steps.Where(static step => step.Action == EtcAction.CopyLeaf).Select(static step => step.Path));

    /// <summary>Plans the merge.</summary>
    /// <param name="defaults">The old deployment's <c>usr/etc</c>.</param>
    /// <param name="local">The old deployment's <c>etc</c>.</param>
    /// <param name="next">The new tree's <c>usr/etc</c>.</param>
    /// <param name="contents">The bytes of files in the three. Null: two different contents are always in each other's way.</param>
    public static EtcMergePlan Make(EtcNode defaults, EtcNode local, EtcNode next, EtcContents? contents = null)
    {
        if (contents is not null)
            defaults = EtcOwners.AsGiven(defaults, local, contents.Before, contents.Mine);
        var planner = new Planner(contents is null ? null : new EtcFileMerge(contents));
        planner.MergeAccounts(defaults, local, next);
        EtcOwners? owners = planner.Owners(defaults, local, next);
        EtcNode owned = owners?.Translate(next) ?? next;
        planner.Steps.AddRange(owners?.Steps ?? []);
        planner.VisitChildren("", defaults, local, owned);
        return new EtcMergePlan(planner.Steps, planner.Skipped) { Foreign = owners?.Foreign ?? [], Changes = EtcDiff.Between(defaults, local) };
    }

    /// <summary>The plan for people: one line a step, conflicts marked.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        foreach (EtcStep step in Steps)
        {
            string verb = step.Action switch
            {
                EtcAction.Remove => "remove", EtcAction.CopyLeaf => "keep", EtcAction.Combine => "merge", EtcAction.Own => "own", _ => "keep directory",
            };
            string why = step.IsConflict && step.Findings.Count == 0 ? "  (the new tree changed it too; yours is kept)" : "";
            text.Append(CultureInfo.InvariantCulture, $"{verb} /etc/{step.Path}{why}\n");
            foreach (string finding in step.Findings)
                text.Append(CultureInfo.InvariantCulture, $"    {finding}\n");
        }

        foreach (string path in Skipped)
            text.Append(CultureInfo.InvariantCulture, $"leave behind /etc/{path}  (neither file, directory nor link)\n");
        return text.ToString();
    }

    private sealed class Planner(EtcFileMerge? files)
    {
        public List<EtcStep> Steps { get; } = [];

        public List<string> Skipped { get; } = [];

        // One user has a line in several of them: they are merged as one, also where the owner touched only one.
        public void MergeAccounts(EtcNode defaults, EtcNode local, EtcNode next) => files?.MergeAccounts(defaults, local, next);

        public EtcOwners? Owners(EtcNode defaults, EtcNode local, EtcNode next) => files?.Owners(defaults, local, next);

        public void VisitChildren(string path, EtcNode? defaults, EtcNode local, EtcNode? next)
        {
            foreach (string name in EtcNode.Names(defaults, local))
                Visit(EtcDiff.Join(path, name), Child(defaults, name), Child(local, name), Child(next, name));
        }

        private void Visit(string path, EtcNode? defaults, EtcNode? local, EtcNode? next)
        {
            if (files?.Account(path, defaults, local, next) is { } account)
            {
                Steps.Add(account);
                return;
            }

            if (EtcNode.Same(defaults, local))
                return; // untouched: the new default stands, also where it is gone
            bool nextChanged = !EtcNode.Same(defaults, next);
            if (local is null)
            {
                if (next is not null)
                    Steps.Add(new EtcStep(EtcAction.Remove, path, nextChanged));
            }
            else if (!local.Entry.IsMergeable)
                Skipped.Add(path);
            else if (local.IsDirectory)
                VisitDirectory(path, defaults, local, next);
            else if (EtcFileMerge.AreFiles(local, next) && nextChanged && !EtcNode.Same(local, next))
                Steps.Add(EtcFileMerge.Merge(files, path, defaults, local, next!));
            else
            {
                bool conflict = nextChanged && !EtcNode.Same(local, next);
                if (next is { IsDirectory: true })
                    Steps.Add(new EtcStep(EtcAction.Remove, path, conflict));
                Steps.Add(new EtcStep(EtcAction.CopyLeaf, path, conflict));
            }
        }

        private void VisitDirectory(string path, EtcNode? defaults, EtcNode local, EtcNode? next)
        {
            EtcNode? before = defaults is { IsDirectory: true } ? defaults : null;
            EtcNode? after = next is { IsDirectory: true } ? next : null;
            bool metadataChanged = before is null || before.Entry != local.Entry;
            if (after is null)
            {
                if (!metadataChanged && !KeepsAnything(before!, local))
                    return; // the owner only removed things from a directory that the new tree dropped altogether
                if (next is not null)
                    Steps.Add(new EtcStep(EtcAction.Remove, path, IsConflict: !EtcNode.Same(defaults, next)));
                Steps.Add(new EtcStep(EtcAction.TakeDirectory, path, IsConflict: metadataChanged && before is not null));
            }
            else if (metadataChanged && local.Entry != after.Entry)
            {
                Steps.Add(new EtcStep(EtcAction.TakeDirectory, path, IsConflict: before?.Entry != after.Entry));
            }

            VisitChildren(path, before, local, after);
        }

        // Whether the merge has something of the owner's to put into this directory.
        private static bool KeepsAnything(EtcNode defaults, EtcNode local) => local.Children.Any(each =>
        {
            EtcNode? before = Child(defaults, each.Key);
            if (EtcNode.Same(before, each.Value) || !each.Value.Entry.IsMergeable)
                return false;
            return !each.Value.IsDirectory || before is not { IsDirectory: true } || before.Entry != each.Value.Entry
                || KeepsAnything(before, each.Value);
        });

        private static EtcNode? Child(EtcNode? node, string name) => node?.Children.GetValueOrDefault(name);
    }
}
