using System.CommandLine;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.StoreCommands;

/// <summary>The commands of <c>ostree admin</c> that look after what is deployed.</summary>
internal static class AdminKeeping
{
    public static IEnumerable<Command> All() =>
    [
        InitFs(), OsInit("os-init"), OsInit("stateroot-init"), Cleanup(), ConfigDiff(), Undeploy(), Pin(), SetDefault(), SetOrigin(), Kargs(), PostCopy(),
    ];

    /// <summary>A command that changes a sysroot.</summary>
    internal static Command On(string name, string description, Action<OstreeSysroot, ParseResult> act, params Symbol[] symbols)
    {
        Option<string?> path = AdminCommands.Sysroot();
        Command command = new DocumentedCommand(name, description).With([path, .. symbols]);
        command.SetAction(parsed =>
        {
            using OstreeSysroot sysroot = AdminCommands.OpenToChange(parsed, path);
            act(sysroot, parsed);
            return 0;
        });
        return command;
    }

    private static Command InitFs()
    {
        Option<string?> sysroot = AdminCommands.Sysroot();
        var path = new Argument<string>("PATH") { Description = "The directory that becomes a physical root" };
        var modern = new Option<bool>("--modern") { Description = "As --epoch=1" };
        var epoch = new Option<int>("--epoch", "-E") { Description = "0: also the top directories of a system; 1: boot and ostree only; 2: ostree for root alone", HelpName = "EPOCH" };
        Command command = new DocumentedCommand("init-fs", "Make an empty physical root").With(sysroot, path, modern, epoch);
        command.SetAction(parsed =>
        {
            int level = Math.Max(parsed.GetValue(epoch), parsed.GetValue(modern) ? 1 : 0);
            string root = parsed.GetValue(path)!;
            OstreeSysroot.Init(root).Dispose();
            using Dir dir = Dir.Open(root);
            foreach ((string name, uint mode) in level > 0 ? [] : (ReadOnlySpan<(string, uint)>)[("dev", 0x1ED), ("home", 0x1ED), ("proc", 0x1ED), ("root", 0x1C0), ("run", 0x1ED), ("sys", 0x1ED), ("tmp", 0x3FF)])
            {
                if (!dir.Exists(name))
                    dir.MakeDir(name);
                dir.ChangeMode(name, mode);
            }

            if (level >= 2)
                dir.ChangeMode("ostree", 0x1C0);
            return 0;
        });
        return command;
    }

    private static Command OsInit(string name)
    {
        var os = new Argument<string>("STATEROOT") { Description = "Its name" };
        return On(name, "Make an empty stateroot", (sysroot, parsed) =>
        {
            string made = parsed.GetValue(os)!;
            if (!sysroot.TryMakeStateroot(made))
                throw new IOException($"Creating ostree/deploy/{made}: File exists");
            Console.Out.WriteLine($"ostree/deploy/{made} initialized as OSTree stateroot");
        }, os);
    }

    private static Command Cleanup() => On("cleanup", "Delete untagged deployments and repository objects", (sysroot, _) =>
    {
        using var deployer = new Deployer(sysroot, espDirectory: null);
        deployer.Finish();
    });

    private static Command ConfigDiff()
    {
        Option<string?> os = AdminCommands.Os();
        return On("config-diff", "Show how /etc differs from its defaults", (sysroot, parsed) =>
        {
            Deployment deployment = sysroot.MergeDeployment(AdminCommands.Stateroot(sysroot, parsed.GetValue(os))) ?? throw new IOException("No deployment for OS");
            foreach (EtcChange change in sysroot.EtcChanges(deployment))
                Console.Out.WriteLine(change);
        }, os);
    }

    private static Command Undeploy()
    {
        var index = new Argument<string>("INDEX") { Description = "Its place in ostree admin status, from 0" };
        return On("undeploy", "Delete a deployment", (sysroot, parsed) =>
        {
            Deployment chosen = AdminCommands.At(sysroot, parsed.GetValue(index)!);
            if (sysroot.IsBooted(chosen))
                throw new IOException($"Cannot undeploy currently booted deployment {parsed.GetValue(index)}");
            using var deployer = new Deployer(sysroot, espDirectory: null);
            deployer.Undeploy(chosen.Name);
            AdminCommands.SayBootloader(sysroot);
            Console.Out.WriteLine($"Deleted deployment {chosen.Name.Commit}.{chosen.Name.Serial}");
        }, index);
    }

    private static Command Pin()
    {
        var unpin = new Option<bool>("--unpin", "-u") { Description = "Let it go again" };
        var indexes = new Argument<string[]>("INDEX") { Description = "Places in ostree admin status, or booted, pending, rollback", Arity = ArgumentArity.OneOrMore };
        return On("pin", "Keep a deployment from being cleaned away", (sysroot, parsed) =>
        {
            bool pinned = !parsed.GetValue(unpin);
            foreach (string text in parsed.GetValue(indexes)!)
            {
                Deployment chosen = Named(sysroot, text) ?? AdminCommands.At(sysroot, text);
                bool changed = Pinning.Set(sysroot, chosen.Name, pinned);
                Console.Out.WriteLine($"Deployment {text} is {(changed ? "now" : "already")} {(pinned ? "pinned" : "unpinned")}");
            }
        }, unpin, indexes);
    }

    private static Deployment? Named(OstreeSysroot sysroot, string text)
    {
        int booted = sysroot.Deployments.ToList().FindIndex(sysroot.IsBooted);
        return text switch
        {
            "booted" => booted >= 0 ? sysroot.Deployments[booted] : throw new IOException("No booted deployment found to pin"),
            "pending" => booted > 0 ? sysroot.Deployments[booted - 1] : throw new IOException("No pending deployment found to pin"),
            "rollback" => booted >= 0 && booted + 1 < sysroot.Deployments.Count ? sysroot.Deployments[booted + 1] : throw new IOException("No rollback deployment found to pin"),
            _ => null,
        };
    }

    private static Command SetDefault()
    {
        var index = new Argument<string>("INDEX") { Description = "Its place in ostree admin status, from 0" };
        return On("set-default", "Make a deployment the default", (sysroot, parsed) =>
        {
            Deployment chosen = AdminCommands.At(sysroot, parsed.GetValue(index)!);
            if (chosen == sysroot.Deployments[0])
                return;
            using var deployer = new Deployer(sysroot, espDirectory: null);
            deployer.Rollback(chosen.Name);
            AdminCommands.SayBootloader(sysroot);
        }, index);
    }

    private static Command SetOrigin()
    {
        var index = new Option<string?>("--index") { Description = "Of the deployment at this place", HelpName = "INDEX" };
        var set = new Option<string[]>("--set", "-s") { Description = "A setting of the remote", HelpName = "KEY=VALUE" };
        (Argument<string> name, Argument<string> url) = (new("REMOTENAME") { Description = "The remote's name" }, new("URL") { Description = "Its address" });
        var branch = new Argument<string?>("BRANCH") { Description = "The branch; the origin's where it is not said", Arity = ArgumentArity.ZeroOrOne };
        return On("set-origin", "Add a remote, and follow its branch", (sysroot, parsed) =>
        {
            Deployment chosen = parsed.GetValue(index) is { } at ? AdminCommands.At(sysroot, at)
                : sysroot.Booted ?? throw new IOException("Not currently booted into an OSTree system");
            string remote = parsed.GetValue(name)!, group = $"remote \"{remote}\"";
            // One that is there stays as it is, as libostree has it: whoever names it means the one that he set up.
            if (!sysroot.Repository.DefinesRemote(remote))
                sysroot.Repository.ChangeRemote(remote, file => parsed.GetValue(set)!.Aggregate(file.With(group, "url", parsed.GetValue(url)!), (config, setting) =>
                    setting.Split('=', 2) is [var key, var value] ? config.With(group, key, value) : throw new IOException($"Missing '=' in KEY=VALUE for --set: {setting}")));
            string followed = parsed.GetValue(branch) ?? chosen.Origin?.Refspec?.Ref ?? throw new IOException("No existing refspec in origin, and no branch specified");
            Pinning.SetOrigin(sysroot, chosen.Name, (chosen.Origin ?? Origin.Of(new Refspec(remote, followed))).With(new Refspec(remote, followed)));
        }, index, set, name, url, branch);
    }

    private static Command Kargs()
    {
        var kargs = new DocumentedCommand("kargs", "Change kernel arguments");
        var append = new Option<string[]>("--append-if-missing") { Description = "Add an argument that is not there", HelpName = "NAME=VALUE" };
        // What follows is passed over, as by theirs.
        var rest = new Argument<string[]>("REV") { Description = "Passed over, as ostree does", Arity = ArgumentArity.ZeroOrMore };
        kargs.Subcommands.Add(On("edit-in-place", "Change the kernel arguments of every deployment", (sysroot, parsed) =>
        {
            using var deployer = new Deployer(sysroot, espDirectory: null);
            foreach (Deployment each in sysroot.Deployments)
                deployer.SetArguments(each.Name, parsed.GetValue(append)!.Aggregate(each.Arguments, static (all, one) => all.AppendIfMissing(one)));
        }, append, rest));
        return kargs;
    }

    private static Command PostCopy() => On("post-copy", "Look after repository and deployments that were copied to another disk", (sysroot, _) =>
    {
        foreach (Deployment each in sysroot.Deployments)
        {
            using Dir tree = sysroot.OpenDeployment(each);
            sysroot.Repository.EnableVerity(each.Name.Commit, CancellationToken.None);
        }
    });
}
