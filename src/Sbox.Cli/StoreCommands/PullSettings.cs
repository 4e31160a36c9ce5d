using System.CommandLine;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>The options of <c>pull</c> that say what comes, and what is refused.</summary>
internal sealed class PullWhat
{
    private readonly Option<string?> url = new("--url") { Description = "Take from this address in place of the remote's", HelpName = "URL" };
    private readonly Option<int> depth = new("--depth") { Description = "Parents to take of each commit; -1 for all", HelpName = "DEPTH" };
    private readonly Option<bool> mirror = new("--mirror") { Description = "Keep the refs as one's own; all of them where none is named" };
    private readonly Option<string[]> subpath = new("--subpath") { Description = "Only this part of the tree; the commit stays marked as partial", HelpName = "PATH" };
    private readonly Option<bool> metadataOnly = new("--commit-metadata-only") { Description = "Take only the commits themselves" };
    private readonly Option<bool> untrusted = new("--untrusted") { Description = "Nothing to change: what comes by pull is always hashed" };
    private readonly Option<bool> believe = new("--http-trusted") { Description = "Into an archive: do not hash what comes over HTTP" };
    private readonly Option<bool> plainFiles = new("--bareuseronly-files") { Description = "Refuse files with permissions beyond 0775" };
    private readonly Option<bool> noOlder = new("--timestamp-check", "-T") { Description = "Refuse commits that are older than those that are here" };
    private readonly Option<bool> older = new("--allow-older") { Description = "Take commits that are older than those that are here also from a remote that has a trust document" };
    private readonly Option<string?> noOlderThan = new("--timestamp-check-from-rev") { Description = "Refuse commits that are older than this one", HelpName = "REV" };
    private readonly Option<bool> noBindings = new("--disable-verify-bindings") { Description = "Also take commits that are bound to other refs" };
    private readonly (Option<bool> Never, Option<bool> Required, Option<bool> DryRun) deltas = PullingCommands.DeltaOptions();

    public Symbol[] All => [url, depth, mirror, subpath, metadataOnly, untrusted, believe, plainFiles, noOlder, older, noOlderThan, noBindings, deltas.Never, deltas.Required, deltas.DryRun];

    public PullOptions Into(ParseResult parsed, PullOptions options)
    {
        string[] subpaths = parsed.GetValue(subpath) ?? [];
        if (subpaths.FirstOrDefault(static path => !path.StartsWith('/')) is { } relative)
            throw new Finding($"--subpath={relative} does not begin with a slash", $"--subpath=/{relative}");
        DeltaUse use = PullingCommands.UseOf(parsed, deltas.Never, deltas.Required);
        if (parsed.GetValue(deltas.DryRun) && use != DeltaUse.Required)
            throw new Finding("--dry-run requires --require-static-deltas", "pull --dry-run --require-static-deltas REMOTE BRANCH");
        return options with
        {
            Url = parsed.GetValue(url),
            Depth = parsed.GetValue(depth),
            Mirror = parsed.GetValue(mirror),
            Subpaths = subpaths,
            CommitMetadataOnly = parsed.GetValue(metadataOnly),
            BelieveServer = parsed.GetValue(believe),
            PlainFilesOnly = parsed.GetValue(plainFiles),
            NoOlder = parsed.GetValue(noOlder),
            AllowOlder = parsed.GetValue(older),
            NoOlderThan = parsed.GetValue(noOlderThan),
            VerifyBindings = !parsed.GetValue(noBindings),
            Deltas = use,
            DryRun = parsed.GetValue(deltas.DryRun),
        };
    }
}

/// <summary>The options of <c>pull</c> that say how it comes.</summary>
internal sealed class PullHow
{
    private readonly Option<string[]> caches = new("--localcache-repo", "-L") { Description = "A repository on this machine that may have some of it already", HelpName = "REPO" };
    private readonly Option<string?> cacheDirectory = CacheDirectory();
    private readonly Option<string[]> headers = new("--http-header") { Description = "A header for every request to the hosts that the remote's address and contenturl name", HelpName = "NAME=VALUE" };
    private readonly Option<string?> agent = new("--append-user-agent") { Description = "More for the name that this program gives itself to servers", HelpName = "TEXT" };
    private readonly Option<int> retries = new("--network-retries") { Description = "How often each object is tried again where the network is to blame", HelpName = "N", DefaultValueFactory = static _ => 5 };
    private readonly Option<bool> noRetries = new("--disable-retry-on-network-errors") { Description = "As --network-retries=0" };
    private readonly Option<int> parallel = new("--max-outstanding-fetcher-requests") { Description = "Requests at once, at most; it begins with 8, and makes more where that brings more", HelpName = "N", DefaultValueFactory = static _ => 64 };
    private readonly Option<long> slowBytes = new("--low-speed-limit-bytes") { Description = "Bytes a second below which a server is given up", HelpName = "N", DefaultValueFactory = static _ => 1000 };
    private readonly Option<int> slowTime = new("--low-speed-time-seconds") { Description = "For how many seconds it may be slower", HelpName = "N", DefaultValueFactory = static _ => 30 };
    private readonly Option<int> frequency = new("--update-frequency") { Description = "Nothing to change: progress is drawn as often as a terminal shows it", HelpName = "MILLISECONDS" };
    private readonly Option<bool> noFsync = new("--disable-fsync") { Description = "Do not make it durable" };
    private readonly Option<bool> perObject = new("--per-object-fsync") { Description = "Nothing to change: all objects are synced before the first one appears" };

    public Symbol[] All => [caches, cacheDirectory, headers, agent, retries, noRetries, parallel, slowBytes, slowTime, frequency, noFsync, perObject];

    /// <summary><c>--cache-dir</c>.</summary>
    public static Option<string?> CacheDirectory() => new("--cache-dir") { Description = "Where summaries are kept that were believed, in place of the repository's own cache", HelpName = "PATH" };

    /// <summary>What is to be set in the repository itself, for this run.</summary>
    public void Prepare(ParseResult parsed, Repository repository) => repository.Fsync &= !parsed.GetValue(noFsync);

    public PullOptions Into(ParseResult parsed, PullOptions options) => options with
    {
        LocalCaches = parsed.GetValue(caches) ?? [],
        CacheDirectory = parsed.GetValue(cacheDirectory),
        Headers = [.. (parsed.GetValue(headers) ?? []).Select(static each => each.Split('=', 2) is [{ Length: > 0 } name, var value]
            ? (name, value)
            : throw new Finding($"Missing '=' in --http-header '{each}'", "--http-header=NAME=VALUE"))],
        AppendUserAgent = parsed.GetValue(agent),
        Retries = parsed.GetValue(noRetries) ? 0 : parsed.GetValue(retries),
        Parallel = Math.Max(1, parsed.GetValue(parallel)),
        SlowBytes = parsed.GetValue(slowBytes),
        SlowTime = TimeSpan.FromSeconds(Math.Max(1, parsed.GetValue(slowTime))),
    };
}
