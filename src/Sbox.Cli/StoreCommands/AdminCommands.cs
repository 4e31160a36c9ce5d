using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Sbox.Cli.Commands;
using Sbox.Cli.Help;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Cli.StoreCommands;

/// <summary><c>ostree admin</c>: what it does and prints is what libostree's does and prints, on classic boot; no EFI partition is written.</summary>
internal static class AdminCommands
{
    public static Command Make()
    {
        Option<string?> path = Sysroot();
        Command admin = new DocumentedCommand("admin", "Manage a host system booted with ostree");
        var print = new Option<bool>("--print-current-dir") { Description = "Print the directory of the deployment that runs, or of the default" };
        admin.With(path, print, Verbose);
        admin.SetAction(parsed =>
        {
            if (!parsed.GetValue(print))
            {
                HelpPage.Write(admin, Console.Error);
                Console.Error.WriteLine("error: No \"admin\" subcommand specified");
                return 1;
            }

            using OstreeSysroot sysroot = Open(parsed, path);
            Deployment current = sysroot.Booted ?? sysroot.Deployments.FirstOrDefault() ?? throw new IOException("Unable to find a deployment in sysroot");
            Console.Out.WriteLine(Path.GetFullPath($"{sysroot.Path}/{current.Name.Directory}"));
            return 0;
        });
        foreach (Command command in (Command[])[Status(), .. AdminDeploying.All(), .. AdminKeeping.All(), AdminInstUtil.Make(), .. AdminRunning.All()])
            admin.Subcommands.Add(command);
        return admin;
    }

    /// <summary><c>--sysroot</c>, as ostree has it.</summary>
    public static Option<string?> Sysroot() => new("--sysroot") { Description = "The system's root; else $OSTREE_SYSROOT, else /", HelpName = "PATH" };

    /// <summary><c>--verbose</c>, of every command.</summary>
    private static Option<bool> Verbose { get; } = new("--verbose", "-v") { Description = "Say on stderr each step that changes the disk", Recursive = true };

    /// <summary><c>--os</c> and <c>--stateroot</c>.</summary>
    public static Option<string?> Os(string name = "--os") => new(name) { Description = "A stateroot other than the current one", HelpName = "STATEROOT" };

    public static OstreeSysroot Open(ParseResult parsed, Option<string?> path)
    {
        string asked = parsed.GetValue(path) ?? Environment.GetEnvironmentVariable("OSTREE_SYSROOT") ?? "/";
        // libostree's / is what a box mounts at /sysroot.
        string root = asked == "/" && Directory.Exists("/sysroot/ostree/deploy") ? "/sysroot" : asked;
        Action<string>? say = parsed.GetValue(Verbose) ? static step => Console.Error.WriteLine($"OT: {step}") : null;
        return OstreeSysroot.Open(root, new SysrootOptions { ShortEntryNames = true, BeforeStep = say });
    }

    /// <summary>Opens to change; on a running box in a mount namespace of its own, in which this process starts again.</summary>
    public static OstreeSysroot OpenToChange(ParseResult parsed, Option<string?> path)
    {
        string asked = parsed.GetValue(path) ?? Environment.GetEnvironmentVariable("OSTREE_SYSROOT") ?? "/";
        if (asked == "/" && Directory.Exists("/sysroot/ostree/deploy"))
            throw new Finding("this machine runs a box whose EFI partition follows its deployments", "sbox upgrade, rollback, switch, pin, undeploy and kargs change it; ostree admin --sysroot=PATH works on classic ones");
        return Open(parsed, path);
    }

    /// <summary>The stateroot that is meant: the one that was named, else the running one's, else the default's.</summary>
    public static string Stateroot(OstreeSysroot sysroot, string? named)
    {
        string os = named ?? (sysroot.Booted ?? sysroot.Deployments.FirstOrDefault())?.Name.Os ?? throw new IOException("No deployments");
        return sysroot.Root.Exists($"ostree/deploy/{os}") ? os : throw new IOException($"No such stateroot: {os}");
    }

    /// <summary>The deployment at an index, as it is typed.</summary>
    public static Deployment At(OstreeSysroot sysroot, string text)
    {
        if (text.Length == 0 || !text.All(char.IsAsciiDigit) || !int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int index))
            throw new IOException($"Invalid index: {text}");
        return index < sysroot.Deployments.Count ? sysroot.Deployments[index] : throw new IOException($"Out of range deployment index {index}, expected < {sysroot.Deployments.Count}");
    }

    /// <summary>What libostree prints when it changed what boots.</summary>
    public static void SayBootloader(OstreeSysroot sysroot)
    {
        if (sysroot.LastBootWrite is { } write)
            Console.Out.WriteLine($"Bootloader updated; bootconfig swap: {(write.Swapped ? "yes" : "no")}; bootversion: boot.{write.Version}.{write.Subversion}, deployment count change: {write.CountChange}");
    }

    private static Command Status()
    {
        Option<string?> path = Sysroot();
        var json = new Option<bool>("--json", "-J") { Description = "Answer with JSON" };
        var verify = new Option<bool>("--verify", "-V") { Description = "Verify the signatures of the deployed commits" };
        var skip = new Option<bool>("--skip-signatures", "-S") { Description = "Show no signatures" };
        var isDefault = new Option<bool>("--is-default", "-D") { Description = "Print 'default' where the default deployment runs, otherwise 'not-default'" };
        Command command = new DocumentedCommand("status", "List deployments").With(path, json, verify, skip, isDefault);
        command.SetAction(parsed =>
        {
            using OstreeSysroot sysroot = Open(parsed, path);
            using var deployer = new Deployer(sysroot, espDirectory: null);
            StatusReport report = StatusReport.Of(sysroot, deployer, countEtcChanges: false);
            if (parsed.GetValue(isDefault))
            {
                Console.Out.WriteLine(report.Booted is not null && report.Deployments[0].IsBooted ? "default" : "not-default");
                return 0;
            }

            if (parsed.GetValue(json))
            {
                Console.Out.WriteLine(Json(report));
                return 0;
            }

            if (report.Deployments.Count == 0)
                Console.Out.WriteLine("No deployments.");
            foreach (DeploymentStatus each in report.Deployments)
            {
                Write(sysroot, each);
                if (!parsed.GetValue(skip))
                    Signatures(sysroot, each);
            }

            return 0;
        });
        return command;
    }

    private static void Write(OstreeSysroot sysroot, DeploymentStatus each)
    {
        string role = $"{(each.IsPending ? " (pending)" : each.IsRollback ? " (rollback)" : "")}{(each.IsSoftRebootTarget ? " (soft-reboot)" : "")}";
        Console.Out.WriteLine($"{(each.IsBooted ? '*' : ' ')} {each.Name.Os} {each.Name.Commit}.{each.Name.Serial}{role}");
        if (each.Version is { } version)
            Console.Out.WriteLine($"    Version: {version}");
        Console.Out.WriteLine(each.HasOrigin
            ? $"    origin{(each.Refspec is { } refspec ? $" refspec: {refspec}" : ": <unknown origin type>")}"
            : "    origin: none");
        if (Commit(sysroot, each)?.Metadata["ostree.source-title"] is { Type.Signature: "s" } title)
            Console.Out.WriteLine($"    `- {title.Text}");
        if (each.Unlocked is { } unlocked)
            Console.Out.WriteLine($"    Unlocked: {unlocked}");
        if (each.IsPinned)
            Console.Out.WriteLine("    Pinned: yes");
    }

    private static Commit? Commit(OstreeSysroot sysroot, DeploymentStatus each) =>
        sysroot.Repository.Has(new ObjectName(each.Name.Commit, ObjectType.Commit)) ? sysroot.Repository.LoadCommit(each.Name.Commit) : null;

    // Where the remote's commits are to be signed, who signed this one.
    private static void Signatures(OstreeSysroot sysroot, DeploymentStatus each)
    {
        if (each.Refspec?.Remote is not { } remote || Commit(sysroot, each) is null || sysroot.Repository.Remote(remote) is not { GpgVerify: true })
            return;
        foreach (GpgSignature signature in sysroot.Repository.GpgSignatures(each.Name.Commit, remote, null))
            Console.Out.WriteLine(signature.Describe("    GPG: ", TimeZoneInfo.Local).TrimEnd('\n'));
    }

    private static string Json(StatusReport report)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Indented = true, IndentSize = 3, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
        {
            writer.WriteStartObject();
            writer.WriteStartArray("deployments");
            foreach ((int index, DeploymentStatus each) in report.Deployments.Index())
            {
                writer.WriteStartObject();
                writer.WriteString("checksum", each.Name.Commit.ToString());
                writer.WriteString("stateroot", each.Name.Os);
                if (each.Refspec is { } refspec)
                    writer.WriteString("refspec", refspec.ToString());
                writer.WriteNumber("serial", each.Name.Serial);
                writer.WriteNumber("index", index);
                writer.WriteBoolean("booted", each.IsBooted);
                writer.WriteBoolean("pending", each.IsPending);
                writer.WriteBoolean("rollback", each.IsRollback);
                writer.WriteBoolean("finalization-locked", false);
                writer.WriteBoolean("soft-reboot-target", each.IsSoftRebootTarget);
                writer.WriteBoolean("staged", false);
                writer.WriteBoolean("pinned", each.IsPinned);
                writer.WriteString("unlocked", each.Unlocked ?? "none");
                if (each.Version is { } version)
                    writer.WriteString("version", version);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }
}
