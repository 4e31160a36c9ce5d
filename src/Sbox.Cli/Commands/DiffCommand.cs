using System.CommandLine;
using System.Text;
using System.Text.Json;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Image;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox diff</c>: what changed from one version to another, in packages and their changelogs.</summary>
internal static class DiffCommand
{
    private const int HeadlinesShown = 5;

    public static Command Make()
    {
        var old = new Argument<string?>("OLD") { Description = "The version to start from: a branch, a commit or its beginning, with ^ for the one before; what runs now where none is named. With --repo and no NEW, the version that is compared with the one before it", Arity = ArgumentArity.ZeroOrOne };
        var @new = new Argument<string?>("NEW") { Description = "The version to compare with; where none is named, the newest that is known of the branch that the box follows", Arity = ArgumentArity.ZeroOrOne };
        var repo = new Option<string?>("--repo") { Description = "The repository that has them; the box's own where it is not said", HelpName = "PATH" };
        Option<string> sysroot = SharedOptions.Sysroot();
        var fetch = new Option<bool>("--fetch") { Description = "Ask the remote first: the newest commit is fetched, some kilobytes, and none of its files" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("diff", "Show which packages changed between two versions, and why")
        {
            Details =
            [
                "Packages come from the list that sbox build puts into each commit, so a version can be looked at before it is downloaded. Where its files are here too, the changelogs in its /usr/share/doc tell what was changed, "
                + "with the CVE ids that they name, and changed defaults of /etc and sizes are shown.",
            ],
            Examples =
            [
                new Example("What would the next upgrade bring?", "sudo sbox diff --fetch"),
                new Example("What did the newest version of a branch bring?", "sbox diff --repo R debian/13"),
                new Example("Which holes did the last one close?", "sbox diff --repo R debian/13^ debian/13 --json | jq -r '.cves[]'"),
            ],
        }.With(old, @new, repo, sysroot, fetch, json);
        command.SetAction(async (parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            if (parsed.GetValue(repo) is { } path)
            {
                using Repository repository = Repository.Open(path);
                string target = parsed.GetValue(@new) ?? parsed.GetValue(old) ?? throw new Finding("no version was named", "sbox diff --repo PATH OLD NEW, or one VERSION alone, to compare it with the one before");
                Say(speaker, repository, repository.Resolve(parsed.GetValue(@new) is null ? target + "^" : parsed.GetValue(old)!), repository.Resolve(target), cancel);
                return 0;
            }

            using Box box = parsed.GetValue(fetch) ? Box.ToWrite(parsed.GetValue(sysroot)!) : Box.ToLook(parsed.GetValue(sysroot)!);
            Repository here = box.Sysroot.Repository;
            Deployment now = box.Sysroot.Booted ?? box.Sysroot.Deployments.FirstOrDefault() ?? throw new Finding($"{box.Sysroot.Path}: nothing is deployed there", "--repo=PATH compares versions of any repository");
            Checksum from = parsed.GetValue(old) is { } named ? here.Resolve(named) : now.Name.Commit;
            Checksum to = parsed.GetValue(@new) is { } other ? here.Resolve(other) : await Newest(here, now, parsed.GetValue(fetch), cancel);
            Say(speaker, here, from, to, cancel);
            return 0;
        });
        return command;
    }

    // The commit object alone, and no ref leads to it.
    private static async Task<Checksum> Newest(Repository repository, Deployment now, bool fetch, CancellationToken cancel)
    {
        Refspec followed = now.Origin?.Refspec ?? throw new Finding($"{now.Name.Short} has no origin: it is not known which branch is followed", "Name the version to compare with: sbox diff OLD NEW");
        if (!fetch || followed.Remote is not { } remote)
            return repository.Resolve($"{followed}");
        var pull = new PullOptions { Remote = remote, Refs = [followed.Ref], CommitMetadataOnly = true, WithoutRefs = true, AllowOlder = true };
        return (await repository.Pull(pull, progress: null, cancel)).Refs.Values.Single();
    }

    private static void Say(Speaker speaker, Repository repository, Checksum old, Checksum @new, CancellationToken cancel)
    {
        var changes = TreeChanges.Between(repository, old, @new, cancel);
        speaker.Answer(Text(repository, old, @new, changes), writer =>
        {
            writer.WriteString("old", $"{old}");
            writer.WriteString("new", $"{@new}");
            writer.WriteString("old-version", repository.LoadCommit(old).Version);
            writer.WriteString("new-version", repository.LoadCommit(@new).Version);
            Write(writer, changes);
        });
        if (changes.Etc is null)
            speaker.Note("The files of one version are not here: changelogs, /etc and sizes are shown once they are (sbox upgrade --download-only)");
    }

    private static string Text(Repository repository, Checksum old, Checksum @new, TreeChanges changes)
    {
        var text = new StringBuilder($"{Name(repository, old)} -> {Name(repository, @new)}\n");
        foreach (IGrouping<PackageChangeKind, PackageChange> kind in changes.Packages.GroupBy(static change => change.Kind).OrderBy(static group => group.Key))
        {
            text.Append($"{kind.Key.ToString().ToLowerInvariant()} ({kind.Count()})\n");
            foreach (PackageChange change in kind)
                Append(text, change);
        }

        if (changes.Packages.Count == 0)
            text.Append("no package changed\n");
        Append(text, "changed in /etc", changes.Etc?.Modified);
        Append(text, "new in /etc", changes.Etc?.Added);
        Append(text, "gone from /etc", changes.Etc?.Removed);
        if (changes.Sizes is { } sizes)
            text.Append($"files   {Amount.OfBytes(sizes.New)} new, {Amount.OfBytes(sizes.Gone)} gone\n");
        if (changes.ToFetch is > 0 and var bytes)
            text.Append($"fetch   {Amount.OfBytes(bytes)} without deltas\n");
        string[] holes = Vulnerabilities(changes);
        return text.Append(holes.Length > 0 ? $"named   {string.Join(' ', holes)}" : "").ToString().TrimEnd();
    }

    private static void Append(StringBuilder text, PackageChange change)
    {
        string versions = string.Join(" -> ", ((string?[])[change.Old?.Version, change.New?.Version]).Where(static version => version is not null));
        text.Append($"  {change.Name} {versions}\n");
        foreach (string line in change.Changelog.Headlines.Take(HeadlinesShown))
            text.Append($"      * {line}\n");
        if (change.Changelog.Headlines.Count > HeadlinesShown)
            text.Append($"      and {change.Changelog.Headlines.Count - HeadlinesShown} more\n");
    }

    private static void Append(StringBuilder text, string title, IReadOnlyList<string>? paths)
    {
        if (paths is { Count: > 0 })
            text.Append($"{title} ({paths.Count})\n{string.Concat(paths.Select(static path => $"  {path}\n"))}");
    }

    private static string Name(Repository repository, Checksum commit) => $"{repository.LoadCommit(commit).Version ?? "no version"} ({commit.ToString()[..12]})";

    private static string[] Vulnerabilities(TreeChanges changes) =>
        [.. changes.Packages.SelectMany(static change => change.Changelog.Vulnerabilities).Distinct().Order(StringComparer.Ordinal)];

    private static void Write(Utf8JsonWriter writer, TreeChanges changes)
    {
        writer.WriteStartArray("packages");
        foreach (PackageChange change in changes.Packages)
        {
            writer.WriteStartObject();
            writer.WriteString("name", change.Name);
            writer.WriteString("architecture", (change.New ?? change.Old)!.Architecture);
            writer.WriteString("change", change.Kind.ToString().ToLowerInvariant());
            writer.WriteString("old", change.Old?.Version);
            writer.WriteString("new", change.New?.Version);
            Write(writer, "headlines", change.Changelog.Headlines);
            Write(writer, "cves", change.Changelog.Vulnerabilities);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        if (changes.Etc is { } etc)
        {
            writer.WriteStartObject("etc");
            Write(writer, "changed", etc.Modified);
            Write(writer, "added", etc.Added);
            Write(writer, "removed", etc.Removed);
            writer.WriteEndObject();
        }

        if (changes.Sizes is { } sizes)
        {
            writer.WriteNumber("bytes-new", sizes.New);
            writer.WriteNumber("bytes-gone", sizes.Gone);
        }

        if (changes.ToFetch is { } bytes)
            writer.WriteNumber("bytes-to-fetch", bytes);
        Write(writer, "cves", Vulnerabilities(changes));
    }

    private static void Write(Utf8JsonWriter writer, string name, IEnumerable<string> items)
    {
        writer.WriteStartArray(name);
        foreach (string item in items)
            writer.WriteStringValue(item);
        writer.WriteEndArray();
    }
}
