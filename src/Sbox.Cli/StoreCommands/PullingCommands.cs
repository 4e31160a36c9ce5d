using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>Commands that take objects from other repositories: pull-local, pull, remote.</summary>
internal static class PullingCommands
{
    public static Command PullLocal()
    {
        var source = new Argument<string>("SRC_REPO") { Description = "The repository to take from" };
        var refs = new Argument<string[]>("REFS") { Description = "Refs or checksums; all refs where none is given", Arity = ArgumentArity.ZeroOrMore };
        var remote = new Option<string?>("--remote") { Description = "Keep the refs as those of this remote", HelpName = "REMOTE" };
        var depth = new Option<int>("--depth") { Description = "Parents to take of each commit; -1 for all", HelpName = "DEPTH" };
        var untrusted = new Option<bool>("--untrusted") { Description = "Hash every object before it is kept" };
        var metadataOnly = new Option<bool>("--commit-metadata-only") { Description = "Take only the commits themselves" };
        var noFsync = new Option<bool>("--disable-fsync") { Description = "Do not make it durable" };
        var perObject = new Option<bool>("--per-object-fsync") { Description = "Nothing to change: all objects are synced before the first one appears" };
        var plainFiles = new Option<bool>("--bareuseronly-files") { Description = "Refuse files with permissions beyond 0775" };
        var noBindings = new Option<bool>("--disable-verify-bindings") { Description = "Also take commits that are bound to other refs" };
        (Option<bool> noDeltas, Option<bool> onlyDeltas, Option<bool> dryRun) = DeltaOptions();
        var gpg = new Option<bool>("--gpg-verify") { Description = "Take only commits that are signed by GPG (with --remote)" };
        var gpgSummary = new Option<bool>("--gpg-verify-summary") { Description = "Take only from a repository whose summary is signed by GPG (with --remote)" };
        return new DocumentedCommand("pull-local", "Take commits from a repository on this machine")
            .With(source, refs, remote, depth, untrusted, metadataOnly, noFsync, perObject, plainFiles, noBindings, noDeltas, onlyDeltas, dryRun, gpg, gpgSummary)
            .OnRepository((parsed, repository, cancel) =>
            {
                string path = parsed.GetValue(source)!;
                using Repository from = Repository.Open(path.StartsWith("file://", StringComparison.Ordinal) ? path["file://".Length..] : path);
                if (parsed.GetValue(noFsync))
                    repository.Fsync = false;
                using var line = new ProgressLine(new Speaker(json: false));
                long started = Environment.TickCount64;
                PullResult result = repository.PullLocal(
                    from,
                    new PullLocalOptions
                    {
                        Refs = parsed.GetValue(refs)!,
                        Remote = parsed.GetValue(remote),
                        Depth = parsed.GetValue(depth),
                        Untrusted = parsed.GetValue(untrusted),
                        CommitMetadataOnly = parsed.GetValue(metadataOnly),
                        VerifyBindings = !parsed.GetValue(noBindings),
                        PlainFilesOnly = parsed.GetValue(plainFiles),
                        RequireDeltas = UseOf(parsed, noDeltas, onlyDeltas) == DeltaUse.Required,
                        DryRun = parsed.GetValue(dryRun),
                        GpgVerify = parsed.GetValue(gpg),
                        GpgVerifySummary = parsed.GetValue(gpgSummary),
                    },
                    new Reporter<PullProgress>(at => line.Update(Describe(at))), cancel);
                line.Dispose();
                Console.Out.WriteLine(parsed.GetValue(dryRun) || result.Deltas.TotalParts > 0
                    ? Describe(result, parsed.GetValue(dryRun), started)
                    : $"{result.Metadata} metadata, {result.Content} content objects imported; {Amount.Decimal(result.BytesTransferred)} content written");
                return 0;
            });
    }

    public static Command Pull()
    {
        var remote = new Argument<string>("REMOTE") { Description = "The remote's name, or REMOTE:BRANCH" };
        var branches = new Argument<string[]>("BRANCH") { Description = "Refs or checksums; those of the remote's settings where none is given", Arity = ArgumentArity.ZeroOrMore };
        var url = new Option<string?>("--url") { Description = "Take from this address in place of the remote's", HelpName = "URL" };
        var depth = new Option<int>("--depth") { Description = "Parents to take of each commit; -1 for all", HelpName = "DEPTH" };
        var mirror = new Option<bool>("--mirror") { Description = "Keep the refs as one's own" };
        var metadataOnly = new Option<bool>("--commit-metadata-only") { Description = "Take only the commits themselves" };
        var retries = new Option<int>("--network-retries") { Description = "Tries for each object where the network is to blame", HelpName = "N", DefaultValueFactory = static _ => 5 };
        var parallel = new Option<int>("--max-outstanding-fetcher-requests") { Description = "Requests at once", HelpName = "N", DefaultValueFactory = static _ => 8 };
        (Option<bool> noDeltas, Option<bool> onlyDeltas, Option<bool> dryRun) = DeltaOptions();
        return new DocumentedCommand("pull", "Take commits from a repository served over HTTP").With(remote, branches, url, depth, mirror, metadataOnly, retries, parallel, noDeltas, onlyDeltas, dryRun)
            .OnRepository(async (parsed, repository, cancel) =>
            {
                (string name, string[] refs) = Wanted(parsed.GetValue(remote)!, parsed.GetValue(branches)!);
                using var line = new ProgressLine(new Speaker(json: false));
                long started = Environment.TickCount64;
                PullResult result = await repository.Pull(
                    new PullOptions
                    {
                        Remote = name,
                        Url = parsed.GetValue(url),
                        Refs = refs,
                        Depth = parsed.GetValue(depth),
                        Mirror = parsed.GetValue(mirror),
                        CommitMetadataOnly = parsed.GetValue(metadataOnly),
                        Retries = parsed.GetValue(retries),
                        Parallel = parsed.GetValue(parallel),
                        Deltas = UseOf(parsed, noDeltas, onlyDeltas),
                        DryRun = parsed.GetValue(dryRun),
                    },
                    new Reporter<PullProgress>(at => line.Update(Describe(at))), cancel);
                line.Dispose();
                Console.Out.WriteLine(parsed.GetValue(dryRun) || result.Deltas.TotalParts > 0
                    ? Describe(result, parsed.GetValue(dryRun), started)
                    : $"{result.Metadata} metadata, {result.Content} content objects fetched; {Amount.Decimal(result.BytesTransferred)} transferred in {(Environment.TickCount64 - started) / 1000} seconds");
                return 0;
            });
    }

    public static Command Remote()
    {
        var remote = new DocumentedCommand("remote", "List, add and remove the repositories to pull from");
        remote.Subcommands.Add(RemoteAdd());
        remote.Subcommands.Add(RemoteKeyCommands.Import());
        remote.Subcommands.Add(RemoteKeyCommands.List());
        var urls = new Option<bool>("--show-urls", "-u") { Description = "Show their addresses too" };
        remote.Subcommands.Add(new DocumentedCommand("list", "List the remotes' names").With(urls).OnRepository((parsed, repository, _) =>
        {
            string[] names = [.. repository.RemoteNames()];
            int width = names.Select(static name => name.Length).DefaultIfEmpty().Max();
            foreach (string name in names)
                Console.Out.WriteLine(parsed.GetValue(urls) ? $"{name.PadRight(width)}  {repository.RemoteUrl(name)}" : name);
            return 0;
        }));
        var shown = new Argument<string>("NAME") { Description = "The remote" };
        remote.Subcommands.Add(new DocumentedCommand("show-url", "Print a remote's address").With(shown).OnRepository((parsed, repository, _) =>
        {
            string asked = parsed.GetValue(shown)!;
            Console.Out.WriteLine(repository.RemoteUrl(asked) ?? throw new RemoteNotFoundException(repository.Path, asked));
            return 0;
        }));
        var gone = new Argument<string>("NAME") { Description = "The remote" };
        var ifExists = new Option<bool>("--if-exists") { Description = "Do nothing where there is none by that name" };
        remote.Subcommands.Add(new DocumentedCommand("delete", "Remove a remote; what was pulled stays").With(gone, ifExists).OnRepository((parsed, repository, _) =>
        {
            if (parsed.GetValue(ifExists) && !repository.Config.Groups.Contains(Group(parsed.GetValue(gone)!)))
                return 0;
            repository.DeleteRemote(Known(repository, parsed.GetValue(gone)!));
            return 0;
        }));
        return remote;
    }

    /// <summary>Progress as one line.</summary>
    internal static string Describe(PullProgress at) =>
        $"{at.MetadataFetched} metadata, {at.ContentFetched} content objects; {at.Outstanding} to go; {Amount.OfBytes(at.BytesTransferred)}";

    private static (Option<bool> Never, Option<bool> Required, Option<bool> DryRun) DeltaOptions() => (
        new Option<bool>("--disable-static-deltas") { Description = "Do not use static deltas" },
        new Option<bool>("--require-static-deltas") { Description = "Take commits by static deltas only" },
        new Option<bool>("--dry-run") { Description = "Only say what static deltas would bring (with --require-static-deltas)" });

    private static DeltaUse UseOf(ParseResult parsed, Option<bool> never, Option<bool> required)
    {
        if (parsed.GetValue(never) && parsed.GetValue(required))
            throw new Finding("--disable-static-deltas and --require-static-deltas are exclusive", "one of them");
        return parsed.GetValue(never) ? DeltaUse.Never : parsed.GetValue(required) ? DeltaUse.Required : DeltaUse.WherePossible;
    }

    // In libostree's words: scripts look for them.
    private static string Describe(PullResult result, bool dryRun, long started)
    {
        DeltaUsage deltas = result.Deltas;
        if (dryRun)
            return $"Delta update: {deltas.Parts}/{deltas.TotalParts} parts, 0 bytes/{Amount.Decimal(deltas.Size)}; {Amount.Decimal(deltas.UncompressedSize)} uncompressed";
        return $"{deltas.Parts} delta parts, {deltas.Loose} loose fetched; {(result.BytesTransferred + deltas.Size) / 1024} KiB transferred in {(Environment.TickCount64 - started) / 1000} seconds; {Amount.Decimal(result.ContentBytes)} content written";
    }

    private static Command RemoteAdd()
    {
        var name = new Argument<string>("NAME") { Description = "The new remote" };
        var url = new Argument<string>("URL") { Description = "Where its files are" };
        var branches = new Argument<string[]>("BRANCH") { Description = "What a pull takes where it names nothing", Arity = ArgumentArity.ZeroOrMore };
        var noGpg = new Option<bool>("--no-gpg-verify") { Description = "Do not ask for GPG signatures" };
        var noSign = new Option<bool>("--no-sign-verify") { Description = "Do not ask for other signatures either" };
        var set = new Option<string[]>("--set") { Description = "One more setting of the remote", HelpName = "KEY=VALUE" };
        var sign = new Option<string[]>("--sign-verify") { Description = "Ask for signatures by a key: KEYTYPE=inline:PUBKEY or KEYTYPE=file:PATH", HelpName = "KEYTYPE=[inline|file]:PUBKEY" };
        var import = new Option<string[]>("--gpg-import") { Description = "A file with GPG keys to believe", HelpName = "FILE" };
        var collection = new Option<string?>("--collection-id") { Description = "The remote's collection", HelpName = "COLLECTION-ID" };
        var contentUrl = new Option<string?>("--contenturl") { Description = "Where its files and deltas are, in place of URL", HelpName = "URL" };
        var backend = new Option<string?>("--custom-backend") { Description = "Its content is not fetched by this program, but by that one", HelpName = "NAME" };
        var unless = new Option<bool>("--if-not-exists") { Description = "Do nothing where there is one by that name" };
        var force = new Option<bool>("--force") { Description = "Replace one by that name" };
        return new DocumentedCommand("add", "Add a remote").With(name, url, branches, noGpg, noSign, set, sign, import, collection, contentUrl, backend, unless, force).OnRepository((parsed, repository, _) =>
        {
            if (parsed.GetValue(unless) && parsed.GetValue(force))
                throw new Finding("Can only specify one of --if-not-exists and --force", "one of them");
            if (parsed.GetValue(noSign) && parsed.GetValue(sign) is { Length: > 0 })
                throw new Finding("Cannot specify both --sign-verify and --no-sign-verify", "one of them");
            string group = Group(parsed.GetValue(name)!);
            KeyFile config = repository.Config;
            if (config.Groups.Contains(group) && !parsed.GetValue(force))
            {
                return parsed.GetValue(unless) ? 0 : throw new Finding(
                    $"Remote configuration for \"{parsed.GetValue(name)}\" already exists", "--force replaces it, --if-not-exists keeps it");
            }

            config = config.WithoutGroup(group).With(group, "url", parsed.GetValue(url)!);
            if (parsed.GetValue(branches) is { Length: > 0 } given)
                config = config.With(group, "branches", string.Concat(given.Select(static branch => branch + ";")));
            foreach (string pair in parsed.GetValue(set) ?? [])
                config = config.With(group, pair.Split('=', 2)[0], pair.Split('=', 2) is [_, var value] ? value : throw new Finding($"Missing '=' in KEY=VALUE for --set '{pair}'", "--set=KEY=VALUE"));
            config = WithVerification(config, group, parsed.GetValue(sign) ?? []);
            if (parsed.GetValue(noGpg) || parsed.GetValue(noSign))
                config = config.With(group, "gpg-verify", "false");
            if (parsed.GetValue(noSign))
                config = config.With(group, "sign-verify", "false");
            if (parsed.GetValue(collection) is { } id)
                config = config.With(group, "collection-id", id);
            if (parsed.GetValue(contentUrl) is { } content)
                config = config.With(group, "contenturl", content);
            if (parsed.GetValue(backend) is { } other)
                config = config.With(group, "custom-backend", other);
            repository.WriteConfig(config);
            if (parsed.GetValue(import) is { Length: > 0 } files)
                RemoteKeyCommands.Report(repository.GpgImport(parsed.GetValue(name)!, files, []), parsed.GetValue(name)!);
            return 0;
        });
    }

    // KEYTYPE=inline:KEY and KEYTYPE=file:PATH become the settings that a pull reads.
    private static KeyFile WithVerification(KeyFile config, string group, string[] given)
    {
        var engines = new List<string>();
        foreach (string one in given)
        {
            if (one.Split('=', 2) is not [var type, var reference])
                throw new Finding($"Failed to parse KEYTYPE=[inline|file]:DATA in {one}", "--sign-verify=ed25519=inline:KEY");
            SignatureEngine engine = SignatureEngine.Of(type);
            config = reference.Split(':', 2) switch
            {
                ["inline", var key] => config.With(group, $"verification-{engine.Name}-key", key),
                ["file", var path] => config.With(group, $"verification-{engine.Name}-file", path),
                _ => throw new Finding($"Invalid key reference {reference}, expected inline|file", "--sign-verify=ed25519=file:PATH"),
            };
            if (!engines.Contains(engine.Name))
                engines.Add(engine.Name);
        }

        return engines.Count > 0 ? config.With(group, "sign-verify", string.Concat(engines.Select(static name => name + ";"))) : config;
    }

    private static (string Remote, string[] Refs) Wanted(string remote, string[] branches)
    {
        int colon = remote.IndexOf(':', StringComparison.Ordinal);
        return colon > 0 ? (remote[..colon], [remote[(colon + 1)..], .. branches]) : (remote, branches);
    }

    private static string Known(Repository repository, string name) => repository.Config.Groups.Contains(Group(name))
        ? name
        : throw new Finding($"Remote \"{name}\" not found", "remote list shows those that there are");

    private static string Group(string name) => $"remote \"{name}\"";
}
