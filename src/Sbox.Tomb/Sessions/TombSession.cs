using System.Security.Cryptography;
using System.Text;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb.Mounting;

namespace Sbox.Tomb.Sessions;

/// <summary>
/// A tomb that is open: its newest snapshot mounted, what is written kept above it, saved when asked, until it is closed. Needs root.
/// </summary>
public sealed partial class TombSession : IAsyncDisposable
{
    private readonly TombRepository tomb;
    private readonly SessionOptions options;
    private HomeOverlay overlay;
    private readonly BlobReader blobs;
    private readonly ulong device = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8)) >> 2;
    private TombLock? tombLock;
    private FuseMount? lower;
    private TombHooks? hooks;
    private bool mounted;

    private TombSession(TombRepository tomb, SessionOptions options, HomeOverlay overlay)
    {
        (this.tomb, this.options, this.overlay) = (tomb, options, overlay);
        mapped = new MappedFiles(overlay.Upper, options.MountPoint);
        blobs = new BlobReader(tomb, new BlobReaderOptions { Clock = options.Clock });
    }

    /// <summary>The snapshot that is mounted; null for a tomb that was empty.</summary>
    public Snapshot? Opened { get; private set; }

    /// <summary>The snapshot of the last save, or <see cref="Opened"/>.</summary>
    public Snapshot? Latest { get; private set; }

    /// <summary>Whether what a killed session had not saved was found again.</summary>
    public bool Recovered => overlay.Recovered;

    /// <summary>What the hooks did when it was opened.</summary>
    public IReadOnlyList<HookReport> HookReports { get; private set; } = [];

    /// <summary>Opens a tomb: from here on it is seen at the mount point.</summary>
    /// <param name="tomb">The tomb; it belongs to the session from here on, also when this fails.</param>
    /// <param name="options">How.</param>
    /// <param name="cancel">Ends it, with nothing mounted.</param>
    /// <exception cref="TombException">The tomb does not answer, is locked, or has no such snapshot.</exception>
    /// <exception cref="LinuxException">It cannot be mounted there.</exception>
    public static async Task<TombSession> Open(TombRepository tomb, SessionOptions options, CancellationToken cancel)
    {
        TombSession? session = null;
        try
        {
            session = new TombSession(tomb, options, HomeOverlay.Prepare(options));
            await session.Start(cancel);
            return session;
        }
        catch
        {
            if (session is null)
            {
                await tomb.DisposeAsync();
                throw;
            }

            await session.DisposeAsync();
            if (!session.Recovered)
                session.overlay.Remove(static () => { });
            throw;
        }
    }

    /// <summary>How it stands.</summary>
    public SessionStatus Status(CancellationToken cancel)
    {
        (UpperLook look, MappedFiles maps) = Look(cancel);
        BlobStatistics fetched = blobs.Statistics;
        return new SessionStatus
        {
            Name = options.Name, MountPoint = options.MountPoint, Location = tomb.Backend.Location, Opened = Opened?.Id.ToString(),
            Saved = Latest is { } latest && latest.Id != Opened?.Id ? latest.Id.ToString() : null, SavedAt = checkedAt ?? Latest?.Time.ToDateTimeOffset(),
            UnsavedFiles = look.Unsaved, UnsavedBytes = look.UnsavedBytes, Changed = look.Fingerprint != savedFingerprint || maps.Any || mapped.Any,
            Expected = bytesPerSecond > 0 ? TimeSpan.FromSeconds((look.UnsavedBytes / bytesPerSecond) + 0.5) : null,
            UpperBytes = look.Bytes, UpperPlace = options.Scratch ?? "memory", UpperLimit = UpperLimit(),
            Largest = [.. look.Largest.Select(static file => new LargeFile(file.Path, file.Bytes))], Requests = fetched.Requests, Fetched = fetched.BytesFetched,
            OfflineSince = fetched.GoneSince, SaveFailure = saveFailure, Damage = blobs.Damage, Conflict = Parted?.Id.ToString(),
        };
    }

    private long? UpperLimit()
    {
        if (options.Scratch is not null)
            return null;
        using Dir memory = Dir.Open(overlay.Scratch);
        return DiskSpace.Of(memory).TotalBytes;
    }

    /// <summary>A mark of what was written and is not saved, which changes with it; null when nothing is. What is written through mappings shows in no mark.</summary>
    internal Checksum? Unsaved(CancellationToken cancel) => LookAtNames(cancel).Fingerprint is var now && now != savedFingerprint ? now : null;

    /// <summary>Whether the tomb lies on a disk of this machine.</summary>
    internal bool IsNear => tomb.Backend.IsNear;

    // Without asking who maps its files, for which all processes are looked at.
    private UpperLook LookAtNames(CancellationToken cancel) => Look(static _ => new HashSet<ulong>(), cancel);

    // Nobody is kept waiting for a fold: a layer that goes while it is looked at was saved, and the next one is looked at instead.
    private (UpperLook Look, MappedFiles Maps) Look(CancellationToken cancel)
    {
        MappedFiles? maps = null;
        UpperLook look = Look(
            at =>
            {
                maps = new MappedFiles(at.Upper, options.MountPoint);
                maps.Look();
                return maps.Suspects;
            },
            cancel);
        return (look, maps!);
    }

    private UpperLook Look(Func<HomeOverlay, IReadOnlySet<ulong>> suspectsOf, CancellationToken cancel)
    {
        while (true)
        {
            HomeOverlay at = overlay;
            try
            {
                using Dir upper = Dir.Open(at.Upper);
                return UpperLook.At(upper, saved, suspectsOf(at), cancel);
            }
            catch (LinuxException gone) when (gone.Errno == Errno.ENOENT && at != overlay)
            {
                continue;
            }
        }
    }

    private async Task Start(CancellationToken cancel)
    {
        IReadOnlyList<Snapshot> snapshots = await LockAndLoad(cancel);
        Opened = Choose(snapshots);
        Latest = LastSaved(snapshots) ?? Opened;
        known.UnionWith(snapshots.Select(static each => each.Id));
        Parted = PartedOf(snapshots);
        Node? root = await FindRoot(cancel);
        if (root is null)
            PrepareEmpty();
        else
            Mount(root);
        if (options.Attacher is { } attacher && File.Exists(attacher))
            overlay.HaveAttached(cancel);
        else
            overlay.MountAt(options.MountPoint);
        mounted = true;
        if (!overlay.Recovered)
            NoteAsSaved();
        if (options.Hooks is { } owner)
        {
            hooks = TombHooks.Of(options.MountPoint, owner);
            HookReports = hooks.Open(cancel);
            cancel.ThrowIfCancellationRequested();
        }
    }

    // The one that a killed session had open, since what it wrote belongs above that one and no other.
    private Snapshot? Choose(IReadOnlyList<Snapshot> snapshots)
    {
        if (overlay.Recovered)
        {
            using Dir layer = Dir.Open(overlay.Layer);
            string id = Encoding.ASCII.GetString(layer.ReadAll(HomeOverlay.BaseFile)).Trim();
            return id == Empty ? null : snapshots.FirstOrDefault(each => each.Id.ToString() == id)
                ?? throw new SnapshotNotFoundException(tomb.Backend.Location, id, $"what was not saved in {overlay.Layer} belongs to it, and it was forgotten");
        }

        if (options.Snapshot is not { } wanted || wanted == "latest")
        {
            var history = new SnapshotHistory(snapshots);
            return history.NewestOf(options.PlaceInSnapshots) ?? (snapshots.Count == 0 ? null : throw new SnapshotNotFoundException(
                tomb.Backend.Location, "latest", $"none is of {options.PlaceInSnapshots}, and which of the others is meant is not clear: they are of {string.Join(" and ", history.Places)}"));
        }

        Snapshot[] found = [.. snapshots.Where(each => each.Id.ToString().StartsWith(wanted, StringComparison.Ordinal))];
        return found.Length == 1 ? found[0] : throw new SnapshotNotFoundException(tomb.Backend.Location, wanted, found.Length == 0 ? "there is none" : $"{found.Length} begin so");
    }

    // What a killed session had saved itself: the next save comes out of that, and not a second time out of the one that it had open.
    private Snapshot? LastSaved(IReadOnlyList<Snapshot> snapshots)
    {
        using Dir layer = Dir.Open(overlay.Layer);
        if (!overlay.Recovered || !layer.Exists(HomeOverlay.SavedFile))
            return null;
        string id = Encoding.ASCII.GetString(layer.ReadAll(HomeOverlay.SavedFile)).Trim();
        return snapshots.FirstOrDefault(each => each.Id.ToString() == id);
    }

    // restic keeps the saved path with all its parents, or the home at the very top when it was saved as ".".
    private async Task<Node?> FindRoot(CancellationToken cancel)
    {
        if (Opened is null)
        {
            names = options.PlaceInSnapshots.Split('/', StringSplitOptions.RemoveEmptyEntries);
            return null;
        }

        if (Opened.Paths is [var only])
        {
            names = only.Split('/', StringSplitOptions.RemoveEmptyEntries);
            if (await SnapshotTree.DirectoryAt(blobs, Opened, names, cancel) is { } nested)
                return nested;
        }

        names = [];
        return await SnapshotTree.DirectoryAt(blobs, Opened, names, cancel);
    }

    private void Mount(Node root)
    {
        lowerTree = root.Subtree;
        lower = MountLower(root, overlay);
        if (!overlay.Recovered)
            Prepare(root, overlay, Opened!);
    }

    private FuseMount MountLower(Node root, HomeOverlay under) => FuseMount.Mount(new SnapshotTree(blobs, root), under.Lower, new FuseOptions { Source = $"tomb-{options.Name}" });

    // The merged top has the upper layer's attributes: they are the snapshot's.
    private static void Prepare(Node root, HomeOverlay over, Snapshot snapshot)
    {
        using Dir layer = Dir.Open(over.Layer);
        using Dir upper = layer.OpenDir("upper");
        foreach (Xattr attribute in root.Xattrs.Where(static each => !each.Name.StartsWith("trusted.overlay.", StringComparison.Ordinal)))
            Xattrs.Set(upper.Handle, attribute, upper.Path);
        layer.ChangeOwner("upper", root.Uid, root.Gid);
        layer.ChangeMode("upper", root.Permissions);
        layer.SetTimes("upper", root.Modified.Seconds, root.Modified.Nanoseconds);
        Durable.Replace(layer, HomeOverlay.BaseFile, Encoding.ASCII.GetBytes(snapshot.Id.ToString()));
    }

    private void PrepareEmpty()
    {
        if (overlay.Recovered)
            return;
        using Dir layer = Dir.Open(overlay.Layer);
        if (options.Owner is { } owner)
        {
            layer.ChangeOwner("upper", owner, options.OwnerGroup); // and what is there is not opened: it may be an automount that waits for this
        }
        else
        {
            using Dir place = Dir.Open(options.MountPoint);
            FileStat stat = place.Stat();
            layer.ChangeOwner("upper", stat.Uid, stat.Gid);
            layer.ChangeMode("upper", stat.Permissions);
        }

        Durable.Replace(layer, HomeOverlay.BaseFile, Encoding.ASCII.GetBytes(Empty));
    }
}
