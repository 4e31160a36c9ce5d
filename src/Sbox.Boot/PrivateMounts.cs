using System.Collections;
using System.Diagnostics;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>No EFI system partition to write to.</summary>
/// <param name="message">Where was looked.</param>
public sealed class NoEspException(string message) : IOException(message);

/// <summary>
/// The only place from where a box's own storage can be written: a mount namespace that no other program sees. In it, /sysroot is
/// writable and the EFI system partition is mounted (both read-only for a look); outside, nothing changes, and when the process ends
/// all of it is gone.
/// </summary>
public sealed class PrivateMounts : IDisposable
{
    private const string Mark = "SBOX_MOUNT_NAMESPACE";
    private const string EspMountPoint = "/run/sbox/esp";

    // FAT stores local time; the same files shall have the same bytes anywhere.
    private static readonly (string, string)[] FatOptions = [("umask", "0077"), ("tz", "UTC")];

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly bool looksOnly, madeWritable;
    private readonly FileLock? ghostLock;
    private readonly TimeSpan patience;
    private bool espMounted, glances;
    private DetachedMount? unattached;

    private PrivateMounts(string sysroot, bool looksOnly, bool madeWritable, FileLock? ghostLock = null, TimeSpan? patience = null) =>
        (Sysroot, this.looksOnly, this.madeWritable, this.ghostLock, this.patience) = (sysroot, looksOnly, madeWritable, ghostLock, patience ?? Patience);

    /// <summary>The physical root; writable here, unless it is only looked at.</summary>
    public string Sysroot { get; }

    /// <summary>Whether this process runs in a namespace that <see cref="Enter"/> made.</summary>
    public static bool Entered => Environment.GetEnvironmentVariable(Mark) == Namespace();

    /// <summary>
    /// Makes this process run in a mount namespace of its own. The first call replaces the process by the same program with the same
    /// arguments, from its beginning, so call it before anything is done; inside, it returns at once.
    /// </summary>
    /// <remarks>A process cannot move all of its threads into a new namespace; a program that was just executed has only one.</remarks>
    /// <exception cref="LinuxException">The caller may not (EPERM: not root).</exception>
    public static void Enter()
    {
        if (Entered)
            return;
        using Dir self = Dir.Open("/proc/self");
        // The arguments as they came, argv[0] included: it says whether this is sbox or ostree.
        // Each ends with a NUL, and the last one may be empty.
        string[] arguments = FileName.FromBytes(self.ReadAll("cmdline")).Split('\0')[..^1];
        Mounts.UnshareNamespace();
        List<string> environment = [.. Environment.GetEnvironmentVariables().Cast<DictionaryEntry>()
            .Where(static variable => (string)variable.Key != Mark)
            .Select(static variable => $"{variable.Key}={variable.Value}")];
        environment.Add($"{Mark}={Namespace()}");
        ThisProcess.Execute("/proc/self/exe", arguments, environment);
    }

    /// <summary>Makes a physical root writable, in this namespace only. A directory that is no mount point is left as it is.</summary>
    /// <param name="sysroot">Where the physical root is mounted: <c>/sysroot</c>.</param>
    /// <param name="patience">How long another sbox may go on writing to a ghost's disk, and whoever looks at the EFI partition may keep it from being written to; null: ten seconds.</param>
    /// <exception cref="InvalidOperationException"><see cref="Enter"/> was not called: the mounts would be everyone's.</exception>
    /// <exception cref="NoDiskException">This boot runs from memory.</exception>
    /// <exception cref="IOException">The kernel refused.</exception>
    public static PrivateMounts Open(string sysroot = "/sysroot", TimeSpan? patience = null)
    {
        Seclude();
        if (MemoryDisk.IsUsed())
            throw new NoDiskException();
        bool readOnly = MountTable.At(sysroot) is { IsReadOnly: true };
        FileLock? ghostLock = readOnly ? LockGhost(patience ?? Patience) : null;
        if (readOnly)
        {
            Mounts.SetAttributes(sysroot, clear: MountAttributes.ReadOnly);
            if (MountTable.At(sysroot) is { IsReadOnly: true })
                Mounts.SetSuperblockWritable(sysroot, writable: true);
        }

        return new PrivateMounts(sysroot, looksOnly: false, readOnly, ghostLock, patience);
    }

    /// <summary>Leaves the physical root as it is; <see cref="MountEsp"/> mounts read-only.</summary>
    /// <param name="sysroot">Where the physical root is mounted.</param>
    /// <exception cref="InvalidOperationException"><see cref="Enter"/> was not called.</exception>
    public static PrivateMounts Look(string sysroot = "/sysroot")
    {
        Seclude();
        return new PrivateMounts(sysroot, looksOnly: true, madeWritable: false);
    }

    /// <summary>As <see cref="Look"/>, and without a namespace of its own: <see cref="MountEsp"/> gives the partition no place anywhere, and only this process reaches it.</summary>
    /// <param name="sysroot">Where the physical root is mounted.</param>
    public static PrivateMounts Glance(string sysroot = "/sysroot") => new(sysroot, looksOnly: true, madeWritable: false) { glances = true };

    /// <summary>Mounts the EFI system partition where only this process and its children see it.</summary>
    /// <returns>Where it is: names are readable by root alone; read-only after <see cref="Look"/>. Write durably: FAT has no journal.</returns>
    /// <exception cref="NoEspException">There is none.</exception>
    /// <exception cref="IOException">The kernel refused.</exception>
    public string MountEsp()
    {
        if (espMounted)
            return EspMountPoint;
        if (MemoryDisk.IsUsed())
            throw new NoEspException("this boot runs from memory, and leaves the medium alone, which may be pulled out at any moment");
        BlockDevice esp = FindEsp();
        if (glances)
            return (unattached ??= ToLook("vfat", esp.Path, FatOptions)).PathForOthers;
        using (Dir root = Dir.Open("/"))
            root.MakeDirs(EspMountPoint[1..], 0x1C0 /* 0700 */, parents: 0x1ED); // in /run/sbox are users' sockets too
        if (!looksOnly)
            FatRepair.IfLeftInUse(esp.Path);
        using DetachedMount mount = looksOnly ? ToLook("vfat", esp.Path, FatOptions) : ToWrite("vfat", esp.Path, patience, FatOptions);
        mount.AttachAt(EspMountPoint);
        espMounted = true;
        return EspMountPoint;
    }

    /// <summary>Writes out what is not on the disk yet and undoes the mounts. A process that ends without is undone by the kernel.</summary>
    /// <exception cref="LinuxException">Something could not be written out, or is still in use.</exception>
    public void Dispose()
    {
        if (espMounted)
        {
            if (!looksOnly)
                Sync(EspMountPoint);
            Mounts.Unmount(EspMountPoint);
            espMounted = false;
        }

        unattached?.Dispose();
        using FileLock? held = ghostLock;
        if (madeWritable)
        {
            Sync(Sysroot);
            Mounts.SetAttributes(Sysroot, set: MountAttributes.ReadOnly);
            // A ghost's disk: nobody else may find it writable when this is over, nor what a killed one before it left.
            if (ghostLock is not null)
                LockSuperblock();
        }
    }

    private void LockSuperblock()
    {
        try
        {
            Mounts.SetSuperblockWritable(Sysroot, writable: false);
        }
        catch (MountException busy) when (busy.Errno == Errno.EBUSY)
        {
            // The session still reads files that were replaced on the disk: the kernel keeps a superblock writable until such are gone. All
            // of its mounts are read-only, as on a boot that is no ghost.
            return;
        }
    }

    // One at a time: whoever ends first makes the superblock read-only, for all.
    private static FileLock? LockGhost(TimeSpan patience)
    {
        if (!RootConfig.IsGhost(KernelArguments.Parse(File.ReadAllText("/proc/cmdline"))))
            return null;
        using Dir run = Dir.Open("/run");
        run.MakeDirs("sbox");
        using Dir ours = run.OpenDir("sbox");
        for (long started = Stopwatch.GetTimestamp(); ; Thread.Sleep(50))
        {
            if (FileLock.TryTake(ours, "ghost-disk.lock", mode: 0x180 /* 0600 */) is { } taken)
                return taken;
            if (Stopwatch.GetElapsedTime(started) > patience)
                throw new IOException("/run/sbox/ghost-disk.lock: another sbox writes to this ghost's disk; when it has ended, this works");
        }
    }

    private static void Seclude()
    {
        if (!Entered)
            throw new InvalidOperationException("PrivateMounts.Enter comes first: these mounts would be seen by everyone");
        // What others mount still shows up here, and can be unmounted by them; nothing goes the other way.
        Mounts.SetPropagation("/", Propagation.Slave, recursive: true);
    }

    // A FAT that is mounted writable is marked as in use at once. So one that is only looked at is read-only to its superblock, unless
    // an upgrade has it just now: then the look shares what is there, by a mount that is read-only.
    internal static DetachedMount ToLook(string type, string device, params (string Key, string Value)[] options)
    {
        try
        {
            return Create(type, device, options, readOnly: true, MountAttributes.ReadOnly);
        }
        catch (MountException refused) when (refused.Errno == Errno.EBUSY)
        {
            return Create(type, device, options, readOnly: false, MountAttributes.ReadOnly);
        }
    }

    // EBUSY: someone looks at it, and will soon have seen enough.
    internal static DetachedMount ToWrite(string type, string device, TimeSpan? patience = null, params (string Key, string Value)[] options)
    {
        for (long started = Stopwatch.GetTimestamp(); ; Thread.Sleep(50))
        {
            try
            {
                return Create(type, device, options, readOnly: false, MountAttributes.None);
            }
            catch (MountException refused) when (refused.Errno == Errno.EBUSY && Stopwatch.GetElapsedTime(started) < (patience ?? Patience))
            {
                continue;
            }
        }
    }

    private static DetachedMount Create(string type, string device, (string Key, string Value)[] options, bool readOnly, MountAttributes attributes)
    {
        using FileSystemContext context = FileSystemContext.Open(type).Set("source", device);
        foreach ((string key, string value) in options)
            context.Set(key, value);
        if (readOnly)
            context.Set("ro");
        return context.Create(
            attributes | MountAttributes.NoSetUid | MountAttributes.NoDevices | MountAttributes.NoExecute | MountAttributes.NoSymlinkFollow);
    }

    private BlockDevice FindEsp()
    {
        IReadOnlyList<BlockDevice> devices = PartitionTables.Complete(BlockDevices.List());
        string? loader = new LoaderVariables().PartitionUuid;
        string? root = MountTable.At(Sysroot)?.Device;
        return EfiSystemPartition.Find(devices, loader, root) ?? throw new NoEspException(
            $"no EFI system partition: the boot loader names {loader ?? "none"}, and the disk of {Sysroot} ({root ?? "not mounted"}) has none");
    }

    private static void Sync(string mountPoint)
    {
        using Dir directory = Dir.Open(mountPoint);
        Durable.SyncFileSystem(directory);
    }

    private static string Namespace()
    {
        // self would be the first thread, which may not be the one that moved.
        using Dir self = Dir.Open("/proc/thread-self/ns");
        return self.ReadLink("mnt");
    }
}
