using System.CommandLine;
using System.Text;
using System.Text.Json;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Delivery;
using Sbox.Store;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox trust rotate</c>, <c>revoke</c>, <c>renew</c>: the next version of a trust document.</summary>
internal static class TrustChangeCommands
{
    private const string Next = "The next version is written, and the times begin anew; it counts when enough have signed it (sbox trust sign): as many as the version before asks for, and as many as it asks for itself. "
        + "Until the first one has signed, its text can be edited.";

    public static Command Rotate()
    {
        Argument<string> place = TrustCommands.Place();
        Argument<string> name = Key();
        var file = new Argument<string>("FILE") { Description = "The new public key" };
        Option<string> expires = TrustArguments.Expires();
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("rotate", "Put a new key in another's place")
        {
            Details =
            [
                Next,
                "What the old key alone signed is believed no longer once a box has the new version: sign the newest commits with the new key as well, and publish. Where it signs summaries, publish once with both keys before, "
                + "so that no reader finds the one without the other.",
            ],
            Examples = [new Example("The machine that publishes gets a new key", "sbox keys create press2.key && sbox trust rotate repo/trust press press2.pub")],
        }.With(place, name, file, expires, json);
        command.SetAction(parsed => Change(parsed, place, json, document =>
        {
            string key = Known(document, parsed.GetValue(name)!);
            var keys = new SortedDictionary<string, Ed25519PublicKey>(document.Keys.ToDictionary(), StringComparer.Ordinal) { [key] = SigningKeyFiles.ReadPublic(parsed.GetValue(file)!) };
            return document with { Keys = keys, Expires = TrustArguments.Until(parsed.GetValue(expires)!) };
        }));
        return command;
    }

    public static Command Revoke()
    {
        Argument<string> place = TrustCommands.Place();
        Argument<string> name = Key();
        Option<string> expires = TrustArguments.Expires();
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("revoke", "Believe a key no longer")
        {
            Details = [Next, "The key leaves all rules. Where fewer would be left than a rule asks for, nothing is written."],
            Examples = [new Example("The machine's key was stolen, and another one signs summaries already", "sbox trust revoke repo/trust press && sbox trust sign repo/trust alice.key")],
        }.With(place, name, expires, json);
        command.SetAction(parsed => Change(parsed, place, json, document =>
        {
            string key = Known(document, parsed.GetValue(name)!);
            return document with
            {
                Keys = new SortedDictionary<string, Ed25519PublicKey>(document.Keys.Where(each => each.Key != key).ToDictionary(), StringComparer.Ordinal),
                Document = Without(document.Document, key, "the document"), Summary = Without(document.Summary, key, "summaries"),
                Commits = new SortedDictionary<string, TrustRule>(document.Commits.ToDictionary(static each => each.Key, each => Without(each.Value, key, $"commits of {each.Key}")), StringComparer.Ordinal),
                Expires = TrustArguments.Until(parsed.GetValue(expires)!),
            };
        }));
        return command;
    }

    public static Command Renew()
    {
        Argument<string> place = TrustCommands.Place();
        Option<string> expires = TrustArguments.Expires();
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("renew", "Write the next version with the same keys, to be believed for longer")
        {
            Details = [Next, "Also the way to any other change: renew, edit the new file, sign."],
        }.With(place, expires, json);
        command.SetAction(parsed => Change(parsed, place, json, document => document with { Expires = TrustArguments.Until(parsed.GetValue(expires)!) }));
        return command;
    }

    /// <summary>The newest document, and what it changes of the one before.</summary>
    public static string Changes(TrustHistory history)
    {
        var text = new StringBuilder(TrustText.Of(history.Newest.Document));
        if (history.Versions.Count < 2)
            return text.ToString();
        TrustDocument before = history.Versions[^2].Document, after = history.Newest.Document;
        text.Append($"\nThat changes {TrustText.Name(before)}:");
        int unchanged = text.Length;
        foreach (string gone in before.Keys.Keys.Except(after.Keys.Keys))
            text.Append($"\n  {gone} is believed no longer");
        foreach (string added in after.Keys.Keys.Except(before.Keys.Keys))
            text.Append($"\n  {added} is new");
        foreach (string other in after.Keys.Where(each => before.Keys.TryGetValue(each.Key, out Ed25519PublicKey? old) && $"{old}" != $"{each.Value}").Select(static each => each.Key))
            text.Append($"\n  {other} has another key");
        Rules("this document", before.Document, after.Document);
        Rules("summaries", before.Summary, after.Summary);
        foreach (string pattern in before.Commits.Keys.Union(after.Commits.Keys))
            Rules($"commits of {pattern}", before.Commits.GetValueOrDefault(pattern), after.Commits.GetValueOrDefault(pattern));
        if (before.SummaryAge != after.SummaryAge)
            text.Append("\n  how old a summary may be");
        return text.Length == unchanged ? text.Append(" nothing but how long it is believed").ToString() : text.ToString();

        void Rules(string what, TrustRule? old, TrustRule? now)
        {
            if (old?.Threshold != now?.Threshold || !(old?.Signers ?? []).SequenceEqual(now?.Signers ?? []))
                text.Append($"\n  the rule for {what}: {Shown(old)} before");
        }

        static string Shown(TrustRule? rule) => rule is null ? "none" : $"{rule.Threshold} of {string.Join(", ", rule.Signers)}";
    }

    /// <summary>Says what a version needs, or that it has it.</summary>
    public static void Say(Speaker speaker, TrustHistory history, TrustVersion version)
    {
        bool inForce = history.InForce == version;
        string file = $"{history.Directory}/{Path.GetFileName(TrustFiles.Document(version.Document.Version))}";
        string then = inForce ? "It is signed by enough: sbox publish sends it along" : $"To sign it: sbox trust sign {history.Directory} KEYFILE";
        speaker.Answer($"{file}: {TrustText.Name(version.Document)}\n{TrustText.Votes(history, version)}\n{then}", writer =>
        {
            writer.WriteString("file", file);
            writer.WriteString("repository", version.Document.Repository);
            writer.WriteNumber("version", version.Document.Version);
            Write(writer, history, version);
        });
    }

    /// <summary>Who has signed a version, for programs.</summary>
    public static void Write(Utf8JsonWriter writer, TrustHistory history, TrustVersion version)
    {
        writer.WriteBoolean("in-force", history.InForce == version);
        writer.WriteStartArray("asks");
        foreach (TrustVote vote in history.Votes(version))
        {
            writer.WriteStartObject();
            writer.WriteNumber("document", vote.By);
            TrustText.Write(writer, "rule", vote.Rule);
            TrustText.Write(writer, "signed", vote.Signed);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static int Change(ParseResult parsed, Argument<string> place, Option<bool> json, Func<TrustDocument, TrustDocument> change)
    {
        var speaker = new Speaker(parsed.GetValue(json));
        var history = TrustHistory.Read(parsed.GetValue(place)!);
        TrustVersion next = history.Add(change);
        speaker.Note(Changes(history));
        Say(speaker, history, next);
        return 0;
    }

    private static Argument<string> Key() => new("NAME") { Description = "The key's name in the document" };

    private static string Known(TrustDocument document, string name) => document.Keys.ContainsKey(name)
        ? name
        : throw new Finding($"{TrustText.Name(document)} has no key '{name}'", $"It has {string.Join(", ", document.Keys.Keys)}");

    private static TrustRule Without(TrustRule rule, string name, string what)
    {
        string[] left = [.. rule.Signers.Where(each => each != name)];
        return left.Length >= rule.Threshold ? rule with { Signers = left } : throw new Finding(
            $"without '{name}', {rule.Threshold} of {(left.Length == 0 ? "nobody" : string.Join(", ", left))} would have to sign {what}, which cannot be",
            "sbox trust rotate puts another key in its place; or sbox trust renew, and edit the new document before anybody signs it");
    }
}
