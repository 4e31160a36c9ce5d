using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Delivery;
using Sbox.Store;

namespace Sbox.Cli.Commands;

/// <summary>Trust documents as people and programs are shown them.</summary>
internal static class TrustText
{
    /// <summary>All of a document.</summary>
    public static string Of(TrustDocument document)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"D{Name(document)[1..]}, until {Day(document.Expires)}; a summary is believed for {Span(document.SummaryAge)}\n");
        int width = document.Keys.Keys.Max(static name => name.Length);
        foreach ((string name, Ed25519PublicKey key) in document.Keys)
            text.Append(CultureInfo.InvariantCulture, $"  {name.PadRight(width)}  {key}  {SigningKeyFiles.Fingerprint(key)}\n");
        text.Append(CultureInfo.InvariantCulture, $"  this document  {Rule(document.Document)}\n  summaries      {Rule(document.Summary)}\n");
        foreach ((string pattern, TrustRule rule) in document.Commits)
            text.Append(CultureInfo.InvariantCulture, $"  commits        {Rule(rule)}, of {pattern}\n");
        if (document.Commits.Count == 0)
            text.Append("  commits        those that the summary names\n");
        return text.ToString().TrimEnd();
    }

    /// <summary>Which document it is.</summary>
    public static string Name(TrustDocument document) => string.Create(CultureInfo.InvariantCulture, $"document {document.Version} of '{document.Repository}'");

    /// <summary>Who has signed a version, and how many are missing, a line for each document that asks.</summary>
    public static string Votes(TrustHistory history, TrustVersion version)
    {
        IEnumerable<string> lines = history.Votes(version).Select(static vote => string.Create(
            CultureInfo.InvariantCulture, $"  document {vote.By} asks for {Rule(vote.Rule)}: {(vote.Signed.Count == 0 ? "nobody signed yet" : $"signed by {string.Join(", ", vote.Signed)}")}{(vote.IsEnough ? "" : $"; {vote.Rule.Threshold - vote.Signed.Count} missing")}"));
        return string.Join('\n', lines);
    }

    /// <summary>What a box believes of a remote, in a line.</summary>
    public static string Of(string remote, RemoteTrustState state, DateTimeOffset now) =>
        $"{remote} is believed by {Name(state.Document)} until {Day(state.Document.Expires)}{(now >= state.Document.Expires ? ", which is over: nothing is taken from there" : "")}"
        + (state.NewestSummary is { } newest ? $"; its newest summary is of {Day(newest)}" : "");

    /// <summary>What a box believes of a remote, for programs.</summary>
    public static void Write(Utf8JsonWriter writer, string remote, RemoteTrustState state)
    {
        writer.WriteString("remote", remote);
        writer.WriteString("repository", state.Document.Repository);
        writer.WriteNumber("version", state.Document.Version);
        writer.WriteString("expires", state.Document.Expires.UtcDateTime);
        if (state.NewestSummary is { } newest)
            writer.WriteString("newest-summary", newest.UtcDateTime);
        else
            writer.WriteNull("newest-summary");
    }

    /// <summary>All of a document, for programs.</summary>
    public static void Write(Utf8JsonWriter writer, TrustDocument document)
    {
        writer.WriteString("repository", document.Repository);
        writer.WriteNumber("version", document.Version);
        writer.WriteString("expires", document.Expires.UtcDateTime);
        writer.WriteNumber("summary-age", (long)document.SummaryAge.TotalSeconds);
        writer.WriteStartObject("keys");
        foreach ((string name, Ed25519PublicKey key) in document.Keys)
        {
            writer.WriteStartObject(name);
            writer.WriteString("key", $"{key}");
            writer.WriteString("fingerprint", SigningKeyFiles.Fingerprint(key));
            writer.WriteEndObject();
        }

        writer.WriteEndObject();
        Write(writer, "document", document.Document);
        Write(writer, "summary", document.Summary);
        writer.WriteStartObject("commits");
        foreach ((string pattern, TrustRule rule) in document.Commits)
            Write(writer, pattern, rule);
        writer.WriteEndObject();
    }

    /// <summary>A rule, for programs.</summary>
    public static void Write(Utf8JsonWriter writer, string name, TrustRule rule)
    {
        writer.WriteStartObject(name);
        writer.WriteNumber("threshold", rule.Threshold);
        Write(writer, "signers", rule.Signers);
        writer.WriteEndObject();
    }

    /// <summary>A list, for programs.</summary>
    public static void Write(Utf8JsonWriter writer, string name, IReadOnlyList<string> texts)
    {
        writer.WriteStartArray(name);
        foreach (string text in texts)
            writer.WriteStringValue(text);
        writer.WriteEndArray();
    }

    private static string Rule(TrustRule rule) => string.Create(CultureInfo.InvariantCulture, $"{rule.Threshold} of {string.Join(", ", rule.Signers)}");

    private static string Day(DateTimeOffset time) => time.UtcDateTime.ToString("yyyy-MM-dd HH:mm 'UTC'", CultureInfo.InvariantCulture);

    private static string Span(TimeSpan age) => string.Create(CultureInfo.InvariantCulture, $"{(age.TotalHours < 48 ? $"{age.TotalHours:0.#} hours" : $"{age.TotalDays:0.#} days")}");
}
