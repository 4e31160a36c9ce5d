using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Codecs.Uki;

namespace Sbox.Sysroot;

/// <summary>A key of a volume that the machine's TPM keeps, and the state in which it gives it out.</summary>
/// <param name="Slot">The volume's slot.</param>
/// <param name="Registers">The registers whose value is asked for, by systemd's own token: what the TPM goes by.</param>
/// <param name="FirmwareState">Register 7 in that state, hexadecimal, by our token; null where we have none that says so.</param>
/// <param name="Revoked">What the firmware's dbx held when it was bound; null where that is not known.</param>
public sealed record TpmBinding(int Slot, IReadOnlyList<int> Registers, string? FirmwareState, string? Revoked)
{
    /// <summary>The key (PEM) whose signatures the TPM goes by for register 11; null where systemd's token names none.</summary>
    public string? PublicKey { get; init; }

    /// <summary>The boot in which it was loosened, for the one after it, as the kernel calls it; null where it was not, or that is not known.</summary>
    public string? LoosenedIn { get; init; }

    /// <summary>The tokens of the volume that are about it.</summary>
    internal IReadOnlyList<int> Tokens { get; init; } = [];

    /// <summary>Whether our token is beside systemd's: a binding whose making was cut short has none.</summary>
    internal bool IsWhole { get; init; }

    /// <summary>Whether it is one of ours, whole or not; others are their owner's.</summary>
    internal bool IsOurs { get; init; }

    /// <summary>Whether it opens the volume whatever the firmware checks. One of ours is meant for one boot after keys were changed.</summary>
    public bool IsLoose => !Registers.Contains(DiskKeys.FirmwareRegister);

    /// <summary>Whether it opens the volume whatever the firmware checks, for as long as it is there, since another program made it so.</summary>
    public bool IsLooseForGood => IsLoose && !IsOurs;

    /// <summary>Whether it opens the volume to versions that this pcr key signed, in this state of the firmware and not in others.</summary>
    /// <param name="firmwareState">Register 7.</param>
    /// <param name="signer">The pcr key (PEM) of the version that runs; null where it has none, and any counts.</param>
    internal bool IsFor(string firmwareState, string? signer) => IsWhole && !IsLoose && FirmwareState == firmwareState && GoesBy(signer);

    /// <summary>Whether it goes by the signatures of this pcr key.</summary>
    /// <param name="signer">The key (PEM); null for any. A binding of an old systemd-cryptenroll may not say whose it is: it is taken for this one's.</param>
    public bool GoesBy(string? signer)
    {
        if (signer is null || PublicKey is null)
            return true;
        try
        {
            using RSA a = RSA.Create(), b = RSA.Create();
            a.ImportFromPem(PublicKey);
            b.ImportFromPem(signer);
            return a.ExportRSAPublicKey().AsSpan().SequenceEqual(b.ExportRSAPublicKey());
        }
        catch (Exception unread) when (unread is ArgumentException or CryptographicException)
        {
            return PublicKey.Trim() == signer.Trim();
        }
    }
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

    /// <summary>The register that holds what the firmware checks, and with which keys.</summary>
    internal const int FirmwareRegister = 7;

    private const string Tpm = "systemd-tpm2", Recovery = "systemd-recovery", Registers = "tpm2-pcrs", SignedRegisters = "tpm2_pubkey_pcrs", SigningKey = "tpm2_pubkey";
    private const string State = "register-7", Revoked = "dbx", Boot = "boot";

    /// <summary>Tokens of bindings whose slot is gone: taking one out was cut short.</summary>
    internal IReadOnlyList<int> UnusedTokens { get; init; } = [];

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
            return new DiskKeys(document.RootElement.GetProperty("keyslots").EnumerateObject().Count(), [.. Of(Tpm).Select(Binding)], Of(Recovery))
            {
                UnusedTokens = [.. tokens.Where(static token => token.Slots.Length == 0 && token.Body.GetProperty("type").GetString() is Tpm or TokenType).Select(static token => token.Id)],
            };

            TpmBinding Binding(int slot)
            {
                (int Id, JsonElement Body, int[] Slots)[] about = [.. tokens.Where(token => token.Slots.Contains(slot))];
                JsonElement? Find(string type) => about.Where(token => token.Body.GetProperty("type").GetString() == type).Select(static token => (JsonElement?)token.Body).FirstOrDefault();
                JsonElement? ours = Find(TokenType);
                int[] registers = Numbers(Find(Tpm), Registers), signed = Numbers(Find(Tpm), SignedRegisters);
                return new TpmBinding(slot, registers, Text(ours, State), Text(ours, Revoked))
                {
                    PublicKey = Text(Find(Tpm), SigningKey) is { } key ? System.Text.Encoding.UTF8.GetString(Convert.FromBase64String(key)) : null,
                    LoosenedIn = Text(ours, Boot),
                    IsWhole = ours is not null,
                    // Nobody else asks for register 15 as it is before a root runs: what is so was to be one of ours.
                    IsOurs = ours is not null || (signed is [BootMeasurement.Register] && registers is [TpmRegister.Number] or [FirmwareRegister, TpmRegister.Number]),
                    Tokens = [.. about.Select(static token => token.Id)],
                };
            }
        }
        catch (Exception broken) when (broken is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or OverflowException)
        {
            throw new MalformedException("luks2", "json", "a volume's header, as cryptsetup prints it", broken.Message);
        }
    }

    /// <summary>Our token for a slot.</summary>
    internal static string Token(int slot, string? firmwareState, string revoked, string? loosenedIn = null)
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
            if (loosenedIn is not null)
                writer.WriteString(Boot, loosenedIn);
            writer.WriteEndObject();
        }

        return System.Text.Encoding.UTF8.GetString(buffer.ToArray());
    }

    private static string? Text(JsonElement? body, string name) => body is { } there && there.TryGetProperty(name, out JsonElement value) ? value.GetString() : null;

    private static int[] Numbers(JsonElement? body, string name) =>
        body is { } there && there.TryGetProperty(name, out JsonElement value) ? [.. value.EnumerateArray().Select(static each => each.GetInt32()).Order()] : [];

    private static int Number(string text) => int.Parse(text, NumberStyles.None, CultureInfo.InvariantCulture);
}
