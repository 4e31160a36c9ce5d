using System.CommandLine;

namespace Sbox.Cli.StoreCommands;

/// <summary>All commands on repositories: those of <c>ostree</c>, and of <c>sbox store</c>.</summary>
internal static class StoreCommandSet
{
    /// <summary>By their names; a command is made when it is asked for.</summary>
    public static IReadOnlyList<(string Name, Func<Command> Make)> All { get; } =
    [
        ("init", WritingCommands.Init), ("commit", CommitCommand.Make), ("checkout", CheckoutCommand.Make),
        ("log", ReadingCommands.Log), ("show", ReadingCommands.Show), ("rev-parse", RefCommands.RevParse), ("refs", RefCommands.Refs), ("reset", RefCommands.Reset),
        ("sign", SigningCommands.Sign), ("gpg-sign", SigningCommands.GpgSign),
        ("diff", ComparingCommands.Diff), ("checksum", ComparingCommands.Checksum), ("summary", SummaryCommand.Make),
        ("export", ExportCommand.Make), ("ls", TreeCommands.Ls), ("cat", TreeCommands.Cat),
        ("fsck", KeepingCommands.Fsck), ("prune", KeepingCommands.Prune), ("config", KeepingCommands.Config),
        ("pull-local", PullingCommands.PullLocal), ("pull", PullingCommands.Pull), ("remote", RemoteCommands.Remote), ("find-remotes", FinderCommands.FindRemotes), ("create-usb", FinderCommands.CreateUsb), ("static-delta", DeltaCommands.Make),
    ];

    /// <summary>Adds them to a command, with the <c>--repo</c> that they share.</summary>
    public static void AddTo(Command command)
    {
        command.Options.Add(RepositoryCommand.Path);
        foreach ((_, Func<Command> make) in All)
            command.Subcommands.Add(make());
    }
}
