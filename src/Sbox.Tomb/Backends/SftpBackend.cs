using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>A tomb behind OpenSSH: files of a directory there, by SFTP over <c>ssh</c>, which brings its own keys, agents and known hosts.</summary>
public sealed class SftpBackend : IBackend
{
    private const int PiecesAhead = 32;
    private const int RefusedFor = 5000; // milliseconds
    private readonly ChildCommand command;
    private readonly string top;
    private readonly SemaphoreSlim opening = new(1);
    private SftpConnection? connection;
    private bool hasFailed; // the last try
    private (SshRefusedException Said, long At)? refused;

    /// <param name="location">As its owner wrote it.</param>
    /// <param name="command">What connects: <c>ssh ... HOST -s sftp</c>.</param>
    /// <param name="path">The directory there.</param>
    public SftpBackend(string location, ChildCommand command, string path) => (Location, this.command, top) = (location, command, path.TrimEnd('/'));

    /// <summary>Who is connected to, for messages: the host, with the user where one is named.</summary>
    public string Host { get; init; } = "HOST";

    /// <summary>The same command, but asking nobody anything; null where it never does.</summary>
    public ChildCommand? Unasking { get; init; }

    /// <summary>How long a request may take.</summary>
    public RequestLimit Limit { get; init; } = RequestLimit.Usual;

    /// <inheritdoc/>
    public string Location { get; }

    /// <inheritdoc/>
    public int Connections => 5;

    /// <inheritdoc/>
    public Task Create(CancellationToken cancel) => Limited("", 0, async (sftp, stop) =>
    {
        await MakeDirectories(sftp, top, stop);
        foreach (StoredFileType kind in StoredFile.Kinds)
            await MakeDirectories(sftp, Full(StoredFile.DirectoryOf(kind)), stop);
        await Task.WhenAll(Enumerable.Range(0, 256).Select(at => MakeDirectories(sftp, Full($"data/{at:x2}"), stop)));
        return true;
    }, cancel);

    /// <inheritdoc/>
    public Task Save(StoredFile file, ReadOnlyMemory<byte> bytes, CancellationToken cancel) => Limited(file.Path, bytes.Length, async (sftp, stop) =>
    {
        string path = Full(file.Path), temporary = $"{path}-tmp-{Guid.NewGuid():N}";
        byte[] handle;
        try
        {
            handle = await sftp.OpenFile(temporary, write: true, stop);
        }
        catch (SftpException missing) when (missing.Code == SftpException.NoSuchFile && file.Type != StoredFileType.Config)
        {
            await MakeDirectories(sftp, Full(file.Directory), stop);
            handle = await sftp.OpenFile(temporary, write: true, stop);
        }

        try
        {
            await Pieces(bytes.Length, (offset, length) => sftp.Write(handle, offset, bytes.Slice((int)offset, length), stop));
            await sftp.Sync(handle, stop);
            await sftp.Close(handle, stop); // on a network file system of the server's, it is here that a full one is told
        }
        catch (SftpException failed)
        {
            throw await GivenUp(sftp, file, handle, temporary, bytes.Length, failed, stop);
        }

        await sftp.Rename(temporary, path, stop);
        return true;
    }, cancel);

    private static async Task<SftpException?> Refusal(Func<Task> ask)
    {
        try
        {
            await ask();
            return null;
        }
        catch (SftpException refused)
        {
            return refused;
        }
    }

    // Half a file would take the room that is missing. For a full disk version 3 has no code: how much is free tells.
    private async Task<Exception> GivenUp(SftpConnection sftp, StoredFile file, byte[] handle, string temporary, long length, SftpException failed, CancellationToken stop)
    {
        long? free = failed.Code == SftpException.Failure ? await sftp.FreeBytes(top, stop) : null;
        await Refusal(() => sftp.Close(handle, stop)); // if it was that which failed, it is closed
        if (await Refusal(() => sftp.Remove(temporary, stop)) is { } left)
            return new BackendException($"{Location}/{file.Path}", $"the server says: {failed.Message}; and of {temporary}, which stays there: {left.Message}", isTransient: false, failed);
        return free < length ? new PlaceFullException($"{Location}/{file.Path}", $"the server says: {failed.Message}; {free} bytes were free there for {length}", failed) : failed;
    }

    /// <inheritdoc/>
    public async Task<byte[]> Load(StoredFile file, CancellationToken cancel)
    {
        long size = await Size(file, cancel) ?? throw new StoredFileMissingException(Location, file);
        var bytes = new byte[size];
        await LoadRange(file, 0, bytes, cancel);
        return bytes;
    }

    /// <inheritdoc/>
    public Task LoadRange(StoredFile file, long offset, Memory<byte> into, CancellationToken cancel) => Limited(file.Path, into.Length, async (sftp, stop) =>
    {
        byte[] handle;
        try
        {
            handle = await sftp.OpenFile(Full(file.Path), write: false, stop);
        }
        catch (SftpException missing) when (missing.Code == SftpException.NoSuchFile)
        {
            throw new StoredFileMissingException(Location, file);
        }

        // When one piece fails the others are still on their way, and the caller takes the buffer back: they must not land in it then.
        var landing = new Lock();
        bool over = false;
        try
        {
            await Pieces(into.Length, Fetch);
        }
        finally
        {
            lock (landing)
                over = true;
        }

        await sftp.Close(handle, stop);
        return true;

        async Task Fetch(long at, int length)
        {
            for (int done = 0; done < length;)
            {
                byte[] piece = await sftp.Read(handle, offset + at + done, length - done, stop)
                    ?? throw new BackendException($"{Location}/{file.Path}", $"it ends before {offset + into.Length} bytes", isTransient: false);
                lock (landing)
                {
                    if (over)
                        return;
                    piece.CopyTo(into.Slice((int)at + done, piece.Length));
                }

                done += piece.Length;
            }
        }
    }, cancel);

    /// <inheritdoc/>
    public Task<long?> Size(StoredFile file, CancellationToken cancel) =>
        Limited(file.Path, 0, async (sftp, stop) => (await sftp.Stat(Full(file.Path), stop))?.Size, cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<ListedFile>> List(StoredFileType type, CancellationToken cancel) => Limited(StoredFile.DirectoryOf(type), 0, async (sftp, stop) =>
    {
        string directory = Full(StoredFile.DirectoryOf(type));
        var files = new List<ListedFile>();
        var entries = await TryList(sftp, directory, stop);
        files.AddRange(entries.Where(static each => IsFile(each.Mode)).Select(static each => new ListedFile(each.Name, each.Size)));
        if (type != StoredFileType.Pack)
            return (IReadOnlyList<ListedFile>)files;
        string[] below = [.. entries.Where(static each => !IsFile(each.Mode) && each.Name is not ("." or "..")).Select(static each => each.Name)];
        foreach (string[] some in below.Chunk(PiecesAhead))
        {
            foreach (var inner in await Task.WhenAll(some.Select(name => TryList(sftp, $"{directory}/{name}", stop))))
                files.AddRange(inner.Where(static each => IsFile(each.Mode)).Select(static each => new ListedFile(each.Name, each.Size)));
        }

        return (IReadOnlyList<ListedFile>)files;
    }, cancel);

    /// <inheritdoc/>
    public Task Delete(StoredFile file, CancellationToken cancel) => Limited(file.Path, 0, async (sftp, stop) =>
    {
        try
        {
            await sftp.Remove(Full(file.Path), stop);
        }
        catch (SftpException missing) when (missing.Code == SftpException.NoSuchFile)
        {
            return false;
        }

        return true;
    }, cancel);

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        connection?.Dispose();
        opening.Dispose();
        return ValueTask.CompletedTask;
    }

    private static bool IsFile(uint mode) => (mode & 0xF000) == 0x8000;

    private static async Task<IReadOnlyList<(string Name, long Size, uint Mode)>> TryList(SftpConnection sftp, string path, CancellationToken cancel)
    {
        try
        {
            return await sftp.List(path, cancel);
        }
        catch (SftpException missing) when (missing.Code == SftpException.NoSuchFile)
        {
            return [];
        }
    }

    private static async Task MakeDirectories(SftpConnection sftp, string path, CancellationToken cancel)
    {
        if (path.Length == 0 || await sftp.Stat(path, cancel) is not null)
            return;
        int slash = path.LastIndexOf('/');
        if (slash > 0)
            await MakeDirectories(sftp, path[..slash], cancel);
        try
        {
            await sftp.MakeDirectory(path, cancel);
        }
        catch (SftpException taken) when (taken.Code == SftpException.Failure)
        {
            // Version 3 has no code for "it is there": the look decides.
            if (await sftp.Stat(path, cancel) is null)
                throw;
        }
    }

    // One request is 32 KiB at most; many of them travel at once, so that distance does not count.
    private static async Task Pieces(long length, Func<long, int, Task> piece)
    {
        var under = new Queue<Task>();
        for (long at = 0; at < length; at += SftpConnection.PieceSize)
        {
            if (under.Count >= PiecesAhead)
                await under.Dequeue();
            under.Enqueue(piece(at, (int)Math.Min(SftpConnection.PieceSize, length - at)));
        }

        await Task.WhenAll(under);
    }

    private string Full(string path) => $"{top}/{path}";

    private Task<T> Limited<T>(string what, long bytes, Func<SftpConnection, CancellationToken, Task<T>> work, CancellationToken cancel) =>
        TimeLimit.Run($"{Location}/{what}", Limit.For(bytes), async stop =>
        {
            SftpConnection? used = null;
            try
            {
                return await work(used = await Connected(stop), stop);
            }
            catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
            {
                used?.Abandon("no answer came in time"); // the next try has another
                throw;
            }
            catch (SftpException refused)
            {
                throw new BackendException($"{Location}/{what}", $"the server says: {refused.Message}", isTransient: false, refused);
            }
        }, cancel);

    private async Task<SftpConnection> Connected(CancellationToken cancel)
    {
        await opening.WaitAsync(cancel);
        try
        {
            if (connection is { IsBroken: true } dead)
            {
                dead.Dispose();
                connection = null;
            }

            // Several requests wait here for the same connection: what one was told holds for them too.
            if (refused is var (said, at) && Environment.TickCount64 - at < RefusedFor)
                throw new SshRefusedException(Location, Host, said.Refusal, said.Words);
            return connection ??= await Connect(cancel);
        }
        catch (SshEndedException ended) when (ended.Refusal is var (refusal, words))
        {
            refused = (new SshRefusedException(Location, Host, refusal, words), Environment.TickCount64);
            throw refused.Value.Said;
        }
        catch (SshEndedException)
        {
            hasFailed = false; // what passes by itself: the next try may ask again
            throw;
        }
        catch (ChildFailedException missing)
        {
            throw new SshRefusedException(Location, Host, SshRefusal.NoProgram, missing.Message);
        }
        finally
        {
            opening.Release();
        }
    }

    // On a terminal ssh asks there, and says what it waits for (a token that wants to be touched), so its words go there: once. What it failed for, it is asked again, by itself and without questions.
    private async Task<SftpConnection> Connect(CancellationToken cancel)
    {
        bool first = !hasFailed;
        hasFailed = true;
        SftpConnection? open = null;
        if (first && !Console.IsErrorRedirected && Unasking is not null)
        {
            try
            {
                open = await SftpConnection.Open(command, holds: false, cancel);
            }
            catch (SshEndedException) when (!cancel.IsCancellationRequested)
            {
                open = null;
            }
        }

        open ??= await SftpConnection.Open(Console.IsErrorRedirected ? command : Unasking ?? command, holds: true, cancel);
        hasFailed = false;
        return open;
    }
}
