using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Delivery;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox upgrade</c>: the branch's newest commit becomes what boots next; <c>sbox switch</c>: another branch's.</summary>
internal static class UpgradeCommand
{
    public static Command Make() => Make(null);

    public static Command MakeSwitch() => Make(new Argument<string>("BRANCH") { Description = "REMOTE:BRANCH, or BRANCH of the remote that is followed now" });

    private static Command Make(Argument<string>? branch)
    {
        Option<string> path = SharedOptions.Sysroot();
        Option<string?> esp = SharedOptions.Esp();
        var check = new Option<bool>("--check") { Description = "Fetch, say what would be done, and deploy nothing" };
        var download = new Option<bool>("--download-only") { Description = "Fetch, and deploy nothing; sbox upgrade --offline does that later" };
        var offline = new Option<bool>("--offline") { Description = "Fetch nothing: deploy what is here of the branch" };
        var reboot = new Option<bool>("--reboot") { Description = "Restart the machine where a new version waits for it" };
        Option<bool> soft = Restarting.SoftOption();
        var retry = new Option<bool>("--retry") { Description = "Take a version that this box went back from by itself" };
        var older = new Option<bool>("--allow-downgrade") { Description = "Take a version that is older than the one that runs" };
        var unsealed = new Option<bool>("--unsealed") { Description = "On a sealed box, deploy a version that is not; with Secure Boot on, the firmware will not start it" };
        var unapproved = new Option<bool>("--unapproved") { Description = "Take a version that too few have signed of those whom the running tree's approval policy names" };
        Option<bool> force = Force();
        var url = new Option<string?>("--url") { Description = "Fetch from this address once, in place of the remote's", HelpName = "URL" };
        var from = new Option<string?>("--from") { Description = "Take it from a stick, or from any repository on a disk: the directory, or that of the repository in it", HelpName = "PATH" };
        var rate = new Option<string?>("--limit-rate") { Description = "Fetch no more than so many bytes a second: 500K, 2.5M; 0 for no limit, whatever the remote's sbox-rate-limit says", HelpName = "RATE" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand(
            branch is null ? "upgrade" : "switch",
            branch is null ? "Fetch the branch's newest version; it runs after a reboot" : "Follow another branch from now on; its newest version runs after a reboot")
        {
            Details =
            [
                "Only what this box lacks is fetched, and every byte is hashed before it is kept. The new version is deployed beside the one that runs: its own tree, "
                + "its own /etc with your changes merged into its defaults, its own entry in the boot menu. What runs now is not touched and stays to go back to.",
                "Where the running tree has an approval policy (sbox-approval.toml(5)), a new version needs enough signatures of those whom it names; the commit and its signatures are fetched "
                + "first, and nothing else where they are too few.",
                "Where the remote has a trust document (sbox-remote(1)), what it offers must be signed as that says, be no older than what was taken before, and young enough; nothing is taken otherwise.",
                "--limit-rate leaves the rest of the line to others, for once; a line sbox-rate-limit=2M among the remote's settings does so for every pull, automatic ones too.",
                "With --from, nothing is asked of the network: sbox publish --to usb:PATH fills a stick. What is there must be signed as what comes from the remote must be, and every byte is hashed; where the stick is pulled out, the same command goes on.",
                "On a box whose disk is encrypted, a version that would not open it is refused: one whose initrd cannot, or that the pcr key did not sign to which the disk is bound (sbox-disk(1)). --force takes it all the same.",
                "What is changed in /etc after this command and before the reboot is merged too, at shutdown (sbox-etc(1)); sbox etc plan shows what becomes of it.",
                "Where the firmware was told to boot something else (key d in the boot menu, bootctl set-default or set-oneshot), it is made to forget that, and the command says so.",
                "With --soft-reboot, systemd ends all services and starts those of the new version, without firmware, boot loader and kernel: open connections end, as with any restart, and the machine is back in seconds. It needs the kernel "
                + "and the kernel's arguments to be the same, and a boot that is neither sealed nor a ghost; where it cannot be, the new version is deployed, and the command says why nothing was restarted.",
                "The command may be killed or the power may fail at any moment: the box boots the old version or the new one, and running it again finishes the work.",
            ],
            ExitCodes = [(4, "The newest version is one that this box went back from by itself; nothing was deployed.")],
            Examples = branch is null
                ? [new Example("Upgrade and run the new version", "sbox upgrade --reboot"), new Example("The same, without the machine itself where that can be", "sbox upgrade --soft-reboot || sbox upgrade --reboot"), new Example("Fetch now, deploy when there is time", "sbox upgrade --download-only; sbox upgrade --offline")]
                : [new Example("Try the next release, and go back if it is not good", "sbox switch debian/forky && reboot")],
        }.With(path, esp, check, download, offline, reboot, soft, retry, older, unsealed, unapproved, force, url, from, rate, json);
        if (branch is not null)
            command.Arguments.Add(branch);
        command.SetAction(async (parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            if (parsed.GetValue(from) is { } other && PlaceAddress.SchemeOf(other) is { } scheme)
                throw new Finding($"{other}: --from takes a directory, and knows nothing of {scheme}", $"--from=PATH, with where the stick is mounted; --url=URL fetches from another server once; ./{other} is a directory of that name");
            using Box box = Box.ToChange(parsed, path, esp);
            using var deployer = new Deployer(box.Sysroot, box.Esp, box.Seal) { Disk = DiskCommands.Opening(box) };
            var keys = ChangingKeys.Before(box, deployer);
            using var line = new ProgressLine(speaker);
            line.Step("fetch");
            string? stick = parsed.GetValue(from) is { } place ? AddressOf(place, branch is null ? null : Branch(parsed.GetValue(branch)!, box.Sysroot), box.Sysroot) : null;
            UpgradeOffer offer = await new Upgrader(box.Sysroot, deployer).Fetch(
                new UpgradeOptions
                {
                    SwitchTo = branch is null ? null : Branch(parsed.GetValue(branch)!, box.Sysroot), Offline = parsed.GetValue(offline), Retry = parsed.GetValue(retry),
                    AllowOlder = parsed.GetValue(older), AllowUnapproved = parsed.GetValue(unapproved), PolicyTree = box.IsThisMachine ? "/" : null, Pull = new PullOptions { Url = stick ?? parsed.GetValue(url), BytesPerSecond = Rate(parsed.GetValue(rate)) },
                },
                PullText.Reporter(line, "  "), cancel);
            offer = offer with { Request = offer.Request with { AllowUnsealed = parsed.GetValue(unsealed), AllowUnopened = parsed.GetValue(force) } };
            string version = offer.Version ?? offer.Request.Commit.ToString()[..12];
            bool checks = parsed.GetValue(check);
            var notes = new List<string>(offer.Notes);
            switch (offer.State)
            {
                case UpgradeState.UpToDate:
                    bool runs = box.Sysroot.BootedName is not null;
                    notes.AddRange(checks ? [] : deployer.Overrule());
                    Say("up-to-date", $"{offer.Refspec}: version {version} is the newest, and {(runs ? "runs" : "is deployed")}");
                    break;
                case UpgradeState.AwaitsReboot:
                    notes.AddRange(checks ? [] : deployer.Overrule());
                    Say("awaits-reboot", $"{offer.Refspec}: version {version} is the newest; it runs after a reboot");
                    break;
                case UpgradeState.KnownBad:
                    Say("known-bad", $"{offer.Refspec}: version {version} is the newest, and this box went back from it by itself: it is not tried again. sbox {command.Name} --retry takes it all the same");
                    break;
                case UpgradeState.Available when parsed.GetValue(download):
                    Say("downloaded", $"{offer.Refspec}: version {version} is here; sbox {command.Name}{(branch is null ? "" : " " + offer.Refspec)} --offline deploys it");
                    break;
                case UpgradeState.Available when checks:
                    line.Dispose();
                    speaker.Note(deployer.Plan(offer.Request).ToString().TrimEnd());
                    Say("available", $"{offer.Refspec}: version {version} can be deployed");
                    break;
                case UpgradeState.Unfinished when checks:
                    Say("unfinished", $"{offer.Refspec}: version {version} is deployed, but that was cut short; sbox upgrade finishes it");
                    break;
                case UpgradeState.Unfinished:
                    notes.AddRange(deployer.Finish(new Reporter<string>(line.Step)).Notes);
                    Say("deployed", box.Sysroot.BootedName == box.Sysroot.Deployments[0].Name
                        ? $"Finished what was cut short: version {version} runs now, and boots next"
                        : $"Finished what was cut short: version {version} runs after a reboot");
                    break;
                default:
                    notes.AddRange(deployer.Deploy(offer.Request, new Reporter<string>(line.Step), cancel).Notes);
                    Say("deployed", $"Version {version} runs after a reboot; sbox rollback takes that back");
                    break;
            }

            if (offer.State == UpgradeState.KnownBad)
                return 4;
            return checks || parsed.GetValue(download) ? 0 : Restarting.AsAsked(box, speaker, parsed.GetValue(reboot), parsed.GetValue(soft));

            void Say(string state, string text)
            {
                line.Dispose();
                notes.AddRange(checks ? [] : keys.After());
                notes.ForEach(speaker.Note);
                speaker.Answer(text, writer =>
                {
                    writer.WriteString("state", state);
                    writer.WriteString("version", version);
                    writer.WriteString("checksum", offer.Request.Commit.ToString());
                    writer.WriteNumber("bytes-transferred", offer.Pulled?.BytesTransferred ?? 0);
                    Speaker.Notes(writer, notes);
                });
            }
        });
        return command;
    }

    /// <summary>Take what does not open the disk.</summary>
    public static Option<bool> Force() => new("--force") { Description = "Take a version that does not open this box's encrypted disk by itself" };

    private static long? Rate(string? text)
    {
        try
        {
            return text is null ? null : RateLimit.Parse(text, "--limit-rate");
        }
        catch (MalformedException wrong)
        {
            throw new Finding(wrong.Message, "sbox upgrade --limit-rate 2.5M");
        }
    }

    // The remote's settings say what its commits must be signed with, wherever they come from: without a remote nothing says so.
    private static string AddressOf(string place, Refspec? asked, OstreeSysroot sysroot)
    {
        Refspec? followed = asked ?? (sysroot.Booted ?? sysroot.Deployments.FirstOrDefault())?.Origin?.Refspec;
        if (followed is { Remote: null })
            throw new Finding($"{followed}: it is a branch of this box's own, and nothing says what one from elsewhere must be signed with", "sbox switch REMOTE:BRANCH --from PATH; sbox store remote list lists the remotes");
        return new Uri(PlaceAddress.FindOnStick(place)).AbsoluteUri;
    }

    // A branch alone is one of the remote that is followed now.
    private static Refspec Branch(string text, OstreeSysroot sysroot)
    {
        Refspec asked = Refspec.Parse(text);
        Refspec? now = (sysroot.Booted ?? sysroot.Deployments.FirstOrDefault())?.Origin?.Refspec;
        return asked.Remote is null && !text.Contains(':', StringComparison.Ordinal) && now?.Remote is { } remote ? asked with { Remote = remote } : asked;
    }
}

/// <summary><c>sbox rollback</c>: the other version becomes what boots next.</summary>
internal static class RollbackCommand
{
    public static Command Make()
    {
        Option<string> path = SharedOptions.Sysroot();
        Option<string?> esp = SharedOptions.Esp();
        Option<bool> json = SharedOptions.Json();
        Option<bool> force = UpgradeCommand.Force();
        Option<bool> soft = Restarting.SoftOption();
        var to = new Option<string?>("--to") { Description = "Which version: its number in sbox status, its version, or the beginning of its commit", HelpName = "VERSION" };
        Command command = new DocumentedCommand("rollback", "Boot the other version next")
        {
            Details =
            [
                "Only the order of the boot menu changes: each version keeps its own tree and its own /etc, and /var is shared by both. Typed twice, it is as before.",
                "A version that did not come up and has no try left is passed over; --to gives it its tries again.",
                "On a box whose disk is encrypted, a version that would not open it is refused; --force takes it all the same.",
                "Where the firmware was told to boot something else (key d in the boot menu, bootctl set-default or set-oneshot), it is made to forget that, and the command says so.",
            ],
            Examples = [new Example("Go back to the version before", "sbox rollback && reboot"), new Example("Go back without restarting the machine itself", "sbox rollback --soft-reboot"), new Example("Go back to a pinned one", "sbox rollback --to 2")],
        }.With(to, soft, force, path, esp, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Box box = Box.ToChange(parsed, path, esp);
            using var deployer = new Deployer(box.Sysroot, box.Esp, box.Seal) { Disk = DiskCommands.Opening(box) };
            var keys = ChangingKeys.Before(box, deployer);
            (Deployment target, CleanupReport cleanup) = deployer.Rollback(
                parsed.GetValue(to) is { } wanted ? DeploymentSelector.Find(box.Sysroot, wanted).Name : null, parsed.GetValue(force));
            bool known = box.Sysroot.Repository.Has(new ObjectName(target.Name.Commit, ObjectType.Commit));
            string version = (known ? box.Sysroot.Repository.LoadCommit(target.Name.Commit).Version : null) ?? target.Name.Short;
            foreach (string note in cleanup.Notes.Concat(keys.After()))
                speaker.Note(note);
            speaker.Answer(
                box.Sysroot.IsBooted(target) ? $"Version {version}, which runs now, boots next" : $"Version {version} runs after a reboot",
                writer =>
                {
                    writer.WriteString("version", version);
                    writer.WriteString("checksum", target.Name.Commit.ToString());
                    Speaker.Notes(writer, cleanup.Notes);
                });
            return Restarting.AsAsked(box, speaker, reboot: false, parsed.GetValue(soft));
        });
        return command;
    }
}
