using System.CommandLine;
using Sbox.Cli.Help;

namespace Sbox.Cli.TombCommands;

/// <summary><c>sbox tomb</c>: a user's data, encrypted, kept elsewhere.</summary>
internal static class TombCommandSet
{
    public static Command Make()
    {
        var tomb = new DocumentedCommand("tomb", "Keep a home encrypted somewhere else")
        {
            Details =
            [
                "A tomb is a restic repository (format version 2): everything in it can be had with plain restic, and these commands work on repositories that restic made. "
                + "Whoever keeps it can neither read nor change it unseen.",
                "Passwords are read from a file, a descriptor or the terminal; never from arguments or the environment.",
                "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 done but for some files, which are named.",
            ],
            Examples =
            [
                new Example("A new tomb on a stick", "sbox tomb --tomb /media/stick/tomb create"),
                new Example("Save a home", "sbox tomb --tomb sftp:me@host:/srv/tomb save /home/me"),
                new Example("Bring it back", "sbox tomb --tomb sftp:me@host:/srv/tomb restore latest --to /home/me --path /home/me"),
            ],
        };
        foreach (Option option in TombSession.Options)
            tomb.Options.Add(option);
        foreach (Command command in (Command[])[
            SavingCommands.Create(), OpenCommand.Make(), SavingCommands.Save(), SessionCommands.Close(), SessionCommands.Fold(), PinCommand.Make(), SessionCommands.Slam(), SessionCommands.Status(), SessionCommands.Hooks(), ConflictsCommand.Make(), ImportCommand.Make(), DyneTomb.Server(), MoveCommand.Make(), PamCommand.Make(), LookingCommands.Snapshots(), LookingCommands.List(), LookingCommands.Find(), LookingCommands.Diff(), RestoreCommand.Make(),
            KeepingCommands.Forget(), KeepingCommands.Prune(), KeepingCommands.Check(), KeepingCommands.Stats(), BenchCommand.Make(), KeepingCommands.Unlock(), KeyCommands.Make()])
            tomb.Subcommands.Add(command);
        RefuseEmptyPaths(tomb);
        return tomb;
    }

    /// <summary>Done, but not with everything.</summary>
    public const int Incomplete = 3;

    // A shell's variable that is not set makes an empty word, and what the kernel or the library says of one helps nobody.
    private static void RefuseEmptyPaths(Command command)
    {
        foreach (Argument each in command.Arguments.Where(static each => each.Name is "PATH" or "SOURCE" or "URL"))
            each.Validators.Add(result => RefuseEmpty(result, each.Name));
        foreach (Option each in command.Options.Where(static each => each.HelpName is "PATH" or "DIR" or "FILE" or "URL"))
            each.Validators.Add(result => RefuseEmpty(result, each.Name));
        foreach (Command below in command.Subcommands)
            RefuseEmptyPaths(below);
    }

    private static void RefuseEmpty(System.CommandLine.Parsing.SymbolResult result, string name)
    {
        if (result.Tokens.Any(static token => token.Value.Length == 0))
            result.AddError($"{name} is empty: is a variable of the shell not set?");
    }

    /// <summary>Runs the action with the tomb open.</summary>
    public static Command OnTomb(this Command command, Func<ParseResult, TombSession, CancellationToken, Task<int>> act)
    {
        command.SetAction(async (parsed, cancel) =>
        {
            await using TombSession session = await TombSession.Open(parsed, cancel);
            return await act(parsed, session, cancel);
        });
        return command;
    }
}
