using Sbox.Codecs;

namespace Sbox.Store;

public sealed partial class Repository
{
    /// <summary>Takes refs and what they need from a repository on this machine: hardlinked where both are bare on one file system, else converted.</summary>
    /// <param name="source">Where from.</param>
    /// <param name="options">What to take.</param>
    /// <param name="progress">Told every now and then.</param>
    /// <param name="cancel">Looked at between objects; objects that came by then are used again by the next pull.</param>
    /// <exception cref="RefNotFoundException">The source has no such ref.</exception>
    /// <exception cref="ObjectMissingException">The source lacks an object that a commit needs.</exception>
    /// <exception cref="ObjectCorruptException">An object of the source is not what its name says.</exception>
    public PullResult PullLocal(
        Repository source, PullLocalOptions? options = null, IProgress<PullProgress>? progress = null, CancellationToken cancel = default)
    {
        options ??= new PullLocalOptions();
        RemoteTrust? trust = options.GpgVerify || options.GpgVerifySummary
            ? RemoteTrust.OfGpg(this, options.Remote ?? throw new SignatureException(null, "Must specify remote name to enable gpg verification"), options.GpgVerify, options.GpgVerifySummary)
            : null;
        var targets = new PullTargets
        {
            Repository = this, Remote = options.Remote, Collection = source.CollectionId, VerifyBindings = options.VerifyBindings, WithoutRefs = options.WithoutRefs,
        };
        return new LocalPull(source, targets, options, trust, progress, cancel).Run();
    }

    /// <summary>Writes the file <c>summary</c>, by which others learn which branches there are; as <c>ostree summary -u</c>.</summary>
    /// <param name="clock">Where "now" comes from; null for the system's.</param>
    /// <param name="additional">More metadata for it.</param>
    /// <param name="signer">Signs the file's bytes, as <see cref="CommitOptions.Signer"/> a commit's; where it throws, the old summary and its signatures stay. Null signs nothing.</param>
    /// <exception cref="ObjectMissingException">A branch leads to a commit that is not there.</exception>
    /// <remarks>Signatures of the old summary (<c>summary.sig</c>) are deleted or replaced: they would make the new one look forged.</remarks>
    public void WriteSummary(TimeProvider? clock = null, VariantDictionary? additional = null, Func<byte[], VariantDictionary>? signer = null) =>
        SummaryWriter.Write(this, (clock ?? TimeProvider.System).GetUtcNow(), additional ?? VariantDictionary.Empty, signer);

    /// <summary>
    /// Takes refs and what they need from a repository served over HTTP (or <c>file://</c>). Every object is hashed before it is kept.
    /// </summary>
    /// <param name="options">What to take, and from where.</param>
    /// <param name="progress">Told every now and then.</param>
    /// <param name="cancel">Ends the pull; objects that came by then are used again by the next one.</param>
    /// <exception cref="PullException">Something could not be fetched, or is not what it should be; names the URL.</exception>
    /// <exception cref="RemoteNotFoundException">The config has no such remote.</exception>
    /// <exception cref="SignatureException">A commit, or the summary, is not signed as the remote's settings ask for; nothing of it was kept.</exception>
    /// <exception cref="TrustException">The remote has a trust document, and what came is not to be believed by it; nothing of it was kept but newer documents.</exception>
    public async Task<PullResult> Pull(PullOptions options, IProgress<PullProgress>? progress = null, CancellationToken cancel = default)
    {
        // Also where the address is given otherwise: what a remote's commits must be signed with is known from its settings only.
        RemoteSettings? remote = options.Remote is null ? null : Remote(options.Remote) ?? throw new RemoteNotFoundException(Path, options.Remote);
        if (remote?.UnconfiguredState is { } state)
            throw new PullException(remote.Name, "a remote that is configured", state) { Words = $"remote unconfigured-state: {state}" };
        RemoteTrust? trust = remote is null ? null : RemoteTrust.Of(this, options.RequireGpg ? remote with { GpgVerify = true } : remote, options.Clock);
        string url = (options.Url ?? remote?.Url)?.TrimEnd('/') ??
            throw new PullException(options.Remote ?? "(no remote)", "a remote with a url", "none");
        string? collection = options.Collection ?? remote?.CollectionId;
        var targets = new PullTargets
        {
            Repository = this, Remote = options.Remote, Collection = collection, Mirror = options.Mirror, WithoutRefs = options.WithoutRefs,
            VerifyBindings = options.VerifyBindings, NoOlderThan = options.NoOlderThan,
            NoOlder = options.NoOlder || (trust?.Document is not null && !options.AllowOlder),
        };
        PullResult result = await PullFrom(url, remote, trust, targets, options, progress, cancel).ConfigureAwait(false);
        if (trust?.Document is not { } document)
            return result;
        if (!options.DryRun)
            document.Took();
        return result with { Notes = [.. document.Notes, .. result.Notes] };
    }

    private async Task<PullResult> PullFrom(
        string url, RemoteSettings? remote, RemoteTrust? trust, PullTargets targets, PullOptions options, IProgress<PullProgress>? progress, CancellationToken cancel)
    {
        if (!Mirrors.IsList(url) && new Uri(Mirrors.Checked(url)) is { IsFile: true } file)
            return PullFile(file.LocalPath, remote, trust, targets, options, progress, cancel);
        using var pull = new HttpPull(this, url, remote, trust, targets, options, progress);
        return await pull.Run(url, cancel).ConfigureAwait(false);
    }

    private static PullResult PullFile(
        string path, RemoteSettings? remote, RemoteTrust? trust, PullTargets targets, PullOptions options, IProgress<PullProgress>? progress, CancellationToken cancel)
    {
        using Repository source = Open(path);
        IReadOnlyList<string> refs = options.Refs.Count > 0 ? options.Refs : remote?.Branches ?? [];
        if (refs.Count == 0 && remote is not null && !options.Mirror)
            throw new PullException(remote.Name, "a branch to pull, or some in the remote's settings", "none") { Words = $"No configured branches for remote {remote.Name}" };
        return new LocalPull(
            source, targets,
            new PullLocalOptions
            {
                Refs = refs,
                Remote = options.Mirror ? null : options.Remote,
                Depth = options.Depth,
                Untrusted = true,
                LinksNothing = true,
                CommitMetadataOnly = options.CommitMetadataOnly,
                Subpaths = options.Subpaths,
                PlainFilesOnly = options.PlainFilesOnly,
                VerifyBindings = options.VerifyBindings,
                WithoutRefs = options.WithoutRefs,
                KeepBeside = options.KeepBeside,
                RequireDeltas = options.Deltas == DeltaUse.Required,
                DryRun = options.DryRun,
            },
            trust, progress, cancel).Run();
    }
}
