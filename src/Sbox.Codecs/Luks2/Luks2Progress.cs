using System.Text.Json;

namespace Sbox.Codecs.Luks2;

/// <summary>Whether a volume is being made of what was plain, and whether somebody could have a key of it.</summary>
/// <param name="IsBeingEncrypted">An encryption was begun and is not over. A volume that gets another key (cryptsetup reencrypt alone), or is decrypted, was whole before: not so.</param>
/// <param name="HasKeptKey">It has a token, or more than one key: more than what an encryption begins with.</param>
/// <remarks>LUKS2 On-Disk Format Specification 1.1.1, 3. Judge: cryptsetup.</remarks>
public sealed record Luks2Progress(bool IsBeingEncrypted, bool HasKeptKey)
{
    /// <summary>Reads a header's JSON; null where it is none.</summary>
    /// <param name="json">As <c>cryptsetup luksDump --dump-json-metadata</c> prints it.</param>
    public static Luks2Progress? Parse(string json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            JsonElement root = document.RootElement;
            JsonElement[] slots = [.. root.GetProperty("keyslots").EnumerateObject().Select(static slot => slot.Value)];
            bool isRequired = root.GetProperty("config").TryGetProperty("requirements", out JsonElement requirements) && requirements.TryGetProperty("mandatory", out JsonElement all)
                && all.EnumerateArray().Any(static each => each.GetString()?.Contains("reencrypt", StringComparison.Ordinal) == true);
            return new Luks2Progress(
                isRequired && slots.Any(static slot => Is(slot, "type", "reencrypt") && Is(slot, "mode", "encrypt")),
                root.GetProperty("tokens").EnumerateObject().Any() || slots.Count(static slot => Is(slot, "type", "luks2")) > 1);
        }
        catch (Exception broken) when (broken is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return null;
        }
    }

    private static bool Is(JsonElement slot, string name, string value) => slot.TryGetProperty(name, out JsonElement text) && text.GetString() == value;
}
