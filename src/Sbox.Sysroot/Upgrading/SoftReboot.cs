using Sbox.Boot;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>A version cannot be gone to by a soft reboot.</summary>
/// <param name="name">The version.</param>
/// <param name="why">What is in the way.</param>
/// <param name="kernelDiffers">Whether it is that the kernel or its arguments are others.</param>
public sealed class NoSoftRebootException(DeploymentName name, string why, bool kernelDiffers = false) : SysrootException($"{name.Short}: no soft reboot goes there: {why}")
{
    /// <summary>The version.</summary>
    public DeploymentName Name { get; } = name;

    /// <summary>Whether it is that the kernel or its arguments are others.</summary>
    public bool KernelDiffers { get; } = kernelDiffers;
}

/// <summary>
/// Has another version run without firmware, boot loader and kernel: systemd ends all services, goes to the root that it finds at /run/nextroot, and starts anew. That root is made when the
/// services have ended, after the last merge of /etc (sbox-next-root.service); here it is only decided whether that may be.
/// </summary>
/// <param name="sysroot">The running machine's sysroot.</param>
/// <param name="roots">Where it is written down.</param>
/// <remarks>docs/decisions/0015-a-soft-reboot-ends-at-a-seal.md.</remarks>
public sealed class SoftReboot(OstreeSysroot sysroot, SoftRoots roots)
{
    // What ends services and starts them again without the kernel, and what makes the root between the two.
    private static readonly string[] Units = ["usr/lib/systemd/system/soft-reboot.target", "usr/lib/systemd/system/sbox-next-root.service"];

    /// <summary>Has the next soft reboot go to a version.</summary>
    /// <exception cref="NoSoftRebootException">It cannot; nothing changed.</exception>
    public void Prepare(Deployment target)
    {
        Require(target);
        roots.Next = target.Name;
    }

    /// <summary>Refuses a version that cannot be gone to.</summary>
    /// <exception cref="NoSoftRebootException">It cannot.</exception>
    public void Require(Deployment target)
    {
        Deployment running = sysroot.Booted ?? throw new NoSoftRebootException(target.Name, "no version of this sysroot runs");
        string? obstacle = target.Name == running.Name ? "it runs already"
            : RootConfig.IsGhost(sysroot.BootArguments) ? "this boot is a ghost, and what it keeps in memory is this root's"
            : RootConfig.AsksForVerity(sysroot.BootArguments) ? "this boot is sealed: what proves the next root is the firmware, the signed kernel line and the TPM, and a soft reboot passes them by"
            : Missing(running);
        if (obstacle is not null)
            throw new NoSoftRebootException(target.Name, obstacle);
        if (!HasSameKernel(running, target))
            throw new NoSoftRebootException(target.Name, "it has another kernel", kernelDiffers: true);
        if (!running.Arguments.Equals(target.Arguments))
            throw new NoSoftRebootException(target.Name, $"the running kernel has the arguments '{running.Arguments}', and it wants '{target.Arguments}'", kernelDiffers: true);
    }

    // By its bytes. The initrd does not count: its work is done, and a soft reboot asks nothing of it.
    private bool HasSameKernel(Deployment one, Deployment other)
    {
        if (one.BootChecksum == other.BootChecksum)
            return true;
        using Dir first = sysroot.OpenDeployment(one), second = sysroot.OpenDeployment(other);
        (KernelLayout mine, KernelLayout theirs) = (KernelLayout.Find(first), KernelLayout.Find(second));
        return mine.Version == theirs.Version && SameBytes(first, $"{mine.Directory}/{mine.Kernel}", second, $"{theirs.Directory}/{theirs.Kernel}");
    }

    private string? Missing(Deployment running)
    {
        using Dir tree = sysroot.OpenDeployment(running);
        return Units.FirstOrDefault(unit => !tree.Exists(unit)) is { } missing ? $"what runs has no {missing[(missing.LastIndexOf('/') + 1)..]}" : null;
    }

    private static bool SameBytes(Dir first, string name, Dir second, string other)
    {
        (FileStat mine, FileStat theirs) = (first.Stat(name), second.Stat(other));
        if ((mine.Device, mine.Inode) == (theirs.Device, theirs.Inode))
            return true; // two names of one object
        return mine.Size == theirs.Size && first.ReadAll(name).AsSpan().SequenceEqual(second.ReadAll(other));
    }
}
