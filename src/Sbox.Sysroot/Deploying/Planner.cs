using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>Makes plans; only looks.</summary>
internal sealed class Planner(OstreeSysroot sysroot, EspWriter? esp)
{
    private const string RootLabel = "root=LABEL=sbox-root";

    // What does not change while this runs, and is read once: the defaults of a deployment, and those of a commit.
    private (DeploymentName Of, EtcNode Etc)? deployed;
    private (Checksum Of, EtcNode Etc)? offered;

    public DeployPlan Plan(DeployRequest request)
    {
        Layout.CheckStateroot(request.Os);
        if (sysroot.Root.TryStat(Layout.Stateroot(request.Os)) is not { IsDirectory: true })
            throw new NoSuchDeploymentException(sysroot.Path, $"no stateroot '{request.Os}'");
        var tree = new CommitTree(sysroot.Repository, request.Commit);
        Deployment? merge = sysroot.MergeDeployment(request.Os);
        // What nothing is taken over from has no claim to stay; libostree has it so.
        Deployment? stays = request.NoMerge ? null : merge;
        int crossover = sysroot.Deployments.ToList().FindIndex(each => sysroot.IsBooted(each) || (sysroot.Booted is null && each.Name == stays?.Name));
        List<Deployment> kept = [.. sysroot.Deployments.Where((each, index) => request.Retain || Stays(each, request.Os, stays)
            || (request.RetainPending && index < crossover) || (request.RetainRollback && crossover >= 0 && index > crossover))];
        var notes = new List<string>();
        EtcMergePlan? etc = merge is null || request.NoMerge ? null : EtcPlan(merge.Name, DefaultsOf(request.Commit, tree), tree.EtcContent);
        notes.AddRange(OfOthers(tree.OwnedByOthers(etc?.Foreign ?? [])));
        return new DeployPlan(
            request,
            new DeploymentName(request.Os, request.Commit, NextSerial(request)),
            tree.Commit.Version, tree.Commit.Time,
            merge?.Name,
            Arguments(request, tree, merge, notes),
            request.Origin ?? merge?.Origin?.ForSuccessor(),
            [.. kept.Select(static each => each.Name)],
            [.. sysroot.Deployments.Except(kept).Select(static each => each.Name)],
            etc,
            esp is null ? 0 : tree.EspBytes())
        {
            Notes = notes,
            RootBytes = new RootSpace(sysroot).Needed(request),
            Position = !request.NotAsDefault ? 0 : crossover < 0 ? kept.Count : kept.IndexOf(sysroot.Deployments[crossover]) + 1,
        };
    }

    /// <summary>How the owner's changes to the one's /etc go onto these defaults; null where the one has no /etc.</summary>
    /// <param name="merge">Whose /etc.</param>
    /// <param name="next">The new defaults.</param>
    /// <param name="nextContent">Reads a file of them; null where there is none.</param>
    public EtcMergePlan? EtcPlan(DeploymentName merge, EtcNode next, Func<string, byte[]?> nextContent)
    {
        using Dir? defaults = sysroot.Root.TryOpenDir($"{merge.Directory}/usr/etc"), local = sysroot.Root.TryOpenDir($"{merge.Directory}/etc");
        if (defaults is null || local is null)
            return null;
        if (deployed is not { } known || known.Of != merge)
            deployed = known = (merge, EtcTree.Read(defaults));
        var contents = new EtcContents(EtcContents.Reader(defaults), EtcContents.Reader(local), nextContent);
        return EtcMergePlan.Make(known.Etc, EtcTree.Read(local), next, contents);
    }

    /// <summary>The same with the defaults of a commit that was planned for and is checked out by now.</summary>
    /// <param name="merge">Whose /etc.</param>
    /// <param name="commit">The commit.</param>
    /// <param name="checkedOut">Its <c>usr/etc</c>.</param>
    public EtcMergePlan? EtcPlan(DeploymentName merge, Checksum commit, Dir checkedOut)
    {
        EtcNode next = offered is { } known && known.Of == commit ? EtcTree.ReadMadeOf(checkedOut, known.Etc) : EtcTree.Read(checkedOut);
        return EtcPlan(merge, next, EtcContents.Reader(checkedOut));
    }

    private EtcNode DefaultsOf(Checksum commit, CommitTree tree)
    {
        if (offered is not { } known || known.Of != commit)
            offered = known = (commit, tree.Etc());
        return known.Etc;
    }

    /// <summary>Whether a deployment's directory may not be removed though no boot entry leads to it: firmware still offers it, or it runs.</summary>
    public bool IsProtected(DeploymentName name) => sysroot.BootedName == name || (esp?.Names(name) ?? false);

    private static IEnumerable<string> OfOthers(IReadOnlyList<(string Path, ForeignId Id)> found) => found.GroupBy(static each => each.Id).Select(static each =>
        $"{each.Key}: {each.First().Path}{(each.Count() > 1 ? $" and {each.Count() - 1} more in /usr are" : " in /usr is")} '{each.Key.Here}'s there. Give '{each.Key.Here}' another number, or ask who publishes the branch to");

    private bool Stays(Deployment each, string os, Deployment? merge) =>
        each.IsPinned || each.Name.Os != os || sysroot.IsBooted(each) || each.Name == merge?.Name || IsFallback(each.Name);

    // While what runs is on trial, the box falls back on what loader.conf names.
    private bool IsFallback(DeploymentName name) => esp is not null && sysroot.BootedName is { } booted && esp.TriesLeft(booted) is not null && esp.IsDefault(name);

    private int NextSerial(DeployRequest request)
    {
        int serial = DeploymentDirectories.Of(sysroot.Root)
            .Where(name => name.Os == request.Os && name.Commit == request.Commit && (IsProtected(name) || sysroot.Deployments.Any(each => each.Name == name)))
            .Select(static name => name.Serial + 1).DefaultIfEmpty(0).Max();
        // Real ostree removes a deployment and leaves its UKI: that name's command line is the old one's.
        while (esp?.Names(new DeploymentName(request.Os, request.Commit, serial)) ?? false)
            serial++;
        return serial;
    }

    private KernelArguments Arguments(DeployRequest request, CommitTree tree, Deployment? merge, List<string> notes)
    {
        KernelArguments arguments = request.Arguments
            ?? (merge is null ? KernelArguments.Parse(RootLabel).Append(tree.RecipeArguments.ToString()) : Inherited(merge, tree, notes));
        return arguments.AppendIfMissing(request.MoreArguments.ToString());
    }

    // The recipe's arguments change with it; those that the owner added or removed stay as the owner has them.
    private KernelArguments Inherited(Deployment merge, CommitTree tree, List<string> notes)
    {
        KernelArguments before = KernelArguments.Empty, after = tree.RecipeArguments;
        if (sysroot.Repository.Has(new ObjectName(merge.Name.Commit, ObjectType.Commit)))
            before = new CommitTree(sysroot.Repository, merge.Name.Commit).RecipeArguments;
        else
            notes.Add($"The repository lacks the commit of {merge.Name.Short}: all of its kernel arguments are taken over as the owner's");
        List<KernelArgument> gone = [.. before.Except(after)];
        KernelArguments kept = KernelArguments.Of(merge.Arguments.Where(argument => !gone.Contains(argument)));
        return kept.AppendIfMissing(KernelArguments.Of(after.Except(before)).ToString());
    }
}

/// <summary>The deployment directories there are, listed by a boot entry or not.</summary>
internal static class DeploymentDirectories
{
    public static IReadOnlyList<DeploymentName> Of(Dir root)
    {
        var names = new List<DeploymentName>();
        using Dir deploy = root.OpenDir(Layout.Deploy);
        foreach (DirEntry os in deploy.Entries().Where(entry => deploy.TryStat(entry.Name) is { IsDirectory: true }))
        {
            using Dir? inner = deploy.TryOpenDir($"{os.Name}/deploy");
            foreach (DirEntry entry in inner?.Entries() ?? [])
            {
                if (inner!.TryStat(entry.Name) is { IsDirectory: true } && DeploymentName.TryParse($"{os.Name}/{entry.Name}", out DeploymentName name))
                    names.Add(name);
            }
        }

        return names;
    }
}
