using System.Globalization;
using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A path that was asked for and is not below /etc, or is not there.</summary>
/// <param name="path">As it was given.</param>
/// <param name="finding">What is wrong with it.</param>
public sealed class EtcPathException(string path, string finding) : SysrootException($"{path}: {finding}")
{
    /// <summary>As it was given.</summary>
    public string Path { get; } = path;
}

/// <summary>A change to a deployment's /etc that can be taken back.</summary>
/// <param name="Deployment">Whose.</param>
/// <param name="Path">Below /etc.</param>
/// <param name="What">What was done: <c>reset</c>, or <c>resolve</c>.</param>
public sealed record EtcUndo(DeploymentName Deployment, string Path, string What);

/// <summary>
/// Changes what a merge of /etc decided, and brings defaults back; each change keeps what it replaces and can be taken back. All of it goes one path at a
/// time: made beside, synced, exchanged.
/// </summary>
/// <param name="sysroot">The sysroot, open to be changed; must stay open.</param>
public sealed class EtcKeeper(OstreeSysroot sysroot)
{
    private const int KeptUndos = 32;

    private Dir Root => sysroot.Root;

    /// <summary>A path as it is given (<c>/etc/ssh/sshd_config</c>, <c>ssh/sshd_config</c>) as one below /etc.</summary>
    /// <exception cref="EtcPathException">It is elsewhere.</exception>
    public static string Below(string path)
    {
        string below = path.StartsWith("/etc/", StringComparison.Ordinal) ? path["/etc/".Length..] : path;
        string[] parts = below.Split('/', StringSplitOptions.RemoveEmptyEntries);
        if (below.StartsWith('/') || parts.Length == 0 || parts.Any(static part => part is "." or ".."))
            throw new EtcPathException(path, "is no path below /etc");
        return string.Join('/', parts);
    }

    /// <summary>The conflicts that wait, of every deployment that there is: those of what boots next first.</summary>
    public IReadOnlyList<(DeploymentName Deployment, EtcFinding Finding)> Open() =>
        [.. sysroot.Deployments.SelectMany(each => (EtcRecord.Of(sysroot, each.Name)?.Open ?? []).Select(finding => (each.Name, finding)))];

    /// <summary>Gives a path the version that its owner chooses.</summary>
    /// <param name="path">Below /etc.</param>
    /// <param name="choice">Which.</param>
    /// <returns>In which deployment.</returns>
    /// <exception cref="EtcPathException">No merge decided anything about it.</exception>
    public DeploymentName Resolve(string path, EtcChoice choice)
    {
        using IDisposable held = sysroot.Lock();
        sysroot.Reload();
        (DeploymentName name, EtcRecord record, EtcFinding finding) = Find(path);
        RequireCopy(EtcRecord.DirectoryOf(name), finding with { Choice = choice });
        bool asWritten = IsAsWritten(name, record);
        KeepUndo(name, path, "resolve");
        sysroot.Step($"choose {path}");
        Apply(name, finding with { Choice = choice });
        Write(name, record with { Findings = [.. record.Findings.Select(each => each.Number == finding.Number ? finding with { Choice = choice } : each)] }, asWritten);
        return name;
    }

    /// <summary>Brings a path's default back: a changed or removed one is as the tree has it, one of the owner's own is gone.</summary>
    /// <param name="name">In which deployment's /etc.</param>
    /// <param name="path">Below /etc.</param>
    /// <exception cref="EtcPathException">It is neither in /etc nor among the defaults.</exception>
    public void Reset(DeploymentName name, string path)
    {
        using IDisposable held = sysroot.Lock();
        using Dir defaults = Root.OpenDir($"{name.Directory}/usr/etc"), etc = Root.OpenDir($"{name.Directory}/etc");
        if (!HasPlainParents(defaults, path) || !HasPlainParents(etc, path) || (!defaults.Exists(path) && !etc.Exists(path)))
            throw new EtcPathException($"/etc/{path}", "is neither there nor among the defaults");
        KeepUndo(name, path, "reset");
        sysroot.Step($"reset {path}");
        Put(defaults, path, etc, path);
    }

    /// <summary>What <see cref="Undo"/> would take back; null where there is nothing.</summary>
    public EtcUndo? LastChange() => LastUndo() is { } last ? ReadUndo(last.Name, last.Number) : null;

    /// <summary>Takes the last <see cref="Resolve"/> or <see cref="Reset"/> back.</summary>
    /// <returns>What was taken back; null where there is nothing.</returns>
    public EtcUndo? Undo()
    {
        using IDisposable held = sysroot.Lock();
        sysroot.Reload();
        if (LastUndo() is not { } last || ReadUndo(last.Name, last.Number) is not { } change)
            return null;
        string directory = UndoDirectory(last.Name, last.Number);
        EtcRecord? record = change.What == "resolve" ? EtcRecord.Of(sysroot, last.Name) : null;
        bool asWritten = record is not null && IsAsWritten(last.Name, record);
        sysroot.Step($"undo {change.Path}");
        using (Dir kept = Root.OpenDir(directory))
        using (Dir etc = Root.OpenDir($"{last.Name.Directory}/etc"))
            Put(kept, "was", etc, change.Path);
        if (record is not null)
            Write(last.Name, record with { Findings = [.. record.Findings.Select(each => each.Path == change.Path ? each with { Choice = EtcChoice.None } : each)] }, asWritten);
        Root.RemoveAll(directory);
        return change;
    }

    /// <summary>Does again what was chosen, on a fresh merge, with the copies that were made for it.</summary>
    internal void ApplyChoices(EtcRecord fresh, DeploymentName name, Dir etc)
    {
        foreach (EtcFinding finding in fresh.Findings.Where(static each => each.Choice != EtcChoice.None))
            Apply(name, finding, etc, EtcRecord.BesideOf(name));
    }

    // What the merge wrote and what was chosen since are the merge's own: only what others changed keeps a merge at shutdown away.
    private bool IsAsWritten(DeploymentName name, EtcRecord record) => record is { IsPending: true, Written: { } written } && written == EtcRecord.Digest(sysroot, name);

    private void Write(DeploymentName name, EtcRecord record, bool asWritten) =>
        (asWritten ? record with { Written = EtcRecord.Digest(sysroot, name) } : record).Write(sysroot, name);

    // A copy that is lost must not read as "there was nothing": that would delete the file.
    private void RequireCopy(string kept, EtcFinding finding)
    {
        (bool had, string side) = finding.Choice switch
        {
            EtcChoice.Mine => (finding.HadMine, "mine"),
            EtcChoice.Base => (finding.HadBase, "base"),
            _ => (false, ""),
        };
        if (had && !Root.Exists($"{kept}/{side}/{finding.CopyName}"))
            throw new EtcPathException($"/etc/{finding.Path}", $"the copy that the merge kept of it is missing ({Root.Of($"{kept}/{side}/{finding.CopyName}")}); nothing was changed");
    }

    private void Apply(DeploymentName name, EtcFinding finding)
    {
        using Dir etc = Root.OpenDir($"{name.Directory}/etc");
        Apply(name, finding, etc, EtcRecord.DirectoryOf(name));
    }

    private void Apply(DeploymentName name, EtcFinding finding, Dir etc, string kept)
    {
        RequireCopy(kept, finding);
        (string directory, string source) = finding.Choice switch
        {
            EtcChoice.Mine => (kept, $"mine/{finding.CopyName}"),
            EtcChoice.Base => (kept, $"base/{finding.CopyName}"),
            EtcChoice.New => ($"{name.Directory}/usr/etc", finding.Path),
            _ => ("", ""),
        };
        if (directory.Length == 0)
            return;
        using Dir from = Root.OpenDir(directory);
        Put(from, source, etc, finding.Path);
    }

    private (DeploymentName Name, EtcRecord Record, EtcFinding Finding) Find(string path)
    {
        var found = new List<(DeploymentName Name, EtcRecord Record, EtcFinding Finding)>();
        foreach (Deployment deployment in sysroot.Deployments)
        {
            if (EtcRecord.Of(sysroot, deployment.Name) is { } record)
                found.AddRange(record.Findings.Where(each => each.Path == path).Select(each => (deployment.Name, record, each)));
        }

        if (found.Count == 0)
            throw new EtcPathException($"/etc/{path}", "no merge decided anything about it");
        return found.Find(static each => each.Finding.IsOpen) is { Finding: not null } open ? open : found[0];
    }

    // A whole name at a time: who reads it sees the one or the other.
    private static void Put(Dir from, string source, Dir etc, string path)
    {
        string parent = path.LastIndexOf('/') is var slash and > 0 ? path[..slash] : ".";
        if (!HasPlainParents(etc, path))
            throw new EtcPathException($"/etc/{path}", "a symbolic link is on its way");
        if (parent != ".")
            etc.MakeDirs(parent);
        string name = path[(path.LastIndexOf('/') + 1)..], fresh = $".{name}.sbox-new";
        using Dir into = parent == "." ? etc.OpenDir(".") : etc.OpenDir(parent);
        into.RemoveAll(fresh);
        switch (from.TryStat(source))
        {
            case null:
                into.RemoveAll(name);
                Durable.Sync(into);
                return;
            case { IsDirectory: true }:
                TreeCopy.Recursive(from, source, into, fresh);
                break;
            default:
                TreeCopy.Leaf(from, source, into, fresh);
                break;
        }

        Durable.SyncFileSystem(into);
        if (into.Exists(name))
        {
            into.Exchange(fresh, into, name);
            into.RemoveAll(fresh);
        }
        else
        {
            into.Rename(fresh, into, name);
        }

        Durable.Sync(into);
    }

    // What lies behind a link is not what the path says, and may not even be in /etc.
    private static bool HasPlainParents(Dir dir, string path)
    {
        for (int slash = path.IndexOf('/'); slash > 0; slash = path.IndexOf('/', slash + 1))
        {
            if (dir.TryStat(path[..slash]) is { IsDirectory: false })
                return false;
        }

        return true;
    }

    private void KeepUndo(DeploymentName name, string path, string what)
    {
        int number = (LastUndo()?.Number ?? 0) + 1;
        string directory = UndoDirectory(name, number);
        using Dir etc = Root.OpenDir($"{name.Directory}/etc");
        if (!HasPlainParents(etc, path))
            throw new EtcPathException($"/etc/{path}", "a symbolic link is on its way");
        Root.MakeDirs(Layout.BackingOf(name));
        Root.MakeAndOpenDir($"{Layout.BackingOf(name)}/etc-undo", 0x1C0).Dispose();
        Root.RemoveAll(directory);
        using Dir kept = Root.MakeAndOpenDir(directory, 0x1C0);
        if (etc.TryStat(path) is { IsDirectory: true })
            TreeCopy.Recursive(etc, path, kept, "was");
        else
            TreeCopy.Leaf(etc, path, kept, "was");
        Durable.SyncFileSystem(kept);
        Durable.Replace(kept, "change", FileName.ToBytes($"{what}\n{path}"), 0x180);
        Root.RemoveAll(UndoDirectory(name, number - KeptUndos));
    }

    private static string UndoDirectory(DeploymentName name, int number) =>
        $"{Layout.BackingOf(name)}/etc-undo/{number.ToString(CultureInfo.InvariantCulture)}";

    private (DeploymentName Name, int Number)? LastUndo()
    {
        (DeploymentName, int)? last = null;
        foreach (Deployment deployment in sysroot.Deployments)
        {
            using Dir? undos = Root.TryOpenDir($"{Layout.BackingOf(deployment.Name)}/etc-undo");
            foreach (DirEntry entry in undos?.Entries() ?? [])
            {
                if (int.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && (last is null || number > last.Value.Item2)
                    && undos!.Exists($"{entry.Name}/change"))
                    last = (deployment.Name, number);
            }
        }

        return last;
    }

    private EtcUndo? ReadUndo(DeploymentName name, int number) =>
        Root.TryReadAll($"{UndoDirectory(name, number)}/change") is { } bytes && FileName.FromBytes(bytes).Split('\n', 2) is [var what, var path]
            ? new EtcUndo(name, path, what) : null;
}
