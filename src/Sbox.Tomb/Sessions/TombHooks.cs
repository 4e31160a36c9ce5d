using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Tomb.Sessions;

/// <summary>One line of <c>bind-hooks</c>.</summary>
/// <param name="From">A path in the tomb.</param>
/// <param name="To">A path in the home.</param>
public sealed record BindHook(string From, string To);

/// <summary>What a hook did, for people.</summary>
/// <param name="Hook">Which.</param>
/// <param name="Finding">What went wrong; null when nothing did.</param>
public sealed record HookReport(string Hook, string? Finding);

/// <summary>Whose a tomb's hooks are: an account of this machine. Nothing of it comes from the tomb, where whoever knows the password writes what they like.</summary>
/// <param name="Name">The account's name; empty for a number without one.</param>
/// <param name="Uid">Never 0.</param>
/// <param name="Gid">Its first group.</param>
/// <param name="Home">Where binds are seen.</param>
public sealed record HookOwner(string Name, uint Uid, uint Gid, string Home);

/// <summary>
/// The hooks of a tomb, as dyne's Tomb has them. <c>bind-hooks</c> at its top has two columns: a path in the tomb, and the path in the
/// home where it is seen too. <c>exec-hooks</c> is executed, as the tomb's owner, with <c>open</c> or <c>close</c> and the mount point.
/// </summary>
/// <remarks>
/// The owner writes these, and root acts on them: no symbolic link is followed on either side, so that nothing is mounted outside of the
/// home, and nothing is executed as root. Who the owner is says whoever opened the tomb; a tomb whose top belongs to another gets nothing done.
/// </remarks>
public sealed class TombHooks
{
    /// <summary>The file of binds.</summary>
    public const string BindFile = "bind-hooks";

    /// <summary>The program.</summary>
    public const string ExecFile = "exec-hooks";

    private const string Both = $"{BindFile}, {ExecFile}";

    // A login waits for 20 seconds; the tomb may be away for longer.
    private static readonly TimeSpan LookLimit = TimeSpan.FromSeconds(10), ExecLimit = TimeSpan.FromSeconds(60), ForceLimit = TimeSpan.FromMilliseconds(200);

    private readonly string mountPoint;
    private readonly HookOwner owner;
    private readonly List<string> bound = [];

    private TombHooks(string mountPoint, HookOwner owner) => (this.mountPoint, this.owner) = (mountPoint, owner);

    /// <summary>The hooks of a mounted tomb.</summary>
    /// <param name="mountPoint">Where it is mounted.</param>
    /// <param name="owner">Whose they are.</param>
    public static TombHooks Of(string mountPoint, HookOwner owner) => new(mountPoint, owner);

    /// <summary>Where binds are mounted, for as long as they are.</summary>
    public IReadOnlyList<string> Bound => bound;

    /// <summary>Reads the two columns; empty lines and those that begin with <c>#</c> say nothing.</summary>
    public static IReadOnlyList<BindHook> Parse(string text)
    {
        var hooks = new List<BindHook>();
        foreach (string line in text.Split('\n'))
        {
            string[] columns = line.Split((char[])[' ', '\t', '\r'], StringSplitOptions.RemoveEmptyEntries);
            if (columns.Length >= 2 && columns[0][0] != '#')
                hooks.Add(new BindHook(columns[0], columns[1]));
        }

        return hooks;
    }

    /// <summary>Binds, then executes.</summary>
    /// <param name="cancel">Ends the waiting for the tomb, and the program.</param>
    public IReadOnlyList<HookReport> Open(CancellationToken cancel = default)
    {
        Found found = new([], [], HasExec: false);
        if (Attempt(LookLimit, limit => found = ApartThread.Run(Follow, TakeBack, limit), cancel) is { } finding)
            return [new HookReport(Both, finding)];
        bound.AddRange(found.Bound);
        return found.HasExec ? [.. found.Reports, Execute("open", cancel)] : found.Reports;
    }

    /// <summary>Executes, then takes the binds away.</summary>
    /// <param name="byForce">Whether binds are taken away although they are in use, and nothing is executed.</param>
    public IReadOnlyList<HookReport> Close(bool byForce)
    {
        var reports = new List<HookReport>();
        if (!byForce)
        {
            bool executes = false;
            if (Attempt(LookLimit, limit => executes = ApartThread.Run(() => Refusal() is null && HasExec(), cancel: limit)) is { } finding)
                reports.Add(new HookReport(ExecFile, finding));
            else if (executes)
                reports.Add(Execute("close", default));
        }

        foreach (string place in bound.AsEnumerable().Reverse().ToList())
        {
            string? finding = Attempt(byForce ? ForceLimit : LookLimit, limit => ApartThread.Run(() => TakeAway(place, byForce), limit));
            if (finding is null || byForce)
                bound.Remove(place);
            reports.Add(new HookReport(place, finding));
        }

        return reports;
    }

    // On a thread apart, as all that looks into the mount: this process answers itself, out of a tomb that may be away.
    private Found Follow()
    {
        IReadOnlyList<BindHook> binds = Binds();
        if (Refusal() is { } refused)
            return new Found(binds.Count > 0 || HasExec() ? [new HookReport(Both, refused)] : [], [], HasExec: false);
        var found = new Found([], [], HasExec());
        foreach (BindHook hook in binds)
            found.Reports.Add(new HookReport($"{hook.From} {hook.To}", Attempt(() => found.Bound.Add(Bind(hook)))));
        return found;
    }

    private static void TakeBack(Found late) => late.Bound.ForEach(static place => Attempt(() => Mounts.Detach(place)));

    private static void TakeAway(string place, bool byForce)
    {
        if (byForce)
            Mounts.Detach(place);
        else
            Mounts.Unmount(place);
    }

    private IReadOnlyList<BindHook> Binds()
    {
        using Dir top = Dir.Open(mountPoint);
        return top.TryStat(BindFile) is { IsRegular: true } && top.TryReadAll(BindFile) is { } bytes ? Parse(FileName.FromBytes(bytes)) : [];
    }

    private bool HasExec()
    {
        using Dir top = Dir.Open(mountPoint);
        return top.TryStat(ExecFile) is { IsRegular: true, Permissions: var bits } && (bits & 0x49 /* 0111 */) != 0;
    }

    // A snapshot may say of its top whatever its writer liked.
    private string? Refusal()
    {
        if (owner.Uid == 0)
            return "hooks are not followed for root";
        using Dir top = Dir.Open(mountPoint);
        uint uid = top.Stat().Uid;
        return uid == owner.Uid ? null : $"{mountPoint} belongs to user {uid}, and the hooks are followed for user {owner.Uid} alone";
    }

    private static string? Attempt(TimeSpan atMost, Action<CancellationToken> hook, CancellationToken cancel = default)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(atMost);
        try
        {
            return Attempt(() => hook(limit.Token));
        }
        catch (OperationCanceledException)
        {
            return $"it did not end within {atMost.TotalSeconds:0.#} s";
        }
    }

    private static string? Attempt(Action hook)
    {
        try
        {
            hook();
            return null;
        }
        catch (IOException failure)
        {
            return failure.Message;
        }
    }

    private string Bind(BindHook hook)
    {
        using (Dir own = Dir.Open(owner.Home))
        {
            if (own.Stat().Uid is var uid && uid != owner.Uid)
                throw new LinuxException(Errno.EACCES, "mount", $"{owner.Home}: it belongs to user {uid}, and the hooks are user {owner.Uid}'s");
        }

        using Dir fromParent = Parent(mountPoint, hook.From, out string fromName);
        using Dir toParent = Parent(owner.Home, hook.To, out string toName);
        FileStat from = fromParent.Stat(fromName), to = toParent.Stat(toName);
        if (from.IsSymlink || to.IsSymlink || from.IsDirectory != to.IsDirectory || !(from.IsDirectory || from.IsRegular))
            throw new LinuxException(Errno.EINVAL, "mount", $"{fromParent.Of(fromName)} -> {toParent.Of(toName)}: both must be directories, or both files");
        using Dir? directory = from.IsDirectory ? fromParent.OpenDir(fromName) : null;
        using SafeFileHandle? file = directory is null ? fromParent.OpenFile(fromName) : null;
        using DetachedMount mount = DetachedMount.CloneOf(Held(directory?.Handle ?? file!));
        mount.With(MountAttributes.NoSetUid | MountAttributes.NoDevices);
        mount.AttachAt($"{Held(toParent.Handle)}/{toName}"); // the last name is not followed when it is a link
        return toParent.Of(toName);
    }

    // Each name on the way is opened by itself, and none through a symbolic link.
    private static Dir Parent(string top, string path, out string name)
    {
        string[] names = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        if (names.Length == 0 || names.Contains("..") || names.Contains("."))
            throw new LinuxException(Errno.EINVAL, "mount", $"'{path}': a path below {top} without '.' and '..' is wanted");
        Dir at = Dir.Open(top);
        foreach (string next in names[..^1])
        {
            Dir inner = at.OpenDir(next);
            at.Dispose();
            at = inner;
        }

        name = names[^1];
        return at;
    }

    private static string Held(SafeFileHandle handle) => $"/proc/thread-self/fd/{(int)handle.DangerousGetHandle()}";

    private HookReport Execute(string word, CancellationToken cancel)
    {
        string uid = owner.Uid.ToString(CultureInfo.InvariantCulture), gid = owner.Gid.ToString(CultureInfo.InvariantCulture);
        List<string> arguments = ["--reuid", uid, "--regid", gid, owner.Name.Length > 0 ? "--init-groups" : "--clear-groups", "--no-new-privs", "--", $"{mountPoint}/{ExecFile}", word, mountPoint];
        // Its output goes nowhere: a program that it leaves behind would keep a pipe open, and whoever reads that waits as long.
        var command = new ChildCommand("/bin/sh", ["-c", "exec \"$@\" < /dev/null > /dev/null 2>&1", "sh", "setpriv", .. arguments])
        {
            Title = $"{ExecFile} {word}", WorkingDirectory = "/", Environment = new Dictionary<string, string> { ["HOME"] = owner.Home, ["USER"] = owner.Name, ["LOGNAME"] = owner.Name },
        };
        return new HookReport(command.Title, Attempt(ExecLimit, limit => ChildProcess.Check(command, cancel: limit), cancel));
    }

    private sealed record Found(List<HookReport> Reports, List<string> Bound, bool HasExec);
}
