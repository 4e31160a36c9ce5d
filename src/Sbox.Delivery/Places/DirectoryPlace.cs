using System.Collections.Concurrent;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Delivery;

/// <summary>
/// A directory that a web server serves, or on a stick: a repository in mode archive. It asks nothing of the file system but to rename
/// and to sync: FAT does as well.
/// </summary>
public sealed class DirectoryPlace : IPlace
{
    private const uint ForEveryone = 0x1A4; // 0644
    private const string Aside = "tmp", Mine = "publish-", LockName = ".publish-lock";
    private const int FilesAtMost = 2048;
    private const long BytesAtMost = 256L << 20;

    private readonly ConcurrentQueue<(string Temporary, string Path)> unnamed = new();
    private readonly SemaphoreSlim settling = new(1);
    private Dir? opened;
    private long unnamedBytes;
    private int count;

    /// <param name="path">The directory; made when something is published, its parents included.</param>
    public DirectoryPlace(string path) => Location = Path.GetFullPath(path);

    /// <inheritdoc/>
    public string Location { get; }

    /// <inheritdoc/>
    public int Connections => Environment.ProcessorCount;

    /// <inheritdoc/>
    public bool KeepsCase => Existing() is not { } top || !(top.Exists("objects") && top.Exists("OBJECTS"));

    /// <inheritdoc/>
    public TimeSpan Staleness { get; init; } = TimeSpan.FromSeconds(2);

    /// <inheritdoc/>
    public Task<IAsyncDisposable> Open(CancellationToken cancel)
    {
        RequireFit();
        using (Dir root = Dir.Open("/"))
            root.MakeDirs(Location.TrimStart('/'));
        opened ??= Dir.Open(Location);
        foreach (string name in (string[])["objects", Aside, "refs/heads", "refs/mirrors", "refs/remotes", "state", "extensions"])
            opened.MakeDirs(name);
        FileLock held = FileLock.TryTake(opened, LockName) ?? throw new PlaceBusyException(Location);
        using Dir aside = opened.OpenDir(Aside);
        foreach (DirEntry left in aside.Entries().Where(static entry => entry.Name.StartsWith(Mine, StringComparison.Ordinal)))
            aside.TryUnlink(left.Name);

        return Task.FromResult<IAsyncDisposable>(new Held(held));
    }

    /// <inheritdoc/>
    public Task<IReadOnlyList<string>> Missing(IReadOnlyCollection<string> paths, CancellationToken cancel) =>
        Task.FromResult<IReadOnlyList<string>>(Existing() is not { } top ? [.. paths] : [.. paths.Where(path => !top.Exists(path))]);

    /// <inheritdoc/>
    public Task<byte[]?> TryRead(string path, CancellationToken cancel) => Task.FromResult(Existing()?.TryReadAll(path));

    /// <inheritdoc/>
    public async Task Write(string path, Stream content, Lifetime lifetime, CancellationToken cancel)
    {
        Store(path, content);
        if (unnamed.Count >= FilesAtMost || Interlocked.Read(ref unnamedBytes) >= BytesAtMost)
            await Settle(cancel).ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public async Task Settle(CancellationToken cancel)
    {
        await settling.WaitAsync(cancel).ConfigureAwait(false);
        try
        {
            Name([.. Taken()]);
        }
        finally
        {
            settling.Release();
        }
    }

    /// <inheritdoc/>
    public Task Delete(string path, CancellationToken cancel)
    {
        Existing()?.TryUnlink(path);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        opened?.Dispose();
        settling.Dispose();
        return ValueTask.CompletedTask;
    }

    private Dir Top => opened ?? throw new InvalidOperationException($"{Location} was not opened");

    // Also before it is opened to publish: a plan looks, and makes nothing.
    private Dir? Existing() => opened ?? (Directory.Exists(Location) ? opened = Dir.Open(Location) : null);

    private IEnumerable<(string Temporary, string Path)> Taken()
    {
        Interlocked.Exchange(ref unnamedBytes, 0);
        for (int left = unnamed.Count; left > 0 && unnamed.TryDequeue(out (string, string) next); left--)
            yield return next;
    }

    private void Store(string path, Stream content)
    {
        string temporary = $"{Aside}/{Mine}{Interlocked.Increment(ref count)}";
        using (SafeFileHandle file = Top.CreateFile(temporary))
        {
            Copy(content, file, path, temporary);
            LetEveryoneRead(file, temporary);
        }

        unnamed.Enqueue((temporary, path));
        Interlocked.Add(ref unnamedBytes, content.Length);
    }

    // The class library's own words would name no file. Half of one is of no use, and on a full stick it takes the room that others need.
    private void Copy(Stream content, SafeFileHandle file, string path, string temporary)
    {
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(1 << 20);
        try
        {
            long at = 0;
            for (int read; (read = content.Read(buffer)) > 0; at += read)
                Put(buffer.AsSpan(0, read), at);
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }

        void Put(ReadOnlySpan<byte> bytes, long at)
        {
            try
            {
                RandomAccess.Write(file, bytes, at);
            }
            catch (Exception failed) when (failed is IOException or UnauthorizedAccessException)
            {
                Top.TryUnlink(temporary);
                throw new PlaceFailedException($"{Location}/{path}", failed.Message, isTransient: false, failed);
            }
        }
    }

    // Bytes before names: one sync for many files, as a repository's own transactions have it.
    private void Name(IReadOnlyList<(string Temporary, string Path)> files)
    {
        if (files.Count == 0)
            return;
        Durable.SyncFileSystem(Top);
        foreach ((string temporary, string path) in files)
        {
            if (Path.GetDirectoryName(path) is { Length: > 0 } holder)
                Top.MakeDirs(holder);
            Top.Rename(temporary, Top, path);
        }

        Durable.SyncFileSystem(Top);
    }

    private void LetEveryoneRead(SafeFileHandle file, string path)
    {
        try
        {
            Files.ChangeMode(file, ForEveryone, Top.Of(path));
        }
        catch (LinuxException refused) when (refused.Errno is Errno.EPERM or Errno.ENOSYS or Errno.EOPNOTSUPP)
        {
            return; // FAT has no permissions: who may mount it may read it
        }
    }

    // Whoever mistyped the path of something of theirs must not find a repository in it.
    private void RequireFit()
    {
        if (!Directory.Exists(Location))
            return;
        string[] there = [.. Directory.EnumerateFileSystemEntries(Location).Select(static entry => Path.GetFileName(entry)).Where(static name => name != LockName)];
        if (there.Length == 0)
            return;
        byte[]? config = Existing()!.TryReadAll("config");
        if (config is null && !there.All(static name => name is "objects" or Aside or "refs" or "state" or "extensions" or "deltas" or "delta-indexes" or "summary.sig"))
            throw new PlaceUnfitException(Location, "it holds files, and no published repository");
        string? mode = config is null ? "archive" : KeyFile.Parse(System.Text.Encoding.UTF8.GetString(config)).GetString("core", "mode");
        if (mode is not ("archive" or "archive-z2"))
            throw new PlaceUnfitException(Location, $"there is a repository in mode {mode ?? "bare"}, which no reader can take over HTTP");
    }

    private sealed class Held(FileLock held) : IAsyncDisposable
    {
        public ValueTask DisposeAsync()
        {
            held.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
