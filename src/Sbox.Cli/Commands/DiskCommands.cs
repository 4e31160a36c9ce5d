using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox disk</c>: the box's disk, its size, and what opens it where it is encrypted.</summary>
internal static class DiskCommands
{
    private const int NotEncrypted = 3;

    public static Command Make()
    {
        var disk = new DocumentedCommand("disk", "Show and change what opens the box's encrypted disk; grow its root")
        {
            Details =
            [
                "A box that was made by sbox image --encrypt has its root, /etc and /var and all, on a LUKS2 volume. Its key is the machine's TPM's, which gives it out to versions that the owner's pcr key "
                + "signed (register 11), before any root was chosen (register 15), and with Secure Boot and its keys as they are now (register 7). Nothing is asked at a boot, after an upgrade, or after a rollback.",
                "Where the firmware's keys are about to change (sbox keys apply), or a version that another key sealed boots next, the TPM is told beforehand to give the key out whatever register 7 holds; "
                + "sbox-disk.service binds the disk again at the next boot of what boots next. Until then, whoever has the machine in hand and can switch Secure Boot off can open it.",
            ],
        };
        foreach (Command command in (Command[])[Status(), Bind(), Recovery(), DiskGrowCommand.Make()])
            disk.Subcommands.Add(command);
        return disk;
    }

    /// <summary>What a status says of a disk; null where nothing can be said.</summary>
    public static string? Line(DiskState? state, bool isEncrypted) => (state, isEncrypted) switch
    {
        (null, false) => null,
        (null, true) => "encrypted; only root can see what opens it",
        ({ IsFirst: true }, _) => $"{state.Disk.Path} is encrypted, and the key of the first boot still opens it, until a boot that the TPM has opened: reboot (systemctl status sbox-disk says more)",
        ({ IsLooseForGood: true }, _) => $"{state.Disk.Path} is encrypted, and opens whatever the firmware checks, by what another program bound to the TPM: sbox disk status shows its slot, and systemd-cryptenroll --wipe-slot takes it out",
        ({ IsLoose: true }, _) => $"{state.Disk.Path} is encrypted, and opens once more whatever the firmware checks: keys are being changed, reboot soon",
        ({ IsBound: true }, _) => $"{state.Disk.Path} is encrypted, and opens by this machine's TPM{Recovery(state)}",
        _ => $"{state.Disk.Path} is encrypted, and this machine's TPM does not open it to this version as the firmware is now: sbox disk bind{Recovery(state)}",
    };

    /// <summary>What a status has of a disk for programs.</summary>
    public static void Write(Utf8JsonWriter writer, DiskState? state, bool isEncrypted)
    {
        writer.WriteStartObject("disk");
        writer.WriteBoolean("encrypted", isEncrypted);
        if (state is not null)
        {
            writer.WriteString("device", state.Disk.Path);
            writer.WriteString("uuid", state.Disk.Uuid);
            writer.WriteBoolean("bound", state.IsBound);
            writer.WriteBoolean("loose", state.IsLoose);
            writer.WriteBoolean("first-boot-key", state.IsFirst);
            writer.WriteBoolean("recovery-key", state.HasRecoveryKey);
        }

        writer.WriteEndObject();
    }

    /// <summary>What a version must do to open this machine's disk; null where that is not encrypted, or not opened by sbox-root, or another box's is looked at.</summary>
    public static DiskOpening? Opening(Box box) => box.IsThisMachine && DiskKeeper.Of(box.Sysroot.Path) is { } keeper
        ? DiskOpening.Of(Look(keeper)?.Keys, box.Sysroot.Repository, box.Sysroot.BootedName?.Commit) : null;

    /// <summary>Looks as far as the caller may.</summary>
    public static DiskState? Look(DiskKeeper? keeper)
    {
        try
        {
            return Environment.IsPrivilegedProcess ? keeper?.Look() : null;
        }
        catch (ChildFailedException unseen) // no cryptsetup, or a header that is damaged: sbox disk status tells
        {
            _ = unseen;
            return null;
        }
    }

    private static string State(TpmBinding binding, DiskState state) => (binding, binding.FirmwareState == state.FirmwareState) switch
    {
        ({ IsLooseForGood: true }, _) => "whatever the firmware checks; made by another program",
        ({ IsLoose: true }, _) => "whatever the firmware checks",
        ({ FirmwareState: null }, _) => "made by another program, or cut short",
        (_, true) when !binding.GoesBy(state.Signer) => "the firmware as it is now, for versions that another pcr key signed",
        (_, true) => "the firmware as it is now",
        _ => "the firmware with other keys",
    };

    private static string Recovery(DiskState state) => state.HasRecoveryKey ? "" : "; there is no recovery key: sbox disk recovery-key makes one";

    private static Command Status()
    {
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("status", "Show who can open the disk")
        {
            ExitCodes = [(0, "It is encrypted."), (NotEncrypted, "It is not.")],
        }.With(json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            Box.RequireSysroot("/sysroot");
            if (DiskKeeper.Of("/sysroot") is not { } keeper)
            {
                speaker.Answer("The disk is not encrypted.", static writer => Write(writer, null, isEncrypted: false));
                return NotEncrypted;
            }

            RequireRoot();
            DiskState state = keeper.Look();
            var text = new StringBuilder();
            text.Append(CultureInfo.InvariantCulture, $"{Line(state, isEncrypted: true)}\n");
            foreach (TpmBinding each in state.Keys.Bindings)
                text.Append(CultureInfo.InvariantCulture, $"  slot {each.Slot}: TPM, {State(each, state)}\n");
            foreach (int each in state.Keys.RecoverySlots)
                text.Append(CultureInfo.InvariantCulture, $"  slot {each}: recovery key\n");
            text.Append(CultureInfo.InvariantCulture, $"{state.Keys.Slots} keys in all, the box's own among them.");
            speaker.Answer(text.ToString(), writer => Write(writer, state, isEncrypted: true));
            return 0;
        });
        return command;
    }

    private static Command Bind()
    {
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("bind", "Have the TPM open the disk with the firmware as it is now")
        {
            Details =
            [
                "sbox-disk.service runs it at every boot. The first time it also gives the box a key of its own, on the disk itself, for this command to work with, and takes out the key that the first boot encrypted with. "
                + "After a boot for which the recovery key was typed, it sees to it that the next one asks for nothing.",
                "What was bound to the firmware of before a revocation (dbx) is taken out; other states of its keys go on opening the disk, for versions that they sealed. What was loosened for a version that boots next, and does not run yet, stays so until it does; what was loosened in the boot that runs is for the next one.",
            ],
        }.With(json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Box box = Box.ToWrite("/sysroot");
            DiskKeeper keeper = Keeper();
            var done = new List<string>();
            // A version on trial that did not come up is tried again, and by another key perhaps; so is one that somebody passed over in the menu.
            keeper.Bind(done.Add, anotherIsNext: box.Sysroot.BootedName is { } running && box.Sysroot.Deployments is [var next, ..] && next.Name != running);
            done.ForEach(speaker.Note);
            DiskState state = keeper.Look();
            speaker.Answer(Line(state, isEncrypted: true)!, writer => Write(writer, state, isEncrypted: true));
            return 0;
        });
        return command;
    }

    private static Command Recovery()
    {
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("recovery-key", "Make a key to be written down, which opens the disk where the TPM does not")
        {
            Details =
            [
                "It is shown once and kept nowhere; a recovery key of before opens nothing any more. The disk asks for it at the console where the TPM keeps its key back: after the firmware was reset, with another "
                + "main board, in another machine. Any Linux opens the disk by it, too: cryptsetup open.",
            ],
        }.With(json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Box box = Box.ToWrite("/sysroot");
            string key = Keeper().NewRecoveryKey();
            speaker.Note("Write it down; it is not shown again, and opens the disk in any machine:");
            speaker.Answer(key, writer => writer.WriteString("recovery-key", key));
            return 0;
        });
        return command;
    }

    private static DiskKeeper Keeper() => DiskKeeper.Of("/sysroot")
        ?? throw new Finding("/sysroot: this box's disk is not encrypted", "sbox image --encrypt makes a box whose disk is");

    private static void RequireRoot()
    {
        if (!Environment.IsPrivilegedProcess)
            throw new Finding("only root may see who can open the disk", "sudo sbox disk status");
    }
}
