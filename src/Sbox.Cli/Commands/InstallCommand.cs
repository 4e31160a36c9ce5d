using System.CommandLine;
using System.Diagnostics;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox install</c> and <c>sbox stick</c>: this box, or an image, on another disk.</summary>
internal static class InstallCommand
{
    private const int OnlyShown = 3;

    public static Command Make()
    {
        Option<string> to = To();
        var image = new Option<string?>("--image") { Description = "Write this image, made by sbox image, and not the running box", HelpName = "FILE" };
        Option<bool> yes = Yes(), json = SharedOptions.Json();
        Command command = new DocumentedCommand("install", "Put the running box, or an image, on a whole disk")
        {
            Details =
            [
                "The running box is copied as it is on its disk: all versions, /etc, /var, keys. The new disk has partitions and file systems of its own, as large as it allows, and its first boot makes a machine-id of its own; host keys of "
                + "ssh are the same. In a ghost, what the session changed is not on the disk, and does not come along: sbox keep first. The ghost of a CD is installed the same way. A box whose disk is encrypted is not copied with its state, which would lie there as "
                + "plain text: sbox stick makes another without, and a tomb carries what is yours.",
                "With --image the file is written as it is, gets identifiers of its own, and its root grows at the first boot.",
                .. Common(),
            ],
            ExitCodes = [(OnlyShown, "It was only shown: nobody confirmed it.")],
            Examples = [new Example("From a stick, or a CD, to the machine's own disk", "sbox install --to /dev/nvme0n1"), new Example("An image to a stick", "sbox install --image disk.img --to /dev/sdb")],
        }.With(to, image, yes, json);
        command.SetAction((parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            if (parsed.GetValue(image) is not { } file)
                return Task.FromResult(Clone(speaker, parsed.GetValue(to)!, withState: true, parsed.GetValue(yes), cancel));
            RequireRoot();
            ImageInstall plan = ImageInstall.Plan(file, TargetDisk.Look(parsed.GetValue(to)!));
            if (!Confirmed(speaker, plan.Target, $"{file}, {Amount.OfBytes(plan.Bytes)}", parsed.GetValue(yes)))
                return Task.FromResult(OnlyShown);
            using (var line = new ProgressLine(speaker))
                plan.Execute(On(line), cancel);
            Done(speaker, plan.Target, plan.Bytes, "its root grows to all of the disk at the first boot", 0);
            return Task.FromResult(0);
        });
        return command;
    }

    public static Command MakeStick()
    {
        Option<string> to = To();
        Option<bool> yes = Yes(), json = SharedOptions.Json();
        Command command = new DocumentedCommand("stick", "Make another stick of this box, without what is yours on it")
        {
            Details =
            [
                "The new stick has the same versions, keys and settings of where upgrades come from; /var is empty, and each /etc is what its version brings. It is what sbox install makes, without state: something to give away. "
                + "A stick of a box whose disk is encrypted encrypts itself at its first boot.",
                .. Common(),
            ],
            ExitCodes = [(OnlyShown, "It was only shown: nobody confirmed it.")],
            Examples = [new Example("One for a friend", "sbox stick --to /dev/sdb")],
        }.With(to, yes, json);
        command.SetAction((parsed, cancel) =>
            Task.FromResult(Clone(new Speaker(parsed.GetValue(json)), parsed.GetValue(to)!, withState: false, parsed.GetValue(yes), cancel)));
        return command;
    }

    private static string[] Common() =>
    [
        "The disk is shown with its maker's name, its size and what is on it, and then you are asked to type its name; without a terminal it is only shown, unless --yes stands there. A disk that is mounted, swapped to or otherwise in use is "
        + "refused, and so is the one that this box runs from. What was written is read back and compared, and e2fsck looks at the file system. Cut short, the disk does not boot; the same command begins anew.",
        "A machine with both disks in it boots from the one that its firmware chooses, and sbox-root takes the root from that same disk.",
    ];

    private static Option<string> To() => new("--to") { Description = "The whole disk to write to; all that is on it will be gone", HelpName = "DEVICE", Required = true };

    private static Option<bool> Yes() => new("--yes") { Description = "Do it without asking; for scripts" };

    private static int Clone(Speaker speaker, string to, bool withState, bool yes, CancellationToken cancel)
    {
        RequireRoot();
        Box.RequireSysroot("/sysroot");
        BoxClone plan = BoxClone.Plan(CloneSource.Of("/sysroot"), TargetDisk.Look(to), withState, cancel);
        if (!Confirmed(speaker, plan.Target, $"this box {(withState ? "with /etc and /var" : "without its state")}, {Amount.OfBytes(plan.Bytes)} of files", yes))
            return OnlyShown;
        CloneResult result;
        using (var line = new ProgressLine(speaker))
            result = plan.Execute(On(line), cancel);
        Done(speaker, plan.Target, result.Bytes, plan.Source.IsEncrypted ? "its first boot encrypts it" : "", result.ChangedMeanwhile);
        return 0;
    }

    private static void RequireRoot()
    {
        if (!Environment.IsPrivilegedProcess)
            throw new Finding("only root may write to a whole disk", "sudo sbox ...");
    }

    private static bool Confirmed(Speaker speaker, TargetDisk disk, string what, bool yes)
    {
        speaker.Note($"{disk.Path}: {disk.Model}, {Amount.OfBytes(disk.Bytes)}. All that is on it will be gone:");
        foreach (BlockDevice each in disk.Present.Where(each => each.Name != disk.Name))
            speaker.Note($"  {each}");
        if (disk.Present.All(each => each.Name == disk.Name))
            speaker.Note("  no partitions");
        speaker.Note($"To be written there: {what}.");
        if (yes || Typed(disk.Name))
            return true;
        string why = Console.IsInputRedirected ? "it was only shown, since nobody could be asked (--yes does it without)" : $"what was typed is not {disk.Name}";
        speaker.Answer($"Nothing was changed on {disk.Path}: {why}", writer =>
        {
            writer.WriteBoolean("done", false);
            writer.WriteString("disk", disk.Path);
            writer.WriteString("model", disk.Model);
            writer.WriteNumber("disk-bytes", disk.Bytes);
        });
        return false;
    }

    private static bool Typed(string name)
    {
        if (Console.IsInputRedirected)
            return false;
        Console.Error.Write($"Type {name} to do it: ");
        return Console.In.ReadLine()?.Trim() == name;
    }

    private static void Done(Speaker speaker, TargetDisk disk, long bytes, string more, long changed)
    {
        if (changed > 0)
            speaker.Note($"{changed} files of /etc and /var were written to meanwhile; the copy has each as it was at some moment of it");
        speaker.Answer($"{disk.Path} boots this box now, and may be taken out: {Amount.OfBytes(bytes)} were written and read back{(more.Length > 0 ? $"; {more}" : "")}", writer =>
        {
            writer.WriteBoolean("done", true);
            writer.WriteString("disk", disk.Path);
            writer.WriteString("model", disk.Model);
            writer.WriteNumber("disk-bytes", disk.Bytes);
            writer.WriteNumber("bytes", bytes);
            writer.WriteNumber("changed-meanwhile", changed);
        });
    }

    private static Reporter<InstallProgress> On(ProgressLine line)
    {
        var clock = Stopwatch.StartNew();
        string step = "";
        return new Reporter<InstallProgress>(now =>
        {
            if (now.Step != step)
            {
                line.Step(step = now.Step);
                clock.Restart();
            }

            if (now.Total > 0)
                line.Update($"{now.Step}: {Rate(now, clock.Elapsed.TotalSeconds)}");
        });
    }

    private static string Rate(InstallProgress now, double seconds)
    {
        double rate = seconds > 0 ? now.Done / seconds : 0;
        long left = now.Share > 0 ? (long)(seconds * (1 - now.Share) / now.Share) : 0;
        return $"{Amount.OfBytes(now.Done)} of {Amount.OfBytes(now.Total)}, {Amount.OfBytes((long)rate)}/s{(seconds > 2 ? $", {left / 60}:{left % 60:00} left" : "")}";
    }
}
