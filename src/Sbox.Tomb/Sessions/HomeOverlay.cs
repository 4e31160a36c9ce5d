using Sbox.Linux;

namespace Sbox.Tomb.Sessions;

/// <summary>
/// The mounts of an open tomb: the snapshot, read-only, at <c>lower</c>; what is written since in <c>scratch/upper</c>, a tmpfs that is
/// never swapped or a directory of the owner's choice; and both together, by overlayfs, at the mount point.
/// </summary>
internal sealed class HomeOverlay
{
    /// <summary>In the scratch directory, beside <c>base</c>: the id of the session's last save.</summary>
    public const string SavedFile = "saved";

    private const uint Private = 0x1C0; // 0700
    private readonly SessionOptions options;

    private HomeOverlay(SessionOptions options)
    {
        this.options = options;
        Scratch = options.Scratch ?? $"{options.Directory}/scratch";
    }

    /// <summary>Where the snapshot is mounted.</summary>
    public string Lower => $"{options.Directory}/lower";

    /// <summary>Where what is written goes.</summary>
    public string Upper => $"{Scratch}/upper";

    /// <summary>The directory that holds the upper layer and what overlayfs needs beside it.</summary>
    public string Scratch { get; }

    /// <summary>Whether the upper layer was there: a session before this one ended without closing.</summary>
    public bool Recovered { get; private set; }

    /// <summary>Makes the directories, and the memory where no scratch is named.</summary>
    public static HomeOverlay Prepare(SessionOptions options)
    {
        var overlay = new HomeOverlay(options);
        using (Dir root = Dir.Open("/"))
        {
            root.MakeDirs(options.RunDirectory.TrimStart('/'), 0x1ED /* 0755: the sockets are their owners' */);
            root.MakeDirs(options.Directory.TrimStart('/'), 0x1ED);
            root.MakeDirs(overlay.Scratch.TrimStart('/'), Private);
        }

        overlay.ClearDead();
        if (options.Scratch is null && MountTable.At(overlay.Scratch) is null)
            MountMemory(overlay.Scratch, options.MemoryLimit);
        using Dir scratch = Dir.Open(overlay.Scratch);
        overlay.Recovered = scratch.Exists("upper") && scratch.Exists("base");
        if (!overlay.Recovered)
        {
            scratch.RemoveAll("upper");
            scratch.RemoveAll(SavedFile);
        }

        scratch.RemoveAll("work");
        scratch.MakeDirs("upper", Private);
        scratch.MakeDirs("work", Private);
        using Dir own = Dir.Open(options.Directory);
        own.MakeDirs("lower", Private);
        return overlay;
    }

    /// <summary>Puts both layers together at the mount point.</summary>
    /// <exception cref="MountException">The kernel does not take it so.</exception>
    public void MountAt(string mountPoint)
    {
        using FileSystemContext context = FileSystemContext.Open("overlay")
            .Set("source", $"tomb-{options.Name}").Set("lowerdir+", Lower).Set("upperdir", Upper).Set("workdir", $"{Scratch}/work")
            .Set("redirect_dir", "on").Set("metacopy", "on").Set("index", "off").Set("xino", "auto");
        using DetachedMount mount = context.Create(MountAttributes.NoSetUid | MountAttributes.NoDevices);
        mount.AttachAt(mountPoint);
    }

    /// <summary>Takes the memory and the directories away; a scratch directory of the owner's is emptied.</summary>
    /// <param name="takeLower">Unmounts the snapshot, once nothing is above it any more.</param>
    public void Remove(Action takeLower)
    {
        takeLower();
        if (options.Scratch is null)
        {
            if (MountTable.At(Scratch) is not null)
                Mounts.Detach(Scratch);
        }
        else
        {
            using Dir scratch = Dir.Open(Scratch);
            foreach (string name in (string[])["upper", "work", "base", SavedFile])
                scratch.RemoveAll(name);
        }

        using Dir run = Dir.Open(options.RunDirectory);
        run.RemoveAll(options.Name);
    }

    // What a killed session left: its overlay and its snapshot answer nobody any more; its upper layer is whole.
    private void ClearDead()
    {
        for (int layers = 0; layers < 8 && MountTable.At(options.MountPoint) is { Type: "overlay" } dead && dead.Source == $"tomb-{options.Name}"; layers++)
            Mounts.Detach(options.MountPoint);
        for (int layers = 0; layers < 8 && MountTable.At(Lower) is not null; layers++)
            Mounts.DetachByForce(Lower);
    }

    // noswap: what a home holds must not reach a disk. Kernels before 6.4 do not know the word.
    private static void MountMemory(string at, string limit)
    {
        try
        {
            Memory(at, limit, noswap: true);
        }
        catch (MountException unknown) when (unknown.Errno == Errno.EINVAL)
        {
            Memory(at, limit, noswap: false);
        }
    }

    private static void Memory(string at, string limit, bool noswap)
    {
        using FileSystemContext context = FileSystemContext.Open("tmpfs").Set("source", "tomb-scratch").Set("mode", "0700").Set("size", limit);
        if (noswap)
            context.Set("noswap");
        using DetachedMount mount = context.Create(MountAttributes.NoSetUid | MountAttributes.NoDevices);
        mount.AttachAt(at);
    }
}
