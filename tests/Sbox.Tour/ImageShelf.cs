namespace Sbox.Tour;

/// <summary>
/// The directory in which images are kept, one directory each, with an empty file <c>NAME.lock</c> beside it that its maker holds. An image is large, and each state of the programs has
/// its own: what nobody has used for a day goes, and on a busy day all but the newest.
/// </summary>
/// <param name="directory">Where they are.</param>
public sealed class ImageShelf(string directory)
{
    /// <summary>How many are kept, the one that is being made included; more of them where others were in use lately.</summary>
    public const int Kept = 4;

    private const string LockSuffix = ".lock", Whole = ".whole";

    // Nobody says that they have finished: a machine of another checkout may be running from what was used not long ago.
    private static readonly TimeSpan InUse = TimeSpan.FromHours(3), Forgotten = TimeSpan.FromDays(1);

    /// <summary>Waits until nobody else makes or removes an image of that name. Two test projects want the same at once: one makes it, the other waits.</summary>
    public IDisposable Alone(string name)
    {
        Directory.CreateDirectory(directory);
        while (true)
        {
            if (TryAlone(name) is { } held)
                return held;
            Thread.Sleep(500);
        }
    }

    /// <summary>The same without waiting; null where somebody else has it.</summary>
    public IDisposable? TryAlone(string name)
    {
        string path = PathOf(name + LockSuffix);
        FileStream held;
        try
        {
            held = new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (IOException) when (Directory.Exists(directory))
        {
            return null;
        }

        // Between its opening and its locking it may have been removed, and then the next one to come would make and hold another of that name.
        string? found = new FileInfo($"/proc/self/fd/{held.SafeFileHandle.DangerousGetHandle()}").LinkTarget;
        if (found is not null && !found.EndsWith(" (deleted)", StringComparison.Ordinal))
            return held;
        held.Dispose();
        return null;
    }

    /// <summary>Whether an image was finished.</summary>
    public bool IsWhole(string name) => File.Exists(PathOf(name, Whole));

    /// <summary>Says that an image is used now, and, the first time, that it is finished.</summary>
    public void Use(string name)
    {
        string whole = PathOf(name, Whole);
        if (!File.Exists(whole))
            File.WriteAllText(whole, "");
        File.SetLastWriteTimeUtc(whole, DateTime.UtcNow);
    }

    /// <summary>Makes room before an image is made. What somebody makes or looks at just now stays.</summary>
    /// <param name="making">The one that is to be made, which the caller holds (<see cref="Alone"/>).</param>
    public void Tidy(string making)
    {
        DateTime now = DateTime.UtcNow;
        (string Name, DateTime Used)[] others = [.. Directory.GetDirectories(directory).Select(static path => Path.GetFileName(path)).Where(name => name != making)
            .Select(name => (name, LastUse(name))).OrderByDescending(static other => other.Item2)];
        foreach ((int rank, (string name, DateTime used)) in others.Index())
        {
            if (used < now - Forgotten || (rank >= Kept - 1 && used < now - InUse))
                Remove(name);
        }

        // Those of images that went before locks went with them.
        foreach (string name in Directory.GetFiles(directory, "*" + LockSuffix).Select(static path => Path.GetFileNameWithoutExtension(path)))
        {
            if (name != making && !Directory.Exists(PathOf(name)))
                Remove(name);
        }
    }

    private void Remove(string name)
    {
        using IDisposable? held = TryAlone(name);
        if (held is null)
            return;
        if (Directory.Exists(PathOf(name)))
            Directory.Delete(PathOf(name), recursive: true);
        File.Delete(PathOf(name + LockSuffix)); // while it is held: whoever opened it in the meantime finds out (TryAlone)
    }

    private DateTime LastUse(string name) => IsWhole(name) ? File.GetLastWriteTimeUtc(PathOf(name, Whole)) : Directory.GetLastWriteTimeUtc(PathOf(name));

    private string PathOf(params string[] names) => Path.Combine([directory, .. names]);
}
