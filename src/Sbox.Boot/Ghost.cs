using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>The /etc and /var of a boot that keeps nothing.</summary>
internal static class Ghost
{
    private const string Upper = "upper", Work = "work";

    public static void MountMemory(RootStep.MountMemory step)
    {
        RootMounter.MakeMountPoint(step.At);
        using FileSystemContext context = FileSystemContext.Open("tmpfs");
        // noswap: a swap partition is a disk, and what is gone at power-off must never have been on one. The memory of programs is another
        // matter: the menu's entry asks systemd for no swap at all (BootProfiles).
        using DetachedMount mount = context.Set("source", "ghost").Set("mode", "0700").Set("size", step.Limit is { } limit ? $"{limit}" : "50%").Set("noswap").Create(MountAttributes.NoDevices);
        mount.AttachAt(step.At);
    }

    public static void MountShadow(RootStep.MountShadow step)
    {
        using (Dir run = Dir.Open(Path.GetDirectoryName(step.Memory)!))
        using (Dir below = Dir.Open(step.From))
        {
            string name = Path.GetFileName(step.Memory);
            FileStat stat = below.Stat();
            run.MakeDirs($"{name}/{Work}");
            run.MakeDir($"{name}/{Upper}");
            // The merged directory itself is the upper one's.
            run.ChangeOwner($"{name}/{Upper}", stat.Uid, stat.Gid);
            run.ChangeMode($"{name}/{Upper}", stat.Permissions);
        }

        using FileSystemContext context = FileSystemContext.Open("overlay");
        context.Set("source", "ghost").Set("lowerdir+", step.From).Set("upperdir", $"{step.Memory}/{Upper}").Set("workdir", $"{step.Memory}/{Work}");
        // Whole directories can be renamed, as on the disk below.
        using DetachedMount mount = context.Set("redirect_dir", "on").Create();
        mount.AttachAt(step.To);
    }
}
