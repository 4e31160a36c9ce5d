using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>Where a merge reads the bytes of files: each takes a path below /etc and gives null where there is no regular file.</summary>
/// <param name="Before">The old tree's defaults.</param>
/// <param name="Mine">The owner's.</param>
/// <param name="Next">The new tree's defaults.</param>
public sealed record EtcContents(Func<string, byte[]?> Before, Func<string, byte[]?> Mine, Func<string, byte[]?> Next)
{
    /// <summary>Reads from three directories.</summary>
    public static EtcContents Of(Dir before, Dir mine, Dir next) => new(Reader(before), Reader(mine), Reader(next));

    internal static Func<string, byte[]?> Reader(Dir dir) => path => dir.TryStat(path) is { IsRegular: true } ? dir.TryReadAll(path) : null;
}

/// <summary>Merges the files of /etc that both sides changed: accounts by record, text by line, owner and mode each by itself.</summary>
internal sealed class EtcFileMerge(EtcContents contents)
{
    private MergedAccounts? accounts;
    private bool arePlain;

    /// <summary>Whether an owner's and a new default are both regular files, so that something of each may be taken.</summary>
    public static bool AreFiles(EtcNode local, EtcNode? next) => local.Entry.Kind == FileKind.Regular && next?.Entry.Kind == FileKind.Regular;

    /// <summary>
    /// The step for a file that is there on both sides, at least one of them changed from the default and the other not like it.
    /// </summary>
    public static EtcStep Merge(EtcFileMerge? files, string path, EtcNode? defaults, EtcNode local, EtcNode next)
    {
        EtcEntry? before = defaults?.Entry.Kind == FileKind.Regular ? defaults.Entry : null;
        (EtcEntry mine, EtcEntry theirs) = (local.Entry, next.Entry);
        var findings = new List<string>();
        EtcEntry result = Metadata(before, mine, theirs, findings);
        if (before?.Content == mine.Content)
            result = result with { Content = theirs.Content };
        else if (before?.Content != theirs.Content && mine.Content != theirs.Content)
        {
            // Without a common beginning every line of both would be new.
            byte[]? merged = files is null || before is null ? null : files.Text(path);
            if (merged is not null)
                return new EtcStep(EtcAction.Combine, path, findings.Count > 0)
                {
                    Content = merged, Result = result with { Content = Checksum.Of(merged) }, Findings = [.. findings, "your lines and the new tree's are both in it"],
                };
            findings.Add(before is null ? "you and the new tree both added it; yours is kept"
                : AccountMerge.Files.Contains(path) ? "you and the new tree changed it, and it cannot be merged by account; yours is kept" : "you and the new tree changed the same lines; yours is kept");
        }

        bool conflict = findings.Count > 0;
        return result == mine
            ? new EtcStep(EtcAction.CopyLeaf, path, conflict) { Findings = findings }
            : new EtcStep(EtcAction.Combine, path, conflict) { Result = result, Findings = findings };
    }

    /// <summary>Merges the account files, where both sides changed any of them.</summary>
    public void MergeAccounts(EtcNode defaults, EtcNode local, EtcNode next)
    {
        EtcNode? Of(EtcNode tree, string name) => tree.Children.GetValueOrDefault(name);
        bool mine = AccountMerge.Files.Any(name => Of(local, name)?.Entry.Content != Of(defaults, name)?.Entry.Content);
        bool theirs = AccountMerge.Files.Any(name => Of(next, name)?.Entry.Content != Of(defaults, name)?.Entry.Content);
        arePlain = AccountMerge.Files.All(name => IsPlain(defaults, name, contents.Before) && IsPlain(local, name, contents.Mine) && IsPlain(next, name, contents.Next));
        if (mine && theirs && arePlain)
            accounts = AccountMerge.Merge(contents.Before, contents.Mine, contents.Next);

        // A link or a directory, or a file that was replaced since the tree was read, must not read as "everybody was removed".
        bool IsPlain(EtcNode tree, string name, Func<string, byte[]?> read) => Of(tree, name) is not { } node ? read(name) is null
            : node.Entry.Kind == FileKind.Regular && read(name) is { } bytes && Checksum.Of(bytes) == node.Entry.Content;
    }

    /// <summary>Whose the new tree's files are here; null where accounts cannot be told, or are the new tree's.</summary>
    public EtcOwners? Owners(EtcNode defaults, EtcNode local, EtcNode next)
    {
        byte[]? After(string file) => accounts is not null ? accounts.Texts.GetValueOrDefault(file)
            : EtcNode.Same(defaults.Children.GetValueOrDefault(file), local.Children.GetValueOrDefault(file)) ? contents.Next(file) : contents.Mine(file);
        return arePlain && ((string[])["passwd", "group"]).Any(file => !Same(After(file), contents.Next(file))) ? new EtcOwners(After, contents.Next) : null;

        static bool Same(byte[]? a, byte[]? b) => a is null || b is null ? a is null && b is null : a.AsSpan().SequenceEqual(b);
    }

    /// <summary>The step for an account file; null where the path is none, or it needs no merging.</summary>
    public EtcStep? Account(string path, EtcNode? defaults, EtcNode? local, EtcNode? next)
    {
        if (accounts is null || local is null || next is null || !accounts.Texts.TryGetValue(path, out byte[]? text)
            || local.Entry.Kind != FileKind.Regular || next.Entry.Kind != FileKind.Regular)
            return null;
        var findings = new List<string>();
        EtcEntry? before = defaults?.Entry.Kind == FileKind.Regular ? defaults.Entry : null;
        EtcEntry result = Metadata(before, local.Entry, next.Entry, findings);
        bool conflict = findings.Count > 0 || accounts.Notes.Any(note => note.File == path && note.IsConflict);
        findings.AddRange(accounts.Notes.Where(note => note.File == path).Select(static note => $"{note.Name}: {note.What}"));
        result = result with { Content = Checksum.Of(text) };
        if (result == local.Entry && !conflict && findings.Count == 0)
            return result == next.Entry ? null : new EtcStep(EtcAction.CopyLeaf, path, IsConflict: false);
        return new EtcStep(EtcAction.Combine, path, conflict) { Content = text, Result = result, Findings = findings };
    }

    // Account files are merged by account or stand whole: lines that are apart may still give two users one id.
    private byte[]? Text(string path) => AccountMerge.Files.Contains(path) ? null :
        contents.Before(path) is { } before && contents.Mine(path) is { } mine && contents.Next(path) is { } next ? TextMerge.Merge(before, mine, next) : null;

    // Each by itself: a file made private keeps its new content, a new owner is kept with the old mode.
    private static EtcEntry Metadata(EtcEntry? before, EtcEntry mine, EtcEntry theirs, List<string> findings)
    {
        uint Choose(string what, Func<EtcEntry, uint> of)
        {
            if (before is { } old && of(old) == of(mine))
                return of(theirs);
            if (of(mine) != of(theirs) && (before is null || of(before.Value) != of(theirs)))
                findings.Add($"{what} was changed on both sides; yours is kept");
            return of(mine);
        }

        return mine with
        {
            Permissions = Choose("the mode", static entry => entry.Permissions),
            Uid = Choose("the owner", static entry => entry.Uid),
            Gid = Choose("the group", static entry => entry.Gid),
        };
    }
}
