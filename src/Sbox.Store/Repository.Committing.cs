using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

public sealed partial class Repository
{
    /// <summary>Begins to write. Others may write at the same time; none may prune until this transaction ends.</summary>
    /// <param name="cancel">Ends the waiting.</param>
    /// <exception cref="RepositoryBusyException">A prune goes on for longer than <c>core.lock-timeout-secs</c>.</exception>
    public Transaction Begin(CancellationToken cancel = default) => new(this, cancel);

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
        using Transaction transaction = Begin(cancel);
        Checksum? parent = options.NoParent ? null
            : options.Parent ?? (options.Branches.Count > 0 ? refs.Read(options.Branches[0]) : null);
        (Checksum tree, Checksum meta) = new TreeWriter(transaction, options, progress, cancel).Write(trees);
        if (options.SkipIfUnchanged && parent is { } before && LoadCommit(before) is var old && old.RootTree == tree && old.RootMeta == meta)
            return new CommitResult(before, null);

        VariantDictionary own = Kept(options, parent);
        VariantDictionary metadata = options.BindRefs
            ? own.With(Commit.RefBinding, GVariant.Of(options.Branches.Concat(options.AdditionalBindings).Order(StringComparer.Ordinal)))
            : own;
        long seconds = (options.Timestamp ?? options.Clock.GetUtcNow()).ToUnixTimeSeconds();
        var commit = new Commit(metadata, parent, options.Subject, options.Body, (ulong)seconds, tree, meta);
        Checksum checksum = transaction.WriteMetadata(ObjectType.Commit, commit.ToBytes());
        foreach (string branch in options.Branches)
            transaction.SetRef(branch, checksum);
        if (options.DetachedMetadata.Keys.Any())
            transaction.WriteDetachedMetadata(checksum, options.DetachedMetadata);
        return new CommitResult(checksum, transaction.Commit());
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
}
