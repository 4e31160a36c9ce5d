using System.CommandLine;
using Sbox.Boot;
using Sbox.Cli.Help;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Cli.StoreCommands;

/// <summary><c>ostree admin deploy</c>, <c>upgrade</c> and <c>switch</c>.</summary>
internal static class AdminDeploying
{
    public static IEnumerable<Command> All() => [Deploy(), Upgrade(), Switch()];

    private static Command Deploy()
    {
        (Option<string?> path, Option<string?> os, Option<string?> stateroot) = (AdminCommands.Sysroot(), AdminCommands.Os(), AdminCommands.Os("--stateroot"));
        var refspec = new Argument<string>("REFSPEC") { Description = "What is deployed, and followed from then on" };
        var origin = new Option<string?>("--origin-file") { Description = "Take the origin from this file", HelpName = "FILENAME" };
        Option<bool> Flag(string name, string what) => new(name) { Description = what };
        Option<bool> noPrune = Flag("--no-prune", "Leave the repository as it is"), noMerge = Flag("--no-merge", "Take neither /etc nor kernel arguments over"), retain = Flag("--retain", "Keep all deployments"),
            stage = Flag("--stage", "Finish at shutdown; refused: a deployment is whole when this command returns"), locked = Flag("--lock-finalization", "With --stage"),
            pending = Flag("--retain-pending", "Keep pending deployments"), rollback = Flag("--retain-rollback", "Keep rollback deployments"), append = Flag("--not-as-default", "Put it behind the current one"),
            proc = Flag("--karg-proc-cmdline", "Take the running kernel's arguments"), none = Flag("--karg-none", "Take no kernel arguments over");
        Option<string[]> Kargs(string name, string what) => new(name) { Description = what, HelpName = "NAME=VALUE" };
        Option<string[]> set = Kargs("--karg", "Set a kernel argument, in place of those with its name"), add = Kargs("--karg-append", "Add a kernel argument"), remove = Kargs("--karg-delete", "Remove a kernel argument");
        var overlays = new Option<string[]>("--overlay-initrd") { Description = "Load this initrd after the tree's own, too", HelpName = "FILE" };
        Command command = new DocumentedCommand("deploy", "Check a revision out as the new default deployment")
            .With(path, os, stateroot, origin, noPrune, noMerge, retain, stage, locked, pending, rollback, append, proc, none, set, add, remove, overlays, refspec);
        command.SetAction((parsed, cancel) => Task.Run(() =>
        {
            using OstreeSysroot sysroot = AdminCommands.OpenToChange(parsed, path);
            string root = AdminCommands.Stateroot(sysroot, parsed.GetValue(stateroot) ?? parsed.GetValue(os));
            if (parsed.GetValue(stage) || Environment.GetEnvironmentVariable("OSTREE_EX_STAGE_DEPLOYMENTS") is not null)
                throw new IOException("Cannot stage deployment: Not currently booted into an OSTree system");
            if (parsed.GetValue(none) && parsed.GetValue(proc))
                throw new IOException("Can't specify both --karg-proc-cmdline and --karg-none");
            Checksum commit = sysroot.Repository.Resolve(parsed.GetValue(refspec)!);
            Deployment? merge = sysroot.MergeDeployment(root);
            bool fresh = parsed.GetValue(none) || parsed.GetValue(noMerge);
            KernelArguments arguments = parsed.GetValue(proc) ? RunningArguments() : fresh ? KernelArguments.Empty : merge?.Arguments ?? KernelArguments.Empty;
            arguments = parsed.GetValue(set)!.Aggregate(arguments, static (all, each) => all.Set(new KernelArgument(each)));
            arguments = parsed.GetValue(add)!.Aggregate(arguments, static (all, each) => all.Append(each));
            arguments = parsed.GetValue(remove)!.Aggregate(arguments, static (all, each) => all.Delete(each));
            Origin from = parsed.GetValue(origin) is { } file ? Origin.Parse(File.ReadAllText(file)) : Origin.Of(Refspec.Parse(parsed.GetValue(refspec)!));
            Run(sysroot, new DeployRequest(root, commit)
            {
                Arguments = arguments, Origin = from, NoMerge = parsed.GetValue(noMerge), Retain = parsed.GetValue(retain), RetainPending = parsed.GetValue(pending),
                RetainRollback = parsed.GetValue(rollback), NotAsDefault = parsed.GetValue(append), NoPrune = parsed.GetValue(noPrune), OverlayInitrds = parsed.GetValue(overlays)!,
            }, cancel);
            return 0;
        }, cancel));
        return command;
    }

    private static Command Upgrade()
    {
        (Option<string?> path, Option<string?> os) = (AdminCommands.Sysroot(), AdminCommands.Os());
        var reboot = new Option<bool>("--reboot", "-r") { Description = "Reboot after a successful upgrade, where this sysroot runs" };
        var older = new Option<bool>("--allow-downgrade") { Description = "Take an older commit" };
        var commit = new Option<string?>("--override-commit") { Description = "Deploy this commit in place of the newest", HelpName = "CHECKSUM" };
        var pullOnly = new Option<bool>("--pull-only") { Description = "Only fetch" };
        var deployOnly = new Option<bool>("--deploy-only") { Description = "Fetch nothing" };
        var stage = new Option<bool>("--stage") { Description = "Finish at shutdown; refused: a deployment is whole when this command returns" };
        Option<bool> kexec = Kexec();
        Command command = new DocumentedCommand("upgrade", "Deploy what the current origin offers, if it changed").With(path, os, reboot, kexec, older, commit, pullOnly, deployOnly, stage);
        command.SetAction(async (parsed, cancel) =>
        {
            using OstreeSysroot sysroot = AdminCommands.OpenToChange(parsed, path);
            Deployment current = sysroot.MergeDeployment(AdminCommands.Stateroot(sysroot, parsed.GetValue(os))) ?? throw new IOException("No previous deployment");
            if (parsed.GetValue(stage) || Environment.GetEnvironmentVariable("OSTREE_EX_STAGE_DEPLOYMENTS") is not null)
                throw new IOException("Cannot stage deployment: Not currently booted into an OSTree system");
            if (parsed.GetValue(pullOnly) && (parsed.GetValue(reboot) || parsed.GetValue(kexec)))
                throw new IOException("Cannot simultaneously specify --pull-only and --reboot or --kexec");
            RefuseKexec(parsed, kexec);
            if (current.Origin?.File.GetString("origin", "unconfigured-state") is { } state)
                throw new IOException($"origin unconfigured-state: {state}");
            Refspec refspec = current.Origin?.Refspec ?? throw new IOException("No origin refspec");
            return await Follow(sysroot, current, refspec, new FollowOptions(parsed.GetValue(commit), parsed.GetValue(older), parsed.GetValue(pullOnly), parsed.GetValue(deployOnly)), cancel);
        });
        return command;
    }

    private static Command Switch()
    {
        (Option<string?> path, Option<string?> os) = (AdminCommands.Sysroot(), AdminCommands.Os());
        var reboot = new Option<bool>("--reboot", "-r") { Description = "Reboot after switching, where this sysroot runs" };
        Option<bool> kexec = Kexec();
        var to = new Argument<string>("REFSPEC") { Description = "REMOTE:BRANCH, BRANCH of the same remote, or REMOTE: for the same branch" };
        Command command = new DocumentedCommand("switch", "Deploy another branch, and follow it from then on").With(path, os, reboot, kexec, to);
        command.SetAction(async (parsed, cancel) =>
        {
            using OstreeSysroot sysroot = AdminCommands.OpenToChange(parsed, path);
            Deployment current = sysroot.MergeDeployment(AdminCommands.Stateroot(sysroot, parsed.GetValue(os))) ?? throw new IOException("No previous deployment");
            RefuseKexec(parsed, kexec);
            Refspec old = current.Origin?.Refspec ?? throw new IOException("No origin refspec");
            string text = parsed.GetValue(to)!;
            Refspec wanted = text.EndsWith(':') ? old with { Remote = text[..^1] }
                : text.Contains(':', StringComparison.Ordinal) ? Refspec.Parse(text) : new Refspec(old.Remote, text);
            if (wanted == old)
                throw new IOException($"Old and new refs are equal: {wanted}");
            int result = await Follow(sysroot, current, wanted, new FollowOptions(null, AllowOlder: false, PullOnly: false, DeployOnly: false) { Switches = true }, cancel);
            if (old.Remote is { } remote && sysroot.Deployments.All(each => each.Origin?.Refspec != old))
                sysroot.Repository.SetRef(old.ToString(), null);
            return result;
        });
        return command;
    }

    private static Option<bool> Kexec() => new("--kexec", "-k") { Description = "Load the new kernel into the running one; refused: no sysroot that is changed here runs" };

    private static void RefuseKexec(ParseResult parsed, Option<bool> kexec)
    {
        if (parsed.GetValue(kexec))
            throw new IOException("Cannot load a kernel with kexec: Not currently booted into an OSTree system");
    }

    private sealed record FollowOptions(string? Commit, bool AllowOlder, bool PullOnly, bool DeployOnly)
    {
        /// <summary>Another branch may be older than the one that is left; of a remote with a trust document, not older than itself as it is here.</summary>
        public bool Switches { get; init; }
    }

    private static async Task<int> Follow(OstreeSysroot sysroot, Deployment current, Refspec refspec, FollowOptions options, CancellationToken cancel)
    {
        Repository repository = sysroot.Repository;
        if (refspec.Remote is { } remote && !options.DeployOnly)
        {
            // A commit that was named is asked for as the branch's all the same: what a trust document says of the branch is asked of it too.
            var pull = new PullOptions { Remote = remote, Refs = [options.Commit is { } fixedTo ? $"{refspec.Ref}@{Checksum.Parse(fixedTo)}" : refspec.Ref], AllowOlder = options.AllowOlder };
            // What is older is found out before its content is here.
            PullResult looked = await repository.Pull(pull with { CommitMetadataOnly = true, WithoutRefs = true }, null, cancel);
            Checksum offered = looked.Refs.Values.Single();
            RefuseOlder(repository, current, offered, options);
            await repository.Pull(pull, null, cancel);
        }

        Checksum commit = options.Commit is { } said ? Checksum.Parse(said) : repository.Resolve(refspec.ToString());
        RefuseOlder(repository, current, commit, options);
        Commit loaded = repository.LoadCommit(commit);
        if (loaded.Metadata["ostree.endoflife"] is { Type.Signature: "s" } end)
            Console.Error.WriteLine($"End of life: {end.Text}");
        // Whoever named a commit has that one: it is none of the other branch.
        if (options.Commit is null && loaded.Metadata["ostree.endoflife-rebase"] is { Type.Signature: "s" } rebase)
            return await Follow(sysroot, current, refspec with { Ref = rebase.Text }, options, cancel);
        Origin origin = (current.Origin?.ForSuccessor() ?? Origin.Of(refspec)).With(refspec);
        if (origin.File.GetString("origin", "unconfigured-state") is not null)
            origin = new Origin(origin.File.Without("origin", "unconfigured-state"));
        if (options.PullOnly)
            return 0;
        bool same = sysroot.Deployments.FirstOrDefault(each => each.Name.Os == current.Name.Os) is { } first && first.Name.Commit == commit && first.Origin?.Refspec == refspec;
        if (same)
        {
            Console.Out.WriteLine("No update available.");
            return 0;
        }

        Run(sysroot, new DeployRequest(current.Name.Os, commit) { Arguments = current.Arguments, Origin = origin }, cancel);
        return 0;
    }

    private static void RefuseOlder(Repository repository, Deployment current, Checksum offered, FollowOptions options)
    {
        if (options.AllowOlder || options.Switches || !repository.Has(new ObjectName(current.Name.Commit, ObjectType.Commit)) || !repository.Has(new ObjectName(offered, ObjectType.Commit)))
            return;
        (Commit now, Commit then) = (repository.LoadCommit(current.Name.Commit), repository.LoadCommit(offered));
        if (then.Timestamp < now.Timestamp)
            throw new IOException(
                $"Upgrade target revision '{offered}' with timestamp '{then.Time:ddd dd MMM yyyy HH:mm:ss} UTC' is chronologically older than current revision '{current.Name.Commit}' with timestamp "
                + $"'{now.Time:ddd dd MMM yyyy HH:mm:ss} UTC'; use --allow-downgrade to permit");
    }

    private static void Run(OstreeSysroot sysroot, DeployRequest request, CancellationToken cancel)
    {
        using var deployer = new Deployer(sysroot, espDirectory: null);
        deployer.Deploy(request, null, cancel, planned: plan =>
        {
            if (plan.Etc?.LeavesOverDirectories.FirstOrDefault() is { } clash)
                throw new IOException($"Modified config file newly defaults to directory '{clash}', cannot merge");
            if (plan.Merge is { } merge && !request.NoMerge && sysroot.Deployments.Any(each => each.Name == merge))
            {
                int Count(EtcChangeKind kind) => plan.Etc?.Changes.Count(change => change.Kind == kind) ?? 0;
                Console.Out.WriteLine($"Copying /etc changes: {Count(EtcChangeKind.Modified)} modified, {Count(EtcChangeKind.Removed)} removed, {Count(EtcChangeKind.Added)} added");
            }
        });
        AdminCommands.SayBootloader(sysroot);
    }

    internal static KernelArguments RunningArguments() => KernelArguments.Of(
        KernelArguments.Parse(File.ReadAllText("/proc/cmdline").Trim()).Where(static argument => argument.Key is not ("ostree" or "initrd" or "BOOT_IMAGE" or "sbox.deployment" or "sbox.commit")));
}
