using System.CommandLine;
using Sbox.Boot;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>A box that a command works on: the running one, or one in directories.</summary>
internal sealed class Box : IDisposable
{
    private readonly PrivateMounts? mounts;

    private Box(OstreeSysroot sysroot, PrivateMounts? mounts, string? esp)
    {
        (Sysroot, this.mounts, Esp) = (sysroot, mounts, esp);
        // A machine answers for itself; a box in directories is what its EFI partition says.
        Seal = mounts is null ? SealPolicy.OfEsp(esp) : SealPolicy.OfMachine(sysroot.BootArguments, esp);
    }

    /// <summary>Its sysroot.</summary>
    public OstreeSysroot Sysroot { get; }

    /// <summary>What it accepts; null where it is not sealed.</summary>
    public SealPolicy? Seal { get; }

    /// <summary>Where its ESP is to be written; null where none is.</summary>
    public string? Esp { get; }

    /// <summary>
    /// Opens a box to change it. The running box is opened in a mount namespace of this process's own, so this may replace the process by
    /// itself: nothing may have been done before.
    /// </summary>
    public static Box ToChange(ParseResult parsed, Option<string> sysroot, Option<string?> esp)
    {
        string path = parsed.GetValue(sysroot)!;
        if (!IsRunning(path))
            return new Box(OstreeSysroot.Open(path), null, parsed.GetValue(esp));
        if (Environment.UserName != "root" && !Environment.IsPrivilegedProcess)
            throw new Finding("only root may change what this box boots", "sudo sbox ...");
        PrivateMounts.Enter();
        PrivateMounts mounts = PrivateMounts.Open(path);
        return new Box(OstreeSysroot.Open(path), mounts, parsed.GetValue(esp) ?? mounts.MountEsp());
    }

    /// <summary>Opens a box to look at it.</summary>
    /// <exception cref="Finding">This machine is no box.</exception>
    public static OstreeSysroot ToLook(string path) => Directory.Exists($"{path}/ostree/deploy")
        ? OstreeSysroot.Open(path)
        : throw new Finding($"{path}: no ostree/deploy: this machine is no box", "Name the physical root of one with --sysroot=PATH");

    /// <inheritdoc/>
    public void Dispose()
    {
        Sysroot.Dispose();
        mounts?.Dispose();
    }

    private static bool IsRunning(string path)
    {
        if (!Directory.Exists($"{path}/ostree/deploy"))
            throw new Finding($"{path}: no ostree/deploy: this machine is no box", "Name the physical root of one with --sysroot=PATH, and its EFI partition with --esp=PATH");
        return Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)) == "/sysroot";
    }
}
