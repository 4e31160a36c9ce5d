using Sbox.Linux;
using Sbox.Tomb.Mounting;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>The newest snapshot of a place's tomb, mounted.</summary>
internal sealed class MountedSnapshot : IAsyncDisposable
{
    private readonly TombRepository tomb;

    private MountedSnapshot(TombRepository tomb, BlobReader blobs, SnapshotTree tree, string path, FuseMount mount) =>
        (this.tomb, Blobs, Tree, Path, Mount) = (tomb, blobs, tree, path, mount);

    public BlobReader Blobs { get; }

    public SnapshotTree Tree { get; }

    public string Path { get; }

    public FuseMount Mount { get; }

    public static async Task<MountedSnapshot> Of(Place place, IBackend? backend = null, BlobReaderOptions? options = null)
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        TombRepository tomb = await TombRepository.Open(backend ?? place.Backend(), Place.Secret(), cancel);
        Snapshot newest = (await tomb.Snapshots(cancel))[^1];
        await tomb.LoadIndex(cancel);
        var blobs = new BlobReader(tomb, options ?? new BlobReaderOptions());
        Node root = (await SnapshotTree.DirectoryAt(blobs, newest, newest.Paths[0].Split('/', StringSplitOptions.RemoveEmptyEntries), cancel))!;
        var tree = new SnapshotTree(blobs, root);
        string path = place["mounted"];
        Directory.CreateDirectory(path);
        return new MountedSnapshot(tomb, blobs, tree, path, FuseMount.Mount(tree, path, new FuseOptions()));
    }

    public async ValueTask DisposeAsync()
    {
        Mount.Dispose();
        Blobs.Dispose();
        await tomb.DisposeAsync();
    }
}
