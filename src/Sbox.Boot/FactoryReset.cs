using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// Gives a stateroot an empty /var, and its deployments the /etc that they came with. Cut at any moment, each of these directories is the old
/// one or the new, whole; the next boot deletes what was left aside, and the same reset once more does all of it.
/// </summary>
public static class FactoryReset
{
    /// <summary>What lists of what stays have brought onto the disk (Sbox.Sysroot's KeptRecord), in the directory of the OS.</summary>
    public const string KeptRecord = ".sbox-kept";

    private const string Var = "var";
    private const int Step = 5;
    private const uint OwnerOnly = 0x1C0; // 0700

    /// <summary>
    /// Does it while the box runs, or from outside. What runs keeps the old directories until it stops; the next boot has the new ones, and deletes the old.
    /// </summary>
    /// <param name="physicalRoot">The physical root, writable.</param>
    /// <param name="os">The stateroot.</param>
    /// <param name="var">Whether /var is emptied.</param>
    /// <param name="etcs">The deployments whose /etc goes back to its defaults.</param>
    /// <exception cref="LinuxException">Refused; each of the directories is the old one or the new, whole.</exception>
    /// <remarks>Deletes what an earlier one left aside. While the box runs that may be the directories it runs on: ask <see cref="IsWaiting"/> first.</remarks>
    public static void WhileRunning(string physicalRoot, string os, bool var, IReadOnlyList<DeploymentName> etcs)
    {
        string bin = $"{physicalRoot}/{RootPlan.ResetBin(os)}", oldVar = $"{physicalRoot}/ostree/deploy/{os}/var";
        using (Dir stateroot = Dir.Open($"{physicalRoot}/ostree/deploy/{os}"))
            InodeFlags.RemoveAllMarked(stateroot, Path.GetFileName(bin));
        EtcDefaults[] defaults = [.. etcs.Select(name => new EtcDefaults($"{physicalRoot}/{name.Directory}/usr/etc", $"{physicalRoot}/{name.Directory}/etc"))];
        Prepare(new RootStep.PrepareReset(bin, oldVar, defaults));
        ForgetKept(bin);
        using Dir made = Dir.Open(bin);
        if (var)
            Swap(made, Var, oldVar);
        foreach ((int number, EtcDefaults etc) in defaults.Index())
            Swap(made, $"etc-{number}", etc.Etc);
        Durable.SyncFileSystem(made);
        foreach (EtcDefaults etc in defaults)
            ForgetMerges(etc);
    }

    /// <summary>Whether a reset waits for the reboot: what it took away is still there, and what runs uses it.</summary>
    public static bool IsWaiting(string physicalRoot, string os)
    {
        using Dir stateroot = Dir.Open($"{physicalRoot}/ostree/deploy/{os}");
        return stateroot.Exists(Path.GetFileName(RootPlan.ResetBin(os)));
    }

    internal static void CountDown(RootStep.CountDown step, Action<string> say)
    {
        say($"factory reset: everything in /var of {step.Os}, home directories included, and every change in /etc will be deleted. To keep them, switch the machine off now");
        for (int left = step.Seconds; left > 0; left -= Step)
        {
            say($"factory reset in {left} s");
            Thread.Sleep(TimeSpan.FromSeconds(Math.Min(Step, left)));
        }
    }

    internal static void Prepare(RootStep.PrepareReset step)
    {
        using Dir parent = Dir.Open(Path.GetDirectoryName(step.Bin)!);
        parent.MakeDir(Path.GetFileName(step.Bin), OwnerOnly);
        using Dir bin = parent.OpenDir(Path.GetFileName(step.Bin));
        bin.MakeDir(Var);
        using (Dir old = Dir.Open(step.Var))
        {
            FileStat stat = old.Stat();
            bin.ChangeOwner(Var, stat.Uid, stat.Gid);
            bin.ChangeMode(Var, stat.Permissions);
        }

        foreach ((int number, EtcDefaults etc) in step.Defaults.Index())
        {
            using Dir from = Dir.Open(Path.GetDirectoryName(etc.From)!);
            TreeCopy.Recursive(from, Path.GetFileName(etc.From), bin, $"etc-{number}");
        }

        // Whole before it takes a place: after a power cut, names without bytes would be a box without a password file.
        Durable.SyncFileSystem(bin);
    }

    internal static void Exchange(RootStep.Exchange step, Action<string> say)
    {
        Try(() => ForgetKept(step.Bin), "what lists of what stays have kept is remembered still", say);
        using Dir bin = Dir.Open(step.Bin);
        Swap(bin, Var, step.Var);
        foreach ((int number, EtcDefaults etc) in step.Defaults.Index())
            Swap(bin, $"etc-{number}", etc.Etc);
        Durable.SyncFileSystem(bin);
        foreach (EtcDefaults etc in step.Defaults)
            Try(() => ForgetMerges(etc), $"not all that was kept of the old {etc.Etc} could be deleted", say);
    }

    private static void Try(Action deed, string trouble, Action<string> say)
    {
        try
        {
            deed();
        }
        catch (LinuxException refused) // no reason to stand still in front of a box that boots
        {
            say($"{trouble}: {refused.Message}");
        }
    }

    // Before anything goes: somebody who brings files back from a copy makes them as they were, and a line about what is gone would call them a list's.
    private static void ForgetKept(string bin)
    {
        using Dir os = Dir.Open(Path.GetDirectoryName(bin)!);
        if (os.RemoveAll(KeptRecord))
            Durable.Sync(os);
    }

    internal static void Discard(RootStep.Discard step, Action<string> say)
    {
        string name = Path.GetFileName(step.Bin);
        using Dir parent = Dir.Open(Path.GetDirectoryName(step.Bin)!);
        try
        {
            InodeFlags.RemoveAllMarked(parent, name);
            Durable.Sync(parent);
        }
        catch (LinuxException refused) // a file system with errors: no reason to stand still in front of a box that boots
        {
            say($"not all of {step.Bin} could be deleted ({refused.Message}): what is left is no longer used, and the next boot tries again");
        }
    }

    // What merges kept beside the deployment are copies of the /etc that shall be gone, shadow among them, and a record that would bring it back.
    private static void ForgetMerges(EtcDefaults reset)
    {
        string tree = Path.GetDirectoryName(reset.Etc)!, stateroot = Path.GetDirectoryName(Path.GetDirectoryName(tree))!;
        using Dir os = Dir.Open(stateroot);
        using Dir? backing = os.TryOpenDir($"backing/{Path.GetFileName(tree)}");
        if (backing is null)
            return;
        foreach (DirEntry entry in backing.Entries().Where(static entry => entry.Name.StartsWith("etc-", StringComparison.Ordinal)))
            InodeFlags.RemoveAllMarked(backing, entry.Name);
        Durable.Sync(backing);
    }

    private static void Swap(Dir bin, string name, string place)
    {
        using Dir parent = Dir.Open(Path.GetDirectoryName(place)!);
        InodeFlags.ClearImmutable(parent); // libostree marks the directory of a deployment
        bin.Exchange(name, parent, Path.GetFileName(place));
    }
}
