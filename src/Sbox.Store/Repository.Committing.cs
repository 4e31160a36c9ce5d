using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

public sealed partial class Repository
{
    /// <summary>Begins to write. Others may write at the same time; none may prune until this transaction ends.</summary>
    /// <param name="cancel">Ends the waiting.</param>
    /// <param name="resumes">Whether it goes on with what an interrupted one of this boot has staged, and publishes it; else that waits for whoever does.</param>
    /// <exception cref="RepositoryBusyException">A prune goes on for longer than <c>core.lock-timeout-secs</c>.</exception>
    public Transaction Begin(CancellationToken cancel = default, bool resumes = true) => new(this, cancel, resumes);

    /// <summary>Commits a directory: all below <paramref name="root"/>, which is itself the tree's root.</summary>
    /// <param name="root">The directory on disk; only read.</param>
    /// <param name="options">What the commit says beside its tree.</param>
    /// <param name="progress">Told every now and then.</param>
    /// <param name="cancel">Looked at between files; the repository stays as it was.</param>
    /// <returns>The commit, which is durable together with its refs.</returns>
    /// <exception cref="CannotCommitException">Something in the directory has no form in a repository: a device, a name that is no UTF-8.</exception>
    /// <exception cref="NotEnoughSpaceException">It would use up the reserved space.</exception>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public Checksum CommitDirectory(
        string root, CommitOptions options, IProgress<CommitProgress>? progress = null, CancellationToken cancel = default) =>
        CommitTrees([new TreeSource.Directory(root)], options, progress, cancel).Checksum;

    /// <summary>As <see cref="CommitDirectory"/>, of several trees laid over each other: directories are merged, later files replace earlier ones.</summary>
    /// <exception cref="CannotCommitException">One tree has a file where another has a directory; or as with one directory.</exception>
    public CommitResult CommitTrees(
        IReadOnlyList<TreeSource> trees, CommitOptions options, IProgress<CommitProgress>? progress = null, CancellationToken cancel = default)
    {
        // Owners and xattrs have no place there; without them the commit is what a checkout of it would give.
        if (Mode == RepositoryMode.BareUserOnly)
            options = options with { CanonicalPermissions = true };
        Transaction transaction = Begin(cancel);
        using var last = new LastOf(() => transaction);
        Checksum? parent = options.NoParent ? null
            : options.Parent ?? (options.Branches.Count > 0 ? refs.Read(options.Branches[0]) : null);
        (Checksum tree, Checksum meta) = new TreeWriter(transaction, options, progress, cancel).Write(trees);
        options.TreesRead?.Invoke();
        if (options.SkipIfUnchanged && parent is { } unchanged && LoadCommit(unchanged) is var old && old.RootTree == tree && old.RootMeta == meta)
            return new CommitResult(unchanged, null);

        // The image names the digests of files, so they are published first; without a commit that leads to it the tree is only garbage.
        TransactionStats before = default;
        if (options.ComposefsDigest)
        {
            before = transaction.Commit();
            transaction.Dispose();
            transaction = Begin(cancel);
        }

        VariantDictionary own = WithTree(Kept(options, parent), options, transaction, tree, meta);
        VariantDictionary metadata = options.BindRefs
            ? own.With(Commit.RefBinding, GVariant.Of(options.Branches.Concat(options.AdditionalBindings).Order(StringComparer.Ordinal)))
            : own;
        if (options.BindRefs && CollectionId is { } collection && metadata[CollectionRef.Binding] is null)
            metadata = metadata.With(CollectionRef.Binding, collection);
        if (options.ComposefsDigest)
            metadata = metadata.With("ostree.composefs.digest.v0", GVariant.Of(new ComposefsTree(this, withVerity: true, cancel).Digest(tree, meta).ToArray()));
        // libostree adds these by way of a hash table, and its order is what the bytes have.
        if (options.Bootable || options.ComposefsDigest)
            metadata = GLibTable.Ordered(metadata);
        if (options.Sizes && Mode == RepositoryMode.Archive)
            metadata = metadata.With(CommitSizes.Key, CommitSizes.Of(transaction, tree, meta, cancel));
        long seconds = (options.Timestamp ?? options.Clock.GetUtcNow()).ToUnixTimeSeconds();
        var commit = new Commit(metadata, parent, options.Subject, options.Body, (ulong)seconds, tree, meta);
        byte[] bytes = commit.ToBytes();
        Checksum checksum = transaction.WriteMetadata(ObjectType.Commit, bytes);
        VariantDictionary? detached = options.DetachedMetadata.Keys.Any() ? options.DetachedMetadata : null;
        if (options.Signer is { } signer)
            detached = CommitSignatures.AddAll(detached ?? LoadDetachedMetadata(checksum) ?? VariantDictionary.Empty, signer(bytes));
        foreach (string branch in options.Branches)
            transaction.SetRef(branch, checksum);
        if (detached is not null)
            transaction.WriteDetachedMetadata(checksum, detached);
        return new CommitResult(checksum, before + transaction.Commit());
    }

    /// <summary>Writes a summary's additional metadata as a commit without files on the branch <c>ostree-metadata</c>, so that it spreads as commits do.</summary>
    /// <param name="additional">The metadata.</param>
    /// <param name="time">The commit's time; null for now.</param>
    /// <param name="signer">As <see cref="CommitOptions.Signer"/>.</param>
    /// <returns>The commit.</returns>
    public Checksum CommitSummaryMetadata(VariantDictionary additional, DateTimeOffset? time = null, Func<byte[], VariantDictionary>? signer = null)
    {
        const string branch = "ostree-metadata";
        using Transaction transaction = Begin();
        Checksum tree = transaction.WriteMetadata(ObjectType.DirTree, new DirTree([], []).ToBytes());
        Checksum meta = transaction.WriteMetadata(ObjectType.DirMeta, new DirMeta(0, 0, new Mode(0x41ED /* directory, 0755 */), XattrList.Empty).ToBytes());
        VariantDictionary metadata = additional.With(Commit.RefBinding, GVariant.Of([branch]));
        if (CollectionId is { } collection)
            metadata = metadata.With(CollectionRef.Binding, collection);
        ulong now = (ulong)(time ?? TimeProvider.System.GetUtcNow()).ToUnixTimeSeconds();
        byte[] bytes = new Commit(GLibTable.Ordered(metadata), refs.Read(branch), "", "", now, tree, meta).ToBytes();
        Checksum commit = transaction.WriteMetadata(ObjectType.Commit, bytes);
        if (signer is not null)
            transaction.WriteDetachedMetadata(commit, CommitSignatures.AddAll(LoadDetachedMetadata(commit) ?? VariantDictionary.Empty, signer(bytes)));
        transaction.SetRef(branch, commit);
        transaction.Commit();
        return commit;
    }

    private VariantDictionary WithTree(VariantDictionary metadata, CommitOptions options, Transaction transaction, Checksum tree, Checksum meta)
    {
        if (options.Bootable)
        {
            metadata = metadata.With("ostree.linux", Kernel(transaction, tree)).With("ostree.bootable", GVariant.Of(true));
        }

        return metadata;
    }

    // The one directory below /usr/lib/modules that holds a kernel, as libostree asks for it.
    private string Kernel(Transaction transaction, Checksum root)
    {
        Checksum at = root;
        foreach (string part in (string[])["usr", "lib", "modules"])
        {
            DirTree names = transaction.LoadDirTree(at);
            at = names.Directories.FirstOrDefault(inner => inner.Name == part) is { Name: not null } found
                ? found.Tree
                : throw new CannotCommitException($"/{part}", "No such file or directory, and a bootable tree has its kernel in /usr/lib/modules");
        }

        string[] kernels = [.. transaction.LoadDirTree(at).Directories.Where(version => transaction.LoadDirTree(version.Tree).Files.Any(static file => file.Name == "vmlinuz")).Select(static version => version.Name)];
        return kernels switch
        {
            [var only] => only,
            [] => throw new CannotCommitException(Path, "No kernel found in /usr/lib/modules"),
            _ => throw new CannotCommitException(Path, $"Multiple kernels found in /usr/lib/modules: {string.Join(", ", kernels)}"),
        };
    }

    private VariantDictionary Kept(CommitOptions options, Checksum? parent)
    {
        VariantDictionary metadata = options.Metadata;
        foreach (string key in options.KeepMetadata)
        {
            GVariant value = (parent is { } before ? LoadCommit(before).Metadata[key] : null)
                ?? throw new CannotCommitException(Path, $"Missing metadata key '{key}' from commit '{parent?.ToString() ?? "none"}'");
            metadata = metadata.With(key, value);
        }

        return metadata;
    }

    private sealed class LastOf(Func<Transaction> transaction) : IDisposable
    {
        public void Dispose() => transaction().Dispose();
    }
}
