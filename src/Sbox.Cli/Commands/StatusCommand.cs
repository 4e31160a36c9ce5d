using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox status</c>: what runs, what boots next, how to go back.</summary>
internal static class StatusCommand
{
    public static Command Make()
    {
        Option<string> path = SharedOptions.Sysroot();
        Option<string?> esp = SharedOptions.Esp();
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("status", "Show what runs, what boots next, and how to go back")
        {
            Details =
            [
                "Deployments are listed in the order of the boot menu. What boots next is what the boot loader will start: by loader.conf on the EFI partition, and by the "
                + "firmware's variables LoaderEntryDefault (key d in the boot menu, bootctl set-default) and LoaderEntryOneShot (the next boot only), which come before it. "
                + "Only root may look at the EFI partition; for others, and with --sysroot but no --esp, what boots next is not known.",
                "A boot of the menu's entry 'ghost' says so: it keeps nothing, and the disk stays as it is. One that runs from a copy of its medium in memory says whether that may be taken out "
                + "('memory-disk' with --json), and one that was started without init_on_free=1 that its memory is not wiped ('wiped').",
                "Changes in /etc are counted against the deployment's own defaults, by the sizes and times of files; sbox etc diff reads all of them.",
                "fs-verity: how many files of the repository the kernel holds to their digests. They are sealed as they are written, where the file system can; sbox verity, which a box runs by itself "
                + "after its first boot, seals the rest. Where the boot is sealed the kernel opens no other file, and they are counted with --json and by sbox doctor only.",
                "Health: the checks that failed when they were last asked ('failed-checks' with --json), those that are only wanted too: they take no version back, and whoever logs in is told (sbox health).",
                "Disk: whether the box's root is encrypted, and, for root, what opens it (sbox disk).",
                "Trust: the trust document that a remote is believed by, and until when (sbox remote).",
                "TPM: where a sealed boot went on without the machine's TPM, which the firmware tells of and which did not come, what was said then ('tpm-away' with --json).",
                "Kept: for root, what a list of /etc/sbox/keep.d once kept and names no more ('orphans' with --json, how many; sbox keep --orphans lists them).",
                "With --json, 'next' is what boots when nobody chooses and 'next-once' what the next boot alone starts, each null where it is none of these or not known; "
                + "'settled' is true where the EFI partition holds exactly what is deployed, false where an upgrade was cut short, null where it was not looked at.",
            ],
            Examples = [new Example("The version that runs, for a script", "sbox status --json | jq -r .booted.version")],
        }.With(path, esp, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Box box = Box.ToGlance(parsed, path, esp);
            using var deployer = new Deployer(box.Sysroot, box.Esp);
            StatusReport report = StatusReport.Of(box.Sysroot, deployer);
            IReadOnlyList<(string Remote, RemoteTrustState? State, string? Trouble)> trust = Trusted(box.Sysroot.Repository);
            // A root that opens no file without a seal tells of those that run by that; to look at each file of the repository is for who asks for the numbers.
            VerityCoverage? verity = !speaker.Json && report.Seal is { FilesVerified: true } ? null : box.Sysroot.Repository.CountVerity(orNone: !speaker.Json);
            DiskKeeper? keeper = DiskKeeper.Of(box.Sysroot.Path);
            DiskState? disk = DiskCommands.Look(keeper);
            IReadOnlyList<Orphan> orphans = box.Sysroot.BootedName is null ? [] : KeepOrphans.Glance();
            speaker.Answer(Text(box, report, verity, DiskCommands.Line(disk, keeper is not null), trust, KeepOrphans.Line(orphans)), writer =>
            {
                Write(writer, report);
                DiskCommands.Write(writer, disk, keeper is not null);
                writer.WriteString("tpm-away", TpmRegister.OpenSince());
                writer.WriteNumber("orphans", orphans.Count);
                writer.WriteStartArray("trust");
                foreach ((string remote, RemoteTrustState? state, string? trouble) in trust)
                {
                    writer.WriteStartObject();
                    if (state is null)
                        writer.WriteString("remote", remote);
                    else
                        TrustText.Write(writer, remote, state);
                    writer.WriteString("trouble", trouble);
                    writer.WriteEndObject();
                }

                writer.WriteEndArray();
                if (verity is null)
                    return;
                writer.WriteStartObject("verity");
                writer.WriteBoolean("supported", verity.Supported);
                writer.WriteNumber("sealed", verity.Sealed);
                writer.WriteNumber("files", verity.Total);
                writer.WriteEndObject();
            });
            return 0;
        });
        return command;
    }

    private static string Text(Box box, StatusReport report, VerityCoverage? verity, string? disk, IReadOnlyList<(string Remote, RemoteTrustState? State, string? Trouble)> trust, string? orphans)
    {
        if (report.Deployments.Count == 0)
            return $"{box.Sysroot.Path}: nothing is deployed";
        var text = new StringBuilder(Timeline(report.Deployments));
        foreach ((int index, DeploymentStatus each) in report.Deployments.Index())
        {
            text.Append(CultureInfo.InvariantCulture, $"{index} {Mark(each)} {each.Name.Os} {Version(each),-8} {Role(each)}{(each.IsPinned ? ", pinned" : "")}{(each.HasSeal ? ", sealed" : "")}{Trial(each, report)}\n");
            text.Append(CultureInfo.InvariantCulture, $"    commit   {each.Name.Commit}{(each.Time is { } time ? $" of {time:yyyy-MM-dd HH:mm} UTC" : ", which the repository lacks")}\n");
            text.Append(CultureInfo.InvariantCulture, $"    origin   {each.Refspec?.ToString() ?? "none: it is not known where upgrades come from"}\n");
            text.Append(CultureInfo.InvariantCulture, $"    /etc     {Changes(each)}\n");
        }

        if (report.Seal is { } seal)
            text.Append(CultureInfo.InvariantCulture, $"Seal: {seal}\n");
        text.Append(CultureInfo.InvariantCulture, $"fs-verity: {Text(verity)}\n");
        if (HealthText.Line(report.FailedChecks) is { } failed)
            text.Append(CultureInfo.InvariantCulture, $"Health: {failed}\n");
        if (disk is not null)
            text.Append(CultureInfo.InvariantCulture, $"Disk: {disk}\n");
        foreach ((string remote, RemoteTrustState? state, string? trouble) in trust)
            text.Append(CultureInfo.InvariantCulture, $"Trust: {(state is null ? $"nothing is taken from {remote}: {trouble}" : TrustText.Of(remote, state, TimeProvider.System.GetUtcNow()))}\n");
        if (TpmRegister.OpenSince() is { } away)
            text.Append(CultureInfo.InvariantCulture, $"TPM: {away}\n");
        if (report.IsGhost)
            text.Append("Ghost: this boot keeps nothing. What changes in /etc and /var lives in memory, and is gone at power-off: sbox ledger lists it.\n");
        if (report.BootsAs is { } boots and not DefaultBoot.Normal)
            text.Append(CultureInfo.InvariantCulture, $"Default: {GhostDefault.Text(boots)} (sbox ghost default).\n");
        if (report is { IsGhost: true, IsWiped: false })
            text.Append("Ghost: it was started without init_on_free=1, so what programs left in memory is still there after power-off, for a while: the boot menu's own entry wipes it.\n");
        if (report.Memory is { } memory)
            text.Append(CultureInfo.InvariantCulture, $"Memory: {Text(memory)}\n");
        if (orphans is not null)
            text.Append(CultureInfo.InvariantCulture, $"Kept: {orphans}\n");
        string esp = report.Esp is { } partition ? $"; EFI partition {Amount.OfBytes(partition.AvailableBytes)} of {Amount.OfBytes(partition.TotalBytes)}" : "";
        text.Append(CultureInfo.InvariantCulture, $"Space: {Amount.OfBytes(report.Root.AvailableBytes)} free of {Amount.OfBytes(report.Root.TotalBytes)}{esp}\n");
        text.Append(Conflicts(report));
        if (report.IsSettled == false)
            text.Append("An upgrade was cut short; what is listed above boots all the same. sbox upgrade finishes it.\n");
        if (report.Choice is { } choice)
            text.Append(Firmware(choice, report));
        text.Append(box.EspUnseen is { } unseen ? $"What boots next is not known: {unseen}" : Advice(report));
        return text.ToString();
    }

    // The remotes that are believed by a trust document. What cannot be read hinders nobody from seeing the rest.
    private static List<(string Remote, RemoteTrustState? State, string? Trouble)> Trusted(Repository repository)
    {
        var trusted = new List<(string, RemoteTrustState?, string?)>();
        foreach (string remote in repository.RemoteNames())
        {
            try
            {
                if (repository.Trust(remote) is { } state)
                    trusted.Add((remote, state, null));
            }
            catch (Exception damaged) when (damaged is TrustException or IOException or UnauthorizedAccessException) // also a link in its place, a directory, a disk that fails
            {
                trusted.Add((remote, null, damaged.Message));
            }
        }

        return trusted;
    }

    /// <summary>How far the repository's files are sealed.</summary>
    /// <param name="verity">Their numbers; null where they were not counted, since the root opens no file without a seal.</param>
    internal static string Text(VerityCoverage? verity) => verity is null
        ? "every file that runs is sealed, or the kernel would not open it (sbox doctor counts those of all versions)"
        : $"{verity}{(verity is { Supported: true, IsWhole: false } ? "; sbox verity seals the rest" : "")}";

    private static string Text(MemoryDisk memory) => memory.Refused is { } why
        ? $"this boot was to run from memory, and runs from {memory.Medium}: {why}. Leave it in."
        : string.Create(CultureInfo.InvariantCulture, $"this boot runs from a copy of {memory.Medium} ({Amount.OfBytes(memory.Bytes)}, made in {memory.Took.TotalSeconds:0} s), which may be taken out. There is no disk to upgrade, or to keep anything on.");

    // What the firmware's variables add to loader.conf.
    private static string Firmware(BootChoice choice, StatusReport report)
    {
        string said = choice.Variable is { } set ? $"The firmware was told to boot '{set}' (LoaderEntryDefault), whatever loader.conf says.\n" : "";
        return choice.OneShot is { } once
            ? $"{said}The next boot only starts {(report.NextOnce is { } version ? $"version {Version(version)}" : $"'{once}'")} (LoaderEntryOneShot).\n"
            : said;
    }

    // Oldest first, what runs and what comes next marked: where the box is on its way.
    private static string Timeline(IReadOnlyList<DeploymentStatus> deployments)
    {
        if (deployments.Count < 2)
            return "";
        var (line, below) = (new StringBuilder(), new StringBuilder());
        foreach (DeploymentStatus each in deployments.OrderBy(static each => each.Time ?? DateTimeOffset.MinValue).ThenBy(static each => each.Name.Serial))
        {
            string name = $"{Mark(each)} {Version(each)}", role = $"{Role(each)}{(each.IsPinned ? ", pinned" : "")}";
            int width = Math.Max(name.Length, role.Length) + 4;
            line.Append(name).Append(' ').Append('─', width - name.Length - 2).Append(' ');
            below.Append(role.PadRight(width));
        }

        return $"{line.ToString().TrimEnd().TrimEnd('─').TrimEnd()}\n{below.ToString().TrimEnd()}\n\n";
    }

    private static char Mark(DeploymentStatus each) => each.IsBooted ? '●' : each.IsNext == true ? '→' : '○';

    private static string Trial(DeploymentStatus each, StatusReport report) => each switch
    {
        _ when report.Bad.Any(bad => bad.Commit == each.Name.Commit) => ", did not come up: not tried again by itself",
        { TriesLeft: 0 } => ", did not come up",
        { TriesLeft: { } left, IsBooted: true } => string.Create(CultureInfo.InvariantCulture, $", on trial until it is found good: {left} {(left == 1 ? "try" : "tries")} left"),
        { TriesLeft: { } left } => string.Create(CultureInfo.InvariantCulture, $", on trial: {left} {(left == 1 ? "try" : "tries")} left"),
        _ => "",
    };

    // What a merge could not decide, and what a merge at shutdown could not do.
    private static string Conflicts(StatusReport report)
    {
        string failed = report.EtcFailure is { } failure ? $"/etc: what was edited after the upgrade did not come with it: {failure}\n" : "";
        int count = report.EtcConflicts.Count;
        if (count == 0)
            return failed;
        string some = string.Join(", ", report.EtcConflicts.Take(4).Select(static each => each.Finding.Path));
        return string.Create(CultureInfo.InvariantCulture, $"{failed}{count} {(count == 1 ? "conflict in /etc waits" : "conflicts in /etc wait")}: {some}{(count > 4 ? ", ..." : "")} (yours is kept; sbox etc resolve)\n");
    }

    private static string Changes(DeploymentStatus each) => each.EtcChanges switch
    {
        null => "only root may read all of it",
        1 => "1 name differs from its defaults",
        var count => string.Create(CultureInfo.InvariantCulture, $"{count} names differ from its defaults"),
    };

    private static string Version(DeploymentStatus each) => each.Version ?? each.Name.Commit.ToString()[..12];

    private static string Role(DeploymentStatus each) => (each.IsBooted, each.IsNext, each.IsNextOnce) switch
    {
        (true, true, _) => "runs now, boots next",
        (true, _, true) => "runs now, boots next once",
        (true, _, _) => "runs now",
        (false, true, _) => "boots next",
        (false, _, true) => "boots next once",
        _ => "kept",
    };

    private static string Advice(StatusReport report) => report switch
    {
        { Choice.Entry: null } => "What boots next is not known: the EFI partition names no entry, or a pattern that fits several. sbox upgrade or sbox rollback sets one.",
        { Next: null, Choice.Entry: { } entry } => $"'{entry}' boots next, which is none of these. sbox upgrade or sbox rollback sets one of them.",
        { Booted: null } => "None of these runs on this machine.",
        { Deployments.Count: 1 } => "Only one version is here; sbox upgrade brings the next, and keeps this one to go back to.",
        { Booted.IsNext: true } => $"To go back to version {Version(report.Deployments.First(static each => !each.IsBooted))}: sbox rollback, then reboot.",
        { Next: { } next } => $"Version {Version(next)} runs after a reboot. To stay with this one: sbox rollback.",
        _ => "Nothing is set to boot next.",
    };

    private static void Write(Utf8JsonWriter writer, StatusReport report)
    {
        Property(writer, "booted", report.Booted);
        Property(writer, "next", report.Next);
        Property(writer, "next-once", report.NextOnce);
        Flag(writer, "settled", report.IsSettled);
        writer.WriteStartArray("deployments");
        foreach (DeploymentStatus each in report.Deployments)
        {
            writer.WriteStartObject();
            Facts(writer, each);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        if (report.Seal is { } seal)
        {
            writer.WriteStartObject("seal");
            writer.WriteBoolean("sealed", seal.IsSealed);
            writer.WriteBoolean("firmware-enforces", seal.FirmwareEnforces);
            writer.WriteBoolean("command-line-asks", seal.CommandLineAsks);
            writer.WriteBoolean("files-verified", seal.FilesVerified);
            writer.WriteEndObject();
        }

        writer.WriteStartArray("etc-conflicts");
        foreach ((Sbox.Boot.DeploymentName deployment, EtcFinding finding) in report.EtcConflicts)
        {
            writer.WriteStartObject();
            writer.WriteString("path", $"/etc/{finding.Path}");
            writer.WriteString("deployment", deployment.ToString());
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteString("etc-failure", report.EtcFailure);
        writer.WriteStartArray("bad-versions");
        foreach (BadVersion bad in report.Bad)
            writer.WriteStringValue(bad.Commit.ToString());
        writer.WriteEndArray();
        writer.WriteStartArray("failed-checks");
        foreach (HealthFinding finding in report.FailedChecks)
        {
            writer.WriteStartObject();
            HealthText.Write(writer, finding);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteString("boots-as", report.BootsAs?.Name());
        writer.WriteBoolean("ghost", report.IsGhost);
        if (report.IsGhost)
            writer.WriteBoolean("wiped", report.IsWiped);
        if (report.Memory is { } memory)
        {
            writer.WriteStartObject("memory-disk");
            writer.WriteString("medium", memory.Medium);
            writer.WriteNumber("bytes", memory.Bytes);
            writer.WriteNumber("seconds", Math.Round(memory.Took.TotalSeconds, 1));
            writer.WriteString("refused", memory.Refused);
            writer.WriteEndObject();
        }

        writer.WriteNumber("bytes-free", report.Root.AvailableBytes);
        writer.WriteNumber("bytes", report.Root.TotalBytes);
        if (report.Esp is { } partition)
        {
            writer.WriteNumber("esp-bytes-free", partition.AvailableBytes);
            writer.WriteNumber("esp-bytes", partition.TotalBytes);
        }
    }

    private static void Property(Utf8JsonWriter writer, string name, DeploymentStatus? deployment)
    {
        if (deployment is null)
        {
            writer.WriteNull(name);
            return;
        }

        writer.WriteStartObject(name);
        Facts(writer, deployment);
        writer.WriteEndObject();
    }

    private static void Flag(Utf8JsonWriter writer, string name, bool? value)
    {
        if (value is { } known)
            writer.WriteBoolean(name, known);
        else
            writer.WriteNull(name);
    }

    private static void Facts(Utf8JsonWriter writer, DeploymentStatus each)
    {
        writer.WriteString("version", each.Version);
        writer.WriteString("checksum", each.Name.Commit.ToString());
        writer.WriteString("deployment", each.Name.ToString());
        writer.WriteString("os", each.Name.Os);
        writer.WriteNumber("serial", each.Name.Serial);
        writer.WriteString("origin", each.Refspec?.ToString());
        if (each.Time is { } time)
            writer.WriteString("time", time.UtcDateTime);
        writer.WriteBoolean("booted", each.IsBooted);
        Flag(writer, "next", each.IsNext);
        writer.WriteBoolean("pinned", each.IsPinned);
        if (each.TriesLeft is { } left)
            writer.WriteNumber("tries-left", left);
        writer.WriteBoolean("sealed", each.HasSeal);
        if (each.EtcChanges is { } changes)
            writer.WriteNumber("etc-changes", changes);
        else
            writer.WriteNull("etc-changes");
    }
}
