using System.CommandLine;
using Sbox.Cli.Commands;
using Sbox.Cli.Help;
using Sbox.Sysroot;

namespace Sbox.Cli.StoreCommands;

/// <summary><c>ostree admin</c>, as far as it goes: what it prints is what libostree's prints.</summary>
internal static class AdminCommands
{
    public static Command Make()
    {
        var admin = new DocumentedCommand("admin", "Look at the deployments of a host system");
        admin.Subcommands.Add(Status());
        return admin;
    }

    private static Command Status()
    {
        var path = new Option<string>("--sysroot") { Description = "The system's root (/ where it is not said)", HelpName = "PATH", DefaultValueFactory = static _ => "/" };
        Command command = new DocumentedCommand("status", "List deployments").With(path);
        command.SetAction(parsed =>
        {
            // libostree's / is what a box mounts at /sysroot.
            string root = parsed.GetValue(path)! is "/" && Directory.Exists("/sysroot/ostree/deploy") ? "/sysroot" : parsed.GetValue(path)!;
            using OstreeSysroot sysroot = OstreeSysroot.Open(root);
            using var deployer = new Deployer(sysroot, espDirectory: null);
            StatusReport report = StatusReport.Of(sysroot, deployer, countEtcChanges: false);
            if (report.Deployments.Count == 0)
                Console.Out.WriteLine("No deployments.");
            foreach (DeploymentStatus each in report.Deployments)
                Write(each);
            return 0;
        });
        return command;
    }

    private static void Write(DeploymentStatus each)
    {
        string role = each.IsPending ? " (pending)" : each.IsRollback ? " (rollback)" : "";
        Console.Out.WriteLine($"{(each.IsBooted ? '*' : ' ')} {each.Name.Os} {each.Name.Commit}.{each.Name.Serial}{role}");
        if (each.Version is { } version)
            Console.Out.WriteLine($"    Version: {version}");
        Console.Out.WriteLine(each.HasOrigin
            ? $"    origin{(each.Refspec is { } refspec ? $" refspec: {refspec}" : ": <unknown origin type>")}"
            : "    origin: none");
        if (each.Unlocked is { } unlocked)
            Console.Out.WriteLine($"    Unlocked: {unlocked}");
        if (each.IsPinned)
            Console.Out.WriteLine("    Pinned: yes");
    }
}
