using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox ledger</c>, <c>keep</c> and <c>forget</c>: what a ghost will have forgotten, and what it shall not forget.</summary>
internal static class LedgerCommand
{
    public static Command Make()
    {
        Argument<string[]> paths = Paths("Only what is at these paths or below, or in these groups");
        var all = new Option<bool>("--all", "-a") { Description = "Every path, noise included; else the first of each group" };
        var why = new Option<string?>("--why") { Description = "Say of one path what happens to it at power-off, and by which rule it is in its group", HelpName = "PATH" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("ledger", "List what this session has that is lost at power-off")
        {
            Details =
            [
                "A boot of the menu's entry 'ghost' keeps every change of /etc and /var in memory. The ledger lists them: new, changed and deleted, grouped by what they are, with their sizes. "
                + "What nobody misses (caches, logs, temporary files) is folded into one line. A home that is open from a tomb is not listed: it is kept there.",
                "It is read from the memory that holds the changes, so it takes as long as there are changes, whatever the disk holds. A file that was written anew with the same bytes is no change.",
                "On any other boot /etc and /var are on the disk and nothing of them is lost; the command says so.",
                "Where a file's format is known, what the change means comes first in its group, after a star: users, groups and passwords that changed, networks, ssh hosts, printers, bluetooth devices, time zone, language, services that were switched on or off. Only names are told, never a password or key. "
                + "Packages that dpkg has otherwise than this version's tree are listed with their versions.",
                "With --json each line is an object. A change has path, change (new, changed, deleted), kind, bytes, group and noise; and, where they apply, means (what it means, an array of sentences), kept-by (the list that keeps it), in-tomb (the tomb that has it as it is) and from (what it was called). A "
                + "package has package, change (installed, removed, upgraded, downgraded), version, was, group and noise.",
                $"Groups: {string.Join(", ", LedgerGroup.All.Select(static group => group.IsNoise ? $"{group.Id} (noise)" : group.Id))}.",
            ],
            ExitCodes = [(0, "The ledger was read, empty or not.")],
            Examples = [new Example("All that would be lost of the networks", "sbox ledger network"), new Example("Why a file is called noise", "sbox ledger --why /var/log/wtmp")],
        }.With(paths, all, why, json);
        command.SetAction((parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            IReadOnlyList<GhostLayer>? layers = GhostSession.Layers();
            if (parsed.GetValue(why) is { } path)
                Explain(speaker, layers, GhostSession.Absolute(path), cancel);
            else if (layers is null)
                NothingIsLost(speaker);
            else
                LedgerText.Show(speaker, LedgerView.Of(layers, parsed.GetValue(paths)!, cancel), parsed.GetValue(all));
            return Task.FromResult(0);
        });
        return command;
    }

    public static Command MakeKeep()
    {
        Argument<string[]> paths = Paths("Paths, with all below them, and groups that 'sbox ledger' names (network, ssh, users ...); noise is kept where a path asks for it");
        var declared = new Option<bool>("--declared") { Description = $"Keep what files in {KeepList.Directory} say; sbox-keep.service does it when a ghost is switched off" };
        var dry = new Option<bool>("--dry-run", "-n") { Description = "List what would be kept, and write nothing" };
        var orphans = new Option<bool>("--orphans") { Description = $"List what files in {KeepList.Directory} once kept and name no more, with the file that named it" };
        var clean = new Option<bool>("--clean") { Description = "With --orphans: delete them, after asking" };
        var adopt = new Option<bool>("--adopt") { Description = $"With --orphans: name them again, in {KeepList.Directory}/{AdoptedList.Name}" };
        Option<bool> yes = Confirmation.Yes();
        var tomb = new Option<bool>("--tomb") { Description = "Keep it in an open tomb, which is saved at once, and not on the disk" };
        var fromTomb = new Option<bool>("--from-tomb") { Description = "Put back what an open tomb keeps of /etc and /var: all that is missing here, or what paths and groups name, also where this machine has another" };
        var name = new Option<string?>("--name") { Description = "The tomb, where several are open", HelpName = "NAME" };
        Option<string> run = TombCommands.SessionCommands.RunDirectory();
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("keep", "Write what a ghost would forget to the disk, or into a tomb")
        {
            Details =
            [
                "The disk becomes writable to this command alone, for as long as it writes. All bytes are written and durable before the first name on the disk changes; killed at any moment, each file is there whole or as it was.",
                "What was deleted in the session is deleted on the disk. Sockets, FIFOs and device nodes are not kept. A renamed directory is kept under its new name, and stays on the disk under its old one too: the session goes on reading from there.",
                "What was kept is in the next boot too, in every one of the menu's entries: the disk is the box's.",
                $"What is to be kept always is said in files {KeepList.Directory}/*.toml: paths = [\"/home/ann/Documents\"] and presets = [\"network\", \"bluetooth\"], the groups. A ghost whose disk has such files keeps that whenever it is "
                + "switched off, and the ledger does not count it as lost; a machine that always starts as a ghost so has a list of what stays. A power cut takes what came since the last sbox keep --declared. "
                + "Where a boot runs from memory there is no disk to keep anything on, and --declared is refused.",
                "What such a file has kept stays on the disk when a line is taken out of it: --orphans lists that, on any boot of the box, with size, age and what had named it; paths and groups choose. --clean shows it, asks for each line and deletes; an answer of "
                + "'adopt', or --adopt, names it again. What the disk had before it was kept, and what was changed since, always stays: whose it is nobody knows; after a yes it is not told of again. A list of any version of the box counts. Nothing behind a symbolic link or a mount is touched, and a process that is killed leaves each file there or gone.",
                $"With --tomb it goes into an open tomb: below {TombShelf.Name} in its top directory, each thing at its own path, with owner and mode, for root alone; the tomb is saved at once, and sbox ledger no longer counts it as lost while it stays as it is. What is in the "
                + "tomb by itself, as a home, is only saved. Nothing comes back by itself, since a tomb is written by whoever has its password: whoever opens it, and whoever logs in then, is told that it keeps something that is missing, and --from-tomb puts it back, "
                + "in a ghost or not, on this box or another. Set-user-id bits and capabilities are left out. What is there otherwise stays, unless a path or group names it. What was deleted in the session only the disk can keep.",
            ],
            ExitCodes = [(0, "All that was asked for is on the disk or in the tomb, listed or deleted."), (1, "Nothing in the ledger is meant by what was asked for, or the disk refused; the message says which."), (4, "It is in the tomb, which could not be saved; the tomb tries again.")],
            Examples = [new Example("The wireless network of this place", "sbox keep network"), new Example("A letter", "sbox keep ~/letter.odt"),
                new Example("The same network on the next box", "sbox keep --tomb network, and there: sbox keep --from-tomb network"),
                new Example("What is left of lines that were taken out", "sbox keep --orphans --clean"),
                new Example("Networks, whenever this box is a ghost", "echo 'presets = [\"network\"]' >/etc/sbox/keep.d/mine.toml && sbox keep /etc/sbox/keep.d")],
        }.With(paths, tomb, fromTomb, name, declared, dry, orphans, clean, adopt, yes, run, json);
        command.SetAction(async (parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            bool intoTomb = parsed.GetValue(tomb), outOfTomb = parsed.GetValue(fromTomb);
            if ((intoTomb || outOfTomb) && ((intoTomb && outOfTomb) || parsed.GetValue(declared) || parsed.GetValue(orphans)))
                throw new Finding("--tomb, --from-tomb, --declared and --orphans each say something else: one of them at a time", "sbox keep --help");
            if (parsed.GetValue(name) is not null && !intoTomb && !outOfTomb)
                throw new Finding("--name says which tomb: it stands beside --tomb or --from-tomb", "sbox keep --help");
            var wish = new KeepOrphans.Wish(parsed.GetValue(clean), parsed.GetValue(adopt), parsed.GetValue(yes));
            if (parsed.GetValue(orphans))
            {
                if (parsed.GetValue(declared) || (wish.Clean && wish.Adopt) || (parsed.GetValue(dry) && (wish.Clean || wish.Adopt)))
                    throw new Finding("--orphans alone lists, and changes nothing; beside it stands one of --clean and --adopt, without --dry-run, or none", "sbox keep --help");
                KeepOrphans.Run(speaker, parsed.GetValue(paths)!, wish, cancel);
                return 0;
            }

            if (wish != default)
                throw new Finding("--clean, --adopt and --yes are about what --orphans lists", "sbox keep --orphans");
            if (outOfTomb)
                return await KeepInTomb.TakeBack(speaker, parsed.GetValue(run)!, parsed.GetValue(name), parsed.GetValue(paths)!, parsed.GetValue(dry), cancel);
            if (parsed.GetValue(declared) == (parsed.GetValue(paths) is { Length: > 0 }))
                throw new Finding("what is kept must be said: paths and groups, or --declared", "sbox keep --help");
            if (intoTomb)
                return await KeepInTomb.Put(speaker, parsed.GetValue(run)!, parsed.GetValue(name), parsed.GetValue(paths)!, parsed.GetValue(dry), cancel);
            IReadOnlyList<GhostLayer> layers = GhostSession.Layers() ?? throw NoGhost();
            if (parsed.GetValue(declared) && MemoryDisk.IsUsed())
                throw new NoDiskException(); // its list of what stays is empty here, which must not read as "all is kept"
            Keep(speaker, layers, parsed.GetValue(declared) ? null : parsed.GetValue(paths)!, parsed.GetValue(dry), cancel);
            return 0;
        });
        return command;
    }

    // Asked for by name, or, with null, by the lists.
    private static void Keep(Speaker speaker, IReadOnlyList<GhostLayer> layers, string[]? asked, bool dry, CancellationToken cancel)
    {
        IReadOnlyList<LedgerEntry> chosen = asked is null ? Declared(layers, cancel) : GhostSession.Select(GhostSession.Read(layers, cancel), asked, includeNoise: false);
        bool isFromMemory = MemoryDisk.IsUsed();
        if (chosen.Count > 0 && !dry && isFromMemory)
            throw new NoDiskException(); // before this process begins anew, and reads the ledger twice
        // Also what a list has kept at an earlier boot, of which the session has changed nothing.
        int released = asked is null || dry || isFromMemory ? 0 : Release(speaker, layers, asked);
        if (asked is not null && chosen.Count + released == 0)
            throw NothingThere(asked);
        if (dry || (asked is null && chosen.Count == 0))
        {
            LedgerText.Print(speaker, "would keep", chosen);
            return;
        }

        IReadOnlyList<LedgerEntry> kept = chosen.Count == 0 ? [] : GhostSession.Keep(layers, chosen, cancel, speaker.Note, asked is null ? GhostSession.Rules() : null);
        LedgerText.Print(speaker, "kept", kept);
        foreach (LedgerEntry left in chosen.Except(kept))
            speaker.Note($"not kept: {left.Path}: {left.Obstacle ?? "it has changed again; sbox ledger lists it anew"}");
        if (released > 0)
            speaker.Note($"{released} {(released == 1 ? "path" : "paths")} that a list had kept stay by name from now on: sbox keep --orphans will not list them");
    }

    private static int Release(Speaker speaker, IReadOnlyList<GhostLayer> layers, string[] asked)
    {
        try
        {
            return GhostSession.Release(layers, asked);
        }
        catch (IOException unreadable) // a record is for tidying up; no trouble with it may cost what is to be kept
        {
            speaker.Note($"what lists have kept is not known, and all is kept that was asked for: {unreadable.Message}");
            return 0;
        }
    }

    public static Command MakeForget()
    {
        Argument<string[]> paths = Paths("Paths, with all below them, and groups that 'sbox ledger' names");
        paths.Arity = ArgumentArity.OneOrMore;
        var dry = new Option<bool>("--dry-run", "-n") { Description = "List what would be forgotten, and change nothing" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("forget", "Forget now what a ghost would forget at power-off")
        {
            Details =
            [
                "Each path becomes what the disk has: what is new is deleted, what was changed is as it was, what was deleted is back. The disk is only read. There is no way back: sbox forget --dry-run lists it first.",
            ],
            ExitCodes = [(0, "All that was asked for is as the disk has it."), (1, "Nothing in the ledger is meant by what was asked for, or something could not be put back; the message says what.")],
            Examples = [new Example("An edit that went wrong", "sbox forget /etc/ssh/sshd_config")],
        }.With(paths, dry, json);
        command.SetAction((parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            IReadOnlyList<GhostLayer> layers = GhostSession.Layers() ?? throw NoGhost();
            IReadOnlyList<LedgerEntry> chosen = Chosen(layers, parsed.GetValue(paths)!, cancel);
            if (!parsed.GetValue(dry))
                GhostSession.Forget(layers, chosen, cancel);
            LedgerText.Print(speaker, parsed.GetValue(dry) ? "would forget" : "forgot", chosen);
            return Task.FromResult(0);
        });
        return command;
    }

    private static IReadOnlyList<LedgerEntry> Declared(IReadOnlyList<GhostLayer> layers, CancellationToken cancel)
    {
        IReadOnlyList<KeepRule> rules = GhostSession.Rules();
        return rules.Count == 0 ? [] : [.. GhostSession.Read(layers, cancel).Where(entry => rules.For(entry.Path) is not null)];
    }

    private static Argument<string[]> Paths(string description) => new("PATH|GROUP")
    {
        Description = description,
        Arity = ArgumentArity.ZeroOrMore,
    };

    internal static Finding NoGhost() => new("this boot is no ghost: /etc and /var are on the disk, and stay there", "Reboot into the menu's entry 'ghost' for a session that is forgotten");

    private static IReadOnlyList<LedgerEntry> Chosen(IReadOnlyList<GhostLayer> layers, string[] asked, CancellationToken cancel)
    {
        IReadOnlyList<LedgerEntry> chosen = GhostSession.Select(GhostSession.Read(layers, cancel), asked, includeNoise: false);
        return chosen.Count > 0 ? chosen : throw NothingThere(asked);
    }

    internal static Finding NothingThere(string[] asked) =>
        new($"{string.Join(", ", asked)}: the session has changed nothing there", "sbox ledger lists what it changed; the groups are in sbox-ledger(1)");

    private static void NothingIsLost(Speaker speaker) => speaker.Answer(
        $"This boot is no ghost: /etc and /var are on the disk. At power-off only /tmp and /run are emptied.{(KeepOrphans.Line() is { } orphans ? $"\n{orphans}" : "")}", static writer =>
        {
            writer.WriteBoolean("ghost", false);
            writer.WriteNumber("entries", 0);
        });

    private static void Explain(Speaker speaker, IReadOnlyList<GhostLayer>? layers, string path, CancellationToken cancel)
    {
        (LedgerGroup group, string pattern) = LedgerGroup.Of(path);
        LedgerEntry[] below = layers is null ? [] : [.. GhostSession.Select(GhostSession.Read(layers, cancel), [path], includeNoise: true)];
        if (below.FirstOrDefault(entry => entry.Path == path && entry.IsMadeAtBoot) is { } made)
            (group, pattern) = (LedgerGroup.Of(made), group.IsNoise ? pattern : "tmpfiles.d(5)");
        string fate = layers is null ? "this boot is no ghost"
            : !layers.Any(layer => layer.Holds(path)) ? "it is neither in /etc nor in /var: the ledger has nothing to say of it (/usr never changes; /tmp and /run are memory on every boot; a tomb keeps itself)"
            : below.Length == 0 ? "the disk has it just so: nothing of it is lost"
            : GhostSession.Rules().For(path) is { } rule ? $"{LedgerText.Sum(below)} in this session at or below it; at power-off that is kept, as {rule.File} says by {rule.What}"
            : below.All(static entry => entry.IsMadeAtBoot) ? "this version makes it at every boot, and it is as that makes it: nothing of it is lost"
            : below is [{ } one] && one.Path == path ? $"{LedgerText.Word(one.Change)} in this session, {Amount.OfBytes(one.Bytes)}; at power-off it is as the disk has it"
            : $"{LedgerText.Sum(below)} in this session at or below it; at power-off it is as the disk has it";
        speaker.Answer($"{path}: {fate}\n  group {group.Id} ({group.Title}{(group.IsNoise ? "; noise" : "")}), by {pattern}", writer =>
        {
            writer.WriteString("path", path);
            writer.WriteString("fate", fate);
            writer.WriteString("group", group.Id);
            writer.WriteBoolean("noise", group.IsNoise);
            writer.WriteString("pattern", pattern);
            writer.WriteNumber("changes", below.Length);
        });
    }
}
