using System.Text.Json;
using Sbox.Codecs;

namespace Sbox.Cli.Commands;

/// <summary>What <c>sbox upgrade --json</c> answered.</summary>
/// <param name="State">What became of it, as it stands there; null where it did not come that far.</param>
/// <param name="Commit">What it was about.</param>
/// <param name="Notes">What else it said.</param>
/// <param name="Error">What was in its way; null for nothing.</param>
internal sealed record UpgradeAnswer(string? State, Checksum? Commit, IReadOnlyList<string> Notes, string? Error)
{
    /// <summary>Reads the lines that it wrote; those that are no JSON are passed over.</summary>
    public static UpgradeAnswer Of(IEnumerable<string> lines)
    {
        var answer = new UpgradeAnswer(null, null, [], null);
        foreach (string line in lines.Where(static line => line.StartsWith('{')))
        {
            try
            {
                using JsonDocument document = JsonDocument.Parse(line);
                JsonElement root = document.RootElement;
                string? Text(string name) => root.TryGetProperty(name, out JsonElement value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null;
                answer = new UpgradeAnswer(
                    Text("state") ?? answer.State, Checksum.TryParse(Text("checksum") ?? "", out Checksum commit) ? commit : answer.Commit,
                    root.TryGetProperty("notes", out JsonElement notes) && notes.ValueKind == JsonValueKind.Array ? [.. answer.Notes, .. notes.EnumerateArray().Select(static note => $"{note}")] : answer.Notes,
                    Text("error") ?? answer.Error);
            }
            catch (JsonException)
            {
                // a line of somebody else's on the same pipe
            }
        }

        return answer;
    }
}
