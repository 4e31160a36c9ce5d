using System.Globalization;
using System.Text.Json;
using Sbox.Codecs;

namespace Sbox.Sysroot;

/// <summary>A key of a volume that the machine's TPM keeps, and the state in which it gives it out.</summary>
/// <param name="Slot">The volume's slot.</param>
/// <param name="FirmwareState">Register 7 in that state, hexadecimal; null: any, also one without Secure Boot.</param>
/// <param name="Revoked">What the firmware's dbx held when it was bound; null where that is not known.</param>
public sealed record TpmBinding(int Slot, string? FirmwareState, string? Revoked)
{
    /// <summary>The tokens of the volume that are about it.</summary>
    internal IReadOnlyList<int> Tokens { get; init; } = [];

    /// <summary>Whether it is one of ours; others are their owner's.</summary>
    internal bool IsOurs { get; init; }

    /// <summary>Whether it opens the volume whatever the firmware checks: meant for one boot after keys were changed.</summary>
    public bool IsLoose => IsOurs && FirmwareState is null;
}

/// <summary>Who can open a volume: its slots and tokens.</summary>
/// <param name="Slots">How many keys it has.</param>
/// <param name="Bindings">Those of a TPM.</param>
/// <param name="RecoverySlots">Those that somebody may type.</param>
/// <remarks>docs/formats/disk-tokens.md; the JSON of LUKS2's header, and systemd's tokens in it.</remarks>
public sealed record DiskKeys(int Slots, IReadOnlyList<TpmBinding> Bindings, IReadOnlyList<int> RecoverySlots)
{
    /// <summary>Our own token's type.</summary>
    public const string TokenType = "sbox-binding";

    private const string Tpm = "systemd-tpm2", Recovery = "systemd-recovery";
    private const string State = "register-7", Revoked = "dbx";

    /// <summary>Reads a volume's header, as <c>cryptsetup luksDump --dump-json-metadata</c> prints it.</summary>
    /// <exception cref="MalformedException">It is no such thing.</exception>
    public static DiskKeys Parse(string json)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            (int Id, JsonElement Body, int[] Slots)[] tokens = [.. document.RootElement.GetProperty("tokens").EnumerateObject().Select(static token => (
                Number(token.Name), token.Value, token.Value.GetProperty("keyslots").EnumerateArray().Select(static slot => Number(slot.GetString()!)).ToArray()))];
            int[] Of(string type) => [.. tokens.Where(token => token.Body.GetProperty("type").GetString() == type).SelectMany(static token => token.Slots).Order()];
            return new DiskKeys(document.RootElement.GetProperty("keyslots").EnumerateObject().Count(), [.. Of(Tpm).Select(Binding)], Of(Recovery));

            TpmBinding Binding(int slot)
            {
                (int Id, JsonElement Body, int[] Slots)[] about = [.. tokens.Where(token => token.Slots.Contains(slot))];
                JsonElement? ours = about.Where(static token => token.Body.GetProperty("type").GetString() == TokenType).Select(static token => (JsonElement?)token.Body).FirstOrDefault();
                return new TpmBinding(slot, Text(ours, State), Text(ours, Revoked)) { IsOurs = ours is not null, Tokens = [.. about.Select(static token => token.Id)] };
            }
        }
        catch (Exception broken) when (broken is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or OverflowException)
        {
            throw new MalformedException("luks2", "json", "a volume's header, as cryptsetup prints it", broken.Message);
        }
    }

    /// <summary>Our token for a slot.</summary>
    internal static string Token(int slot, string? firmwareState, string revoked)
    {
        using var buffer = new MemoryStream();
        using (var writer = new Utf8JsonWriter(buffer))
        {
            writer.WriteStartObject();
            writer.WriteString("type", TokenType);
            writer.WriteStartArray("keyslots");
            writer.WriteStringValue(slot.ToString(CultureInfo.InvariantCulture));
            writer.WriteEndArray();
            if (firmwareState is not null)
                writer.WriteString(State, firmwareState);
            writer.WriteString(Revoked, revoked);
            writer.WriteEndObject();
        }

        return System.Text.Encoding.UTF8.GetString(buffer.ToArray());
    }

    private static string? Text(JsonElement? body, string name) => body is { } there && there.TryGetProperty(name, out JsonElement value) ? value.GetString() : null;

    private static int Number(string text) => int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);
}
