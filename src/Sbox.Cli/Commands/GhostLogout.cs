using System.CommandLine;
using System.Globalization;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox ghost logout</c>: one line about what a ghost has that goes when it is switched off, for whoever leaves.</summary>
internal static class GhostLogout
{
    private const string Issues = "/run/issue.d", Issue = "50-sbox-ghost.issue";

    // Nobody waits at a logout.
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(1);

    public static Command Make()
    {
        var issue = new Option<bool>("--issue") { Description = $"Have the console's next login prompt say it ({Issues}), and nobody else; for PAM" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("logout", "Say in one line what is forgotten when this ghost is switched off")
        {
            Details =
            [
                "Bash runs it when a login shell ends (/etc/bash.bash_logout), and the desktop's question before a logout shows it. It never asks and takes a second at most. Logging out loses nothing yet; the line says how many changes there are, how large they are, and which command "
                + "lists them. Where nothing would be lost it says nothing.",
                "For root it is the ledger's sum, noise left out. Everybody else may not see what others changed, and is told how much memory all changes take, noise included.",
                $"A console's screen is cleared when its login ends: there PAM runs it with --issue, and the next prompt of login(1) says it.",
            ],
            ExitCodes = [(GhostCommand.NoGhost, "This boot is no ghost; nothing was said. With --issue that is 0.")],
        }.With(issue, json);
        command.SetAction(async (parsed, cancel) =>
        {
            if (!RootConfig.IsGhost(KernelArguments.Parse(File.ReadAllText("/proc/cmdline"))))
                return parsed.GetValue(issue) ? 0 : GhostCommand.NoGhost; // PAM writes all but 0 into the journal, of each logout
            if (parsed.GetValue(issue))
            {
                await SayAtPrompt(cancel);
                return 0;
            }

            Held held = await Look(cancel);
            if (held.Changes > 0 || parsed.GetValue(json))
                new Speaker(parsed.GetValue(json)).Answer(held.Text, writer =>
                {
                    writer.WriteNumber("changes", held.Changes);
                    writer.WriteNumber("bytes", held.Bytes);
                    writer.WriteBoolean("noise", held.HasNoise);
                });
            return 0;
        });
        return command;
    }

    private readonly record struct Held(long Changes, long Bytes, bool HasNoise)
    {
        public string Text => HasNoise
            ? string.Create(CultureInfo.InvariantCulture, $"This ghost holds {Amount.OfBytes(Bytes)} of changes in {Changes} files and directories, and forgets them when it is switched off: sudo sbox ledger")
            : string.Create(CultureInfo.InvariantCulture, $"This ghost forgets {Changes} {(Changes == 1 ? "change" : "changes")}, {Amount.OfBytes(Bytes)}, when it is switched off: sbox ledger");
    }

    private static async Task<Held> Look(CancellationToken cancel)
    {
        if (Environment.IsPrivilegedProcess)
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
            limit.CancelAfter(Limit);
            try
            {
                // Not by the token alone, which is looked at between two names: one large file may take longer than that to be compared.
                return await Task.Run(() => GhostSession.Layers() is { } layers ? Sum(LedgerView.Of(layers, [], limit.Token)) : default, CancellationToken.None).WaitAsync(limit.Token);
            }
            catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
            {
                // So many that they are not counted in time: what the memory says is said.
            }
        }

        // An overlay tells of the layer that takes its changes, and so do others than root see it.
        using Dir var = Dir.Open("/var");
        DiskSpace space = DiskSpace.Of(var);
        return new Held(space.UsedInodes, space.TotalBytes - space.FreeBytes, HasNoise: true);
    }

    private static Held Sum(LedgerView view)
    {
        LedgerEntry[] lost = [.. view.Entries.Where(entry => view.IsLost(entry) && !LedgerGroup.Of(entry).IsNoise)];
        return new Held(lost.Length + view.Changed.Count, lost.Sum(static entry => entry.Bytes), HasNoise: false);
    }

    private static async Task SayAtPrompt(CancellationToken cancel)
    {
        try
        {
            Held held = await Look(cancel);
            Directory.CreateDirectory(Issues);
            if (held.Changes == 0)
                File.Delete($"{Issues}/{Issue}");
            else
                File.WriteAllText($"{Issues}/{Issue}", held.Text.Replace("\\", "", StringComparison.Ordinal) + "\n\n"); // agetty takes a backslash for an escape
        }
        catch (Exception unsaid) when (unsaid is IOException or UnauthorizedAccessException or SysrootException)
        {
            // Nobody reads why, and the logout is done: the prompt only says nothing.
        }
    }
}
