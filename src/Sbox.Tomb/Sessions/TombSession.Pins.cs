using System.Text;
using Sbox.Codecs;
using Sbox.Tomb.Mounting;

namespace Sbox.Tomb.Sessions;

/// <summary>What is kept on this machine for when the remote is away.</summary>
/// <param name="Paths">Paths below the home's top, in order; the empty one is all of it.</param>
/// <param name="Bytes">Bytes of packs that are here for them.</param>
public sealed record PinnedPaths(IReadOnlyList<string> Paths, long Bytes);

/// <summary>Nothing can be pinned in this tomb.</summary>
/// <param name="location">The tomb.</param>
/// <param name="finding">Why.</param>
public sealed class CannotPinException(string location, string finding) : TombException($"{location}: {finding}");

// Pinned are paths of the home; kept are the packs that hold their trees and contents in the last snapshot. The paths are sealed as the tomb is: a name is a secret too.
public sealed partial class TombSession
{
    /// <summary>What is pinned.</summary>
    public PinnedPaths Pins => new(ReadPins(), PinnedBackend.Of(tomb.Backend)?.KeptBytes ?? 0);

    /// <summary>Pins paths, or lets go of them, and fetches what is missing.</summary>
    /// <param name="paths">Paths below the home's top, without a slash at their ends.</param>
    /// <param name="remove">Whether they are let go of.</param>
    /// <param name="cancel">Ends the fetching; it is gone on with after the next save.</param>
    /// <exception cref="CannotPinException">The tomb is on this machine, or a path is not in the last snapshot.</exception>
    /// <exception cref="BackendException">The remote does not answer; the pins are noted all the same.</exception>
    public async Task<PinnedPaths> Pin(IReadOnlyList<string> paths, bool remove, CancellationToken cancel)
    {
        PinnedBackend pinned = PinnedBackend.Of(tomb.Backend) ?? throw new CannotPinException(tomb.Backend.Location, "the tomb is on this machine: all of it is here");
        using var both = CancellationTokenSource.CreateLinkedTokenSource(cancel, ending.Token);
        await Enter(both.Token);
        try
        {
            if (!remove)
            {
                await SaveHeld(both.Token);
                foreach (string path in paths)
                {
                    if (await Pinned(path, both.Token) is null)
                        throw new CannotPinException(tomb.Backend.Location, $"/{path}: the home has no such file or directory");
                }
            }

            pinned.Begin();
            string[] all = [.. (remove ? ReadPins().Except(paths, StringComparer.Ordinal) : ReadPins().Union(paths, StringComparer.Ordinal)).Order(StringComparer.Ordinal)];
            pinned.Note = all.Length == 0 ? null : tomb.Key.Seal(Encoding.UTF8.GetBytes(string.Join('\0', all)));
            await RefreshPins(both.Token);
            return Pins;
        }
        finally
        {
            await Leave();
        }
    }

    // After a save, and whenever what is pinned changes. The small files that open a tomb come by being asked for.
    private async Task RefreshPins(CancellationToken cancel)
    {
        if (PinnedBackend.Of(tomb.Backend) is not { HasCopies: true } pinned || Latest is null)
            return;
        var packs = new HashSet<Checksum>();
        IReadOnlyList<string> pins = ReadPins();
        foreach (string path in pins)
            await Packs(path, packs, cancel);
        await pinned.Keep(packs, cancel);
        if (pins.Count == 0)
            return;
        await tomb.Backend.Load(StoredFile.Config, cancel);
        foreach (ListedFile key in await tomb.Backend.List(StoredFileType.Key, cancel))
            await tomb.Backend.Load(new StoredFile(StoredFileType.Key, key.Name), cancel);
        foreach (StoredFileType kind in (StoredFileType[])[StoredFileType.Index, StoredFileType.Snapshot])
        {
            foreach (ListedFile file in await tomb.Backend.List(kind, cancel))
                await tomb.Backend.Load(new StoredFile(kind, file.Name), cancel);
        }
    }

    private IReadOnlyList<string> ReadPins()
    {
        if (PinnedBackend.Of(tomb.Backend)?.Note is not { } note)
            return [];
        var plain = new byte[Math.Max(0, note.Length - Crypto.SealingKey.Overhead)];
        return tomb.Key.TryOpen(note, plain) ? Encoding.UTF8.GetString(plain).Split('\0') : [];
    }

    private async Task Packs(string path, HashSet<Checksum> packs, CancellationToken cancel)
    {
        Checksum at = Latest!.Tree;
        Node? found = null;
        foreach (string name in names.Concat(path.Split('/', StringSplitOptions.RemoveEmptyEntries)))
        {
            Note(packs, BlobType.Tree, at);
            found = LoadTree(at, cancel).Find(name);
            if (found?.Subtree is not { } below)
                break;
            at = below;
        }

        foreach (Checksum blob in found?.Content ?? [])
            Note(packs, BlobType.Data, blob);
        if (found is not null && found.Subtree is null)
            return;
        var walk = new TreeWalk(tomb, cancel)
        {
            OnTree = (id, _, tree) =>
            {
                Note(packs, BlobType.Tree, id);
                foreach (Checksum blob in tree.Nodes.SelectMany(static node => node.Content ?? []))
                    Note(packs, BlobType.Data, blob);
            },
            OnLost = static (_, _, lost) => throw lost,
        };
        await walk.Walk(at);
    }

    private async Task<Node?> Pinned(string path, CancellationToken cancel)
    {
        string[] parts = path.Split('/', StringSplitOptions.RemoveEmptyEntries);
        Node? parent = Latest is null ? null : await SnapshotTree.DirectoryAt(blobs, Latest, [.. names, .. parts.SkipLast(1)], cancel);
        return parent is null || parts.Length == 0 ? parent : LoadTree(parent.Subtree!.Value, cancel).Find(parts[^1]);
    }

    private void Note(HashSet<Checksum> packs, BlobType type, Checksum id)
    {
        if (tomb.Index.TryFind(type, id, out BlobLocation place))
            packs.Add(place.Pack);
    }
}
