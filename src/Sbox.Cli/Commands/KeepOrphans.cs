using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Boot;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox keep --orphans</c>: what lists of what stays once kept and name no more.</summary>
internal static class KeepOrphans
{
    private const int Shown = 12;
    private const string Yes = "yes", No = "no", AdoptWord = "adopt";

    /// <summary>What is done with them.</summary>
    /// <param name="Clean">Delete them, after asking.</param>
    /// <param name="Adopt">Name them again, without asking.</param>
    /// <param name="IsSure">Delete them without asking.</param>
    public readonly record struct Wish(bool Clean, bool Adopt, bool IsSure);

    /// <summary>Lists them, and deletes or adopts those that paths and groups mean.</summary>
    public static void Run(Speaker speaker, string[] asked, Wish wish, CancellationToken cancel)
    {
        if (!Environment.IsPrivilegedProcess)
            throw new Finding("only root may see what was kept: it is everyone's files", "sudo sbox keep --orphans");
        (IReadOnlyList<GhostLayer> layers, bool isGhost) = GhostSession.Disk() ?? throw new Finding("no deployment of this box was booted", "Type it in a boot of the box itself");
        if (wish.Clean || wish.Adopt)
        {
            if (MemoryDisk.IsUsed())
                throw new NoDiskException();
            PrivateMounts.Enter(); // before anything is asked: the process begins anew
        }

        IReadOnlyList<Orphan> all = GhostSession.Orphans(layers), orphans = Meant(all, asked);
        if (wish.Adopt)
            Adopt(speaker, layers, isGhost, orphans, all, cancel);
        else if (!wish.Clean || orphans.Count == 0)
            Show(speaker, orphans);
        else
            Clean(speaker, layers, isGhost, orphans, all, wish.IsSure, cancel);
    }

    /// <summary>One line about them; null where there are none, or it is not known because the caller is not root or a list cannot be read.</summary>
    public static string? Line() => Line(Glance());

    /// <summary>One line about them; null where there are none.</summary>
    public static string? Line(IReadOnlyList<Orphan> orphans) =>
        orphans.Count == 0 ? null : $"{Sum(orphans)} on the disk were kept by a list that names them no more: sbox keep --orphans";

    /// <summary>Them, for who only mentions them.</summary>
    public static IReadOnlyList<Orphan> Glance()
    {
        try
        {
            return Environment.IsPrivilegedProcess && GhostSession.Disk() is { } disk ? GhostSession.Orphans(disk.Layers) : [];
        }
        catch (Exception unreadable) when (unreadable is GhostSettingsException or IOException or UnauthorizedAccessException or Finding)
        {
            return []; // sbox keep --orphans says what cannot be read; who only mentions orphans has another answer to give
        }
    }

    private static IReadOnlyList<Orphan> Meant(IReadOnlyList<Orphan> orphans, string[] asked)
    {
        if (asked.Length == 0)
            return orphans;
        Orphan[] meant = [.. orphans.Where(orphan => GhostSession.Means(asked, orphan.Kept.Path))];
        return meant.Length > 0 ? meant : throw new Finding($"{string.Join(", ", asked)}: nothing there was kept by a list that names it no more", "sbox keep --orphans lists all");
    }

    private static void Show(Speaker speaker, IReadOnlyList<Orphan> orphans)
    {
        if (speaker.Json)
        {
            foreach (Orphan orphan in orphans)
                speaker.Answer("", writer => Write(writer, orphan));
            return;
        }

        speaker.Answer(orphans.Count == 0 ? $"All that lists in {KeepList.Directory} have kept they name still."
            : $"{Text(orphans)}sbox keep --orphans --clean deletes them, after asking; --adopt names them again.", static _ => { });
    }

    /// <summary>What people read of them: by the list that named them, the first paths of each, what may become of them.</summary>
    internal static string Text(IReadOnlyList<Orphan> orphans)
    {
        var text = new StringBuilder();
        foreach (IGrouping<KeepRule, Orphan> group in orphans.GroupBy(static orphan => orphan.Kept.By))
        {
            Orphan[] all = [.. group];
            text.Append(CultureInfo.InvariantCulture, $"{By(group.Key)}: {Sum(all)}\n");
            int shown = all.Length <= Shown + 1 ? all.Length : Shown;
            foreach (Orphan orphan in all.Take(shown))
                text.Append(CultureInfo.InvariantCulture, $"  {Line(orphan)}\n");
            if (shown < all.Length)
                text.Append(CultureInfo.InvariantCulture, $"  ... and {all.Length - shown} more; sbox keep --orphans --json lists all\n");
        }

        return text.ToString();
    }

    private static string Line(Orphan orphan) =>
        $"{orphan.Kept.Path}{(orphan.Kept.IsDirectory ? "/" : "")}{(orphan.Bytes > 0 ? $"  {Amount.OfBytes(orphan.Bytes)}" : "")}  kept {Age(orphan.Kept.Kept)}{Remark(orphan)}";

    private static string Remark(Orphan orphan) => orphan.Fate switch
    {
        OrphanFate.WasThere => orphan.Kept.Path.StartsWith("/etc/", StringComparison.Ordinal) ? "; stays: the disk had one before (sbox etc reset)" : "; stays: the disk had one before",
        OrphanFate.ChangedSince => "; stays: changed since",
        _ => "",
    };

    private static string Age(DateTimeOffset kept) => string.Create(CultureInfo.InvariantCulture, $"{kept.UtcDateTime:yyyy-MM-dd}") + ((DateTimeOffset.UtcNow - kept).TotalDays switch
    {
        < 1 => ", today",
        < 2 => ", a day ago",
        var days => string.Create(CultureInfo.InvariantCulture, $", {(int)days} days ago"),
    });

    private static string By(KeepRule rule) => rule.IsPath ? $"path {rule.What} of {rule.File}" : $"preset {rule.What} of {rule.File}";

    private static string Sum(IReadOnlyList<Orphan> orphans)
    {
        int files = orphans.Count(static orphan => !orphan.Kept.IsDirectory);
        int directories = orphans.Count - files;
        string each = files == 0 ? $"{directories} {(directories == 1 ? "directory" : "directories")}" : $"{files} {(files == 1 ? "file" : "files")}";
        return $"{each}, {Amount.OfBytes(orphans.Sum(static orphan => orphan.Bytes))}";
    }

    private static void Clean(Speaker speaker, IReadOnlyList<GhostLayer> layers, bool isGhost, IReadOnlyList<Orphan> orphans, IReadOnlyList<Orphan> all, bool isSure, CancellationToken cancel)
    {
        if (!isSure && Console.IsInputRedirected)
        {
            Show(speaker, orphans);
            throw new Finding("there is no terminal to ask at, and nothing was changed", "Read what is shown above, and type the same command with --yes");
        }

        Interview? interview = isSure ? null : Interview.OnConsole();
        var unwanted = new List<Orphan>();
        var wanted = new List<Orphan>();
        foreach (IGrouping<KeepRule, Orphan> group in orphans.GroupBy(static orphan => orphan.Kept.By))
        {
            interview?.Say(Text([.. group]).TrimEnd('\n'));
            string answer = interview?.Ask($"Delete them ({Yes}/{No}), or {AdoptWord}: name them again", No, static typed => typed is Yes or No or AdoptWord ? null : $"Please type {Yes}, {No} or {AdoptWord}.") ?? (isSure ? Yes : No);
            if (answer != No)
                (answer == Yes ? unwanted : wanted).AddRange(group);
        }

        if (wanted.Count > 0)
            Adopt(speaker, layers, isGhost, wanted, all, cancel);
        if (unwanted.Count > 0)
            Delete(speaker, layers, isGhost, unwanted, cancel);
    }

    private static void Delete(Speaker speaker, IReadOnlyList<GhostLayer> layers, bool isGhost, List<Orphan> unwanted, CancellationToken cancel)
    {
        // What is gone is nobody's orphan when somebody makes it anew; of what stays whatever is asked, enough was said.
        HashSet<KeptPath> told = [.. unwanted.Where(static orphan => orphan.Fate != OrphanFate.Deletable).Select(static orphan => orphan.Kept)];
        try
        {
            using PrivateMounts mounts = PrivateMounts.Open();
            foreach (GhostLayer layer in layers)
            {
                KeptOrphans.Delete(unwanted, layer, isGhost, (orphan, why) =>
                {
                    if (why is null)
                        told.Add(orphan.Kept);
                    Say(speaker, orphan, why);
                }, cancel);
            }

            foreach (Orphan left in unwanted.Where(static orphan => orphan.Fate != OrphanFate.Deletable))
                speaker.Note($"not deleted, and not told of again: {Line(left)}");
        }
        finally
        {
            GhostSession.Release(layers, told.Contains);
        }
    }

    private static void Say(Speaker speaker, Orphan orphan, string? why)
    {
        if (why is null)
            speaker.Answer($"deleted {Line(orphan)}", writer => Write(writer, orphan));
        else
            speaker.Note($"not deleted: {Line(orphan)}: {why}");
    }

    private static void Adopt(Speaker speaker, IReadOnlyList<GhostLayer> layers, bool isGhost, IReadOnlyList<Orphan> orphans, IReadOnlyList<Orphan> all, CancellationToken cancel)
    {
        if (orphans.Count == 0)
            throw new Finding("there is nothing to adopt", "sbox keep --orphans lists what is");
        string[] what = [.. Names(orphans, all).Where(AdoptedList.CanName)];
        if (what.Length == 0)
            throw new Finding($"{orphans[0].Kept.Path}: a list cannot name it, its name is no UTF-8", "In a ghost, sbox keep PATH keeps it by name");
        using (Dir etc = Dir.Open("/etc"))
            AdoptedList.Add(etc, KeepList.Directory, what);
        string file = $"{KeepList.Directory}/{AdoptedList.Name}";
        if (isGhost)
            GhostSession.Keep(layers, [.. GhostSession.Read(layers, cancel).Where(entry => entry.Path == file)], cancel, speaker.Note);
        IReadOnlyList<KeepRule> rules = KeepList.Read(GhostSession.Absolute);
        Orphan[] named = [.. orphans.Where(orphan => IsNamed(orphan, rules))];
        speaker.Answer($"{file} names {string.Join(", ", what)}: {Sum(named)} stay", writer =>
        {
            writer.WriteString("file", file);
            writer.WriteStartArray("adopted");
            foreach (string each in what)
                writer.WriteStringValue(each);
            writer.WriteEndArray();
        });
        foreach (Orphan orphan in orphans.Except(named))
            speaker.Note($"not adopted: {Line(orphan)}: {(AdoptedList.CanName(orphan.Kept.Path) ? "no list can name it" : "a list cannot name it, its name is no UTF-8")}");
    }

    // What named them names them again where that means no others and a list may still say it; else their own paths. A directory goes with what is in it.
    private static IEnumerable<string> Names(IReadOnlyList<Orphan> orphans, IReadOnlyList<Orphan> all) => orphans.GroupBy(static orphan => orphan.Kept.By)
        .SelectMany(group => KeepList.IsName(group.Key.What) && all.Count(orphan => orphan.Kept.By == group.Key) == group.Count()
            ? [group.Key.What]
            : group.Select(static orphan => orphan.Kept.Path).Where(path => !orphans.Any(below => below.Kept.Path != path && GhostLayer.IsAtOrBelow(below.Kept.Path, path))))
        .Distinct(StringComparer.Ordinal);

    private static bool IsNamed(Orphan orphan, IReadOnlyList<KeepRule> rules) => rules.For(orphan.Kept.Path) is not null
        || (orphan.Kept.IsDirectory && rules.Any(rule => rule.IsPath && GhostLayer.IsAtOrBelow(rule.What, orphan.Kept.Path)));

    private static void Write(Utf8JsonWriter writer, Orphan orphan)
    {
        writer.WriteString("path", orphan.Kept.Path);
        writer.WriteString("kind", orphan.Kept.IsDirectory ? "directory" : "file");
        writer.WriteNumber("bytes", orphan.Bytes);
        writer.WriteString("kept", orphan.Kept.Kept);
        writer.WriteString("kept-by", orphan.Kept.By.File);
        writer.WriteString("named", orphan.Kept.By.What);
        writer.WriteString("fate", orphan.Fate switch { OrphanFate.Deletable => "deletable", OrphanFate.WasThere => "was-there", _ => "changed-since" });
    }
}
