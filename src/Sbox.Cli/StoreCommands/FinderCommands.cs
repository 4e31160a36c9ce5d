using System.CommandLine;
using System.Globalization;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>Commands that know refs by their collections: find-remotes and create-usb. What they print is what libostree's print.</summary>
internal static class FinderCommands
{
    private const string Pairs = "COLLECTION-ID REF";

    public static Command FindRemotes()
    {
        Argument<string[]> words = PairArgument();
        var finders = new Option<string?>("--finders") { Description = "Where to look: config, mount, or both (the default); lan needs Avahi, which is not spoken here", HelpName = "FINDERS" };
        var pull = new Option<bool>("--pull") { Description = "Take what was found" };
        var mirror = new Option<bool>("--mirror") { Description = "With --pull: keep the refs as one's own" };
        var noFsync = new Option<bool>("--disable-fsync") { Description = "Do not make it durable" };
        Option<string?> cache = PullHow.CacheDirectory();
        return new DocumentedCommand("find-remotes", "Find who has refs, by the collections that these belong to").With(words, finders, pull, mirror, noFsync, cache)
            .OnRepository(async (parsed, repository, cancel) =>
            {
                IReadOnlyList<CollectionRef> wanted = ParsePairs(parsed.GetValue(words)!);
                IReadOnlyList<FinderKind> kinds = Kinds(parsed.GetValue(finders));
                repository.Fsync &= !parsed.GetValue(noFsync);
                var options = new PullOptions { CacheDirectory = parsed.GetValue(cache), Mirror = parsed.GetValue(mirror) };
                IReadOnlyList<FoundRemote> found = await repository.FindRemotes(wanted, kinds, options, cancel);
                CollectionRef[] there = [.. wanted.Where(each => found.Any(remote => remote.Refs[each] is not null))];
                Say(found, wanted, there);
                return found.Count == 0 || !parsed.GetValue(pull) ? 0 : await Pull(repository, found, there, options, cancel);
            });
    }

    public static Command CreateUsb()
    {
        var mount = new Argument<string>("MOUNT-PATH") { Description = "The stick's directory" };
        Argument<string[]> words = PairArgument();
        var place = new Option<string?>("--destination-repo") { Description = "Where on it the repository is made, in place of .ostree/repo", HelpName = "DEST" };
        var commit = new Option<string?>("--commit") { Description = "The commit to copy, of the only ref that is named", HelpName = "COMMIT" };
        var noFsync = new Option<bool>("--disable-fsync") { Description = "Do not make it durable" };
        return new DocumentedCommand("create-usb", "Copy refs to a stick, for others to find").With(mount, words, place, commit, noFsync).OnRepository((parsed, repository, cancel) =>
        {
            IReadOnlyList<CollectionRef> refs = ParsePairs(parsed.GetValue(words)!);
            if (parsed.GetValue(commit) is not null && refs.Count > 1)
                throw new Finding("The --commit option may only be used with a single ref", "create-usb once for each commit");
            string stick = parsed.GetValue(mount)!;
            var speaker = new Speaker(json: false);
            using var line = new ProgressLine(speaker);
            IReadOnlyList<string> notes;
            try
            {
                notes = repository.CopyToStick(
                    stick, refs, parsed.GetValue(place), durable: !parsed.GetValue(noFsync), parsed.GetValue(commit) is { } revision ? repository.Resolve(revision) : null,
                    PullText.Reporter(line), cancel);
            }
            catch (RefNotFoundException missing)
            {
                throw new Finding($"Collection–ref {missing.Revision} not found", "refs --collections lists those that there are");
            }

            line.Dispose();
            foreach (string note in notes)
                speaker.Note(note);
            Console.Out.WriteLine($"Copied {refs.Count}/{refs.Count} refs successfully from ‘{Path.GetFullPath(repository.Path)}’ to ‘{parsed.GetValue(place) ?? ".ostree/repo"}’ repository in ‘{stick}’.");
            return 0;
        });
    }

    private static async Task<int> Pull(Repository repository, IReadOnlyList<FoundRemote> found, CollectionRef[] there, PullOptions options, CancellationToken cancel)
    {
        using var line = new ProgressLine(new Speaker(json: false));
        IReadOnlySet<CollectionRef> came = await repository.PullFound(found, options, PullText.Reporter(line), cancel);
        line.Dispose();
        CollectionRef[] missing = [.. there.Where(each => !came.Contains(each))];
        if (missing.Length > 0)
            throw new Finding($"Failed to pull some refs from the remotes: {string.Join(", ", missing)}", "commits that are found this way must be signed by GPG with a key of the remote");
        Console.Out.WriteLine($"Pulled {came.Count}/{there.Length} refs successfully.");
        return 0;
    }

    private static void Say(IReadOnlyList<FoundRemote> found, IReadOnlyList<CollectionRef> wanted, CollectionRef[] there)
    {
        if (found.Count == 0)
        {
            Console.Out.WriteLine("No results.");
            return;
        }

        for (int i = 0; i < found.Count; i++)
        {
            FoundRemote remote = found[i];
            JsonAnswers.Say(writer =>
            {
                writer.WriteString("url", remote.Url);
                writer.WriteString("remote", remote.Remote);
                writer.WriteString("finder", $"{remote.Kind}");
                writer.WriteStartObject("refs");
                foreach ((CollectionRef each, Checksum? target) in remote.Refs)
                    writer.WriteString($"{each}", target?.ToString());
                writer.WriteEndObject();
            });
            string modified = remote.SummaryModified?.ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture) ?? "(unknown)";
            Console.Out.Write($"Result {i}: {remote.Url}\n - Finder: OstreeRepoFinder{remote.Kind}\n - Keyring: {remote.Remote}.trustedkeys.gpg\n - Priority: {remote.Priority}\n - Summary last modified: {modified}\n - Refs:\n");
            foreach (CollectionRef each in wanted)
                Console.Out.WriteLine($"    - {each} = {remote.Refs[each]?.ToString() ?? "(not found)"}");
            Console.Out.WriteLine();
        }

        Console.Out.WriteLine($"{there.Length}/{wanted.Count} refs were found.");
        if (there.Length == wanted.Count)
            return;
        Console.Out.WriteLine("Refs not found in any remote:");
        foreach (CollectionRef missing in wanted.Except(there))
            Console.Out.WriteLine($" - {missing}");
    }

    private static IReadOnlyList<FinderKind> Kinds(string? finders)
    {
        var kinds = new HashSet<string>();
        foreach (string name in finders?.Split(',') ?? ["config", "mount"])
        {
            if (name is not ("config" or "mount" or "lan") || !kinds.Add(name))
                throw new Finding($"Unknown or duplicate finder type given in --finders option: ‘{name}’", "config, mount, or both");
        }

        // As libostree where no Avahi daemon runs: the others still look.
        if (kinds.Contains("lan"))
            Console.Error.WriteLine("The finder ‘lan’ needs Avahi, which is not spoken here; it finds nothing.");
        return [.. kinds.Where(static name => name != "lan").Select(static name => name == "config" ? FinderKind.Config : FinderKind.Mount)];
    }

    private static Argument<string[]> PairArgument() => new(Pairs) { Description = "Refs, each after its collection's id", Arity = ArgumentArity.ZeroOrMore };

    private static CollectionRef[] ParsePairs(string[] words)
    {
        if (words.Length == 0)
            throw new Finding($"At least one {Pairs} pair must be specified", $"{Pairs}");
        if (words.Length % 2 != 0)
            throw new Finding($"Only complete {Pairs} pairs may be specified", $"{Pairs}");
        return [.. words.Chunk(2).Select(static pair => new CollectionRef(pair[0], pair[1]))];
    }
}
