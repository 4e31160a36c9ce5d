using System.CommandLine;
using System.CommandLine.Help;
using Sbox.Cli.Commands;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;

namespace Sbox.Cli;

/// <summary>The two faces of the one program: <c>sbox</c>, and <c>ostree</c> when it is called by that name.</summary>
internal static class Programs
{
    /// <summary>The command for people.</summary>
    public static Command Sbox()
    {
        Command program = Root("sbox", "An immutable Debian that updates and rolls back as a whole");
        foreach (Command command in (Command[])
        [
            KeysCommand.Make(), BuildCommand.Make(), SealCommand.Make(), ImageCommand.Make(), InstallCommand.Make(), InstallCommand.MakeStick(), TrustCommands.Make(), PublishCommand.Make(), ServeCommand.Make(), DiffCommand.Make(),
            StatusCommand.Make(), .. UpgradeCommand.All(), RemoteCommand.Make(), RollbackCommand.Make(), .. VersionCommands.All(), EtcCommand.Make(), WhereCommand.Make(), ResetCommand.Make(), HealthCommand.Make(), NextRootCommand.Make(), DoctorCommand.Make(), AutoCommand.Make(),
            LedgerCommand.Make(), LedgerCommand.MakeKeep(), LedgerCommand.MakeForget(), GhostCommand.Make(), WelcomeCommand.Make(), BarCommand.Make(),
            VerifyCommand.Make(), VerityCommand.Make(), DiskCommands.Make(), ProveCommand.Make(), WatchCommand.Make(), TombCommands.TombCommandSet.Make(),
        ])
            program.Subcommands.Add(command);
        var store = new DocumentedCommand("store", "Work on repositories, with the commands that ostree has");
        store.Options.Add(RepositoryCommand.Json);
        StoreCommandSet.AddTo(store);
        program.Subcommands.Add(store);
        foreach (Command command in Completion.Commands(program))
            program.Subcommands.Add(command);
        program.Subcommands.Add(ManCommand(program));
        return program;
    }

    /// <summary>The drop-in.</summary>
    public static Command Ostree()
    {
        Command program = Root("ostree", "Versioned file system trees, in libostree's formats");
        StoreCommandSet.AddTo(program);
        program.Subcommands.Add(AdminCommands.Make());
        return program;
    }

    private static Command Root(string name, string description)
    {
        var program = new DocumentedCommand(name, description);
        program.Options.Add(new HelpOption("--help", "-h") { Description = "Show this page", Action = new HelpPage() });
        program.Options.Add(new Option<bool>("--version") { Description = "Print the version and exit", Action = new VersionPage() });
        return program;
    }

    private static Command ManCommand(Command program)
    {
        var directory = new Argument<string>("DIRECTORY") { Description = "Where the pages are written, one file a command" };
        var man = new Command("man-pages", "Write the manual pages of every command") { Hidden = true };
        man.Arguments.Add(directory);
        man.SetAction(parsed =>
        {
            string into = parsed.GetValue(directory)!;
            Directory.CreateDirectory(into);
            foreach ((string file, string text) in ManPage.All(program).Concat(ManPage.All(Ostree())))
                File.WriteAllText(Path.Combine(into, file), text);
        });
        return man;
    }
}
