using System.Collections;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>No EFI system partition to write to.</summary>
/// <param name="message">Where was looked.</param>
public sealed class NoEspException(string message) : IOException(message);

/// <summary>
/// The only place from where a box's own storage can be written: a mount namespace that no other program sees. In it, /sysroot is
/// writable and the EFI system partition is mounted; outside, nothing changes, and when the process ends all of it is gone.
/// </summary>
public sealed class PrivateMounts : IDisposable
{
    private const string Mark = "SBOX_MOUNT_NAMESPACE";
    private const string EspMountPoint = "/run/sbox/esp";

    private readonly bool madeWritable;
    private bool espMounted;

    private PrivateMounts(string sysroot, bool madeWritable) => (Sysroot, this.madeWritable) = (sysroot, madeWritable);

    /// <summary>The physical root, writable here.</summary>
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
    /// <exception cref="InvalidOperationException"><see cref="Enter"/> was not called: the mounts would be everyone's.</exception>
    /// <exception cref="IOException">The kernel refused.</exception>
    public static PrivateMounts Open(string sysroot = "/sysroot")
    {
        if (!Entered)
            throw new InvalidOperationException("PrivateMounts.Enter comes first: these mounts would be seen by everyone");
        // What others mount still shows up here, and can be unmounted by them; nothing goes the other way.
        Mounts.SetPropagation("/", Propagation.Slave, recursive: true);
        bool readOnly = MountTable.At(sysroot) is { IsReadOnly: true };
        if (readOnly)
        {
            Mounts.SetAttributes(sysroot, clear: MountAttributes.ReadOnly);
            if (MountTable.At(sysroot) is { IsReadOnly: true })
                Mounts.SetSuperblockWritable(sysroot, writable: true);
        }

        return new PrivateMounts(sysroot, readOnly);
    }

    /// <summary>Mounts the EFI system partition where only this process and its children see it.</summary>
    /// <returns>Where it is: names are readable by root alone. Write durably: FAT has no journal.</returns>
    /// <exception cref="NoEspException">There is none.</exception>
    /// <exception cref="IOException">The kernel refused.</exception>
    public string MountEsp()
    {
        if (espMounted)
            return EspMountPoint;
        BlockDevice esp = FindEsp();
        using (Dir root = Dir.Open("/"))
            root.MakeDirs(EspMountPoint[1..], 0x1C0 /* 0700 */);
        using FileSystemContext context = FileSystemContext.Open("vfat");
        using DetachedMount mount = context
            .Set("source", esp.Path)
            .Set("umask", "0077")
            .Set("tz", "UTC") // FAT stores local time; the same files shall have the same bytes anywhere
            .Create(MountAttributes.NoSetUid | MountAttributes.NoDevices | MountAttributes.NoExecute | MountAttributes.NoSymlinkFollow);
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
            Sync(EspMountPoint);
            Mounts.Unmount(EspMountPoint);
            espMounted = false;
        }

        if (madeWritable)
        {
            Sync(Sysroot);
            Mounts.SetAttributes(Sysroot, set: MountAttributes.ReadOnly);
        }
    }

    private BlockDevice FindEsp()
    {
        IReadOnlyList<BlockDevice> devices = BlockDevices.List();
        string? loader = EfiSystemPartition.LoaderPartition();
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
