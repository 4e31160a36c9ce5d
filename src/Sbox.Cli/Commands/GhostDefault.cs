using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox ghost default</c>: whether the box is a ghost when nobody chooses in the boot menu.</summary>
internal static class GhostDefault
{
    private const string On = "on", Off = "off", InMemory = "in-memory";

    public static Command Make()
    {
        (Option<string> path, Option<string?> esp, Option<bool> json) = (SharedOptions.Sysroot(), SharedOptions.Esp(), SharedOptions.Json());
        var how = new Argument<string?>("HOW") { Description = "on, off or in-memory; tells what is so where it is not said", Arity = ArgumentArity.ZeroOrOne };
        how.AcceptOnlyFromAmong(On, Off, InMemory);
        Command command = new DocumentedCommand("default", "Have the box be a ghost when nobody chooses in the boot menu, or no longer")
        {
            Details =
            [
                "on starts the menu's entry 'ghost', in-memory 'ghost in memory', off 'normal'; all entries stay in the menu. It counts from the next boot on: sbox upgrade and sbox rollback keep it, a version on trial starts as "
                + "the box does, and a ghost finds it good or goes back as any other boot. A version whose menu lacks that entry starts as the normal one, and one made before ghosts were judged is not tried first: both are told by the command that brings it. "
                + "A box whose default is in-memory tries a new version as an ordinary ghost, with the medium in, since the verdict is written to it; one that hangs is followed by the version before as a ghost in memory, which counts nothing: the next try comes when 'ghost' or 'normal' is chosen.",
                "It is written into loader.conf on the EFI partition, as the profile's name behind the default's. The key d of the boot menu says the same to the firmware of one machine: it is obeyed there alone, until the next upgrade on that machine takes it over. Exit status 1 where the firmware keeps deciding otherwise. Whether a new box of an image "
                + "starts as a ghost its recipe says (boots-as). What runs now goes on as it is.",
            ],
            Examples = [new Example("A stick that keeps nothing unless asked", "sudo sbox ghost default on"), new Example("What is so?", "sudo sbox ghost default")],
        }.With(how, path, esp, json);
        command.SetAction(parsed => parsed.GetValue(how) is { } wanted
            ? Change(parsed, path, esp, wanted, new Speaker(parsed.GetValue(json)))
            : Tell(parsed, path, esp, new Speaker(parsed.GetValue(json))));
        return command;
    }

    private static int Tell(ParseResult parsed, Option<string> path, Option<string?> esp, Speaker speaker)
    {
        using Box box = Box.ToGlance(parsed, path, esp);
        using var deployer = new Deployer(box.Sysroot, box.Esp, box.Seal);
        if (deployer.Esp is not { } partition)
            throw new Finding($"what boots when nobody chooses is not known: {box.EspUnseen}", "sudo sbox ghost default");
        Say(speaker, partition.BootsAs, []);
        return 0;
    }

    private static int Change(ParseResult parsed, Option<string> path, Option<string?> esp, string wanted, Speaker speaker)
    {
        using Box box = Box.ToChange(parsed, path, esp);
        using var deployer = new Deployer(box.Sysroot, box.Esp, box.Seal);
        DefaultBoot boots = wanted switch { On => DefaultBoot.Ghost, InMemory => DefaultBoot.GhostInMemory, _ => DefaultBoot.Normal };
        IReadOnlyList<string> notes = deployer.StartAs(boots)
            ?? throw new Finding($"{box.Sysroot.Path}: no EFI partition, or nothing is deployed: there is no boot menu to say it in", "--esp=PATH names the EFI partition; another boot loader's menu has a default of its own");
        foreach (string note in notes)
            speaker.Note(note);
        // A firmware that keeps its own default decides, whatever was written.
        DefaultBoot now = deployer.Esp?.BootsAs ?? boots;
        Say(speaker, now, notes);
        return now == boots ? 0 : 1;
    }

    private static void Say(Speaker speaker, DefaultBoot boots, IReadOnlyList<string> notes) => speaker.Answer(Text(boots), writer =>
    {
        writer.WriteString("boots-as", boots.Name());
        Speaker.Notes(writer, notes);
    });

    /// <summary>A line that says it.</summary>
    public static string Text(DefaultBoot boots) => boots switch
    {
        DefaultBoot.Ghost => "This box is a ghost when nobody chooses in the boot menu: it keeps nothing of a session",
        DefaultBoot.GhostInMemory => "This box is a ghost in memory when nobody chooses in the boot menu: it keeps nothing of a session, and its medium may be taken out",
        _ => "This box boots as always when nobody chooses in the boot menu: what changes in /etc and /var stays",
    };
}
