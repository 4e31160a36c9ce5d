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

    private static readonly TimeSpan ExecLimit = TimeSpan.FromSeconds(60);

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

    /// <summary>The binds that the tomb asks for.</summary>
    /// <exception cref="LinuxException">The file cannot be read.</exception>
    public static IReadOnlyList<BindHook> Binds(string mountPoint)
    {
        using Dir top = Dir.Open(mountPoint);
        if (top.TryStat(BindFile) is not { IsRegular: true } || top.TryReadAll(BindFile) is not { } bytes)
            return [];
        return Parse(FileName.FromBytes(bytes));
    }

    /// <summary>Whether the tomb has a program to be executed.</summary>
    public static bool HasExec(string mountPoint)
    {
        using Dir top = Dir.Open(mountPoint);
        return top.TryStat(ExecFile) is { IsRegular: true, Permissions: var bits } && (bits & 0x49 /* 0111 */) != 0;
    }

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
    /// <param name="cancel">Ends the program.</param>
    public IReadOnlyList<HookReport> Open(CancellationToken cancel = default)
    {
        if (Refusal() is { } refused)
            return Binds(mountPoint).Count > 0 || HasExec(mountPoint) ? [new HookReport($"{BindFile}, {ExecFile}", refused)] : [];
        var reports = new List<HookReport>();
        foreach (BindHook hook in Binds(mountPoint))
            reports.Add(new HookReport($"{hook.From} {hook.To}", Attempt(() => bound.Add(Bind(hook)))));
        if (HasExec(mountPoint))
            reports.Add(new HookReport($"{ExecFile} open", Attempt(() => Execute("open", cancel))));
        return reports;
    }

    /// <summary>Executes, then takes the binds away.</summary>
    /// <param name="byForce">Whether binds are taken away although they are in use, and nothing is executed.</param>
    public IReadOnlyList<HookReport> Close(bool byForce)
    {
        var reports = new List<HookReport>();
        if (!byForce && Refusal() is null && HasExec(mountPoint))
            reports.Add(new HookReport($"{ExecFile} close", Attempt(() => Execute("close", default))));
        for (int at = bound.Count - 1; at >= 0; at--)
        {
            string place = bound[at];
            string? finding = Attempt(() =>
            {
                if (byForce)
                    Mounts.Detach(place);
                else
                    Mounts.Unmount(place);
            });
            if (finding is null || byForce)
                bound.RemoveAt(at);
            reports.Add(new HookReport(place, finding));
        }

        return reports;
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
        catch (OperationCanceledException)
        {
            return $"it did not end within {ExecLimit.TotalSeconds:0} s";
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

    private static string Held(SafeFileHandle handle) => $"/proc/self/fd/{(int)handle.DangerousGetHandle()}";

    private void Execute(string word, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(ExecLimit);
        string uid = owner.Uid.ToString(CultureInfo.InvariantCulture), gid = owner.Gid.ToString(CultureInfo.InvariantCulture);
        List<string> arguments = ["--reuid", uid, "--regid", gid, owner.Name.Length > 0 ? "--init-groups" : "--clear-groups", "--no-new-privs", "--", $"{mountPoint}/{ExecFile}", word, mountPoint];
        // Its output goes nowhere: a program that it leaves behind would keep a pipe open, and whoever reads that waits as long.
        ChildProcess.Check(
            new ChildCommand("/bin/sh", ["-c", "exec \"$@\" < /dev/null > /dev/null 2>&1", "sh", "setpriv", .. arguments])
            {
                Title = $"{ExecFile} {word}", WorkingDirectory = "/", Environment = new Dictionary<string, string> { ["HOME"] = owner.Home, ["USER"] = owner.Name, ["LOGNAME"] = owner.Name },
            },
            cancel: limit.Token);
    }
}
