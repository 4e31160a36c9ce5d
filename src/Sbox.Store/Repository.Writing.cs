using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

public sealed partial class Repository
{
    /// <summary>Writes a commit's tree as <paramref name="name"/> in <paramref name="destination"/>.</summary>
    /// <param name="commit">The commit.</param>
    /// <param name="destination">Where.</param>
    /// <param name="name">The new directory's name; made here.</param>
    /// <param name="options">How; the default hardlinks where it can.</param>
    /// <param name="progress">Told every now and then.</param>
    /// <param name="cancel">Looked at between files; what is written by then stays.</param>
    /// <exception cref="TreePathException">The subpath is not in the commit.</exception>
    /// <exception cref="CannotLinkException">Hardlinks were required, and the repository's mode has none for such a checkout.</exception>
    /// <exception cref="LinuxException">The kernel refused: the name is taken, hardlinks were required and are impossible.</exception>
    public void Checkout(
        Checksum commit, Dir destination, string name, CheckoutOptions? options = null,
        IProgress<CheckoutProgress>? progress = null, CancellationToken cancel = default)
    {
        options ??= new CheckoutOptions();
        // Neither owners nor xattrs are kept there, so every checkout is a user's.
        if (Mode == RepositoryMode.BareUserOnly)
            options = options with { UserMode = true };
        if (options.RequireHardlinks)
            RequireLinkable(options);
        new TreeCheckout(this, options, progress, cancel).Write(Find(commit, options.Subpath), destination, name);
        if (!options.Durable)
            return;
        Durable.SyncFileSystem(destination);
        Durable.Sync(destination);
    }

    private void RequireLinkable(CheckoutOptions options)
    {
        string? finding = (Mode, options.UserMode) switch
        {
            (RepositoryMode.Archive, _) => "Archive repository mode cannot hardlink",
            (RepositoryMode.Bare, true) => "Bare repository mode cannot hardlink in user checkout mode",
            (RepositoryMode.BareUser, false) => "User repository mode requires user checkout mode to hardlink",
            _ when options.ForceCopy => "A checkout by copy makes no hardlinks",
            _ => null,
        };
        if (finding is not null)
            throw new CannotLinkException(Path, finding);
    }

    /// <summary>Writes the composefs image of a commit's tree, the same bytes as <c>ostree checkout --composefs</c>.</summary>
    /// <param name="commit">The commit.</param>
    /// <param name="target">Where the image goes, front to back.</param>
    /// <param name="cancel">Looked at between objects.</param>
    /// <param name="withVerity">
    /// Whether the image names the fs-verity digest of every file, which reads all of them; false as <c>--composefs-noverity</c>.
    /// </param>
    /// <returns>The image's size and fs-verity digest.</returns>
    /// <exception cref="ComposefsDigestException">The commit's metadata names another digest than this image has.</exception>
    /// <exception cref="ObjectMissingException">The commit is not all there.</exception>
    public ComposefsResult WriteComposefs(Checksum commit, Stream target, CancellationToken cancel = default, bool withVerity = true) =>
        new ComposefsTree(this, withVerity, cancel).Write(commit, target);

    /// <summary>The same where images of other commits are at hand: what they share with this one need not be read again.</summary>
    /// <param name="commit">The commit.</param>
    /// <param name="target">Where the image goes, from its position on; it can seek.</param>
    /// <param name="others">Images, from anywhere. They are believed only because what comes out must have the digest that the commit names: where it names none, they are not looked
    /// at, and where it is another one, everything is read after all.</param>
    /// <param name="cancel">Looked at between objects.</param>
    /// <returns>The image's size and fs-verity digest.</returns>
    /// <remarks>A content that the disk has damaged since is then not noticed here, as it is not where the kernel holds it to its digest.</remarks>
    /// <exception cref="ComposefsDigestException">The commit's metadata names another digest than this image has.</exception>
    /// <exception cref="ObjectMissingException">The commit is not all there.</exception>
    public ComposefsResult WriteComposefs(Checksum commit, Stream target, IEnumerable<ReadOnlyMemory<byte>> others, CancellationToken cancel = default)
    {
        if (LoadCommit(commit).ComposefsDigest is { } expected && ComposefsTree.ToldBy(others) is { Count: > 0 } told)
        {
            long start = target.Position;
            ComposefsResult result = new ComposefsTree(this, withVerity: true, cancel) { Told = told }.Write(commit, target);
            if (result.Digest == expected)
                return result;
            target.SetLength(target.Position = start);
        }

        return new ComposefsTree(this, withVerity: true, cancel).Write(commit, target);
    }

    /// <summary>The fs-verity digest that a commit's composefs image would have, made of digests that are known already.</summary>
    /// <param name="commit">The commit, all of it here.</param>
    /// <param name="digestOf">The fs-verity digest of a file object; where it knows none, the file is read.</param>
    /// <param name="cancel">Looked at between objects.</param>
    /// <exception cref="ObjectMissingException">The commit is not all there.</exception>
    public Checksum ComposefsDigest(Checksum commit, Func<Checksum, Checksum?> digestOf, CancellationToken cancel = default) =>
        new ComposefsTree(this, withVerity: true, cancel, digestOf).Write(commit, Stream.Null).Digest;

    /// <summary>Checks that everything that refs and commits lead to is there and whole.</summary>
    /// <param name="options">What else to check or do.</param>
    /// <param name="progress">Told every now and then.</param>
    /// <param name="cancel">Looked at between objects.</param>
    public FsckReport Fsck(FsckOptions? options = null, IProgress<FsckProgress>? progress = null, CancellationToken cancel = default) =>
        new RepositoryCheck(this, options ?? new FsckOptions(), progress, cancel).Run();

    /// <summary>Deletes the objects that nothing needs. Waits until nobody writes.</summary>
    /// <param name="options">What to keep.</param>
    /// <param name="cancel">Looked at between objects; the repository is whole at every step.</param>
    /// <exception cref="ObjectMissingException">A commit to keep is not whole: then nothing is deleted.</exception>
    /// <exception cref="RepositoryBusyException">Someone writes for longer than <c>core.lock-timeout-secs</c>.</exception>
    public PruneReport Prune(PruneOptions? options = null, CancellationToken cancel = default) =>
        new Pruner(this, options ?? new PruneOptions(), cancel).Run();
}

/// <summary>A composefs image that was written.</summary>
/// <param name="Digest">Its fs-verity digest (SHA-256, 4096-byte blocks), which the kernel command line names.</param>
/// <param name="Size">Bytes.</param>
public readonly record struct ComposefsResult(Checksum Digest, long Size);
