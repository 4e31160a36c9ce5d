using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>
/// Keeps on this machine what opens a far tomb and reads what is pinned in it while the far place does not answer: its config, its key files, what was
/// listed last, and whole packs. All of it is sealed as the tomb is. Until something is pinned it keeps nothing and changes nothing.
/// </summary>
public sealed class PinnedBackend : IBackend
{
    private const uint Private = 0x1C0; // 0700
    private static readonly TimeSpan Answer = TimeSpan.FromSeconds(5), Away = TimeSpan.FromSeconds(60);
    private readonly IBackend inner;
    private readonly string directory;
    private readonly TimeProvider clock;
    private long awaySince;

    /// <param name="inner">The far place.</param>
    /// <param name="directory">Where copies are kept; it is there once something is pinned.</param>
    /// <param name="clock">For waiting.</param>
    public PinnedBackend(IBackend inner, string directory, TimeProvider clock) => (this.inner, this.directory, this.clock) = (inner, directory, clock);

    /// <inheritdoc/>
    public string Location => inner.Location;

    /// <inheritdoc/>
    public int Connections => inner.Connections;

    /// <summary>Whether there are copies.</summary>
    public bool HasCopies => Directory.Exists(directory);

    /// <summary>Whether the far place did not answer a moment ago.</summary>
    public bool IsAway => Interlocked.Read(ref awaySince) is var since and not 0 && clock.GetElapsedTime(since) < Away;

    /// <summary>The one in a chain of backends; null where nothing can be pinned: a directory is on this machine already.</summary>
    public static PinnedBackend? Of(IBackend backend) => backend switch
    {
        PinnedBackend found => found,
        CachingBackend caching => Of(caching.Inner),
        _ => null,
    };

    /// <summary>
    /// Whether a listing of snapshots or indexes may be what was listed last. Only for who looks and holds no lock: a prune or a save that believed an
    /// old listing would take what others have saved since for garbage, or lean on what others have pruned.
    /// </summary>
    public bool AllowCopies { get; set; }

    /// <inheritdoc/>
    public Task Create(CancellationToken cancel) => inner.Create(cancel);

    /// <inheritdoc/>
    public async Task Save(StoredFile file, ReadOnlyMemory<byte> bytes, CancellationToken cancel)
    {
        await inner.Save(file, bytes, cancel);
        Interlocked.Exchange(ref awaySince, 0);
    }

    /// <inheritdoc/>
    public Task<byte[]> Load(StoredFile file, CancellationToken cancel) => file.Type is StoredFileType.Config or StoredFileType.Key
        ? Copied(refuse: false, file.Path, stop => inner.Load(file, stop), static bytes => bytes, static bytes => bytes, cancel)
        : inner.Load(file, cancel);

    /// <inheritdoc/>
    public async Task LoadRange(StoredFile file, long offset, Memory<byte> into, CancellationToken cancel)
    {
        if (file.Type != StoredFileType.Pack || !TryRead(file, offset, into.Span))
            await inner.LoadRange(file, offset, into, cancel);
    }

    /// <inheritdoc/>
    public Task<long?> Size(StoredFile file, CancellationToken cancel) => inner.Size(file, cancel);

    /// <inheritdoc/>
    public Task<IReadOnlyList<ListedFile>> List(StoredFileType type, CancellationToken cancel) => type is StoredFileType.Key or StoredFileType.Index or StoredFileType.Snapshot
        ? Copied(refuse: type != StoredFileType.Key && !AllowCopies, $"listing-{StoredFile.DirectoryOf(type)}", stop => inner.List(type, stop), ToBytes, FromBytes, cancel)
        : inner.List(type, cancel);

    /// <inheritdoc/>
    public Task Delete(StoredFile file, CancellationToken cancel) => inner.Delete(file, cancel);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => inner.DisposeAsync();

    /// <summary>Begins to keep copies.</summary>
    public void Begin()
    {
        using Dir root = Dir.Open("/");
        root.MakeDirs($"{directory.TrimStart('/')}/data", Private);
        root.MakeDirs($"{directory.TrimStart('/')}/keys", Private);
    }

    /// <summary>Has exactly these packs here: fetches what is missing, deletes others.</summary>
    /// <exception cref="BackendException">One cannot be had; those that came stay.</exception>
    /// <exception cref="TombDamagedException">One is not what was written.</exception>
    public async Task Keep(IReadOnlySet<Checksum> packs, CancellationToken cancel)
    {
        using Dir data = Dir.Open($"{directory}/data");
        foreach (DirEntry entry in data.Entries())
        {
            if (!Checksum.TryParse(entry.Name, out Checksum known) || !packs.Contains(known))
                data.TryUnlink(entry.Name);
        }

        foreach (Checksum pack in packs.Where(pack => !data.Exists(pack.ToString())))
        {
            StoredFile file = TombRepository.PackOf(pack);
            byte[] bytes = await inner.Load(file, cancel);
            if (Checksum.Of(bytes) is var found && found != pack)
                throw new TombDamagedException(Location, file.Path, $"it hashes to {found}, which is not its name");
            Durable.Replace(data, pack.ToString(), bytes);
        }
    }

    /// <summary>Bytes of packs that are kept.</summary>
    public long KeptBytes => HasCopies ? new DirectoryInfo($"{directory}/data").EnumerateFiles().Sum(static file => file.Length) : 0;

    /// <summary>A small file of whoever pins, beside the copies; null where there is none.</summary>
    internal byte[]? Note
    {
        get => HasCopies && File.Exists($"{directory}/pins") ? File.ReadAllBytes($"{directory}/pins") : null;
        set
        {
            using Dir here = Dir.Open(directory);
            if (value is null)
                here.TryUnlink("pins");
            else
                Durable.Replace(here, "pins", value);
        }
    }

    // The far place first, for as long as a person waits; what it last said where it does not answer.
    private async Task<T> Copied<T>(bool refuse, string name, Func<CancellationToken, Task<T>> far, Func<T, byte[]> write, Func<byte[], T> read, CancellationToken cancel)
    {
        if (!HasCopies)
            return await far(cancel);
        byte[]? copy = !refuse && File.Exists($"{directory}/{name}") ? File.ReadAllBytes($"{directory}/{name}") : null;
        if (copy is not null && IsAway)
            return read(copy);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        if (copy is not null)
            limit.CancelAfter(Answer);
        try
        {
            T answer = await far(limit.Token);
            Interlocked.Exchange(ref awaySince, 0);
            string path = $"{directory}/{name}";
            using Dir parent = Dir.Open(Path.GetDirectoryName(path)!);
            Durable.Replace(parent, Path.GetFileName(path), write(answer));
            return answer;
        }
        catch (Exception gone) when (copy is not null && !cancel.IsCancellationRequested && gone is BackendException { IsTransient: true } or OperationCanceledException)
        {
            Interlocked.Exchange(ref awaySince, clock.GetTimestamp());
            return read(copy!);
        }
    }

    private bool TryRead(StoredFile pack, long offset, Span<byte> into)
    {
        if (!HasCopies)
            return false;
        using Dir data = Dir.Open($"{directory}/data");
        using SafeFileHandle? kept = data.TryOpenFile(pack.Name);
        if (kept is null)
            return false;
        for (int done = 0, read; done < into.Length; done += read)
        {
            if ((read = Files.ReadAt(kept, into[done..], offset + done, data.Of(pack.Name))) == 0)
                return false;
        }

        return true;
    }

    private static byte[] ToBytes(IReadOnlyList<ListedFile> files) => Encoding.UTF8.GetBytes(string.Concat(files.Select(static file => $"{file.Size} {file.Name}\n")));

    private static IReadOnlyList<ListedFile> FromBytes(byte[] bytes) =>
        [.. Encoding.UTF8.GetString(bytes).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => line.Split(' ', 2))
            .Select(static words => new ListedFile(words[1], long.Parse(words[0], CultureInfo.InvariantCulture)))];
}
