using System.Buffers;
using System.Collections.Concurrent;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb.Chunking;
using Sbox.Tomb.Crypto;
using Sbox.Tomb.Mounting;

namespace Sbox.Tomb;

/// <summary>
/// An open tomb: a restic repository with its key. The order to read in is snapshots first, then <see cref="LoadIndex"/>, then trees and
/// blobs. Everything that is returned has been authenticated and hashed. Safe on several threads once opened.
/// </summary>
/// <example>
/// <code>
/// await using IBackend backend = new DirectoryBackend("/media/stick/tomb");
/// await using TombRepository tomb = await TombRepository.Open(backend, password, cancel);
/// Snapshot newest = (await tomb.Snapshots(cancel))[^1];
/// await tomb.LoadIndex(cancel);
/// Tree root = await tomb.LoadTree(newest.Tree, cancel);
/// </code>
/// </example>
public sealed partial class TombRepository : IAsyncDisposable
{
    private const byte CompressedDocument = 2;
    private const int ManyBlobs = 200_000;
    private const int StoredEntry = 40; // bytes of a compressed index for each blob: its id cannot be made smaller, the rest nearly vanishes

    // Packs that were stored, and are in Index, while no index file lists them yet.
    private IReadOnlyList<IndexedPack> unlisted = [];

    // What was deciphered and is not decompressed yet.
    private readonly BlockPool compressed = new(keptAtMost: 4 << 20);

    // Directories lie one behind the other in packs of their own, in the order in which they are walked: those behind the wanted one come along.
    private readonly SealedRanges trees;
    private readonly BlockPool treeBytes = new(keptAtMost: 4 << 20);

    /// <summary>Packs and blobs on their way through a check or a repair: the same memory for all of them, which gives it back at its end.</summary>
    internal readonly BlockPool CheckedPacks = new(keptAtMost: 48 << 20), CheckedBlobs = new(keptAtMost: 16 << 20);

    private TombRepository(IBackend backend, RepositoryConfig config, SealingKey key, KeyRecord? openedBy)
    {
        Backend = backend;
        Config = config;
        Key = key;
        OpenedBy = openedBy;
        Chunker = new Chunker(config.ChunkerPolynomial);
        trees = new SealedRanges(this, patience: null, treeBytes, SealedRanges.RoomForTwo);
    }

    /// <summary>Where it is kept; belongs to the caller of <see cref="Open"/>.</summary>
    public IBackend Backend { get; }

    /// <summary>What it is.</summary>
    public RepositoryConfig Config { get; }

    /// <summary>The key file that the password opened.</summary>
    public KeyRecord? OpenedBy { get; private set; }

    /// <summary>Which blob is where; empty before <see cref="LoadIndex"/>.</summary>
    public BlobIndex Index { get; private set; } = new();

    /// <summary>Cuts files as this tomb's are cut.</summary>
    public Chunker Chunker { get; }

    internal SealingKey Key { get; }

    /// <summary>The lock that work on this tomb is done under; null for none.</summary>
    internal TombLock? Held { get; set; }

    /// <summary>Opens a tomb.</summary>
    /// <param name="backend">Where it is.</param>
    /// <param name="password">The password, UTF-8 without a line feed; borrowed for the call.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="NotATombException">There is none.</exception>
    /// <exception cref="WrongPasswordException">No key opens with this password.</exception>
    /// <exception cref="TombDamagedException">No key file can be read.</exception>
    public static async Task<TombRepository> Open(IBackend backend, SecretMemory password, CancellationToken cancel)
    {
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task<IReadOnlyList<ListedFile>> listing = backend.List(StoredFileType.Key, both.Token); // one wait for both answers
        byte[] sealedConfig;
        try
        {
            sealedConfig = await backend.Load(StoredFile.Config, cancel);
        }
        catch (Exception failed)
        {
            await both.CancelAsync();
            await ((Task)listing).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (failed is StoredFileMissingException)
                throw new NotATombException(backend.Location, "it has no file 'config'");
            throw;
        }

        IReadOnlyList<ListedFile> keys = await listing;
        int tried = 0;
        var damaged = new List<DamagedFile>(); // one that is no key file keeps nobody out who has another
        foreach (ListedFile file in keys)
        {
            if (!Checksum.TryParse(file.Name, out Checksum id) || await TryReadKey(backend, id, damaged, cancel) is not { } record)
                continue;
            tried++;
            if (record.Open(password) is not { } key)
                continue;
            byte[] config = Unseal(key, sealedConfig, backend.Location, StoredFile.Config);
            return new TombRepository(backend, RepositoryConfig.Parse(config), key, record);
        }

        if (tried == 0 && damaged is [var first, ..])
            throw new TombDamagedException(backend.Location, first.File.Path, $"{first.What}, and there is no other key");
        throw new WrongPasswordException(backend.Location, tried, damaged);
    }

    /// <summary>Makes a new tomb.</summary>
    /// <exception cref="TombExistsException">There is one already; nothing was changed.</exception>
    public static Task<TombRepository> Create(IBackend backend, SecretMemory password, TimeProvider clock, CancellationToken cancel) =>
        Create(backend, password, KeyRecord.NewCost, clock, cancel);

    /// <summary>The same with a key of another cost, for tests: their tombs are opened a thousand times, and their password is no secret.</summary>
    internal static async Task<TombRepository> Create(IBackend backend, SecretMemory password, int cost, TimeProvider clock, CancellationToken cancel)
    {
        await backend.Create(cancel);
        if (await backend.Size(StoredFile.Config, cancel) is not null || (await backend.List(StoredFileType.Key, cancel)).Count > 0)
            throw new TombExistsException(backend.Location);
        var key = SealingKey.Random();
        var config = new RepositoryConfig(2, Checksum.FromBytes(System.Security.Cryptography.RandomNumberGenerator.GetBytes(32)), Polynomial.Random());
        var tomb = new TombRepository(backend, config, key, null);
        tomb.OpenedBy = await tomb.AddKey(password, cost, clock, cancel);
        await backend.Save(StoredFile.Config, key.Seal(config.ToBytes()), cancel);
        return tomb;
    }

    /// <summary>All snapshots, oldest first.</summary>
    /// <exception cref="TombDamagedException">One of them is not what was written.</exception>
    public Task<IReadOnlyList<Snapshot>> Snapshots(CancellationToken cancel) => Snapshots(damaged: null, cancel);

    /// <summary>Reads all index files; call it again to learn what others have written since.</summary>
    /// <exception cref="TombDamagedException">One of them is not what was written: <c>check --repair</c> makes it anew.</exception>
    public async Task LoadIndex(CancellationToken cancel)
    {
        var index = new BlobIndex();
        var files = new List<Checksum>();
        var lists = new ConcurrentBag<List<PackEntry>>();
        IReadOnlyList<ListedFile> listed = await Backend.List(StoredFileType.Index, cancel);
        index.Expect(listed.Sum(static file => Math.Clamp(file.Size, 0, int.MaxValue)) / StoredEntry);
        await ForEachFile(StoredFileType.Index, listed, (id, json) =>
        {
            List<PackEntry> list = lists.TryTake(out List<PackEntry>? before) ? before : [];
            IndexFile.Parse(json, list, (pack, blobs) => index.Add(pack, blobs));
            lists.Add(list);
            lock (files)
                files.Add(id);
        }, cancel);
        Adopt(index, files);
        if (index.Count >= ManyBlobs)
            Garbage.LetGo();
    }

    /// <summary>Whether the tomb's index files are still those that <see cref="LoadIndex"/> read: under a lock they then say what is there.</summary>
    internal async Task<bool> IsIndexCurrent(CancellationToken cancel)
    {
        var now = new HashSet<Checksum>();
        foreach (ListedFile file in await Backend.List(StoredFileType.Index, cancel))
        {
            if (Checksum.TryParse(file.Name, out Checksum id))
                now.Add(id);
        }

        return now.SetEquals(IndexFiles);
    }

    /// <summary>Takes an index that was read file by file. Packs that no file lists are no longer counted on: whoever deletes such may have been there.</summary>
    internal void Adopt(BlobIndex index, IReadOnlyList<Checksum> files)
    {
        (Index, IndexFiles, unlisted) = (index, files, []);
        LookAgain();
    }

    /// <summary>Lets go of directories that came along with others: what is read from here on is read where the tomb is kept.</summary>
    internal void LookAgain() => trees.Clear();

    /// <summary>Leaves packs that could not be listed to the next writer, which lists them before anything can be saved over them.</summary>
    internal void LeaveUnlisted(IEnumerable<IndexedPack> packs) => unlisted = [.. unlisted, .. packs];

    /// <summary>The packs that are still to be listed: who takes them lists them.</summary>
    internal IReadOnlyList<IndexedPack> TakeUnlisted() => Interlocked.Exchange(ref unlisted, []);

    /// <summary>The index files that <see cref="LoadIndex"/> read.</summary>
    internal IReadOnlyList<Checksum> IndexFiles { get; private set; } = [];

    /// <summary>A directory's entries.</summary>
    /// <exception cref="BlobMissingException">The index knows no such tree.</exception>
    /// <exception cref="TombDamagedException">Its bytes are not what was written.</exception>
    public async Task<Tree> LoadTree(Checksum id, CancellationToken cancel) =>
        Index.TryFind(BlobType.Tree, id, out BlobLocation place) && await TryLoadTree(place, cancel) is { } tree
            ? tree
            : Tree.Parse(await LoadBlob(BlobType.Tree, id, cancel)); // by itself, from wherever it is whole; or what is wrong with it

    private async Task<Tree?> TryLoadTree(BlobLocation place, CancellationToken cancel)
    {
        using RangeLease range = trees.Take(place);
        try
        {
            // Whoever walks down a snapshot goes on from here, however deep it is: on a stack of its own now and then.
            if (!System.Runtime.CompilerServices.RuntimeHelpers.TryEnsureSufficientExecutionStack())
                await Task.Yield();
            await range.Ready.WaitAsync(cancel);
            NativeBlock plain = treeBytes.Rent(Math.Max(place.PlainLength, 1));
            try
            {
                OpenBlob(place, range.Of(place), plain.GetSpan()[..place.PlainLength]);
                return Tree.Parse(plain.GetSpan()[..place.PlainLength]);
            }
            finally
            {
                treeBytes.Return(plain);
            }
        }
        catch (TombException)
        {
            return null; // something beside it may be what is wrong: it is asked for by itself
        }
    }

    /// <summary>A blob's plain bytes, verified.</summary>
    /// <exception cref="BlobMissingException">The index knows no such blob.</exception>
    /// <exception cref="TombDamagedException">Its bytes are not what was written, in no pack that should hold it.</exception>
    public async Task<byte[]> LoadBlob(BlobType type, Checksum id, CancellationToken cancel)
    {
        IReadOnlyList<BlobLocation> places = Index.FindAll(type, id);
        TombException failure = new BlobMissingException(Backend.Location, type, id);
        foreach (BlobLocation place in places)
        {
            byte[] sealedBytes = ArrayPool<byte>.Shared.Rent((int)place.Length);
            try
            {
                await Backend.LoadRange(PackOf(place.Pack), place.Offset, sealedBytes.AsMemory(0, (int)place.Length), cancel);
                var plain = new byte[place.PlainLength];
                OpenBlob(place, sealedBytes.AsSpan(0, (int)place.Length), plain);
                return plain;
            }
            catch (TombException bad) when (bad is TombDamagedException or BackendException { IsTransient: false })
            {
                failure = bad; // the same blob may be whole in another pack
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(sealedBytes);
            }
        }

        throw failure;
    }

    /// <summary>Opens one blob of a range that was fetched: authenticates, decrypts, decompresses, hashes.</summary>
    /// <param name="place">The blob.</param>
    /// <param name="sealedBytes">Its <see cref="BlobLocation.Length"/> bytes of the pack; borrowed, and left as they are.</param>
    /// <param name="plain">Room for <see cref="BlobLocation.PlainLength"/> bytes.</param>
    /// <exception cref="TombDamagedException">The bytes are not what was written.</exception>
    public void OpenBlob(BlobLocation place, ReadOnlySpan<byte> sealedBytes, Span<byte> plain)
    {
        if (place.UncompressedLength == 0)
        {
            if (!Key.TryOpen(sealedBytes, plain))
                throw Damaged(place, "its tag is not right: the bytes were changed");
        }
        else
        {
            NativeBlock scratch = compressed.Rent(sealedBytes.Length);
            try
            {
                Span<byte> opened = scratch.GetSpan()[..(sealedBytes.Length - SealingKey.Overhead)];
                if (!Key.TryOpen(sealedBytes, opened))
                    throw Damaged(place, "its tag is not right: the bytes were changed");
                if (!Zstandard.TryDecompress(opened, plain))
                    throw Damaged(place, $"it does not decompress to {plain.Length} bytes");
            }
            finally
            {
                compressed.Return(scratch);
            }
        }

        Checksum found = Checksum.Of(plain);
        if (found != place.Id)
            throw Damaged(place, $"it hashes to {found}");
    }

    /// <summary>Gives back what a check or a repair used.</summary>
    internal void FreeChecked()
    {
        CheckedPacks.Free();
        CheckedBlobs.Free();
    }

    /// <summary>The file of a pack.</summary>
    public static StoredFile PackOf(Checksum pack) => new(StoredFileType.Pack, pack.ToString());

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        Key.Dispose();
        compressed.Close();
        trees.Dispose();
        treeBytes.Close();
        CheckedPacks.Close();
        CheckedBlobs.Close();
        return ValueTask.CompletedTask;
    }

    /// <summary>Writes a document under the checksum of its file: a snapshot, an index, a lock.</summary>
    internal async Task<Checksum> SaveDocument(StoredFileType type, byte[] json, CancellationToken cancel)
    {
        if (type != StoredFileType.Lock && Held is { } held)
            await held.Verify(cancel);
        byte[] plain = json;
        if (Config.Version >= 2)
        {
            var compressed = new byte[Zstandard.Bound(json.Length) + 1];
            compressed[0] = CompressedDocument;
            plain = compressed[..(Zstandard.Compress(json, compressed.AsSpan(1)) + 1)];
        }

        byte[] file = Key.Seal(plain);
        Checksum id = Checksum.Of(file);
        await Backend.Save(new StoredFile(type, id.ToString()), file, cancel);
        return id;
    }

    /// <summary>A document's JSON.</summary>
    internal async Task<byte[]> LoadDocument(StoredFileType type, Checksum id, CancellationToken cancel)
    {
        var file = new StoredFile(type, id.ToString());
        byte[] plain = Unseal(Key, await LoadNamed(Backend, file, id, cancel), Backend.Location, file);
        return Unpacked(file, plain);
    }

    private static async Task<byte[]> LoadNamed(IBackend backend, StoredFile file, Checksum id, CancellationToken cancel)
    {
        byte[] bytes = await backend.Load(file, cancel);
        Checksum found = Checksum.Of(bytes);
        return found == id ? bytes : throw new TombDamagedException(backend.Location, file.Path, $"it hashes to {found}, which is not its name");
    }

    private static byte[] Unseal(SealingKey key, byte[] bytes, string location, StoredFile file)
    {
        var plain = new byte[Math.Max(0, bytes.Length - SealingKey.Overhead)];
        return key.TryOpen(bytes, plain) ? plain : throw new TombDamagedException(location, file.Path, "its tag is not right: the bytes were changed");
    }

    private TombDamagedException Damaged(BlobLocation place, string finding) =>
        new(Backend.Location, $"{PackOf(place.Pack).Path}: {(place.Type == BlobType.Tree ? "tree" : "data")} blob {place.Id}", finding);
}
