using Sbox.Linux;

namespace Sbox.Store;

/// <summary>The lock on a whole repository, in <c>.lock</c>: shared by those who write, exclusive for the one who deletes.</summary>
internal static class RepositoryLock
{
    private const string Name = ".lock";
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    /// <summary>Takes the lock, waiting as long as the config allows; null where the config asks for no locks.</summary>
    /// <exception cref="RepositoryBusyException">Others hold it for longer.</exception>
    public static FileLock? Take(Dir repository, RepositorySettings settings, LockKind kind, CancellationToken cancel)
    {
        if (!settings.Locking)
            return null;
        for (TimeSpan waited = TimeSpan.Zero; ; waited += Pause)
        {
            if (FileLock.TryTake(repository, Name, kind, 0x1B0 /* 0660 */) is { } held)
                return held;
            if (waited >= settings.LockTimeout)
                throw new RepositoryBusyException(repository.Of(Name), waited);
            cancel.WaitHandle.WaitOne(Pause);
            cancel.ThrowIfCancellationRequested();
        }
    }
}
