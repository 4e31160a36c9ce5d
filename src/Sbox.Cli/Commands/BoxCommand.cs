using System.CommandLine;
using Sbox.Boot;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>A box that a command works on: the running one, or one in directories.</summary>
internal sealed class Box : IDisposable
{
    private readonly PrivateMounts? mounts;

    private Box(OstreeSysroot sysroot, PrivateMounts? mounts, string? esp) => (Sysroot, this.mounts, Esp) = (sysroot, mounts, esp);

    /// <summary>Why no ESP is looked at; null where one is.</summary>
    public string? EspUnseen { get; private init; }

    /// <summary>Whether that is since there is none.</summary>
    public bool HasNoEsp { get; private init; }

    /// <summary>Its sysroot.</summary>
    public OstreeSysroot Sysroot { get; }

    /// <summary>What it accepts; null where it is not sealed. A machine answers for itself; a box in directories is what its EFI partition says.</summary>
    public SealPolicy? Seal => mounts is null ? SealPolicy.OfEsp(Esp) : SealPolicy.OfMachine(Sysroot.BootArguments, Esp);

    /// <summary>Whether it is what this machine runs.</summary>
    public bool IsThisMachine => mounts is not null;

    /// <summary>Where its ESP is; null where none is to be written or looked at.</summary>
    public string? Esp { get; }

    /// <summary>
    /// Opens a box to change it. The running box is opened in a mount namespace of this process's own, so this may replace the process by
    /// itself: nothing may have been done before.
    /// </summary>
    /// <param name="parsed">What was typed.</param>
    /// <param name="sysroot">Its physical root.</param>
    /// <param name="esp">Its EFI partition.</param>
    /// <param name="how">How the sysroot is opened; null as always.</param>
    /// <param name="patience">How long others may keep a ghost's disk, or the EFI partition, from being written to; null: some seconds.</param>
    public static Box ToChange(ParseResult parsed, Option<string> sysroot, Option<string?> esp, SysrootOptions? how = null, TimeSpan? patience = null)
    {
        string path = parsed.GetValue(sysroot)!;
        if (!IsRunning(path))
            return new Box(OstreeSysroot.Open(path, how), null, parsed.GetValue(esp));
        if (Environment.UserName != "root" && !Environment.IsPrivilegedProcess)
            throw new Finding("only root may change what this box boots", "sudo sbox ...");
        PrivateMounts.Enter();
        PrivateMounts mounts = PrivateMounts.Open(path, patience);
        return new Box(OstreeSysroot.Open(path, how), mounts, parsed.GetValue(esp) ?? mounts.MountEsp());
    }

    /// <summary>
    /// Opens a box to write to its physical root, and to nothing that boots it. The running box is opened in a mount namespace of this process's
    /// own, so this may replace the process by itself, as <see cref="ToChange"/>.
    /// </summary>
    public static Box ToWrite(string path, SysrootOptions? how = null)
    {
        if (!IsRunning(path))
            return new Box(OstreeSysroot.Open(path, how), null, null);
        if (!Environment.IsPrivilegedProcess)
            throw new Finding("only root may write to this box's disk", "sudo sbox ...");
        RefuseGhost();
        PrivateMounts.Enter();
        PrivateMounts mounts = PrivateMounts.Open(path);
        return new Box(OstreeSysroot.Open(path, how), mounts, null);
    }

    /// <summary>
    /// Opens a box to look at it. Root looks at the running box's ESP too, read-only and in a mount namespace of this process's own, so this
    /// may replace the process by itself, as <see cref="ToChange"/>.
    /// </summary>
    /// <exception cref="Finding">This machine is no box.</exception>
    public static Box ToLook(ParseResult parsed, Option<string> sysroot, Option<string?> esp, SysrootOptions? how = null) =>
        ToLook(parsed.GetValue(sysroot)!, parsed.GetValue(esp), how);

    /// <inheritdoc cref="ToLook(ParseResult, Option{string}, Option{string?}, SysrootOptions?)"/>
    public static Box ToLook(string path, string? esp = null, SysrootOptions? how = null) => ToLook(path, esp, how, static at =>
    {
        PrivateMounts.Enter();
        return PrivateMounts.Look(at);
    });

    /// <summary>As <see cref="ToLook(string, string?, SysrootOptions?)"/>, for who is in a hurry and names no path of the ESP to anybody: this process goes on as it is.</summary>
    public static Box ToGlance(ParseResult parsed, Option<string> sysroot, Option<string?> esp) =>
        ToLook(parsed.GetValue(sysroot)!, parsed.GetValue(esp), null, static at => PrivateMounts.Glance(at));

    private static Box ToLook(string path, string? esp, SysrootOptions? how, Func<string, PrivateMounts> open)
    {
        bool running = IsRunning(path);
        if (esp is { } given)
            return new Box(OstreeSysroot.Open(path, how), null, given);
        if (!running)
            return new Box(OstreeSysroot.Open(path, how), null, null) { EspUnseen = "--esp=PATH names the EFI partition, which says so" };
        if (!Environment.IsPrivilegedProcess)
            return new Box(OstreeSysroot.Open(path, how), null, null) { EspUnseen = "only root may look at the EFI partition, which says so: sudo sbox status" };
        PrivateMounts? mounts = null;
        try
        {
            mounts = open(path);
            return new Box(OstreeSysroot.Open(path, how), mounts, mounts.MountEsp());
        }
        catch (Exception unseen) when (unseen is NoEspException or MountException or LinuxException)
        {
            // A kernel without FAT, a disk that is failing, root without the right to mount: what runs can be told all the same.
            return new Box(OstreeSysroot.Open(path, how), mounts, null) { EspUnseen = unseen.Message, HasNoEsp = unseen is NoEspException };
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Sysroot.Dispose();
        mounts?.Dispose();
    }

    /// <summary>Whether this boot is a ghost.</summary>
    public static bool IsGhost => RootConfig.IsGhost(KernelArguments.Parse(File.ReadAllText("/proc/cmdline")));

    private static void RefuseGhost()
    {
        if (IsGhost)
            throw new Finding("this boot is a ghost: it keeps nothing, and the disk stays as it is", "Reboot into the menu's entry 'normal', and type the command there");
    }

    /// <summary>Refuses a directory that is no box's physical root.</summary>
    /// <exception cref="Finding">It is none.</exception>
    public static void RequireSysroot(string path)
    {
        if (!Directory.Exists($"{path}/ostree/deploy"))
            throw new Finding($"{path}: no ostree/deploy: this machine is no box", "Name the physical root of one with --sysroot=PATH, and its EFI partition with --esp=PATH");
    }

    /// <summary>Whether a physical root is that of the machine this runs on.</summary>
    /// <exception cref="Finding">It is no box's.</exception>
    public static bool IsRunning(string path)
    {
        RequireSysroot(path);
        return Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)) == "/sysroot";
    }
}
