using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>How a tree is mounted.</summary>
public sealed record FuseOptions
{
    /// <summary>What /proc/mounts names as the source.</summary>
    public string Source { get; init; } = "sbox";

    /// <summary>What /proc/mounts adds to the type: <c>fuse.NAME</c>.</summary>
    public string Subtype { get; init; } = "sbox";

    /// <summary>Threads that take requests; what waits for the network holds none of them.</summary>
    public int Workers { get; init; } = Math.Clamp(Environment.ProcessorCount, 2, 8);

    /// <summary>Told what a tree threw and the reader saw as an error; from any thread.</summary>
    public Action<Exception>? OnFailure { get; init; }
}

/// <summary>
/// A tree mounted by FUSE, without libfuse: this process is the file system until it is disposed or ends. Linux 6.1 and later; root's.
/// When the process dies, readers get ENOTCONN at once and never wait.
/// </summary>
/// <remarks>The protocol is linux/fuse.h's. Contents never change, so the kernel may keep all that it was told for ever.</remarks>
public sealed class FuseMount : IDisposable
{
    /// <summary>The most that the kernel reads in one request, in bytes.</summary>
    public const int MaxRead = 1 << 20;

    private readonly FuseDevice device;
    private readonly IFuseTree tree;
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int working;
    private bool mounted;
    private volatile bool disposed;

    private FuseMount(FuseDevice device, IFuseTree tree, string mountPoint) => (this.device, this.tree, MountPoint) = (device, tree, mountPoint);

    /// <summary>Where it is mounted.</summary>
    public string MountPoint { get; }

    /// <summary>Completes when the last worker is gone: the file system is unmounted and nothing uses it any more, or its connection was aborted.</summary>
    public Task Ended => ended.Task;

    /// <summary>Mounts a tree; it answers from here on.</summary>
    /// <param name="tree">What is shown. It is called until <see cref="Ended"/>.</param>
    /// <param name="mountPoint">A directory, by its absolute path.</param>
    /// <param name="options">How.</param>
    /// <exception cref="LinuxException">There is no /dev/fuse or no such directory, or the caller may not mount.</exception>
    /// <exception cref="MountException">The kernel does not take it so.</exception>
    public static FuseMount Mount(IFuseTree tree, string mountPoint, FuseOptions options)
    {
        var device = new FuseDevice();
        var mount = new FuseMount(device, tree, mountPoint);
        try
        {
            string number = ((int)device.Handle.DangerousGetHandle()).ToString(CultureInfo.InvariantCulture); // ours, and open until Dispose
            using FileSystemContext context = FileSystemContext.Open("fuse")
                .Set("source", options.Source).Set("subtype", options.Subtype)
                .Set("fd", number).Set("rootmode", "40000").Set("user_id", "0").Set("group_id", "0")
                .Set("default_permissions").Set("allow_other").Set("ro");
            tree.Mounting(new FusePages(device));
            using DetachedMount made = context.Create(MountAttributes.ReadOnly | MountAttributes.NoDevices | MountAttributes.NoSetUid);
            mount.Start(new FuseServer(device, tree, options.OnFailure), options.Workers);
            made.AttachAt(mountPoint);
            mount.mounted = true;
            mount.RaiseReadAhead();
            return mount;
        }
        catch
        {
            mount.Dispose();
            throw;
        }
    }

    /// <summary>
    /// For so long, from now, whoever waits is answered when the answer is there, whatever signal comes meanwhile; what was said before is over. A process that
    /// is held (<see cref="HeldProcesses"/>) is interrupted by that, and would be told EINTR where no signal ever came.
    /// </summary>
    public void IgnoreInterrupts(TimeSpan howLong) => device.IgnoreInterrupts(howLong);

    /// <summary>Unmounts.</summary>
    /// <exception cref="LinuxException">It is in use (EBUSY), or unmounted already (EINVAL).</exception>
    public void Unmount()
    {
        Mounts.Unmount(MountPoint);
        mounted = false;
    }

    /// <summary>Takes it away at once, whoever uses it: what they ask for from here on fails with ENOTCONN.</summary>
    public void Dispose()
    {
        if (mounted)
        {
            mounted = false;
            if (MountTable.At(MountPoint) is { Type: var type } && type.StartsWith("fuse", StringComparison.Ordinal))
                Mounts.DetachByForce(MountPoint);
        }

        // Only when no worker reads any more may their memory go: while the mount lives on in another namespace, its copy there is served.
        disposed = true;
        if (SpinWait.SpinUntil(() => Volatile.Read(ref working) == 0, TimeSpan.FromSeconds(5)))
            device.Dispose();
    }

    private void Start(FuseServer server, int workers)
    {
        working = workers;
        for (int at = 0; at < workers; at++)
        {
            SafeFileHandle handle = at == 0 ? device.Handle : device.Another();
            new Thread(() => Work(server, handle), maxStackSize: 512 * 1024) { IsBackground = true, Name = "fuse" }.Start();
        }
    }

    private void Work(FuseServer server, SafeFileHandle handle)
    {
        Exception? failure = null;
        try
        {
            server.Work(handle);
        }
        catch (Exception broken) when (broken is LinuxException or ObjectDisposedException)
        {
            failure = broken; // the connection is of no use any more; what waits for its end is told why
        }

        if (failure is LinuxException)
            ended.TrySetException(failure);
        if (Interlocked.Decrement(ref working) == 0)
            End();
    }

    private void End()
    {
        tree.Unmounted();
        if (disposed)
            device.Dispose();
        ended.TrySetResult();
    }

    // INIT can ask for no more than the 128 KiB that every new backing device has; here it can be raised, for the price of one small write.
    private void RaiseReadAhead()
    {
        if (MountTable.At(MountPoint) is not { } entry)
            return;
        string path = $"/sys/class/bdi/{entry.Device}/read_ahead_kb";
        try
        {
            File.WriteAllText(path, (MaxRead / 1024).ToString(CultureInfo.InvariantCulture));
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            ReadAheadFinding = $"{path}: {refused.Message}"; // slower, and not wrong: sysfs may be read-only in a container
        }
    }

    /// <summary>Why the kernel reads ahead less than it might; null where it does all.</summary>
    public string? ReadAheadFinding { get; private set; }
}
