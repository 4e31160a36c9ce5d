using System.Globalization;
using System.Text;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>
/// Does the steps of a repair. Each is whole by itself and may be done twice; what is taken away is moved to
/// <c>ostree/sbox-set-aside/TIME/</c>, under the path that it had, and what stood there is written down beside it.
/// </summary>
internal sealed class BoxRepair(OstreeSysroot sysroot, Deployer deployer)
{
    /// <summary>Where what repairs take away is kept.</summary>
    public const string AsideDirectory = "ostree/sbox-set-aside";

    private const string Checkout = "ostree/.sbox-doctor", FreshEtc = "etc.sbox-doctor", ListName = "what-it-was";
    private const uint OwnerOnly = 0x1C0; // 0700: shadow may be among it
    private string? aside;

    private Dir Root => sysroot.Root;

    public RepairReport Run(RepairPlan plan, IProgress<RepairStep>? progress, CancellationToken cancel)
    {
        (List<RepairStep> done, List<(RepairStep, string)> failed) = ([], []);
        Root.RemoveAll(Checkout); // of a repair that was cut short
        foreach (RepairStep step in plan.Steps)
        {
            cancel.ThrowIfCancellationRequested();
            // What nothing should lead to any more may be all that boots, while what takes its place is not there.
            if (step.Kind == RepairKind.SetAsideLast && failed.FirstOrDefault(static each => TakesThePlace(each.Item1)) is { Item1: { } missing })
            {
                failed.Add((step, $"not done, because this was not: {missing.What}. Until then it may be what boots"));
                continue;
            }

            progress?.Report(step);
            sysroot.Step(step.What);
            try
            {
                Do(step, cancel);
                done.Add(step);
            }
            catch (Exception refused) when (refused is LinuxException or IOException or SysrootException or RepositoryException or MalformedException)
            {
                failed.Add((step, refused.Message)); // the others may help all the same
            }
        }

        Root.RemoveAll(Checkout);
        sysroot.Reload();
        return new RepairReport(done, failed, aside);
    }

    // Whether it makes a deployment whole, or leads firmware and boot loaders to one.
    private static bool TakesThePlace(RepairStep step) => step.Kind is >= RepairKind.FinishEtc and <= RepairKind.PublishEsp;

    private void Do(RepairStep step, CancellationToken cancel)
    {
        switch (step.Kind)
        {
            case RepairKind.CopyAside:
                Copy(step);
                break;
            case RepairKind.SetAside or RepairKind.SetAsideLast:
                SetAside(step);
                break;
            case RepairKind.Remove:
                Remove(step);
                break;
            case RepairKind.FinishEtc:
                FinishEtc(step);
                break;
            case RepairKind.RestoreTree:
                RestoreTree(step.Deployment!.Value, cancel);
                break;
            case RepairKind.RestoreEtc:
                RestoreEtc(step.Deployment!.Value);
                break;
            case RepairKind.RestoreImage:
                deployer.RestoreImage(step.Deployment!.Value, step.Digest);
                break;
            case RepairKind.MakeVar:
                MakeVar(step.Deployment!.Value);
                break;
            case RepairKind.RewriteBoot:
                RewriteBoot(cancel);
                break;
            case RepairKind.RewriteUki:
                deployer.RewriteUki(step.Deployment!.Value);
                break;
            case RepairKind.PublishEsp:
                deployer.PublishEsp();
                break;
            case RepairKind.SetRefs:
                deployer.Cleaner.SetRefs(cancel);
                break;
            case RepairKind.Forget when step.Path == "LoaderEntryDefault":
                sysroot.Firmware?.ForgetEntryDefault();
                break;
            case RepairKind.Forget:
                sysroot.Firmware?.ForgetEntryOneShot();
                break;
            default:
                throw new NotSupportedException($"no repair knows {step.Kind}");
        }
    }

    private void Copy(RepairStep step)
    {
        using Dir? from = Place(step);
        string name = Path.GetFileName(step.Path);
        if (from?.TryStat(name) is null)
            return;
        using Dir to = AsideOf(step, out string newName);
        string temporary = $".{newName}.tmp";
        to.RemoveAll(temporary);
        CopyAny(from, name, to, temporary);
        Durable.SyncFileSystem(to); // before whatever replaces the original
        to.Rename(temporary, to, newName);
        Durable.Sync(to);
    }

    private void SetAside(RepairStep step)
    {
        using Dir? from = Place(step);
        string name = Path.GetFileName(step.Path);
        if (from?.TryStat(name) is not { } stat)
            return;
        if (!step.OnEsp)
        {
            if (stat.IsDirectory)
            {
                using Dir inner = from.OpenDir(name);
                InodeFlags.ClearImmutable(inner); // libostree sets it, and then nothing can be renamed
            }

            using Dir to = AsideOf(step, out string newName);
            if (to.Stat().Device == stat.Device)
            {
                from.Rename(name, to, newName);
                Durable.Sync(to);
                Durable.Sync(from);
                return;
            }
        }

        Copy(step);
        from.RemoveAll(name);
        Durable.Sync(from);
    }

    private void Remove(RepairStep step)
    {
        using Dir? from = Place(step);
        if (from is null)
            return;
        from.RemoveAll(Path.GetFileName(step.Path));
        Durable.Sync(from);
    }

    private Dir? Place(RepairStep step)
    {
        string parent = Path.GetDirectoryName(step.Path)!;
        Dir root = step.OnEsp ? deployer.Esp!.Directory : Root;
        return root.TryOpenDir(parent.Length == 0 ? "." : parent);
    }

    // ostree/sbox-set-aside/TIME/PATH, the EFI partition's paths below esp/; what is there already keeps its name.
    private Dir AsideOf(RepairStep step, out string newName)
    {
        if (aside is null)
        {
            if (Root.TryStat(AsideDirectory) is null)
                Root.MakeDir(AsideDirectory, OwnerOnly);
            string time = sysroot.Options.Clock.GetUtcNow().UtcDateTime.ToString("yyyyMMdd-HHmmss", CultureInfo.InvariantCulture);
            aside = $"{AsideDirectory}/{time}";
            for (int nth = 2; Root.Exists(aside); nth++)
                aside = $"{AsideDirectory}/{time}.{nth}";
            Root.MakeDir(aside, OwnerOnly);
        }

        using (Dir own = Root.OpenDir(aside))
        {
            string old = own.TryReadAll(ListName) is { } bytes ? Encoding.UTF8.GetString(bytes) : "";
            Durable.Replace(own, ListName, Encoding.UTF8.GetBytes($"{old}{(step.OnEsp ? "esp/" : "")}{step.Path}\t{step.What}\n"));
        }

        string parent = Path.GetDirectoryName(step.Path)!;
        string place = $"{aside}{(step.OnEsp ? "/esp" : "")}{(parent.Length == 0 ? "" : "/" + parent)}";
        Root.MakeDirs(place);
        Dir to = Root.OpenDir(place);
        string name = Path.GetFileName(step.Path);
        newName = name;
        for (int nth = 2; to.Exists(newName); nth++)
            newName = $"{name}.{nth}";
        return to;
    }

    private static void CopyAny(Dir from, string name, Dir to, string newName)
    {
        if (from.Stat(name).IsDirectory)
            TreeCopy.Recursive(from, name, to, newName);
        else
            TreeCopy.Leaf(from, name, to, newName);
    }

    private void FinishEtc(RepairStep step)
    {
        EtcRecord.FinishCut(sysroot, step.Deployment!.Value);
        if (Root.Exists(step.Path))
            SetAside(step);
    }

    private void RestoreTree(DeploymentName name, CancellationToken cancel)
    {
        TreeLook look = TreeLook.Of(sysroot, name, cancel);
        using Dir ostree = Root.OpenDir("ostree"), tree = Root.OpenDir(name.Directory);
        InodeFlags.ClearImmutable(tree);
        string checkout = Path.GetFileName(Checkout);
        ostree.RemoveAll(checkout);
        sysroot.Repository.Checkout(name.Commit, ostree, checkout, new CheckoutOptions { PassthroughWhiteouts = true }, null, cancel);
        Durable.SyncFileSystem(ostree);
        using Dir fresh = ostree.OpenDir(checkout);
        foreach (string path in look.Missing)
        {
            string place = TreeLook.InDeployment(path);
            if (tree.TryStat(place) is not null) // half of a file, or something else by its name
                SetAside(new RepairStep(RepairKind.SetAside, $"{name.Directory}/{place}", $"take the place of {place} in {name.Short}"));
            else if (tree.TryStat(Path.GetDirectoryName(place) is { Length: > 0 } parent ? parent : ".") is not { IsDirectory: true })
                continue; // below a directory that came back as a whole
            sysroot.Step($"restore {place} of {name.Short}");
            fresh.Rename(path, tree, place);
        }

        Durable.SyncFileSystem(tree);
        ostree.RemoveAll(checkout);
    }

    private void RestoreEtc(DeploymentName name)
    {
        using Dir tree = Root.OpenDir(name.Directory);
        InodeFlags.ClearImmutable(tree);
        tree.RemoveAll(FreshEtc);
        TreeCopy.Recursive(tree, "usr/etc", tree, FreshEtc);
        Durable.SyncFileSystem(tree);
        tree.Rename(FreshEtc, tree, "etc");
        Durable.Sync(tree);
    }

    private void MakeVar(DeploymentName name)
    {
        using Dir var = Root.MakeAndOpenDir(name.VarDirectory);
        OstreeSysroot.FillVarWithUsualNames(var);
        Durable.SyncFileSystem(var);
    }

    private void RewriteBoot(CancellationToken cancel)
    {
        Dictionary<DeploymentName, TreeLook> trees = DeploymentDirectories.Of(Root).ToDictionary(static name => name, name => TreeLook.Of(sysroot, name, cancel));
        deployer.RewriteBoot(BootRescue.Targets(sysroot, trees, deployer.Esp, deployer.Sealing.IsSealed));
        deployer.Cleaner.RemoveInactive();
    }
}
