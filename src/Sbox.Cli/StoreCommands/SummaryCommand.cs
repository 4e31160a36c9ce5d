using System.CommandLine;
using System.Globalization;
using System.Text;
using Sbox.Cli.Help;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary><c>summary</c>: writes and shows what a served repository says of itself.</summary>
internal static class SummaryCommand
{
    public static Command Make()
    {
        var update = new Option<bool>("--update", "-u") { Description = "Write the summary anew from the branches" };
        var view = new Option<bool>("--view", "-v") { Description = "Show the summary" };
        var raw = new Option<bool>("--raw") { Description = "Show the summary as a GVariant in text form" };
        var keys = new Option<bool>("--list-metadata-keys") { Description = "List the names in the summary's metadata" };
        var key = new Option<string?>("--print-metadata-key") { Description = "Print one value of the summary's metadata", HelpName = "KEY" };
        var more = new Option<string[]>("--add-metadata", "-m") { Description = "One more value for the summary's metadata, as GVariant text", HelpName = "KEY=VALUE" };
        var signing = new SigningOptions();
        return new DocumentedCommand("summary", "Write and show the summary, by which others learn which branches there are").With(update, view, raw, keys, key, more).With(signing.All)
            .OnRepository((parsed, repository, _) =>
            {
                if (parsed.GetValue(update))
                {
                    Func<byte[], VariantDictionary>? signer = signing.Signer(parsed);
                    VariantDictionary additional = CommitCommand.WithValues(VariantDictionary.Empty, parsed.GetValue(more) ?? []);
                    if (repository.CollectionId is not null)
                        repository.CommitSummaryMetadata(additional, Moment.OfSources(), signer);
                    repository.WriteSummary(additional: additional, signer: signer);
                    return 0;
                }

                string? one = parsed.GetValue(key);
                if (!parsed.GetValue(view) && !parsed.GetValue(raw) && !parsed.GetValue(keys) && one is null)
                    throw new Finding("No option specified; use -u to update summary", "summary --update, or summary --view");
                byte[] bytes = repository.Dir.TryReadAll("summary") ?? throw new Finding($"{repository.Path}/summary: No such file or directory", "summary --update writes it");
                Console.Out.Write(Show(bytes, parsed.GetValue(raw), parsed.GetValue(keys), one, SigningCommands.Describe(repository.GpgSummarySignatures(), " on the summary")));
                return 0;
            });
    }

    /// <summary>A summary as <c>ostree</c> prints it, or one thing of it.</summary>
    /// <param name="bytes">The file.</param>
    /// <param name="raw">As a GVariant in text form.</param>
    /// <param name="keys">The names in its metadata.</param>
    /// <param name="key">One value of its metadata.</param>
    /// <param name="signatures">What is said of its signatures; empty where there are none, null to say nothing of them.</param>
    internal static string Show(byte[] bytes, bool raw, bool keys, string? key, string? signatures)
    {
        GVariant summary = GVariant.Parse("(a(s(taya{sv}))a{sv})", bytes);
        var metadata = new VariantDictionary(summary.Items[1]);
        foreach ((string name, Checksum target) in key is null && !raw && !keys ? Summary.Parse(bytes).Refs : new Dictionary<string, Checksum>())
        {
            JsonAnswers.Say(writer =>
            {
                writer.WriteString("ref", name);
                writer.WriteString("commit", $"{target}");
            });
        }

        return key is not null ? $"{metadata[key]?.ByteSwapped() ?? throw new Finding($"No such metadata key '{key}'", "--list-metadata-keys lists those that there are")}\n"
            : keys ? string.Concat(metadata.Keys.Order(StringComparer.Ordinal).Select(static each => each + "\n"))
            : raw ? $"{summary.ByteSwapped()}\n"
            : Describe(summary, metadata, signatures);
    }

    private static string Describe(GVariant summary, VariantDictionary metadata, string? signatures)
    {
        var text = new StringBuilder();
        string? collection = metadata.GetString("ostree.summary.collection-id");
        Append(text, summary.Items[0].Items, collection);
        foreach (GVariant other in metadata["ostree.summary.collection-map"]?.Items ?? [])
            Append(text, other.Items[1].Items, other.Items[0].Text);
        foreach (string name in metadata.Keys)
            text.Append(CultureInfo.InvariantCulture, $"{Line(name, metadata[name]!)}\n");
        return text.Append(signatures is null ? "" : signatures.Length > 0 ? $"\n{signatures}" : "Summary is unsigned\n").ToString();
    }

    private static void Append(StringBuilder text, IReadOnlyList<GVariant> refs, string? collection)
    {
        foreach (GVariant entry in refs)
        {
            IReadOnlyList<GVariant> about = entry.Items[1].Items;
            var commit = new VariantDictionary(about[2]);
            text.Append(CultureInfo.InvariantCulture, $"* {(collection is null ? entry.Items[0].Text : new CollectionRef(collection, entry.Items[0].Text).ToString())}\n");
            text.Append(CultureInfo.InvariantCulture, $"    Latest Commit ({Terminal.Amount.Decimal((long)about[0].Unsigned)}):\n      {Checksum.FromBytes(about[1].Bytes)}\n");
            foreach (string name in commit.Keys)
                text.Append(CultureInfo.InvariantCulture, $"    {Line(name, commit[name]!)}\n");
            text.Append('\n');
        }
    }

    private static string Line(string name, GVariant value) => name switch
    {
        "ostree.commit.version" => $"Version ({name}): {value.Text}",
        "ostree.commit.timestamp" => $"Timestamp ({name}): {Time(value)}",
        "ostree.summary.mode" => $"Repository Mode ({name}): {value.Text}",
        "ostree.summary.last-modified" => $"Last-Modified ({name}): {Time(value)}",
        "ostree.summary.expires" => $"Expires ({name}): {Time(value)}",
        "ostree.summary.tombstone-commits" => $"Has Tombstone Commits ({name}): {(value.ToString() == "true" ? "Yes" : "No")}",
        "ostree.summary.collection-map" => $"Collection Map ({name}): (printed above)",
        "ostree.summary.collection-id" => $"Collection ID ({name}): {value.Text}",
        _ => $"{name}: {value.ToUnannotatedString()}",
    };

    private static string Time(GVariant value) => DateTimeOffset.FromUnixTimeSeconds(
        (long)Math.Min(value.ByteSwapped().Unsigned, 253402300799)).ToString("yyyy-MM-dd'T'HH:mm:ss'+00'", CultureInfo.InvariantCulture);
}
