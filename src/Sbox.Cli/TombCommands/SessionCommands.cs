using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using Sbox.Cli.Commands;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Tomb.Sessions;

namespace Sbox.Cli.TombCommands;

/// <summary>Commands on tombs that are open: close, slam, status, hooks.</summary>
internal static class SessionCommands
{
    /// <summary>Some of the open tombs could not do what they were asked.</summary>
    public const int StillOpen = 4;

    public static Argument<string?> Name() => new("NAME") { Description = "The open tomb; not needed where only one is open", Arity = ArgumentArity.ZeroOrOne };

    public static Option<string> RunDirectory() => new("--run-directory") { Hidden = true, DefaultValueFactory = static _ => SessionOptions.DefaultRunDirectory };

    public static Command Close()
    {
        Argument<string?> name = Name();
        Option<string> run = RunDirectory();
        var command = new DocumentedCommand("close", "Save an open tomb and take it away")
        {
            Details = ["While a program uses the tomb it stays open, and the program is named. Exit status 4: it is still open."],
            Examples = [new Example("Log out of the tomb", "sbox tomb close")],
        };
        command.Arguments.Add(name);
        command.Options.Add(run);
        command.SetAction(async (parsed, cancel) =>
        {
            var client = new SessionClient(parsed.GetValue(run)!);
            string which = Which(client, parsed.GetValue(name));
            try
            {
                SessionSave save = await client.Close(which, cancel);
                Answer(new Speaker(parsed.GetValue(TombSession.Json)), which, "closed", save);
                return 0;
            }
            catch (SessionRefusedException refused)
            {
                Remedies.Say(refused, ostree: false, parsed.GetValue(TombSession.Json));
                return StillOpen;
            }
        });
        return command;
    }

    public static Command Fold()
    {
        Argument<string?> name = Name();
        Option<string> run = RunDirectory();
        var command = new DocumentedCommand("fold", "Save an open tomb, and free what its changes take here")
        {
            Details =
            [
                "What is saved becomes the layer below, fetched again when it is read, and the layer of changes begins anew. An open tomb does this by itself after a save, when more than 16 MiB are there "
                + "and nobody uses it. While a program uses it, it is refused, and the program is named: exit status 4. It needs Linux 6.5.",
            ],
            Examples = [new Example("After a large download was saved", "sbox tomb fold")],
        };
        command.Arguments.Add(name);
        command.Options.Add(run);
        command.SetAction(async (parsed, cancel) =>
        {
            var client = new SessionClient(parsed.GetValue(run)!);
            string which = Which(client, parsed.GetValue(name));
            try
            {
                long freed = await client.Fold(which, cancel);
                new Speaker(parsed.GetValue(TombSession.Json)).Answer($"folded {which}: {Amount.OfBytes(freed)} freed", json =>
                {
                    json.WriteString("folded", which);
                    json.WriteNumber("bytes", freed);
                });
                return 0;
            }
            catch (SessionRefusedException refused)
            {
                Remedies.Say(refused, ostree: false, parsed.GetValue(TombSession.Json));
                return StillOpen;
            }
        });
        return command;
    }

    public static Command Slam()
    {
        Argument<string?> name = Name();
        Option<string> run = RunDirectory();
        var all = new Option<bool>("--all") { Description = "Every open tomb" };
        var command = new DocumentedCommand("slam", "Take an open tomb away at once, whoever uses it")
        {
            Details =
            [
                "Programs that use the tomb are told to end (SIGTERM, SIGHUP) and then killed; it is unmounted and its keys are wiped, within two seconds. "
                + "What was not saved is lost, unless the tomb was opened with --scratch: then the next opening finds it.",
            ],
            Examples = [new Example("Bind this to a key", "sbox tomb slam --all")],
        };
        command.Arguments.Add(name);
        command.Options.Add(all);
        command.Options.Add(run);
        command.SetAction(async (parsed, cancel) =>
        {
            var client = new SessionClient(parsed.GetValue(run)!);
            IReadOnlyList<string> which = parsed.GetValue(all) ? client.Names : [Which(client, parsed.GetValue(name))];
            var speaker = new Speaker(parsed.GetValue(TombSession.Json));
            int failed = 0;
            await Task.WhenAll(which.Select(async each =>
            {
                try
                {
                    IReadOnlyList<MountUser> ended = await client.Slam(each, cancel);
                    speaker.Answer($"slammed {each}{(ended.Count > 0 ? $"; ended {string.Join(", ", ended.Select(static user => $"{user.Program} ({user.Process})"))}" : "")}", json =>
                    {
                        json.WriteString("slammed", each);
                        json.WriteStartArray("ended");
                        foreach (MountUser user in ended)
                            json.WriteNumberValue(user.Process);
                        json.WriteEndArray();
                    });
                }
                catch (IOException refused)
                {
                    failed = 1;
                    Remedies.Say(refused, ostree: false, parsed.GetValue(TombSession.Json));
                }
            }));
            return failed;
        });
        return command;
    }

    public static Command Status()
    {
        Argument<string?> name = Name();
        Option<string> run = RunDirectory();
        var command = new DocumentedCommand("status", "Show open tombs: what is not offsite yet, and since when")
        {
            Examples = [new Example("What would be lost now?", "sbox tomb status")],
        };
        command.Arguments.Add(name);
        command.Options.Add(run);
        command.SetAction(async (parsed, cancel) =>
        {
            var client = new SessionClient(parsed.GetValue(run)!);
            var speaker = new Speaker(parsed.GetValue(TombSession.Json));
            IReadOnlyList<string> names = parsed.GetValue(name) is { } one ? [one] : client.Names;
            if (names.Count == 0)
                speaker.Note("No tomb is open.");
            int dead = 0;
            foreach (string each in names)
            {
                try
                {
                    SessionStatus status = await client.Status(each, cancel);
                    speaker.Answer(Text(status), json => status.WriteTo(json));
                }
                catch (TombNotOpenException ended) when (names.Count > 1)
                {
                    dead = 1; // the others are shown all the same
                    Remedies.Say(ended, ostree: false, parsed.GetValue(TombSession.Json));
                }
            }

            return dead;
        });
        return command;
    }

    public static Command Hooks()
    {
        Argument<string?> name = Name();
        Option<string> run = RunDirectory();
        var command = new DocumentedCommand("hooks", "Show what the hooks inside an open tomb did")
        {
            Details =
            [
                "Two files at the top of a tomb are its hooks, as in dyne's Tomb. bind-hooks has two columns: a path in the tomb, and the path in the home where it is seen too while the tomb is open. "
                + "exec-hooks is a program: it is executed as the tomb's owner with open or close and the mount point.",
            ],
        };
        command.Arguments.Add(name);
        command.Options.Add(run);
        command.SetAction(async (parsed, cancel) =>
        {
            var client = new SessionClient(parsed.GetValue(run)!);
            var speaker = new Speaker(parsed.GetValue(TombSession.Json));
            IReadOnlyList<HookReport> reports = await client.Hooks(Which(client, parsed.GetValue(name)), cancel);
            foreach (HookReport report in reports)
            {
                speaker.Answer($"{report.Hook}: {report.Finding ?? "done"}", json =>
                {
                    json.WriteString("hook", report.Hook);
                    json.WriteBoolean("done", report.Finding is null);
                    if (report.Finding is { } finding)
                        json.WriteString("finding", finding);
                });
            }

            return reports.All(static report => report.Finding is null) ? 0 : 1;
        });
        return command;
    }

    /// <summary>Saves an open tomb.</summary>
    public static async Task<int> Save(SessionClient client, string name, Speaker speaker, CancellationToken cancel)
    {
        SessionSave save = await client.Save(name, cancel);
        Answer(speaker, name, "saved", save);
        return 0;
    }

    /// <summary>Saves every open tomb, side by side.</summary>
    /// <returns>1 when one of them could not be saved.</returns>
    public static async Task<int> SaveAll(SessionClient client, bool json, CancellationToken cancel)
    {
        var speaker = new Speaker(json);
        int failed = 0;
        await Task.WhenAll(client.Names.Select(async each =>
        {
            try
            {
                await Save(client, each, speaker, cancel);
            }
            catch (IOException refused)
            {
                failed = 1;
                Remedies.Say(refused, ostree: false, json);
            }
        }));
        return failed;
    }

    /// <summary>The tomb that is meant: the one that is named, or the only one that is open.</summary>
    public static string Which(SessionClient client, string? named) => named ?? client.Names switch
    {
        [var only] => only,
        [] => throw new Finding("no tomb is open", "sbox tomb open opens one"),
        var several => throw new Finding($"{several.Count} tombs are open: {string.Join(", ", several)}", "Name one of them"),
    };

    private static void Answer(Speaker speaker, string name, string done, SessionSave save)
    {
        string what = save.Snapshot is { } snapshot
            ? string.Create(CultureInfo.InvariantCulture, $"{snapshot[..8]}: {save.Files} files, {Amount.OfBytes(save.BytesRead)} read, {Amount.OfBytes(save.BytesStored)} stored, {save.Seconds:0.0} s")
            : "nothing had changed";
        speaker.Answer($"{done} {name}: {what}", json =>
        {
            json.WriteString(done, name);
            save.WriteTo(json);
        });
        if (save.Blurred is { } reason)
            speaker.Note($"Not as it was at one moment, for programs wrote meanwhile: {reason}. The next save tries again");
        if (save.Conflict is { } conflict)
            speaker.Note(Parted(conflict));
    }

    /// <summary>What is said where two boxes saved without knowing of each other.</summary>
    public static string Parted(string snapshot) => $"Another box has saved too: snapshot {snapshot[..8]} does not know of this one. Both are kept: sbox tomb conflicts";

    private static string Text(SessionStatus status)
    {
        string unsaved = status switch
        {
            { Changed: false } => "all is offsite",
            { UnsavedFiles: 0 } => "names or attributes changed since the last save",
            _ => string.Create(CultureInfo.InvariantCulture, $"{status.UnsavedFiles} files, {Amount.OfBytes(status.UnsavedBytes)} are not offsite yet{(status.Expected is { } time ? $"; a save takes about {Math.Ceiling(time.TotalSeconds)} s" : "")}"),
        };
        var lines = new List<string>
        {
            $"{status.Name}  {status.MountPoint}  {status.Location}",
            $"  {unsaved}",
            $"  last save: {(status.SavedAt is { } at ? at.ToString("yyyy-MM-dd HH:mm:ss 'UTC'", CultureInfo.InvariantCulture) : "none")}; written since it was opened: {Amount.OfBytes(status.UpperBytes)} in {status.UpperPlace}{(status.UpperLimit is { } limit ? $", which holds {Amount.OfBytes(limit)}" : "")}",
        };
        lines.AddRange(status.Largest.Select(static file => $"  {Amount.OfBytes(file.Bytes)} of that is {file.Path}"));
        if (status.SaveFailure is { } failure)
            lines.Add($"  the last save failed: {failure}");
        if (status.OfflineSince is { } gone)
            lines.Add($"  the remote does not answer since {gone.ToString("HH:mm:ss 'UTC'", CultureInfo.InvariantCulture)}");
        if (status.Conflict is { } conflict)
            lines.Add($"  {Parted(conflict)}");
        if (status.Damage is { } damage)
            lines.Add($"  damaged: {damage}; sbox tomb check tells all");
        return string.Join('\n', lines);
    }
}
