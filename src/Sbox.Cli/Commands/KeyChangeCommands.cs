using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Delivery;
using Sbox.Image;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox keys rotate</c>, <c>revoke</c>, <c>apply</c>: another key takes over, and boxes are told.</summary>
internal static class KeyChangeCommands
{
    public static Command Rotate()
    {
        (Argument<string> directory, Option<string?> passphrase, Option<bool> json) = Shared();
        Option<string?> token = KeysCommand.Token();
        Command command = new DocumentedCommand("rotate", "Make a new key that signs what boots")
        {
            Details =
            [
                "The db key of until now becomes db-1 (db-2 ...) and goes on signing beside the new one, so what is sealed from now on starts on boxes that know the old key, the new one, or both. "
                + $"{OwnerKeys.DbUpdate} adds the new one to a box's firmware: sbox keys apply db, on the box. db.auth, which new boxes enroll, has both.",
                "When every box knows the new key and runs a version that only it has sealed: sbox keys revoke. Disks that are bound to the pcr key stay as they are; where they are bound to "
                + "register 7 too, which holds what db is, they ask for the recovery key once after db was changed; the box's own encrypted disk is bound anew and does not ask (sbox-disk(1)).",
                "The directory is changed as a whole, or not at all. PK, KEK, pcr and tree stay.",
                KeysCommand.TokenWords,
            ],
            Examples = [new Example("A new key, and what boxes need of it", "sbox keys rotate keys && scp keys/db.update.auth box:")],
        }.With(directory, token, passphrase, json);
        command.SetAction(parsed =>
        {
            var keys = Owners(parsed.GetValue(directory)!, "rotate");
            Tell(keys.RotateDb(PassphraseReader.Read(parsed.GetValue(passphrase), twice: false), TimeProvider.System, parsed.GetValue(token)), new Speaker(parsed.GetValue(json)));
            return 0;
        });
        return command;
    }

    public static Command Revoke()
    {
        (Argument<string> directory, Option<string?> passphrase, Option<bool> json) = Shared();
        var key = new Argument<string>("KEY") { Description = "The older key, as sbox keys show calls it: db-1" };
        Command command = new DocumentedCommand("revoke", "Refuse what an older key has signed")
        {
            Details =
            [
                $"Nothing is sealed with the key any more, its private part is deleted, and {OwnerKeys.DbxUpdate} tells a box's firmware to start nothing that bears its signature: sbox keys apply dbx, on the box. "
                + "That holds for versions that the new key has signed as well: seal and publish one without the old signature first, and let the boxes run it.",
                "This is the one way to keep an older version, sealed once, from ever starting again.",
            ],
            Examples = [new Example("The key before this one", "sbox keys revoke keys db-1")],
        }.With(directory, key, passphrase, json);
        command.SetAction(parsed =>
        {
            var keys = Owners(parsed.GetValue(directory)!, "revoke");
            try
            {
                Tell(keys.Revoke(parsed.GetValue(key)!, PassphraseReader.Read(parsed.GetValue(passphrase), twice: false), TimeProvider.System), new Speaker(parsed.GetValue(json)));
            }
            catch (LinuxException missing) when (missing.Errno == Errno.ENOENT && missing.Call == "revoke")
            {
                throw new Finding($"{keys.Directory}: there is no older key {parsed.GetValue(key)}", "sbox keys show lists them. The newest one, db, is revoked after sbox keys rotate made it an older one");
            }

            return 0;
        });
        return command;
    }

    public static Command Apply()
    {
        var variable = new Argument<string>("VARIABLE") { Description = "db or dbx" };
        variable.AcceptOnlyFromAmong("db", "dbx");
        var file = new Argument<string>("FILE") { Description = $"{OwnerKeys.DbUpdate} or {OwnerKeys.DbxUpdate} of the owner's keys" };
        var force = new Option<bool>("--force") { Description = "Revoke also where this box would not start any more" };
        Option<string> path = SharedOptions.Sysroot();
        Option<string?> esp = SharedOptions.Esp();
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("apply", "Give a change of keys to this machine's firmware")
        {
            Details =
            [
                "The firmware itself checks that the owner's KEK signed the change, and adds it to what it has. No private key is needed on the box.",
                "Where the box's disk is encrypted, the machine's TPM is told first to give its key out at the next boot whatever the firmware's keys are then, so that nothing is asked: sbox-disk(1).",
                "A revocation is refused where a boot loader or the version that boots next bears a signature of the revoked key, since the firmware would start it no more. The files on the EFI "
                + "partition are asked, and where it cannot be seen, a revocation is refused too.",
            ],
            Examples = [new Example("Know the new key", "sbox keys apply db db.update.auth")],
        }.With(variable, file, force, path, esp, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Box box = Box.ToLook(parsed, path, esp);
            FirmwareKeys change = FirmwareKeys.Read(parsed.GetValue(variable)!, parsed.GetValue(file)!);
            IReadOnlyList<BootProgram> lost = parsed.GetValue(variable) == "dbx" ? Lost(change, box, parsed.GetValue(file)!, parsed.GetValue(force)) : [];
            bool loosened = ChangingKeys.Loosen();
            change.Write();
            if (loosened)
                speaker.Note(ChangingKeys.Words);
            foreach (BootProgram each in lost)
                speaker.Note($"{each.Path} does not start any more: {each.Trouble}");
            speaker.Answer($"{parsed.GetValue(variable)} has {change.Certificates} more", writer =>
            {
                writer.WriteString("variable", parsed.GetValue(variable));
                writer.WriteNumber("certificates", change.Certificates);
                writer.WriteNumber("lost", lost.Count);
            });
            return 0;
        });
        return command;
    }

    // What the firmware will be asked to start is on the EFI partition. A seal in the repository may be newer than the files that it was for.
    private static IReadOnlyList<BootProgram> Lost(FirmwareKeys change, Box box, string file, bool force)
    {
        if (box.Esp is null)
        {
            return force ? [] : throw new Finding(
                $"what boots next cannot be seen, so it is not known whether {file} revokes it: {box.EspUnseen}", "Mount or name the EFI partition; --force revokes all the same");
        }

        using var deployer = new Deployer(box.Sysroot, box.Esp);
        IReadOnlyList<BootProgram> programs = deployer.Esp!.Programs(), lost = change.Ends(deployer.Esp);
        if (force)
            return lost;
        if (!programs.Any(static each => each.IsLoader) || !programs.Any(static each => each is { IsLoader: false, StartsNext: true }))
            throw new Finding($"{box.Esp}: no boot loader or no version of this box is there, so it is not known what {file} revokes", "Is it this box's EFI partition? --force revokes all the same");
        return lost.FirstOrDefault(static each => each.StartsNext) is not { } first ? lost : throw new Finding(
            $"{box.Esp}/{first.Path}: it is needed for the next boot, and {(first.Signatures is null ? first.Trouble : $"bears the signature of a key that {file} revokes")}",
            "sbox upgrade to a new version that only the new key has signed (one that is deployed already is not written again), reboot, and apply this again; --force does it now");
    }

    private static (Argument<string> Directory, Option<string?> Passphrase, Option<bool> Json) Shared() =>
        (new Argument<string>("DIR") { Description = "Where the keys are" }, PassphraseReader.Option(), SharedOptions.Json());

    // Keys that sign what is published are named by documents, and changed there.
    private static OwnerKeys Owners(string directory, string verb) => TrustHistory.TryRead(directory) is null
        ? OwnerDirectory.At(directory)
        : throw new Finding($"{directory}: trust documents are there, and not the keys of a seal", $"sbox trust {verb} {directory} NAME{(verb == "rotate" ? " NEW.pub" : "")}");

    private static void Tell(KeyChange change, Speaker speaker)
    {
        speaker.Note($"On each box: sbox keys apply {change.Variable.Name} {Path.GetFileName(change.Update)}");
        speaker.Answer(change.Update, writer =>
        {
            writer.WriteString("key", change.Key);
            writer.WriteString("update", change.Update);
            writer.WriteString("variable", change.Variable.Name);
        });
    }
}
