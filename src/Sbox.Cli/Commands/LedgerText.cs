using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Boot;
using Sbox.Cli.Terminal;
using Sbox.Image;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>How a ledger reads: for people by group, what is known by meaning first; for programs one object for each change.</summary>
internal static class LedgerText
{
    private const int Shown = 12;

    /// <summary>The answer of <c>sbox ledger</c>.</summary>
    public static void Show(Speaker speaker, LedgerView view, bool all)
    {
        if (speaker.Json)
        {
            foreach (LedgerEntry entry in view.Entries)
                speaker.Answer("", writer => Write(writer, entry, view));
            foreach (PackageChange package in view.Changed)
                speaker.Answer("", writer => Write(writer, package));
            return;
        }

        LedgerEntry[] listed = view.Rules.Count == 0 ? [] : [.. view.Entries.Where(entry => view.Rules.For(entry.Path) is not null)];
        string more = listed.Length == 0 ? "" : $"\n{Sum(listed)} are kept at power-off, as {KeepList.Directory} says.";
        foreach (IGrouping<string, LedgerEntry> tomb in view.InTombs())
            more += $"\n{Sum([.. tomb])} are in the tomb {tomb.Key} as they are now: sbox keep --from-tomb puts them back.";
        if (KeepOrphans.Line() is { } orphans)
            more += $"\n{orphans}";
        speaker.Answer(Of(view, all) + more, static _ => { });
    }

    /// <summary>What of a ledger is lost, as text.</summary>
    /// <param name="view">The ledger.</param>
    /// <param name="all">Whether every path is listed, noise included.</param>
    /// <param name="noise">Whether noise is mentioned at all.</param>
    public static string Of(LedgerView view, bool all, bool noise = true)
    {
        Dictionary<LedgerGroup, List<LedgerEntry>> groups = Grouped(view, noise);
        if (groups.Count + view.Changed.Count == 0)
            return "Nothing would be lost.";
        var text = new StringBuilder();
        foreach (LedgerGroup group in LedgerGroup.All.Where(group => !group.IsNoise && groups.ContainsKey(group)))
            Append(text, view, group, groups[group], all);
        Append(text, view.Changed, all);
        LedgerGroup[] folded = [.. LedgerGroup.All.Where(group => group.IsNoise && groups.ContainsKey(group))];
        if (all)
        {
            foreach (LedgerGroup group in folded)
                Append(text, view, group, groups[group], all);
        }
        else if (folded.Length > 0)
        {
            text.Append(CultureInfo.InvariantCulture, $"and {Sum([.. folded.SelectMany(group => groups[group])])} that nobody misses: {string.Join("; ", folded.Select(static group => group.Title))}\n");
        }

        LedgerEntry[] missed = [.. groups.Where(static group => !group.Key.IsNoise).SelectMany(static group => group.Value)];
        text.Append(missed.Length == 0 ? "Nothing else is lost at power-off."
            : $"{Sum(missed)} are lost at power-off. {(MemoryDisk.IsUsed() ? "" : "sbox keep PATH|GROUP writes to the disk, with --tomb into an open tomb; ")}sbox forget PATH|GROUP takes back.");
        return text.ToString();
    }

    // Each entry's group is asked for once: there may be a hundred thousand.
    private static Dictionary<LedgerGroup, List<LedgerEntry>> Grouped(LedgerView view, bool noise)
    {
        var groups = new Dictionary<LedgerGroup, List<LedgerEntry>>(ReferenceEqualityComparer.Instance);
        foreach (LedgerEntry entry in view.Entries)
        {
            if (!view.IsLost(entry) || LedgerGroup.Of(entry) is not { } group || (group.IsNoise && !noise))
                continue;
            if (!groups.TryGetValue(group, out List<LedgerEntry>? members))
                groups.Add(group, members = []);
            members.Add(entry);
        }

        return groups;
    }

    /// <summary>One line for each entry, with what was done to it.</summary>
    public static void Print(Speaker speaker, string verb, IReadOnlyList<LedgerEntry> entries)
    {
        foreach (LedgerEntry entry in entries)
            speaker.Answer($"{verb} {Line(entry)}", writer => Write(writer, entry));
    }

    /// <summary>How many, and how much.</summary>
    public static string Sum(IReadOnlyCollection<LedgerEntry> entries) =>
        $"{entries.Count} {(entries.Count == 1 ? "change" : "changes")}, {Amount.OfBytes(entries.Sum(static entry => entry.Bytes))}";

    /// <summary>What was done, in a word.</summary>
    public static string Word(LedgerChange change) => change switch { LedgerChange.New => "new", LedgerChange.Changed => "changed", _ => "deleted" };

    // What changes mean comes before the paths: twelve paths may hide the one network that matters.
    private static void Append(StringBuilder text, LedgerView view, LedgerGroup group, List<LedgerEntry> entries, bool all)
    {
        text.Append(CultureInfo.InvariantCulture, $"{group.Id}: {group.Title}, {Sum(entries)}\n");
        string[] meanings = [.. entries.SelectMany(view.Means).Distinct(StringComparer.Ordinal)];
        AppendFirst(text, meanings, static meaning => $"* {meaning}", all, group.Id);
        AppendFirst(text, entries, Line, all, group.Id);
    }

    private static void Append(StringBuilder text, IReadOnlyList<PackageChange> packages, bool all)
    {
        if (packages.Count == 0)
            return;
        text.Append(CultureInfo.InvariantCulture, $"{packages.Count} {(packages.Count == 1 ? "package is" : "packages are")} otherwise than in this version's tree; a recipe keeps what sbox keep cannot\n");
        AppendFirst(text, packages, static package => $"* {Line(package)}", all, "packages");
    }

    private static void AppendFirst<T>(StringBuilder text, IReadOnlyList<T> items, Func<T, string> line, bool all, string group)
    {
        int shown = all || items.Count <= Shown + 1 ? items.Count : Shown;
        for (int at = 0; at < shown; at++)
            text.Append("  ").Append(line(items[at])).Append('\n');
        if (shown < items.Count)
            text.Append(CultureInfo.InvariantCulture, $"  ... and {items.Count - shown} more; sbox ledger --all {group} lists them\n");
    }

    private static string Line(LedgerEntry entry) =>
        $"{Word(entry.Change),-8} {LedgerMeaning.Printable(entry.Path)}{(entry.Kind == FileKind.Directory ? "/" : "")}{(entry.Bytes > 0 ? $"  {Amount.OfBytes(entry.Bytes)}" : "")}{(entry.From is { } from ? $"  was {LedgerMeaning.Printable(from)}/" : "")}";

    private static string Line(PackageChange package) => package.Kind switch
    {
        PackageChangeKind.Added => $"{package.Name} {package.New!.Version} installed",
        PackageChangeKind.Removed => $"{package.Name} {package.Old!.Version} removed",
        var kind => $"{package.Name} {Word(kind)} from {package.Old!.Version} to {package.New!.Version}",
    };

    private static string Word(PackageChangeKind kind) => kind switch { PackageChangeKind.Added => "installed", PackageChangeKind.Removed => "removed", PackageChangeKind.Upgraded => "upgraded", _ => "downgraded" };

    private static void Write(Utf8JsonWriter writer, PackageChange package)
    {
        writer.WriteString("package", package.Name);
        writer.WriteString("change", Word(package.Kind));
        if (package.New is { } now)
            writer.WriteString("version", now.Version);
        if (package.Old is { } was)
            writer.WriteString("was", was.Version);
        writer.WriteString("group", "packages");
        writer.WriteBoolean("noise", false);
    }

    private static void Write(Utf8JsonWriter writer, LedgerEntry entry, LedgerView? view = null)
    {
        LedgerGroup group = LedgerGroup.Of(entry);
        writer.WriteString("path", entry.Path);
        writer.WriteString("change", Word(entry.Change));
        writer.WriteString("kind", entry.Kind.ToString().ToLowerInvariant());
        writer.WriteNumber("bytes", entry.Bytes);
        writer.WriteString("group", group.Id);
        writer.WriteBoolean("noise", group.IsNoise);
        if (view?.Rules.For(entry.Path) is { } rule)
            writer.WriteString("kept-by", rule.File);
        if (view?.TombOf(entry) is { } tomb)
            writer.WriteString("in-tomb", tomb);
        if (entry.From is { } from)
            writer.WriteString("from", from);
        if (view?.Means(entry) is { Count: > 0 } meanings)
        {
            writer.WriteStartArray("means");
            foreach (string meaning in meanings)
                writer.WriteStringValue(meaning);
            writer.WriteEndArray();
        }
    }
}
