using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>What <see cref="Repository.Pull"/> shall fetch.</summary>
public sealed record PullOptions
{
    /// <summary>The remote's name: its <c>[remote "NAME"]</c> in the config, and where its refs are kept (<c>refs/remotes/NAME</c>).</summary>
    public string? Remote { get; init; }

    /// <summary>The repository's address, without a slash at its end. Null: the remote's <c>url</c>.</summary>
    public string? Url { get; init; }

    /// <summary>Branches, or checksums of commits. None: the remote's <c>branches</c>, else all that its summary lists.</summary>
    public IReadOnlyList<string> Refs { get; init; } = [];

    /// <summary>How many parents of each commit to fetch; -1 for all.</summary>
    public int Depth { get; init; }

    /// <summary>Write the refs as local branches (<c>--mirror</c>).</summary>
    public bool Mirror { get; init; }

    /// <summary>Set no ref; what they would lead to is in the result.</summary>
    public bool WithoutRefs { get; init; }

    /// <summary>
    /// What is kept beside a commit that has something beside it here already, of that and of what the source has. Null: what the source has.
    /// </summary>
    public Func<Checksum, VariantDictionary, VariantDictionary, VariantDictionary>? KeepBeside { get; init; }

    /// <summary>Only commit objects, which stay marked as partial.</summary>
    public bool CommitMetadataOnly { get; init; }

    /// <summary>Whether static deltas are used.</summary>
    public DeltaUse Deltas { get; init; }

    /// <summary>Only say what deltas would bring; nothing is kept.</summary>
    public bool DryRun { get; init; }

    /// <summary>Only these parts of the tree, each beginning with a slash; the commits stay marked as partial. None: all of it.</summary>
    public IReadOnlyList<string> Subpaths { get; init; } = [];

    /// <summary>The collection whose refs <see cref="Refs"/> are; null for that of the remote's settings, if any.</summary>
    public string? Collection { get; init; }

    /// <summary>Refuse a commit whose metadata binds it to other refs, or, of a collection, to none (not so with <c>--disable-verify-bindings</c>).</summary>
    public bool VerifyBindings { get; init; } = true;

    /// <summary>Refuse a commit that is older than the one its ref leads to (<c>--timestamp-check</c>).</summary>
    public bool NoOlder { get; init; }

    /// <summary>Take such a commit also from a remote that has a trust document, which by itself asks for <see cref="NoOlder"/>.</summary>
    public bool AllowOlder { get; init; }

    /// <summary>Refuse a commit that is older than this one (<c>--timestamp-check-from-rev</c>); null for none.</summary>
    public string? NoOlderThan { get; init; }

    /// <summary>Refuse files with permissions beyond 0775 (<c>--bareuseronly-files</c>).</summary>
    public bool PlainFilesOnly { get; init; }

    /// <summary>Into an archive: keep objects as they come over HTTP, without hashing them (<c>--http-trusted</c>). They are as wrong as the server made them.</summary>
    public bool BelieveServer { get; init; }

    /// <summary>Repositories on this machine that objects are taken from before the network is asked.</summary>
    public IReadOnlyList<string> LocalCaches { get; init; } = [];

    /// <summary>Where summaries are kept that were believed; null for the repository's <c>tmp/cache</c>.</summary>
    public string? CacheDirectory { get; init; }

    /// <summary>Sent with every request to the hosts that <see cref="Url"/>, or the remote's <c>url</c>, and <c>contenturl</c> name; to no mirror and after no redirect elsewhere.</summary>
    public IReadOnlyList<(string Name, string Value)> Headers { get; init; } = [];

    /// <summary>Added to the name that this program gives itself to servers; null for nothing.</summary>
    public string? AppendUserAgent { get; init; }

    /// <summary>A server that sends fewer bytes a second than this for <see cref="SlowTime"/> is asked again; 0 bears any.</summary>
    public long SlowBytes { get; init; } = 1000;

    /// <summary>How long a slow server is borne.</summary>
    public TimeSpan SlowTime { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Bytes a second that are fetched at most; 0 for no limit, null for what the remote's <c>sbox-rate-limit</c> says.</summary>
    public long? BytesPerSecond { get; init; }

    /// <summary>Requests at once, at most: a pull begins with eight, and makes more where that brings more, which it does the farther the server is.</summary>
    public int Parallel { get; init; } = 64;

    /// <summary>How often each object is tried again before giving up, where the network is to blame.</summary>
    public int Retries { get; init; } = 5;

    /// <summary>How long a server may say nothing.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Commits must be signed by GPG whatever the remote's settings say: where it is was not the owner's to say.</summary>
    internal bool RequireGpg { get; init; }

    /// <summary>Where "now" comes from, for what expires.</summary>
    internal TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Makes the requests, in place of one's own; for tests and odd transports. Redirects are left to this library, so that it knows where headers go.</summary>
    internal HttpMessageHandler? Handler { get; init; }
}

/// <summary>How far a pull has come.</summary>
/// <param name="MetadataFetched">Commits, dirtrees and dirmetas fetched.</param>
/// <param name="ContentFetched">Files fetched.</param>
/// <param name="Outstanding">Objects known to be needed and not there yet.</param>
/// <param name="BytesTransferred">Bytes that came over the network.</param>
public readonly record struct PullProgress(long MetadataFetched, long ContentFetched, long Outstanding, long BytesTransferred)
{
    /// <summary>Bytes that are to come yet, as the commits or the deltas tell of their sizes; null where they do not, or not all of them.</summary>
    public long? BytesToCome { get; init; }

    /// <summary>How fast they come, over the last seconds; null where that is not known yet.</summary>
    public long? BytesPerSecond { get; init; }

    /// <summary>How long what is to come takes if it goes on so; null where that cannot be known, or nothing comes.</summary>
    public TimeSpan? TimeLeft => BytesToCome is { } left && BytesPerSecond is > 0 and { } rate ? TimeSpan.FromSeconds(Math.Min((double)left / rate, TimeSpan.MaxValue.TotalSeconds / 2)) : null;
}

/// <summary>What a pull did.</summary>
/// <param name="Refs">The refs that were written, with what they lead to now; those that would have been, where none was to be.</param>
/// <param name="Metadata">Commits, dirtrees and dirmetas that were added.</param>
/// <param name="Content">Files that were added.</param>
/// <param name="BytesTransferred">Bytes that came over the network, or were copied.</param>
public sealed record PullResult(IReadOnlyDictionary<string, Checksum> Refs, long Metadata, long Content, long BytesTransferred)
{
    /// <summary>Of <see cref="Metadata"/>, what came from caches on this machine.</summary>
    public long LocalMetadata { get; init; }

    /// <summary>Of <see cref="Content"/>, what came from caches on this machine.</summary>
    public long LocalContent { get; init; }

    /// <summary>What came by static deltas.</summary>
    public DeltaUsage Deltas { get; init; }

    /// <summary>What a person should know of the remote's trust documents, and of mirrors that were left, a line each.</summary>
    public IReadOnlyList<string> Notes { get; init; } = [];

    /// <summary>Bytes of files that were added, as they are stored; those that deltas made are not counted, as libostree does not.</summary>
    public long ContentBytes { get; init; }
}

/// <summary>What <see cref="Repository.PullLocal"/> shall do.</summary>
public sealed record PullLocalOptions
{
    /// <summary>Branches, or checksums of commits. None: all branches of the source.</summary>
    public IReadOnlyList<string> Refs { get; init; } = [];

    /// <summary>Keep the refs as this remote's; null: as local branches.</summary>
    public string? Remote { get; init; }

    /// <summary>Only these parts of the tree, each beginning with a slash; the commits stay marked as partial. None: all of it.</summary>
    public IReadOnlyList<string> Subpaths { get; init; } = [];

    /// <summary>How many parents of each commit to take; -1 for all.</summary>
    public int Depth { get; init; }

    /// <summary>Refuse a commit whose metadata binds it to other branches (not so with <c>--disable-verify-bindings</c>).</summary>
    public bool VerifyBindings { get; init; } = true;

    /// <summary>Refuse files with permissions beyond 0775 (<c>--bareuseronly-files</c>).</summary>
    public bool PlainFilesOnly { get; init; }

    /// <summary>Hash every file; link only those of a repository that belongs to the same user, and copy all others (<c>--untrusted</c>).</summary>
    public bool Untrusted { get; init; }

    /// <summary>Link no file, whosever it is.</summary>
    internal bool LinksNothing { get; init; }

    /// <summary>Ask for commits that are signed by GPG, with a key of <see cref="Remote"/>.</summary>
    public bool GpgVerify { get; init; }

    /// <summary>Ask for a summary that is signed so.</summary>
    public bool GpgVerifySummary { get; init; }

    /// <summary>Copy every object, where it could be hardlinked: what is done to the files afterwards shall not reach the source.</summary>
    public bool Copy { get; init; }

    /// <summary>Set no ref; what they would lead to is in the result.</summary>
    public bool WithoutRefs { get; init; }

    /// <summary>
    /// What is kept beside a commit that has something beside it here already, of that and of what the source has. Null: what the source has.
    /// </summary>
    public Func<Checksum, VariantDictionary, VariantDictionary, VariantDictionary>? KeepBeside { get; init; }

    /// <summary>Only commit objects, which stay marked as partial.</summary>
    public bool CommitMetadataOnly { get; init; }

    /// <summary>Take commits by the source's static deltas. Nothing but this asks for them between local repositories: objects are there as they are.</summary>
    public bool RequireDeltas { get; init; }

    /// <summary>Only say what deltas would bring; nothing is kept.</summary>
    public bool DryRun { get; init; }
}
