using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>Does what a <see cref="RootPlan"/> says. Needs CAP_SYS_ADMIN in the mount namespace that it changes.</summary>
public static class RootMounter
{
    /// <summary>Makes the root. When a step fails, those before it stay done: the emergency shell finds what there is.</summary>
    /// <param name="plan">The steps.</param>
    /// <param name="say">One line for the console, where a step is one that people must see coming.</param>
    /// <param name="before">Told of each step before it is done.</param>
    /// <exception cref="MountException">The kernel refused a mount.</exception>
    /// <exception cref="LinuxException">The kernel refused another call.</exception>
    public static void Execute(RootPlan plan, Action<string> say, IProgress<RootStep>? before = null)
    {
        foreach (RootStep step in plan.Steps)
        {
            before?.Report(step);
            Do(step, say);
        }
    }

    private static void Do(RootStep step, Action<string> say)
    {
        switch (step)
        {
            case RootStep.Isolate:
                Mounts.SetPropagation("/", Propagation.Private, recursive: true);
                break;
            case RootStep.Unlock unlock:
                Mounts.SetSuperblockWritable(unlock.MountPoint, writable: true);
                break;
            case RootStep.SealImage image:
                SealImage(image);
                break;
            case RootStep.MountImage image:
                MountImage(image);
                break;
            case RootStep.MountOverlay overlay:
                MountOverlay(overlay);
                break;
            case RootStep.Bind bind:
                Mounts.Bind(bind.From, bind.To,
                    set: bind.Writable ? MountAttributes.None : MountAttributes.ReadOnly,
                    clear: bind.Writable ? MountAttributes.ReadOnly : MountAttributes.None);
                break;
            case RootStep.Detach detach:
                Mounts.Detach(detach.MountPoint);
                break;
            case RootStep.Move move:
                Mounts.Move(move.From, move.To);
                break;
            case RootStep.NoteRoot note:
                new SoftRoots(note.Run).Note(note.Root, note.Deployment);
                break;
            case RootStep.MountMemory memory:
                Ghost.MountMemory(memory);
                break;
            case RootStep.MountShadow shadow:
                Ghost.MountShadow(shadow);
                break;
            case RootStep.BeNobody nobody:
                GhostIdentity.Take(nobody);
                break;
            case RootStep.OpenDisk disk:
                MakeMountPoint(disk.At);
                Mounts.Bind(disk.Disk, disk.At, clear: MountAttributes.ReadOnly);
                break;
            case RootStep.CountDown count:
                FactoryReset.CountDown(count, say);
                break;
            case RootStep.PrepareReset prepare:
                FactoryReset.Prepare(prepare);
                break;
            case RootStep.Exchange exchange:
                FactoryReset.Exchange(exchange, say);
                break;
            case RootStep.Discard discard:
                FactoryReset.Discard(discard, say);
                break;
            case RootStep.MarkBooted mark:
                Mark(mark);
                break;
            default:
                throw new InvalidOperationException($"no way to do '{step}'");
        }
    }

    private static void MountImage(RootStep.MountImage step)
    {
        MakeMountPoint(step.At);
        using Dir directory = Dir.Open(Path.GetDirectoryName(step.Image)!);
        using SafeFileHandle image = directory.OpenFile(Path.GetFileName(step.Image));
        if (step.Digest is { } digest)
            Prove(image, step.Image, digest);
        using DetachedMount mount = MountErofs(image, step.Image);
        mount.AttachAt(step.At);
    }

    // The very file that is mounted next. From here on the kernel itself refuses a byte that is not the digest's.
    private static void Prove(SafeFileHandle image, string path, Checksum expected)
    {
        byte[] measured = Verity.Measure(image, path) ?? throw new NoRootException(
            $"{path} has no fs-verity digest, and this boot asks for one: its file system cannot keep one (tune2fs -O verity), or the kernel cannot");
        Checksum found = Checksum.FromBytes(measured);
        if (found != expected)
            throw new NoRootException(
                $"{path} was changed: its digest is {found}, and the kernel command line asks for {expected}: reboot and choose another deployment in the boot menu");
    }

    private static void SealImage(RootStep.SealImage step)
    {
        MakeMountPoint(step.At);
        Mounts.Bind(step.Disk, step.At, clear: MountAttributes.ReadOnly);
        try
        {
            using Dir disk = Dir.Open(step.At);
            using SafeFileHandle image = disk.OpenFile(step.Image);
            if (Verity.Measure(image, step.Image) is null)
                Verity.TryEnable(image, step.Image); // where that is impossible, measuring says so next
        }
        finally
        {
            Mounts.Detach(step.At);
        }
    }

    private static DetachedMount MountErofs(SafeFileHandle image, string path)
    {
        try
        {
            return Erofs($"/proc/self/fd/{(int)image.DangerousGetHandle()}", path);
        }
        catch (MountException refused) when (refused.Errno == BlockDeviceRequired)
        {
            (SafeFileHandle device, string devicePath) = LoopDevice.Attach(image, path);
            using (device)
                return Erofs(devicePath, path);
        }
    }

    // ENOTBLK: this kernel's EROFS (before 6.12, or built without) mounts block devices only.
    private const Errno BlockDeviceRequired = (Errno)15;

    private static DetachedMount Erofs(string source, string image)
    {
        using FileSystemContext context = FileSystemContext.Open("erofs");
        try
        {
            return context.Set("source", source).Set("ro").Create(MountAttributes.ReadOnly);
        }
        catch (MountException refused)
        {
            throw new MountException(refused.Errno, "erofs", $"{image}: {refused.Step}", refused.KernelWords);
        }
    }

    private static void MountOverlay(RootStep.MountOverlay step)
    {
        MakeMountPoint(step.At);
        using FileSystemContext context = FileSystemContext.Open("overlay");
        context.Set("source", "composefs").Set("ro").Set("metacopy", "on").Set("redirect_dir", "on");
        if (step.RequireVerity)
            context.Set("verity", "require");
        using DetachedMount mount = context.Set("lowerdir+", step.Image).Set("datadir+", step.Objects).Create(MountAttributes.ReadOnly);
        mount.AttachAt(step.At);
    }

    internal static void Mark(RootStep.MarkBooted step)
    {
        using Dir deployment = Dir.Open(step.DeploymentDirectory);
        FileStat stat = deployment.Stat();
        using Dir run = Dir.Open(Path.GetDirectoryName(step.Mark)!);
        string name = Path.GetFileName(step.Mark);
        run.TryUnlink(name);
        using SafeFileHandle file = run.CreateFile(name);
        RandomAccess.Write(file, new BootedMark(stat.Device, stat.Inode, step.Verity).ToBytes(), fileOffset: 0);
    }

    internal static void MakeMountPoint(string path)
    {
        using Dir root = Dir.Open("/");
        root.MakeDirs(path.TrimStart('/'), 0x1C0 /* 0700 */, parents: 0x1ED);
    }
}
