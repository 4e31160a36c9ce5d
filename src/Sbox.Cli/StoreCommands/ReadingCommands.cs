using System.CommandLine;
using System.Globalization;
using System.Text;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>Commands that only look: log and show. What they print is what libostree's print.</summary>
internal static class ReadingCommands
{
    public static Command Log()
    {
        Argument<string> revision = RepositoryCommand.Revision();
        var raw = new Option<bool>("--raw") { Description = "Show the commits as GVariants in text form" };
        return new DocumentedCommand("log", "Show the commits of a ref, newest first").With(revision, raw).OnRepository((parsed, repository, _) =>
        {
            Commit? last = null;
            foreach ((Checksum checksum, Commit commit) in repository.Log(repository.Resolve(parsed.GetValue(revision)!)))
            {
                last = commit;
                Console.Out.Write(parsed.GetValue(raw) ? Raw(checksum, commit, swap: true) : Describe(checksum, commit));
                JsonAnswers.Say(checksum, commit);
            }

            if (last?.Parent is not null)
                Console.Out.Write("<< History beyond this commit not fetched >>\n");
            return 0;
        });
    }

    public static Command Show()
    {
        Argument<string> revision = RepositoryCommand.Revision("OBJECT");
        var raw = new Option<bool>("--raw") { Description = "Show the commit as a GVariant in text form" };
        var noSwap = new Option<bool>("--no-byteswap", "-B") { Description = "Show numbers as their bytes are on disk" };
        var hex = new Option<bool>("--print-hex") { Description = "Print arrays of bytes as hexadecimal digits" };
        var key = new Option<string?>("--print-metadata-key") { Description = "Print one value of the commit's metadata", HelpName = "KEY" };
        var keys = new Option<bool>("--list-metadata-keys") { Description = "List the names in the commit's metadata" };
        var detachedKey = new Option<string?>("--print-detached-metadata-key") { Description = "Print one value of what lies beside the commit", HelpName = "KEY" };
        var detachedKeys = new Option<bool>("--list-detached-metadata-keys") { Description = "List the names in what lies beside the commit" };
        var sizes = new Option<bool>("--print-sizes") { Description = "Show the sizes that the commit's metadata has of its objects, and how much of that is not here yet" };
        Option<string?> home = SigningCommands.GpgHome();
        var related = new Option<bool>("--print-related") { Description = "List the objects that a commit names beside its tree; libostree writes none" };
        var variant = new Option<string?>("--print-variant-type") { Description = "OBJECT is a file, shown as a GVariant of this type", HelpName = "TYPE" };
        var remote = new Option<string?>("--gpg-verify-remote") { Description = "Verify GPG's signatures by this remote's keys only", HelpName = "REMOTE" };
        return new DocumentedCommand("show", "Show a commit or another object").With(revision, raw, noSwap, hex, key, keys, detachedKey, detachedKeys, sizes, related, variant, home, remote).OnRepository((parsed, repository, _) =>
        {
            bool swap = !parsed.GetValue(noSwap);
            if (parsed.GetValue(variant) is { } type)
            {
                Console.Out.WriteLine(ObjectPage.OfFile(parsed.GetValue(revision)!, type));
                return 0;
            }

            Checksum checksum = repository.Resolve(parsed.GetValue(revision)!);
            if (ObjectPage.Of(repository, checksum, parsed.GetValue(raw), swap) is { } page)
            {
                Console.Out.Write(page);
                return 0;
            }

            if (parsed.GetValue(detachedKeys) || parsed.GetValue(detachedKey) is not null)
            {
                VariantDictionary detached = repository.LoadDetachedMetadata(checksum) ??
                    throw new Finding($"No detached metadata for commit {checksum}", "commit --add-detached-metadata-string adds some");
                Console.Out.Write(parsed.GetValue(detachedKey) is { } one ? Value(detached, one, swap, parsed.GetValue(hex)) : Keys(detached));
                return 0;
            }

            Commit commit = repository.LoadCommit(checksum);
            if (parsed.GetValue(related))
                return 0; // a commit that named any would not have been read
            if (parsed.GetValue(sizes))
            {
                Console.Out.Write(Sizes(repository, commit));
                return 0;
            }

            bool whole = parsed.GetValue(key) is null && !parsed.GetValue(keys);
            if (parsed.GetValue(remote) is { } known && repository.Remote(known) is null)
                throw new RemoteNotFoundException(repository.Path, known);
            Console.Out.Write(
                parsed.GetValue(key) is { } name ? Value(commit.Metadata, name, swap, parsed.GetValue(hex))
                : parsed.GetValue(keys) ? Keys(commit.Metadata)
                : parsed.GetValue(raw) ? Raw(checksum, commit, swap)
                : Describe(checksum, commit));
            if (whole && !parsed.GetValue(raw))
                JsonAnswers.Say(checksum, commit);
            if (whole)
                Console.Out.Write(SigningCommands.Describe(repository.GpgSignatures(checksum, parsed.GetValue(remote), parsed.GetValue(home))));
            return 0;
        });
    }

    private static string Sizes(Repository repository, Commit commit)
    {
        IReadOnlyList<ObjectSize> all = commit.Sizes ?? throw new Finding("No metadata key ostree.sizes in commit", "commit --generate-sizes writes it, in mode archive");
        ObjectSize[] needed = [.. all.Where(each => !repository.Has(each.Name))];
        return $"""
            Compressed size (needed/total): {Amount.Decimal(needed.Sum(static each => each.Stored))}/{Amount.Decimal(all.Sum(static each => each.Stored))}
            Unpacked size (needed/total): {Amount.Decimal(needed.Sum(static each => each.Unpacked))}/{Amount.Decimal(all.Sum(static each => each.Unpacked))}
            Number of objects (needed/total): {needed.Length}/{all.Count}

            """;
    }

    private static string Keys(VariantDictionary dictionary) =>
        string.Concat(dictionary.Keys.Order(StringComparer.Ordinal).Select(static each => each + "\n"));

    private static string Value(VariantDictionary dictionary, string name, bool swap, bool hex)
    {
        GVariant value = dictionary[name] ?? throw new Finding($"No such metadata key '{name}'", "--list-metadata-keys lists those that there are");
        if (hex && value.Type.Signature == "ay")
            return Convert.ToHexStringLower(value.Bytes) + "\n";
        return $"{(swap ? value.ByteSwapped() : value)}\n";
    }

    // Numbers are most significant byte first on disk, and ostree shows them turned.
    private static string Raw(Checksum checksum, Commit commit, bool swap) =>
        $"commit {checksum}\n{(swap ? commit.ToVariant().ByteSwapped() : commit.ToVariant())}\n";

    /// <summary>A commit as <c>ostree log</c> prints it.</summary>
    internal static string Describe(Checksum checksum, Commit commit)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"commit {checksum}\n");
        if (commit.Parent is { } parent)
            text.Append(CultureInfo.InvariantCulture, $"Parent:  {parent}\n");
        text.Append(CultureInfo.InvariantCulture, $"ContentChecksum:  {commit.ContentChecksum}\n");
        text.Append(CultureInfo.InvariantCulture, $"Date:  {commit.Time:yyyy-MM-dd HH:mm:ss +0000}\n");
        if (commit.Version is { } version)
            text.Append(CultureInfo.InvariantCulture, $"Version: {version}\n");
        text.Append(commit.Subject.Length == 0 ? "(no subject)\n\n" : "\n");
        foreach (string paragraph in (string[])[commit.Subject, commit.Body])
        {
            if (paragraph.Length > 0)
                text.Append(string.Concat((paragraph.EndsWith('\n') ? paragraph[..^1] : paragraph).Split('\n').Select(static line => $"    {line}\n"))).Append('\n');
        }

        return text.ToString();
    }
}
