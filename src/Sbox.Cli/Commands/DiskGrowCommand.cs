using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox disk grow</c>: the root takes what its disk has free behind it.</summary>
internal static class DiskGrowCommand
{
    private const int CannotGrow = 3;

    public static Command Make()
    {
        var dry = new Option<bool>("--dry-run", "-n") { Description = "Say what would grow, and write nothing" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("grow", "Let the root have all that is free behind it on its disk")
        {
            Details =
            [
                "An image is as large as its content and --free-mib ask for, and the stick or disk that it is written to may be larger. This moves the table's second copy to the disk's end, makes the root's partition reach "
                + "up to what comes next, and grows the encrypted volume, where there is one, and the file system, while they are in use. Nothing is moved. Cut short at any moment the box boots, and the same command does the rest.",
                "sbox-grow.service runs it once, at the first boot that is no ghost (/var/lib/sbox/grown says that it did). On a box whose disk is to keep free space: mask that unit, in the recipe's [units].",
            ],
            ExitCodes = [(CannotGrow, "This root cannot grow; the message says why. It is as it was.")],
            Examples = [new Example("After a virtual disk was made larger", "sbox disk grow")],
        }.With(dry, json);
        command.SetAction((parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            try
            {
                Grow(speaker, parsed.GetValue(dry), cancel);
                return Task.FromResult(0);
            }
            catch (RootGrowthException cannot)
            {
                Remedies.Say(cannot, ostree: false, speaker.Json);
                return Task.FromResult(CannotGrow);
            }
        });
        return command;
    }

    private static void Grow(Speaker speaker, bool isDry, CancellationToken cancel)
    {
        using Box box = Box.ToWrite("/sysroot");
        RootGrowth plan = RootGrowth.Plan("/sysroot");
        long got = isDry ? 0 : plan.Execute(cancel);
        speaker.Answer(Text(plan, isDry, got), writer =>
        {
            writer.WriteString("disk", $"/dev/{plan.Disk}");
            writer.WriteString("partition", $"/dev/{plan.Partition}");
            writer.WriteNumber("partition-bytes-before", plan.Before);
            writer.WriteNumber("partition-bytes", plan.After);
            writer.WriteNumber("file-system-grew-by", got);
            writer.WriteBoolean("done", !isDry);
        });
    }

    private static string Text(RootGrowth plan, bool isDry, long got) =>
        isDry && plan.Grows ? $"/dev/{plan.Partition} would grow from {Amount.OfBytes(plan.Before)} to {Amount.OfBytes(plan.After)}"
        : isDry || got == 0 ? $"/dev/{plan.Partition} has all that is free on /dev/{plan.Disk}: {Amount.OfBytes(plan.After)}"
        : $"/dev/{plan.Partition} has {Amount.OfBytes(plan.After)} now; the root has {Amount.OfBytes(got)} more room";
}
