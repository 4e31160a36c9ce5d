using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Tomb.Sessions;

namespace Sbox.Cli.TombCommands;

/// <summary><c>sbox tomb pin</c>: what stays on this machine, and is there while the remote is away.</summary>
internal static class PinCommand
{
    public static Command Make()
    {
        var paths = new Argument<string[]>("PATH") { Description = "Files or directories of an open tomb; without any, what is pinned is shown", Arity = ArgumentArity.ZeroOrMore };
        var remove = new Option<bool>("--remove") { Description = "Let go of them" };
        var open = new Option<string?>("--open") { Description = "The open tomb; not needed where only one is open", HelpName = "NAME" };
        Option<string> run = SessionCommands.RunDirectory();
        Command command = new DocumentedCommand("pin", "Keep files of an open tomb on this machine, for when its place is away")
        {
            Details =
            [
                "What is pinned is fetched now, and after every save, into the cache of this machine, sealed as the tomb is: whole packs, so that more is kept than the files' own size. "
                + "With something pinned the tomb opens without its place too, with its key files copied here: a stolen disk lets a weak password be guessed. Other files cannot be read then, and saves wait until the place is back.",
            ],
            Examples = [new Example("On a train tomorrow", "sbox tomb pin ~/letters ~/.config")],
        }.With(paths, remove, open, run);
        command.SetAction(async (parsed, cancel) =>
        {
            var client = new SessionClient(parsed.GetValue(run)!);
            string which = SessionCommands.Which(client, parsed.GetValue(open));
            string top = (await client.Status(which, cancel)).MountPoint;
            string[] below = [.. (parsed.GetValue(paths) ?? []).Select(path => Below(top, path))];
            PinnedPaths pins = await client.Pin(which, below, parsed.GetValue(remove), cancel);
            var speaker = new Speaker(parsed.GetValue(TombSession.Json));
            foreach (string path in pins.Paths)
                speaker.Answer($"{top}/{path}".TrimEnd('/'), json => json.WriteString("pinned", path));
            speaker.Note(pins.Paths.Count == 0 ? "Nothing is pinned." : $"{Amount.OfBytes(pins.Bytes)} are kept on this machine.");
            return 0;
        });
        return command;
    }

    private static string Below(string top, string path)
    {
        string real = RealPath.Of(Path.GetFullPath(path));
        return real == top ? "" : real.StartsWith($"{top}/", StringComparison.Ordinal) ? real[(top.Length + 1)..]
            : throw new Finding($"{path}: it is not below {top}", "Name files of the open tomb");
    }
}
