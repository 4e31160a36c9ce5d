using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Delivery;
using Sbox.Image;
using Sbox.Store;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox publish</c>: branches of a repository go to where readers take them by a static server.</summary>
internal static class PublishCommand
{
    public static Command Make()
    {
        var branches = new Argument<string[]>("BRANCH") { Description = "What to publish; all of the repository's own branches where none is named", Arity = ArgumentArity.ZeroOrMore };
        var repo = new Option<string>("--repo") { Description = "The repository that has them, in any mode", HelpName = "PATH", Required = true };
        var to = new Option<string>("--to") { Description = "A directory, usb:PATH for a stick that is mounted there, or s3:https://HOST/BUCKET[/PATH]", HelpName = "PLACE", Required = true };
        var depth = new Option<int>("--depth") { Description = "Older versions of each branch that go along; -1 for all", HelpName = "N" };
        var deltas = new Option<int>("--deltas") { Description = "From how many older versions of each branch a delta leads to the newest", HelpName = "N", DefaultValueFactory = static _ => 3 };
        var noFirst = new Option<bool>("--no-delta-from-nothing") { Description = "Make no delta for readers who have no version yet" };
        var keys = new Option<string?>("--keys") { Description = "Sign the summary with the tree key of these keys of the owner's", HelpName = "DIR" };
        Option<string?> passphrase = PassphraseReader.Option();
        AtLeast(depth, -1, "-1 for all");
        AtLeast(deltas, 0, "0 for none");
        var signing = new SigningOptions();
        var trust = new Option<string?>("--trust") { Description = "The directory of the trust documents that go along; the repository's own directory trust where it has one", HelpName = "DIR" };
        var unsigned = new Option<bool>("--unsigned") { Description = "Publish without a signature where the summary that is there has one" };
        var older = new Option<bool>("--older-summary") { Description = "Publish though the summary that is there is of a time that this machine's clock has not come to" };
        var drop = new Option<bool>("--drop-others") { Description = "Have the place forget the branches that are there and not published now; their objects stay" };
        var bucket = new BucketOptions();
        var dryRun = new Option<bool>("--dry-run") { Description = "Show what would be sent, and write nothing, here or there" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("publish", "Send branches to a directory, a bucket or a stick, for others to pull from")
        {
            Details =
            [
                "Only what is not there yet is sent. Files and directories go first, then deltas, then commits, then the branches, and the summary last: whoever reads there meanwhile finds all of the "
                + "old version or all of the new. A command that was killed is typed again, and goes on. Every object is hashed before it is sent.",
                "Readers need a static server and nothing else: nginx, an S3-compatible store, a cache in front of either, sbox serve; stock ostree reads there too. In a bucket, files that never change may be kept by caches for a "
                + "year, the few others for 15 seconds.",
                "Signatures of the old summary and of the new are there together before the new summary is: no reader finds one that the signatures do not fit, but for a moment those of GPG, which cannot be joined. For that the command waits some seconds where it has been quick.",
                "Where there are trust documents (sbox trust), those that are signed by enough are sent before the summary, which names the newest. What boxes would not believe by it is not sent: the summary must be signed as it says, and so must "
                + "the newest commit of each branch. A summary that says nothing new is renewed in time.",
                "Boxes take no summary that is older than one that they took: where another publisher's clock is ahead of this machine's by a day or less, the new summary is of a second after the one that is there, and the command says so; "
                + "where by more, nothing is sent. Branches that are there and not published now are looked at too, and told where boxes would not take them.",
                "A mirror of everything (sbox store pull --mirror) needs no key: the summary that its source signed is handed on as it is, where it names just what is published. It replaces only what was signed by a key that its documents name for that, and no newer summary; "
                + "branches that its source has given up are forgotten there, and told. Documents that were carried along so bind nobody who signs with another key, where the place goes by none: --trust=DIR asks for them.",
                "A repository that is not in mode archive is published as one that is; nothing but deltas is written to it. On a stick with a file system that loses case (FAT) there are no deltas, since their names would be lost.",
            ],
            Examples =
            [
                new Example("Publish to a web server's directory", "sbox publish --repo R --to /srv/www/repo --keys keys"),
                new Example("Publish to a bucket", "sbox publish --repo R --to s3:https://s3.example.org/boxes/repo --s3-credentials-file ~/.aws/credentials --sign-from-file secret.key debian/13"),
                new Example("Fill a stick for a box without a network, where sbox upgrade --from PATH takes it", "sbox publish --repo R --to usb:/media/stick --keys keys"),
            ],
        }.With(branches, repo, to, depth, deltas, noFirst, keys, passphrase).With(signing.All).With(trust, unsigned, older, drop).With(bucket.All).With(dryRun, json);
        command.SetAction(async (parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Repository repository = Repository.Open(parsed.GetValue(repo)!);
            using Ed25519Key? tree = parsed.GetValue(keys) is { } directory ? OwnerDirectory.At(directory).OpenTree(PassphraseReader.Read(parsed.GetValue(passphrase), twice: false)) : null;
            await using IPlace place = bucket.Open(parsed, parsed.GetValue(to)!, repository);
            RequireElsewhere(repository, place);
            if (PlaceAddress.UnmountedStick(parsed.GetValue(to)!) is { } unmounted)
                speaker.Note($"{unmounted}: no stick is mounted there; it is a directory of this machine, and what is sent fills that");
            var publisher = new Publisher(repository, place, new PublishOptions
            {
                Refs = parsed.GetValue(branches)!, Depth = parsed.GetValue(depth), DeltasFrom = parsed.GetValue(deltas), DeltaFromNothing = !parsed.GetValue(noFirst),
                Trust = Documents(parsed.GetValue(trust), repository, speaker), TrustMayWait = parsed.GetValue(trust) is null, Sign = signing.Signer(parsed, tree), Unsigned = parsed.GetValue(unsigned), SummaryMayGoBack = parsed.GetValue(older), DropOthers = parsed.GetValue(drop),
            });
            if (parsed.GetValue(dryRun))
            {
                PublishPlan plan = await publisher.Plan(cancel);
                foreach (string note in plan.Notes)
                    speaker.Note(note);
                Say(speaker, plan);
                return 0;
            }

            using var line = new ProgressLine(speaker);
            using var steps = new PublishSteps(line);
            PublishReport report = await publisher.Run(steps, cancel);
            steps.Dispose();
            line.Dispose();
            foreach (string note in report.Plan.Notes)
                speaker.Note(note);
            if (!report.IsSigned)
                speaker.Note("The summary is not signed: readers believe whoever serves it. --keys=DIR or --sign-from-file=FILE signs it");
            Say(speaker, report);
            return 0;
        });
        return command;
    }

    // What is less would be taken for one of the two, and nobody says which.
    private static void AtLeast(Option<int> option, int least, string meaning) => option.Validators.Add(result =>
    {
        if (int.TryParse(result.Tokens is [var token, ..] ? token.Value : null, System.Globalization.CultureInfo.InvariantCulture, out int given) && given < least)
            result.AddError($"{option.Name} {given}: a number of versions, {meaning}");
    });

    private static TrustHistory? Documents(string? named, Repository repository, Speaker speaker)
    {
        TrustHistory? history = named is null ? TrustHistory.TryRead(Path.Combine(repository.Path, TrustFiles.Directory)) : TrustHistory.Read(named);
        if (history is { InForce: { } inForce } && inForce != history.Newest)
            speaker.Note($"Trust document {history.Newest.Document.Version} is not signed by enough yet: {inForce.Document.Version} is published. sbox trust show {history.Directory}");
        if (named is null && history is { InForce: null })
            speaker.Note($"Trust document {history.Newest.Document.Version} is not signed by enough yet, and stays here. sbox trust show {history.Directory}");
        return history;
    }

    // Published into itself it would be half a repository and half a publication.
    private static void RequireElsewhere(Repository repository, IPlace place)
    {
        if (place is DirectoryPlace && Path.TrimEndingDirectorySeparator(place.Location) == Path.TrimEndingDirectorySeparator(Path.GetFullPath(repository.Path)))
            throw new Finding($"{place.Location}: the place is the repository itself", "Name another directory with --to; or serve the repository as it is, after sbox store summary -u");
    }

    private static void Say(Speaker speaker, PublishPlan plan) => speaker.Answer(
        $"""
        {string.Join('\n', plan.Changes.Select(Describe).DefaultIfEmpty("No branch would change"))}
        {plan.Objects.Count} objects and {plan.Commits.Count} commits would be sent to {plan.Location}, at most {Amount.OfBytes(plan.BytesAtMost)}
        {plan.Deltas.Count} deltas would be sent, {plan.ToMake.Count} of them to be made first
        """,
        writer =>
        {
            writer.WriteBoolean("dry-run", true);
            writer.WriteString("place", plan.Location);
            Say(writer, plan);
            writer.WriteNumber("objects", plan.Objects.Count);
            writer.WriteNumber("commits", plan.Commits.Count);
            writer.WriteNumber("bytes-at-most", plan.BytesAtMost);
            writer.WriteNumber("deltas", plan.Deltas.Count);
            writer.WriteNumber("deltas-to-make", plan.ToMake.Count);
        });

    private static void Say(Speaker speaker, PublishReport report)
    {
        foreach (RefChange change in report.Plan.Changes)
            speaker.Note(Describe(change));
        speaker.Answer(report.Files == 0 ? $"{report.Plan.Location}: all of it is there" : $"{report.Files} files sent to {report.Plan.Location}, {Amount.OfBytes(report.Bytes)}", writer =>
        {
            writer.WriteString("place", report.Plan.Location);
            Say(writer, report.Plan);
            writer.WriteNumber("objects", report.Plan.Objects.Count);
            writer.WriteNumber("commits", report.Plan.Commits.Count);
            writer.WriteNumber("deltas", report.Plan.Deltas.Count);
            writer.WriteNumber("files", report.Files);
            writer.WriteNumber("bytes", report.Bytes);
            writer.WriteBoolean("signed", report.IsSigned);
            if (report.Plan.Trust is { } document)
                writer.WriteNumber("trust-version", document.Version);
        });
    }

    private static void Say(System.Text.Json.Utf8JsonWriter writer, PublishPlan plan)
    {
        writer.WriteStartArray("branches");
        foreach (RefChange change in plan.Changes)
        {
            writer.WriteStartObject();
            writer.WriteString("name", change.Name);
            writer.WriteString("old", change.Old?.ToString());
            writer.WriteString("new", $"{change.New}");
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static string Describe(RefChange change) =>
        $"{change.Name}: {(change.Old is { } old ? Short(old) : "new")} -> {Short(change.New)}";

    private static string Short(Checksum commit) => commit.ToString()[..12];
}

/// <summary>The options by which a bucket is opened.</summary>
internal sealed class BucketOptions
{
    private readonly Option<string?> file = new("--s3-credentials-file") { Description = "A file of S3 credentials, as Amazon's tools have it", HelpName = "FILE" };
    private readonly Option<string> profile = new("--s3-profile") { Description = "The profile in it", HelpName = "NAME", DefaultValueFactory = static _ => "default" };
    private readonly Option<string> region = new("--s3-region") { Description = "The region to sign requests for", HelpName = "NAME", DefaultValueFactory = static _ => new PlaceSettings().S3Region };

    /// <summary>The options, for the command.</summary>
    public Option[] All => [file, profile, region];

    /// <summary>Makes what reaches a place, of whatever kind.</summary>
    /// <exception cref="Finding">It is no address of one.</exception>
    public IPlace Open(ParseResult parsed, string address, Repository repository)
    {
        var settings = new PlaceSettings
        {
            S3CredentialsFile = parsed.GetValue(file), S3Profile = parsed.GetValue(profile)!, S3Region = parsed.GetValue(region)!,
            Publisher = $"{Environment.MachineName}:{Path.GetFullPath(repository.Path)}",
        };
        try
        {
            return PlaceAddress.Open(address, settings, TimeProvider.System);
        }
        catch (FormatException invalid)
        {
            throw new Finding(invalid.Message, "--to=PATH, --to=usb:PATH, or --to=s3:https://HOST/BUCKET[/PATH] with --s3-credentials-file=FILE");
        }
    }
}
