using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox reset</c>: the box as it came, shown first.</summary>
internal static class ResetCommand
{
    private const string Word = "reset";

    public static Command Make()
    {
        (Option<string> path, Option<bool> json) = (SharedOptions.Sysroot(), SharedOptions.Json());
        var etc = new Option<bool>("--etc") { Description = "Bring the defaults of /etc back, in every version that is here" };
        var var = new Option<bool>("--var") { Description = "Empty /var: logs, state, and everybody's home" };
        var yes = new Option<bool>("--yes") { Description = "Do it without asking; for scripts" };
        Command command = new DocumentedCommand("reset", "Make the box as it came: /etc, /var, or both")
        {
            Details =
            [
                "What goes is shown first, and then you are asked to type the word reset; without a terminal it is only shown, unless --yes stands there. The new directories are made beside the old ones, synced and exchanged for "
                + "them, so that a power cut leaves the one or the other. What runs keeps the old ones until the reboot, which you should make at once; the next boot deletes them.",
                "The versions, the repository, the EFI partition and the keys stay, and so does a tomb. Blocks of deleted files are not overwritten. The boot menu's entry 'factory reset' does both without a login.",
                "With --etc the copies that merges of /etc kept, and what sbox etc undo could bring back, go too. A second reset before the reboot is refused, and so is one where something else than was shown would be lost.",
            ],
            ExitCodes = [(3, "It was only shown: nobody confirmed it.")],
            Examples = [new Example("What would be lost?", "sbox reset --etc --var </dev/null"), new Example("The default /etc again", "sbox reset --etc && reboot")],
        }.With(etc, var, yes, path, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            if (!parsed.GetValue(etc) && !parsed.GetValue(var))
                throw new Finding("what is reset must be said: --etc, --var, or both", "sbox reset --help");
            using Box box = Box.ToWrite(parsed.GetValue(path)!);
            BoxReset plan = BoxReset.Plan(box.Sysroot, parsed.GetValue(var), parsed.GetValue(etc));
            Show(speaker, plan);
            bool done = parsed.GetValue(yes) || Confirmed();
            if (done)
                plan.Execute(box.Sysroot);
            speaker.Answer(done ? "Done: reboot now. What runs still has the old ones, and what it writes there is lost" : "Nothing was changed", writer =>
            {
                writer.WriteBoolean("done", done);
                writer.WriteBoolean("var", plan.Var);
                writer.WriteBoolean("etc", plan.Etc.Count > 0);
                writer.WriteNumber("files", plan.Losses.Sum(static loss => loss.Files));
                writer.WriteNumber("bytes", plan.Losses.Sum(static loss => loss.Bytes));
                writer.WriteNumber("etc-changes", plan.EtcChanges.Count);
            });
            return done ? 0 : 3;
        });
        return command;
    }

    private static void Show(Speaker speaker, BoxReset plan)
    {
        if (plan.Var)
        {
            speaker.Note($"/var of {plan.Os}, with everything in it, will be gone:");
            foreach (ResetLoss loss in plan.Losses)
                speaker.Note($"  {Amount.OfBytes(loss.Bytes),10}  {loss.Files,8} files  {loss.Path}");
        }

        if (plan.Etc.Count == 0)
            return;
        speaker.Note($"/etc of {string.Join(" and ", plan.Etc.Select(static name => name.Short))} will be as it came; these changes of yours will be gone:");
        foreach (IGrouping<Sbox.Boot.DeploymentName, ResetEtcChange> each in plan.EtcChanges.GroupBy(static change => change.Deployment))
        {
            speaker.Note($"  in {each.Key.Short}:");
            foreach (ResetEtcChange change in each.Take(40))
                speaker.Note($"    {change.Change}");
            if (each.Count() > 40)
                speaker.Note($"    and {each.Count() - 40} more");
        }
    }

    private static bool Confirmed()
    {
        if (Console.IsInputRedirected)
            return false;
        Console.Error.Write($"Type {Word} to do it: ");
        return Console.In.ReadLine()?.Trim() == Word;
    }
}
