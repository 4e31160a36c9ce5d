using Sbox.Linux;

namespace Sbox.Tomb.Sessions;

/// <summary>
/// Looks whether a device is still the one that was there: a token, a stick. Another one by the same name is not. By looking, and not by being told: a directory of names
/// that udev makes can go as a whole, and a look costs two microseconds.
/// </summary>
public sealed class TokenWatch : IDisposable
{
    private static readonly TimeSpan BetweenLooks = TimeSpan.FromMilliseconds(250);

    private readonly CancellationTokenSource over = new();
    private readonly TaskCompletionSource gone = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly string path;
    private readonly (ulong Device, ulong Inode, ulong RawDevice) first;

    /// <param name="path">A device's name, or a link to one. It is watched from here on.</param>
    /// <exception cref="LinuxException">There is nothing by that name.</exception>
    public TokenWatch(string path)
    {
        this.path = path;
        first = Look() ?? throw new LinuxException(Errno.ENOENT, "stat", path);
        _ = Watch();
    }

    /// <summary>Completes when it is gone; never when it is disposed before that.</summary>
    public Task Gone => gone.Task;

    /// <summary>Watches no more.</summary>
    public void Dispose() => over.Cancel();

    private async Task Watch()
    {
        try
        {
            for (var now = Look(); now == first; now = Look())
                await Task.Delay(BetweenLooks, over.Token);
            gone.SetResult();
        }
        catch (OperationCanceledException)
        {
            return;
        }
    }

    // Null where there is none any more. Any other refusal tells of this machine, and not of the token.
    private (ulong Device, ulong Inode, ulong RawDevice)? Look()
    {
        try
        {
            FileStat stat = Files.StatFollowed(path);
            return (stat.Device, stat.Inode, stat.RawDevice); // a node that is made again has another number; its time changes with who may open it
        }
        catch (LinuxException none) when (none.Errno is Errno.ENOENT or Errno.ENOTDIR or Errno.ENXIO or Errno.ENODEV)
        {
            return null;
        }
        catch (LinuxException)
        {
            return first;
        }
    }
}
