using System.Diagnostics;

namespace Sbox.Judges;

/// <summary>
/// The end of what a test mounted. The kernel calls a mount busy, and keeps a device, while anybody holds it: a child that a test beside it starts has its descriptors from its fork to its
/// exec, and a mount namespace that is made meanwhile has a copy of its mounts for as long as it lives. Both go by themselves: they are waited for.
/// </summary>
public static class Unmounting
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(60), Step = TimeSpan.FromMilliseconds(50);

    private const string OpenAlone = "use Fcntl; sysopen(my $device, $ARGV[0], O_RDONLY | O_EXCL) or die \"$!\\n\"";

    /// <summary>Unmounts it, and asks again for up to a minute where it is busy.</summary>
    /// <param name="at">Where it is mounted.</param>
    /// <exception cref="InvalidOperationException">It stays; the message has umount's words.</exception>
    public static void Unmount(string at) => Wait(
        () =>
        {
            Verdict verdict = Judge.OnPath("umount").Ask(at);
            return verdict.ExitCode == 0 ? null : $"{at}: {verdict.Error}";
        });

    /// <summary>Unmounts an image that was mounted by <c>-o loop</c>, and waits till no loop device has it: who reads the image, or mounts it again, then has what was written.</summary>
    /// <param name="at">Where it is mounted.</param>
    /// <param name="image">The image.</param>
    /// <exception cref="InvalidOperationException">It stays, or a loop device of it does.</exception>
    public static void Unmount(string at, string image)
    {
        Unmount(at);
        AwaitNoLoop(image);
    }

    /// <summary>Waits till no loop device has a file.</summary>
    /// <param name="image">The file.</param>
    /// <exception cref="InvalidOperationException">One stays; the message says which.</exception>
    public static void AwaitNoLoop(string image) => Wait(
        () => Judge.OnPath("losetup").Run("--associated", image) is { Length: > 0 } device ? $"{image}: a loop device of it does not go: {device}" : null);

    /// <summary>Waits till nobody has a device mounted or for itself alone.</summary>
    /// <param name="device">A disk or a partition.</param>
    /// <exception cref="InvalidOperationException">Somebody keeps it, or it cannot be opened.</exception>
    public static void AwaitUnused(string device) => Wait(
        () =>
        {
            Verdict verdict = Judge.OnPath("perl").Ask("-e", OpenAlone, device);
            return verdict.ExitCode == 0 ? null : $"{device}: {verdict.Error}"; // a partition is away for a moment while the table is read again
        });

    // What is in the way, or null.
    private static void Wait(Func<string?> ask)
    {
        for (var clock = Stopwatch.StartNew(); ask() is { } obstacle; Thread.Sleep(Step))
        {
            if (clock.Elapsed > Limit)
                throw new InvalidOperationException($"after {Limit.TotalSeconds:0} s {obstacle}");
        }
    }
}
