using System.Diagnostics;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>
/// What sbox-root does as the first program of a machine, in an initrd that has nothing else: drivers, the disk, the deployment's root,
/// and then that root's own init in its place. docs/boot.md has the road.
/// </summary>
public static class FirstProgram
{
    private const string Sysroot = "/sysroot";
    private static readonly TimeSpan DiskLimit = TimeSpan.FromSeconds(60), Patience = TimeSpan.FromSeconds(3);
    private static readonly string[] ApiFileSystems = ["dev", "proc", "sys", "run"];

    /// <summary>
    /// Whether this process is the first of a machine, in an initrd that was made for it: process 1 of a container is not.
    /// </summary>
    public static bool IsThis => Environment.ProcessId == 1 && File.Exists($"/{ModuleIndex.PathInInitrd}");

    /// <summary>Mounts what programs expect of a kernel. First of all: even the command line is read from there.</summary>
    /// <exception cref="IOException">The kernel refused.</exception>
    public static void MountApiFileSystems()
    {
        const MountAttributes plain = MountAttributes.NoSetUid | MountAttributes.NoDevices | MountAttributes.NoExecute;
        MountApi("proc", "/proc", plain);
        MountApi("sysfs", "/sys", plain);
        MountApi("devtmpfs", "/dev", MountAttributes.NoSetUid, ("mode", "0755"), ("size", "4m"));
        MountApi("tmpfs", "/run", MountAttributes.NoSetUid | MountAttributes.NoDevices, ("mode", "0755"), ("size", "20%"), ("nr_inodes", "800k"));
    }

    /// <summary>Makes the deployment's root and becomes its init. Returns never.</summary>
    /// <param name="arguments">The kernel command line.</param>
    /// <param name="forInit">What the kernel gave the first program, for the real init.</param>
    /// <param name="say">One line for the console, when a person would wonder what is waited for.</param>
    /// <exception cref="NoRootException">There is no such root; the message is the line for the console.</exception>
    /// <exception cref="IOException">The kernel refused a step.</exception>
    public static void Boot(KernelArguments arguments, IReadOnlyList<string> forInit, Action<string> say)
    {
        RootConfig config = RootConfig.From(arguments);
        string root = config.Root ?? throw new NoRootException("the kernel command line has no root=; it names the disk, as root=LABEL=sbox-root");
        if (!Disks.Understands(root))
            throw new NoRootException($"root={root}: this initrd finds disks by LABEL=, UUID=, PARTLABEL= and /dev/NAME; one made by dracut knows more");
        foreach (KernelArgument unheeded in arguments.Where(static argument => argument.Key.StartsWith("rd.", StringComparison.Ordinal)))
            say($"{unheeded} is for an initrd made by dracut, and is not heeded by this one");
        var drivers = new Drivers(arguments);
        bool isEncrypted;
        try
        {
            isEncrypted = MakeRoot(config, root, drivers, say);
        }
        catch (Exception refused) when (refused is IOException && drivers.Refused.Count > 0)
        {
            throw new NoRootException($"{refused.Message}; drivers that the kernel refused: {string.Join("; ", drivers.Refused)}");
        }

        // Where a volume was opened the TPM was waited for already.
        TpmRegister.Close(config.RequireVerity, isEncrypted || TpmRegister.GivesKeys(), config.RequireTpm, say, limit: isEncrypted ? TimeSpan.Zero : null);
        string init = arguments.Get("init") ?? "/sbin/init";
        try
        {
            BecomeInit(init, forInit);
        }
        catch (LinuxException refused) when (refused.Call == "execve")
        {
            throw new NoRootException($"the deployment's root is there, and its {init} does not start: {refused.Message}");
        }
    }

    // Whether it is on an encrypted volume.
    private static bool MakeRoot(RootConfig config, string root, Drivers drivers, Action<string> say)
    {
        var encrypted = new EncryptedRoot(drivers.Load, say);
        drivers.Load("efivarfs");
        drivers.Load("loop"); // a root on a CD
        HeadCopy? torn = encrypted.Torn();
        using var disks = new Disks(root, torn: torn, say: say, loader: LoaderPartition(say)); // until the root is mounted
        ProbedDisk disk = WaitFor(disks, root, drivers, say);
        if (disk.Superblock.HasErrors)
            say($"{disk.Device} was marked as damaged by the kernel: boot another system and run e2fsck {disk.Device.Path}");
        if (!config.Ghost && BlockDevices.IsReadOnly(disk.Device.Name))
            throw new NoRootException($"{disk.Device} is on a read-only medium, and /etc and /var must be written: reboot and choose 'ghost' in the boot menu, which keeps what is written in memory");
        foreach (string module in (string[])[Superblock.Ext4, "erofs", "overlay"])
            drivers.Load(module);
        StubFiles.Keep("/", "/run"); // what opens a volume looks for them there, too
        string? volume = MountPhysicalRoot(disk, config, encrypted);
        long? changes = config.FromRam ? CopyToMemory(volume ?? disk.Device.Path, disk.Device.Path, config, volume is null ? null : encrypted, say) : null;

        RootPlan plan = RootPlan.Make(config, PhysicalRoot.Look(Sysroot, config.OstreeLink), changes: changes);
        RootMounter.Execute(plan, say);
        return volume is not null;
    }

    // From the medium as it was mounted: by then the kernel has put the journal's changes in their places, and an image that asks for that is encrypted. Where there
    // can be no copy the ghost runs from the medium: it is what the person has, and everybody is told not to take it out.
    private static long? CopyToMemory(string medium, string plugged, RootConfig config, EncryptedRoot? encrypted, Action<string> say)
    {
        Mounts.Unmount(Sysroot);
        using var copy = new MemoryCopy(say);
        try
        {
            (string device, MemoryDisk made) = copy.Make(medium);
            MountCopy(device, config, copy);
            (made with { Medium = plugged }).Leave(); // a volume on it is closed now
            encrypted?.Close();
            say($"this boot runs from memory; {plugged} may be taken out");
            return copy.HalfOfTheRest(made.Bytes);
        }
        catch (NotCopiedException failed)
        {
            say($"this boot runs from {medium}, and not from memory: {failed.Message}; leave it in");
            new MemoryDisk(medium, 0, TimeSpan.Zero, failed.Message).Leave();
            Mount(medium, config);
            return null;
        }
    }

    private static void MountCopy(string device, RootConfig config, MemoryCopy copy)
    {
        try
        {
            Mount(device, config);
        }
        catch (MountException refused)
        {
            copy.Forget();
            throw new NotCopiedException($"the copy cannot be mounted: {refused.Message}");
        }
    }

    private static string? LoaderPartition(Action<string> say)
    {
        try
        {
            FirmwareVariables.Mount();
            return new LoaderVariables().PartitionUuid;
        }
        catch (IOException unseen)
        {
            say($"{unseen.Message}; of two disks with this box, the first one is taken");
            return null;
        }
    }

    private static ProbedDisk WaitFor(Disks disks, string root, Drivers drivers, Action<string> say)
    {
        long started = Stopwatch.GetTimestamp();
        bool said = false;
        for (int pause = 2; ; pause = Math.Min(pause * 2, 50))
        {
            drivers.LoadForNewDevices();
            if (disks.Look() is { } disk)
                return disk;
            TimeSpan waited = Stopwatch.GetElapsedTime(started);
            if (waited > DiskLimit)
            {
                string present = string.Join(", ", disks.Present);
                throw new NoRootException(
                    $"the disk root={root} did not appear; file systems here: {(present.Length > 0 ? present : "none")}: connect the disk and reboot"
                    + (disks.Present.Any(static disk => disk.FileSystem != Superblock.Ext4) ? "; other file systems than ext4, and what is below them, are known to an initrd made by dracut" : "")
                    + (drivers.Refused.Count > 0 ? $"; drivers that the kernel refused: {string.Join("; ", drivers.Refused)}" : ""));
            }

            if (!said && (said = waited > Patience))
                say($"waiting for the disk root={root}");
            Thread.Sleep(pause);
        }
    }

    // The opened volume that it is on; null for none.
    private static string? MountPhysicalRoot(ProbedDisk disk, RootConfig config, EncryptedRoot encrypted)
    {
        string device = disk.Device.Path;
        bool isVolume = disk.Superblock.Type == Superblock.Luks;
        string? opened = isVolume ? encrypted.Open(device, disk.Superblock.Uuid) : null;
        Mount(opened ?? device, config);
        if (isVolume || !File.Exists($"{Sysroot}/{EncryptedDisk.Marker}"))
            return opened;
        Mounts.Unmount(Sysroot);
        string volume = encrypted.Encrypt(disk);
        opened = encrypted.Open(device, volume);
        Mount(opened, config);
        return opened;
    }

    private static void Mount(string device, RootConfig config)
    {
        using FileSystemContext context = FileSystemContext.Open(Superblock.Ext4);
        context.Set("source", device).Set("ro");
        MountAttributes attributes = MountAttributes.ReadOnly;
        foreach (string option in config.RootFlags?.Split(',', StringSplitOptions.RemoveEmptyEntries) ?? [])
        {
            if (AttributeOf(option) is { } attribute)
                attributes |= attribute;
            else if (option.Split('=', 2) is [var key, var value])
                context.Set(key, value);
            else
                context.Set(option);
        }

        using DetachedMount mount = context.Create(attributes);
        mount.AttachAt(Sysroot);
    }

    /// <summary>What of mount(8)'s options is the mount's own and not the file system's; null for the file system's.</summary>
    internal static MountAttributes? AttributeOf(string option) => option switch
    {
        "ro" or "rw" or "defaults" or "relatime" or "atime" or "diratime" or "suid" or "dev" or "exec" => MountAttributes.None,
        "noatime" => MountAttributes.NoAccessTime,
        "strictatime" => MountAttributes.StrictAccessTime,
        "nodiratime" => MountAttributes.NoDirectoryAccessTime,
        "nosuid" => MountAttributes.NoSetUid,
        "nodev" => MountAttributes.NoDevices,
        "noexec" => MountAttributes.NoExecute,
        _ => null,
    };

    private static void BecomeInit(string init, IReadOnlyList<string> arguments)
    {
        foreach (string name in ApiFileSystems)
            Mounts.Move($"/{name}", $"{Sysroot}/{name}");
        using (Dir initramfs = Dir.Open("/"))
        {
            Mounts.SwitchRoot(Sysroot);
            Forget(initramfs);
        }

        List<string> environment = [.. Environment.GetEnvironmentVariables().Cast<System.Collections.DictionaryEntry>().Select(static variable => $"{variable.Key}={variable.Value}")];
        ThisProcess.Execute(init, [init, .. arguments], environment);
    }

    // The initramfs stays mounted for ever, below the root: what is in it would only take memory.
    private static void Forget(Dir initramfs)
    {
        ulong device = initramfs.Stat().Device;
        foreach (DirEntry entry in initramfs.Entries())
        {
            if (initramfs.Stat(entry.Name).Device == device)
                initramfs.RemoveAll(entry.Name);
        }
    }

    private static void MountApi(string type, string at, MountAttributes attributes, params ReadOnlySpan<(string Key, string Value)> options)
    {
        using FileSystemContext context = FileSystemContext.Open(type);
        context.Set("source", type);
        foreach ((string key, string value) in options)
            context.Set(key, value);
        using DetachedMount mount = context.Create(attributes);
        mount.AttachAt(at);
    }
}
