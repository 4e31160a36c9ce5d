using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>A tomb in a directory: on a stick, a disk, or a network file system. Directories are 0700 and files 0400, as restic makes them.</summary>
public sealed class DirectoryBackend : IBackend
{
    private const uint PrivateDirectory = 0x1C0; // 0700
    private const uint ReadOnlyFile = 0x100; // 0400

    private readonly string path;
    private readonly Lock opening = new();
    private Dir? opened;
    private bool? isNear;

    /// <param name="path">The directory.</param>
    public DirectoryBackend(string path) => this.path = System.IO.Path.GetFullPath(path);

    /// <inheritdoc/>
    public string Location => path;

    /// <inheritdoc/>
    public int Connections => 2;

    /// <inheritdoc/>
    public bool IsNear => isNear ??= !FileSystemSpace.Of(Top).MayBeFar;

    private Dir Top
    {
        get
        {
            lock (opening)
            {
                try
                {
                    return opened ??= Dir.Open(path);
                }
                catch (LinuxException none) when (none.Errno is Errno.ENOENT or Errno.ENOTDIR)
                {
                    throw new NotATombException(path, none.Errno == Errno.ENOENT ? "there is no such directory" : "it is no directory");
                }
            }
        }
    }

    /// <inheritdoc/>
    public Task Create(CancellationToken cancel)
    {
        using (Dir root = Dir.Open("/"))
        {
            if (path != "/")
                root.MakeDirs(path.TrimStart('/'), PrivateDirectory);
        }

        foreach (StoredFileType kind in StoredFile.Kinds)
            Top.MakeDirs(StoredFile.DirectoryOf(kind), PrivateDirectory);
        for (int at = 0; at < 256; at++)
            Top.MakeDirs($"data/{at:x2}", PrivateDirectory);
        Durable.SyncFileSystem(Top);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task Save(StoredFile file, ReadOnlyMemory<byte> bytes, CancellationToken cancel)
    {
        new Written(Top, file, bytes.Span).Finish();
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public Task<Task> Begin(StoredFile file, ReadOnlyMemory<byte> bytes, CancellationToken cancel)
    {
        var written = new Written(Top, file, bytes.Span);
        written.StartWriting();

        // Waiting for a disk is all that is left: on a thread of its own it keeps nobody else from working.
        return Task.FromResult(Task.Factory.StartNew(written.Finish, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default));
    }

    /// <inheritdoc/>
    public Task<byte[]> Load(StoredFile file, CancellationToken cancel)
    {
        try
        {
            using SafeFileHandle handle = Open(file);
            var bytes = new byte[Files.Stat(handle, file.Path).Size];
            Fill(handle, file, bytes, 0);
            return Task.FromResult(bytes);
        }
        catch (LinuxException bad) when (bad.Errno == Errno.EIO)
        {
            throw new StoredFileUnreadableException(path, file, bad);
        }
    }

    /// <inheritdoc/>
    public Task LoadRange(StoredFile file, long offset, Memory<byte> into, CancellationToken cancel)
    {
        try
        {
            using SafeFileHandle handle = Open(file);
            Fill(handle, file, into.Span, offset);
            return Task.CompletedTask;
        }
        catch (LinuxException bad) when (bad.Errno == Errno.EIO)
        {
            throw new StoredFileUnreadableException(path, file, bad);
        }
    }

    /// <inheritdoc/>
    public Task<long?> Size(StoredFile file, CancellationToken cancel) => Task.FromResult(Top.TryStat(file.Path) is { IsRegular: true } stat ? stat.Size : (long?)null);

    /// <inheritdoc/>
    public Task<IReadOnlyList<ListedFile>> List(StoredFileType type, CancellationToken cancel)
    {
        var files = new List<ListedFile>();
        using Dir? dir = Top.TryOpenDir(StoredFile.DirectoryOf(type));
        if (dir is not null)
            Gather(dir, files, below: type == StoredFileType.Pack, cancel);
        return Task.FromResult<IReadOnlyList<ListedFile>>(files);
    }

    /// <inheritdoc/>
    public Task Delete(StoredFile file, CancellationToken cancel)
    {
        using Dir? dir = Top.TryOpenDir(file.Type == StoredFileType.Config ? "." : file.Directory);
        bool gone = dir is not null && dir.TryUnlink(System.IO.Path.GetFileName(file.Path));

        // An old index that came back after a power cut would name packs that are gone; anything else that comes back is only garbage.
        if (gone && file.Type == StoredFileType.Index)
            Durable.Sync(dir!);
        return Task.CompletedTask;
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        opened?.Dispose();
        return ValueTask.CompletedTask;
    }

    private static void Gather(Dir dir, List<ListedFile> files, bool below, CancellationToken cancel)
    {
        foreach (DirEntry entry in dir.Entries())
        {
            cancel.ThrowIfCancellationRequested();
            if (dir.TryStat(entry.Name) is not { } stat)
                continue;
            if (stat.IsRegular)
            {
                files.Add(new ListedFile(entry.Name, stat.Size));
            }
            else if (below && stat.IsDirectory)
            {
                using Dir inner = dir.OpenDir(entry.Name);
                Gather(inner, files, below: false, cancel);
            }
        }
    }

    private SafeFileHandle Open(StoredFile file) => Top.TryOpenFile(file.Path) ?? throw new StoredFileMissingException(path, file);

    private void Fill(SafeFileHandle handle, StoredFile file, Span<byte> into, long offset)
    {
        for (int done = 0; done < into.Length;)
        {
            int read = Files.ReadAt(handle, into[done..], offset + done, $"{path}/{file.Path}");
            if (read == 0)
                throw new BackendException($"{path}/{file.Path}", $"it ends at {offset + done} bytes; {offset + into.Length} were expected", isTransient: false);
            done += read;
        }
    }

    /// <summary>A file that has its bytes and not yet its name.</summary>
    private sealed class Written
    {
        private readonly StoredFile file;
        private readonly Dir dir;
        private readonly string name, temporary;
        private readonly SafeFileHandle handle;

        public Written(Dir top, StoredFile file, ReadOnlySpan<byte> bytes)
        {
            this.file = file;
            dir = file.Type == StoredFileType.Config ? top.OpenDir(".") : top.MakeAndOpenDir(file.Directory, PrivateDirectory);
            name = System.IO.Path.GetFileName(file.Path);
            temporary = $"{name}-tmp-{Guid.NewGuid():N}"; // restic knows such names for what they are
            try
            {
                handle = dir.CreateFile(temporary, 0x180 /* 0600 */);
            }
            catch
            {
                dir.Dispose();
                throw;
            }

            try
            {
                Files.WriteAt(handle, bytes, 0, dir.Of(temporary));
                Files.ChangeMode(handle, ReadOnlyFile, dir.Of(temporary));
            }
            catch
            {
                GiveUp();
                throw;
            }
        }

        /// <summary>Has the disk begin, so that less is left to wait for.</summary>
        public void StartWriting() => Durable.Begin(handle);

        /// <summary>Makes it durable under its name.</summary>
        public void Finish()
        {
            try
            {
                Durable.Sync(handle, dir.Of(temporary)); // a name without its bytes is what a power cut leaves else, and what restic stumbles over
                dir.Rename(temporary, dir, name);
            }
            catch
            {
                GiveUp();
                throw;
            }

            using (dir)
            using (handle)
            {
                // A power cut ends whoever holds a lock: its name need not survive one.
                if (file.Type != StoredFileType.Lock)
                    Durable.Sync(dir);
            }
        }

        private void GiveUp()
        {
            using (dir)
            using (handle)
                dir.TryUnlink(temporary);
        }
    }
}
