using System.Text.Json;
using Sbox.Cli.Terminal;
using Sbox.Cli.TombCommands;
using Sbox.Linux;
using Sbox.Sysroot;
using Sbox.Tomb;
using Sbox.Tomb.Sessions;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox keep --tomb</c> and <c>--from-tomb</c>: what a ghost would forget, put into an open tomb, and put back from it in another boot or on another box.</summary>
internal static class KeepInTomb
{
    /// <summary>The tomb could not be saved: what it was given is not offsite yet.</summary>
    private const int NotSaved = 4;

    private const string About = "kept";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    /// <summary>Copies what paths and groups mean into a tomb, and saves it.</summary>
    /// <param name="speaker">Told what was kept, and what was not.</param>
    /// <param name="run">Where open tombs have their sockets.</param>
    /// <param name="name">The tomb; null for the only one that is open.</param>
    /// <param name="asked">Paths and groups.</param>
    /// <param name="dry">Whether nothing is to be written.</param>
    /// <param name="cancel">Looked at between two entries; a save that has begun is finished by the tomb.</param>
    public static async Task<int> Put(Speaker speaker, string run, string? name, string[] asked, bool dry, CancellationToken cancel)
    {
        var client = new SessionClient(run);
        string tomb = SessionCommands.Which(client, name), top = (await client.Status(tomb, cancel)).MountPoint;
        string[] inside = [.. asked.Where(each => IsPath(each) && GhostLayer.IsAtOrBelow(GhostSession.Absolute(each), GhostSession.Absolute(top)))];
        string[] outside = [.. asked.Except(inside)];
        IReadOnlyList<LedgerEntry> chosen = outside.Length == 0 ? [] : Chosen(outside);
        LedgerEntry[] possible = [.. chosen.Where(static entry => TombShelf.Obstacle(entry) is null)];
        foreach (string each in inside)
            Say(speaker, tomb, GhostSession.Absolute(each), $"{each} is in the tomb {tomb} itself: {(dry ? "a save keeps it there" : "it is saved with it")}");
        if (dry)
        {
            LedgerText.Print(speaker, $"would keep in {tomb}", possible);
            return 0;
        }

        using Dir root = Dir.Open("/");
        IReadOnlyList<ShelfCopy> copies = [];
        if (possible.Length > 0)
        {
            using TombShelf shelf = TombShelf.Open(top);
            copies = shelf.Put(root, possible, cancel);
        }

        LedgerEntry[] kept = [.. copies.Select(static copy => copy.Entry)];
        foreach (LedgerEntry left in chosen.Except(kept))
            speaker.Note($"not kept: {LedgerMeaning.Printable(left.Path)}: {TombShelf.Obstacle(left) ?? "it has changed again; sbox ledger lists it anew"}");
        if (kept.Length == 0 && inside.Length == 0)
            throw new Finding($"{string.Join(", ", asked)}: nothing of it can be kept in a tomb", "sbox keep, without --tomb, keeps it on the disk of the box");
        return await Save(speaker, client, tomb, copies, cancel);

        IReadOnlyList<LedgerEntry> Chosen(string[] wanted)
        {
            IReadOnlyList<GhostLayer> layers = GhostSession.Layers() ?? throw LedgerCommand.NoGhost();
            return GhostSession.Select(GhostSession.Read(layers, cancel), wanted, includeNoise: false) is { Count: > 0 } found ? found : throw LedgerCommand.NothingThere(wanted);
        }
    }

    private static async Task<int> Save(Speaker speaker, SessionClient client, string tomb, IReadOnlyList<ShelfCopy> copies, CancellationToken cancel)
    {
        LedgerEntry[] kept = [.. copies.Select(static copy => copy.Entry)];
        try
        {
            await client.Save(tomb, cancel);
        }
        catch (TombException failure)
        {
            Remedies.Say(new Finding($"{kept.Length} {(kept.Length == 1 ? "change is" : "changes are")} in the tomb {tomb}, which could not be saved: {failure.Message}",
                $"They are kept when it is: the tomb tries again by itself, or sbox tomb save {tomb}. Until then sbox ledger counts them as lost"), ostree: false, speaker.Json);
            return NotSaved;
        }

        KeptInTombs.Add(copies.Select(static copy => (copy.Entry.Path, copy.Was)), tomb);
        LedgerText.Print(speaker, $"kept in {tomb}", kept);
        if (kept.Length > 0)
            speaker.Note($"{kept.Length} {(kept.Length == 1 ? "change is" : "changes are")} in the tomb {tomb}, and saved. Wherever it is opened next: sbox keep --from-tomb puts {(kept.Length == 1 ? "it" : "them")} back");
        else
            speaker.Note($"the tomb {tomb} is saved");
        return 0;
    }

    /// <summary>Puts back what a tomb keeps of /etc and /var, in a ghost or not.</summary>
    /// <param name="speaker">Told what was put back, and what stays as it is here.</param>
    /// <param name="run">Where open tombs have their sockets.</param>
    /// <param name="name">The tomb; null for the only one that is open.</param>
    /// <param name="asked">Paths and groups, which also replace what is otherwise here; none for all that is missing here.</param>
    /// <param name="dry">Whether nothing is to be written.</param>
    /// <param name="cancel">Looked at between two files.</param>
    public static async Task<int> TakeBack(Speaker speaker, string run, string? name, string[] asked, bool dry, CancellationToken cancel)
    {
        if (!Environment.IsPrivilegedProcess)
            throw new Finding("only root may put back what a tomb keeps of /etc and /var", "sudo sbox keep --from-tomb");
        var client = new SessionClient(run);
        string tomb = SessionCommands.Which(client, name), top = (await client.Status(tomb, cancel)).MountPoint;
        using Dir root = Dir.Open("/");
        using TombShelf? shelf = TombShelf.TryOpen(top);
        ShelfItem[] items = [.. (shelf?.Items(root) ?? []).Where(item => asked.Length == 0 || GhostSession.Means(asked, item.Path))];
        if (items.Length == 0)
            throw new Finding(asked.Length == 0 ? $"the tomb {tomb} keeps nothing of /etc and /var" : $"{string.Join(", ", asked)}: the tomb {tomb} keeps nothing there", "sbox keep --tomb PATH puts something into it");
        bool offsite = !dry && await IsSaved(speaker, client, tomb, cancel);
        int stays = 0;
        var back = new List<(string Path, FileStat Was)>();
        foreach (ShelfItem item in items)
        {
            cancel.ThrowIfCancellationRequested();
            bool wanted = item.State == ShelfState.Missing || (item.State == ShelfState.Other && asked.Length > 0);
            FileStat? here = item.State == ShelfState.Same ? item.Here : wanted && !dry ? shelf!.PutBack(root, item) : null;
            if (here is { } was)
                back.Add((item.Path, was));
            if (wanted && (dry || here is not null))
            {
                Say(speaker, tomb, item.Path, $"{(dry ? "would put back" : "put back")} {item.Path}{(item.Bytes > 0 ? $"  {Amount.OfBytes(item.Bytes)}" : "")}{(item.State == ShelfState.Other ? "  in the place of another" : "")}");
            }
            else if (item.State != ShelfState.Same)
            {
                stays++;
                speaker.Note($"not put back: {LedgerMeaning.Printable(item.Path)}: {(wanted ? "something else is in its way here" : $"here is another one; sbox keep --from-tomb {LedgerMeaning.Printable(item.Path)} replaces it")}");
            }
        }

        if (dry)
            return 0;
        if (offsite)
            KeptInTombs.Add(back, tomb);
        if (LoginMessage.IsShown($"{About}-{tomb}"))
            await TellLogins(tomb, top); // anew: less is missing, or nothing
        speaker.Note(stays == 0 ? $"all of it is here as the tomb {tomb} has it" : $"{stays} {(stays == 1 ? "change of the tomb is" : "changes of the tomb are")} not here");
        return 0;
    }

    // Something may have been put into it, and never saved: of that the ledger must not say that it is safe.
    private static async Task<bool> IsSaved(Speaker speaker, SessionClient client, string tomb, CancellationToken cancel)
    {
        try
        {
            await client.Save(tomb, cancel);
            return true;
        }
        catch (TombException failure)
        {
            speaker.Note($"the tomb {tomb} could not be saved: {failure.Message}; sbox ledger counts what is put back as lost until sbox keep --tomb has saved it");
            return false;
        }
    }

    /// <summary>One line about what a tomb that was just opened keeps of /etc and /var and this machine lacks; null where there is nothing to say, or nobody may look, or the tomb is far and slow.</summary>
    /// <param name="tomb">Its name.</param>
    /// <param name="top">Where it is seen.</param>
    public static async Task<string?> Line(string tomb, string top)
    {
        if (!Environment.IsPrivilegedProcess)
            return null;
        try
        {
            int missing = await Task.Run(() => Missing(top)).WaitAsync(Patience);
            return missing == 0 ? null
                : $"The tomb {tomb} keeps {missing} {Changes(missing)} of /etc and /var that {(missing == 1 ? "is" : "are")} not here: sudo sbox keep --from-tomb --name {tomb} puts {(missing == 1 ? "it" : "them")} back (--dry-run lists)";
        }
        catch (Exception unseen) when (unseen is IOException or SysrootException or TimeoutException)
        {
            return null; // it is about something that can wait; what was asked for is done
        }
    }

    /// <summary>Tells whoever logs in what the tomb that was just opened keeps and this machine lacks; and no longer, where that is nothing by now or not known.</summary>
    public static async Task TellLogins(string tomb, string top)
    {
        if (await Line(tomb, top) is { } line)
            LoginMessage.Show($"{About}-{tomb}", line);
        else
            LoginMessage.Withdraw($"{About}-{tomb}");
    }

    // By names, owners, modes and sizes: no file is fetched for it.
    private static int Missing(string top)
    {
        using Dir root = Dir.Open("/");
        using TombShelf? shelf = TombShelf.TryOpen(top);
        return shelf?.Items(root, reads: false).Count(static item => item.State != ShelfState.Same) ?? 0;
    }

    private static bool IsPath(string asked) => !LedgerGroup.All.Any(group => group.Id == asked);

    private static string Changes(int count) => count == 1 ? "change" : "changes";

    private static void Say(Speaker speaker, string tomb, string path, string text) => speaker.Answer(LedgerMeaning.Printable(text), (Utf8JsonWriter writer) =>
    {
        writer.WriteString("tomb", tomb);
        writer.WriteString("path", path);
    });
}
