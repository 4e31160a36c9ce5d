using System.CommandLine;

namespace Sbox.Cli.StoreCommands;

/// <summary>All commands on repositories: those of <c>ostree</c>, and of <c>sbox store</c>.</summary>
internal static class StoreCommandSet
{
    /// <summary>Adds them to a command, with the <c>--repo</c> that they share.</summary>
    public static void AddTo(Command command)
    {
        command.Options.Add(RepositoryCommand.Path);
        foreach (Command each in Make())
            command.Subcommands.Add(each);
    }

    private static IEnumerable<Command> Make() =>
    [
        WritingCommands.Init(), CommitCommand.Make(), CheckoutCommand.Make(),
        ReadingCommands.Log(), ReadingCommands.Show(), RefCommands.RevParse(), RefCommands.Refs(), RefCommands.Reset(),
        SigningCommands.Sign(), SigningCommands.GpgSign(),
        ComparingCommands.Diff(), ComparingCommands.Checksum(), SummaryCommand.Make(),
        ExportCommand.Make(), TreeCommands.Ls(), TreeCommands.Cat(),
        KeepingCommands.Fsck(), KeepingCommands.Prune(), KeepingCommands.Config(),
        PullingCommands.PullLocal(), PullingCommands.Pull(), RemoteCommands.Remote(), FinderCommands.FindRemotes(), FinderCommands.CreateUsb(), DeltaCommands.Make(),
    ];
}
