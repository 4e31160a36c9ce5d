using System.CommandLine;
using Sbox.Cli.Commands;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;

namespace Sbox.Cli;

/// <summary>The two faces of the one program: <c>sbox</c>, and <c>ostree</c> when it is called by that name.</summary>
internal static class Programs
{
    // By their names, so that a run makes what it needs: all of them, with the options of each, take longer than many a command.
    private static readonly (string Name, Func<Command> Make)[] People =
    [
        ("keys", KeysCommand.Make), ("build", BuildCommand.Make), ("seal", SealCommand.Make), ("image", ImageCommand.Make), ("install", InstallCommand.Make), ("stick", InstallCommand.MakeStick), ("trust", TrustCommands.Make),
        ("publish", PublishCommand.Make), ("serve", ServeCommand.Make), ("diff", DiffCommand.Make), ("status", StatusCommand.Make), ("upgrade", UpgradeCommand.Make), ("switch", UpgradeCommand.MakeSwitch), ("remote", RemoteCommand.Make),
        ("rollback", RollbackCommand.Make), ("pin", VersionCommands.Pin), ("undeploy", VersionCommands.Undeploy), ("kargs", VersionCommands.Kargs), ("history", VersionCommands.History), ("etc", EtcCommand.Make), ("where", WhereCommand.Make),
        ("reset", ResetCommand.Make), ("health", HealthCommand.Make), ("next-root", NextRootCommand.Make), ("doctor", DoctorCommand.Make), ("auto", AutoCommand.Make), ("ledger", LedgerCommand.Make), ("keep", LedgerCommand.MakeKeep),
        ("forget", LedgerCommand.MakeForget), ("ghost", GhostCommand.Make), ("welcome", WelcomeCommand.Make), ("bar", BarCommand.Make), ("verify", VerifyCommand.Make), ("verity", VerityCommand.Make), ("disk", DiskCommands.Make),
        ("prove", ProveCommand.Make), ("watch", WatchCommand.Make), ("tomb", TombCommands.TombCommandSet.Make),
    ];

    /// <summary>The command for people.</summary>
    /// <param name="first">The first word that was typed: where it is a command's name that one alone is made, and else all are.</param>
    public static Command Sbox(string? first = null)
    {
        Command program = Root("sbox", "An immutable Debian that updates and rolls back as a whole");
        if (AddAsked(program, People, first))
            return program;
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
    /// <param name="first">The first word that was typed, likewise.</param>
    public static Command Ostree(string? first = null)
    {
        Command program = Root("ostree", "Versioned file system trees, in libostree's formats");
        program.Options.Add(RepositoryCommand.Path);
        AddAsked(program, [.. StoreCommandSet.All, ("admin", AdminCommands.Make)], first);
        return program;
    }

    // True where it was one alone.
    private static bool AddAsked(Command program, (string Name, Func<Command> Make)[] all, string? first)
    {
        (string Name, Func<Command> Make)[] asked = first is null ? [] : [.. all.Where(each => each.Name == first)];
        foreach ((_, Func<Command> make) in asked is [] ? all : asked)
            program.Subcommands.Add(make());
        return asked is not [];
    }

    private static Command Root(string name, string description)
    {
        var program = new DocumentedCommand(name, description);
        // No HelpOption: that one looks its description up in resources, and the first such look costs more than making the program.
        program.Options.Add(new Option<bool>("--help", "-h") { Description = "Show this page", Action = new HelpPage(), Recursive = true, Arity = ArgumentArity.Zero });
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
