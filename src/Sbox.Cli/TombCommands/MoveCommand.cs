using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Tomb;

namespace Sbox.Cli.TombCommands;

/// <summary><c>sbox tomb move</c>: the same tomb at another place.</summary>
internal static class MoveCommand
{
    public static Command Make()
    {
        var to = new Argument<string>("URL") { Description = "The new place, written as --tomb has it; @NAME for a table of the settings file" };
        var delete = new Option<bool>("--delete-old") { Description = "When all of it was read back at the new place, delete it at the old one" };
        return new DocumentedCommand("move", "Copy the tomb to another place, and delete it at the old one when told to")
        {
            Details =
            [
                "Its files are copied as they are: passwords, keys and snapshots stay the same, and what reads the new place reads the same tomb. Each file is verified. Cut short, the same command goes on. "
                + "Meanwhile nobody else works on the tomb. Without --delete-old the old place keeps it; open, it must be closed first.",
                "Settings files are not changed: the command says which line to write.",
            ],
            Examples = [new Example("From the stick to a server", "sbox tomb --tomb /media/stick/tomb move rest:https://me@host:8000/me/")],
        }.With(to, delete).OnTomb(async (parsed, session, cancel) =>
        {
            await using TombSession target = TombSession.At(parsed, parsed.GetValue(to));
            if (target.Backend.Location == session.Backend.Location)
                throw new Finding($"{target.Backend.Location}: the tomb is there already", "Name another place");
            await using TombLock held = await TombLock.Take(session.Repository, exclusive: true, TimeProvider.System, cancel);
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel, held.Lost);
            await session.Snapshots(stop.Token);
            using var line = new ProgressLine(session.Speaker);
            MoveProgress done = await TombMove.Copy(session.Backend, target.Backend, new Reporter<MoveProgress>(at => line.Update($"{at.Files} of {at.Total} files, {Amount.OfBytes(at.Bytes)} copied")), stop.Token);
            bool deletes = parsed.GetValue(delete);
            if (deletes)
            {
                await TombMove.Verify(session.Backend, target.Backend, new Reporter<MoveProgress>(at => line.Update($"{at.Files} of {at.Total} files, {Amount.OfBytes(at.Bytes)} read back")), stop.Token);
                await TombMove.Delete(session.Backend, stop.Token);
            }

            line.Dispose();
            session.Speaker.Answer($"{(deletes ? "moved" : "copied")} to {target.Backend.Location}: {done.Total} files, {Amount.OfBytes(done.Bytes)} travelled", json =>
            {
                json.WriteString("to", target.Backend.Location);
                json.WriteNumber("files", done.Total);
                json.WriteNumber("bytes", done.Bytes);
                json.WriteBoolean("deleted", deletes);
            });
            session.Speaker.Note($"In the settings file: tomb = \"{(parsed.GetValue(to)!.StartsWith('@') ? target.Settings.Tomb : parsed.GetValue(to))}\"");
            return 0;
        });
    }
}
