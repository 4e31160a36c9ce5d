using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>Commands that take objects from other repositories: pull-local and pull.</summary>
internal static class PullingCommands
{
    public static Command PullLocal()
    {
        var source = new Argument<string>("SRC_REPO") { Description = "The repository to take from" };
        var refs = new Argument<string[]>("REFS") { Description = "Refs or checksums; all refs where none is given", Arity = ArgumentArity.ZeroOrMore };
        var remote = new Option<string?>("--remote") { Description = "Keep the refs as those of this remote", HelpName = "REMOTE" };
        var depth = new Option<int>("--depth") { Description = "Parents to take of each commit; -1 for all", HelpName = "DEPTH" };
        var untrusted = new Option<bool>("--untrusted") { Description = "Hash every object before it is kept; link only what belongs to the same user" };
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
                using var line = new ProgressLine(new Speaker(JsonAnswers.AreAsked));
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
                    PullText.Reporter(line), cancel);
                line.Dispose();
                JsonAnswers.Say(result);
                Console.Out.WriteLine(parsed.GetValue(dryRun) || result.Deltas.TotalParts > 0
                    ? Describe(result, parsed.GetValue(dryRun), started)
                    : $"{result.Metadata} metadata, {result.Content} content objects imported; {Amount.Decimal(result.ContentBytes)} content written");
                return 0;
            });
    }

    public static Command Pull()
    {
        var remote = new Argument<string>("REMOTE") { Description = "The remote's name, or REMOTE:BRANCH" };
        var branches = new Argument<string[]>("BRANCH") { Description = "Refs, checksums or REF@CHECKSUM; those of the remote's settings where none is given", Arity = ArgumentArity.ZeroOrMore };
        var what = new PullWhat();
        var how = new PullHow();
        return new DocumentedCommand("pull", "Take commits from a repository served over HTTP").With(remote, branches).With(what.All).With(how.All)
            .OnRepository(async (parsed, repository, cancel) =>
            {
                (string name, string[] refs) = Wanted(parsed.GetValue(remote)!, parsed.GetValue(branches)!);
                how.Prepare(parsed, repository);
                using var line = new ProgressLine(new Speaker(JsonAnswers.AreAsked));
                long started = Environment.TickCount64;
                PullOptions options = how.Into(parsed, what.Into(parsed, new PullOptions { Remote = name, Refs = refs }));
                PullResult result = await repository.Pull(options, PullText.Reporter(line), cancel);
                line.Dispose();
                foreach (string note in result.Notes)
                    Console.Error.WriteLine(note);
                JsonAnswers.Say(result);
                Console.Out.WriteLine(options.DryRun || result.Deltas.TotalParts > 0 ? Describe(result, options.DryRun, started) : Describe(result, started));
                return 0;
            });
    }

    // In libostree's words: scripts look for them.
    private static string Describe(PullResult result, long started)
    {
        string local = result.LocalMetadata + result.LocalContent > 0 ? $" ({result.LocalMetadata} meta, {result.LocalContent} content local)" : "";
        return $"{result.Metadata - result.LocalMetadata} metadata, {result.Content - result.LocalContent} content objects fetched{local}; " +
            $"{Amount.Decimal(result.BytesTransferred)} transferred in {(Environment.TickCount64 - started) / 1000} seconds; {Amount.Decimal(result.ContentBytes)} content written";
    }

    internal static (Option<bool> Never, Option<bool> Required, Option<bool> DryRun) DeltaOptions() => (
        new Option<bool>("--disable-static-deltas") { Description = "Do not use static deltas" },
        new Option<bool>("--require-static-deltas") { Description = "Take commits by static deltas only" },
        new Option<bool>("--dry-run") { Description = "Only say what static deltas would bring (with --require-static-deltas)" });

    internal static DeltaUse UseOf(ParseResult parsed, Option<bool> never, Option<bool> required)
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
            return $"Delta update: {deltas.Parts}/{deltas.TotalParts} parts, 0 bytes/{Amount.Decimal(deltas.Size)}, {Amount.Decimal(deltas.UncompressedSize)} total uncompressed";
        return $"{deltas.Parts} delta parts, {deltas.Loose} loose fetched; {result.BytesTransferred / 1024} KiB transferred in {(Environment.TickCount64 - started) / 1000} seconds; {Amount.Decimal(result.ContentBytes)} content written";
    }

    private static (string Remote, string[] Refs) Wanted(string remote, string[] branches)
    {
        int colon = remote.IndexOf(':', StringComparison.Ordinal);
        return colon > 0 ? (remote[..colon], [remote[(colon + 1)..], .. branches]) : (remote, branches);
    }
}
