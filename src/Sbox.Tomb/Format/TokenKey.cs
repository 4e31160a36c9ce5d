using System.Buffers;
using System.Text.Json;
using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>
/// What must be told to a FIDO2 token so that it makes a tomb's password again: a file on this machine or a stick, of no use without the token, and no secret.
/// </summary>
/// <param name="Credential">What the token knows its own secret by; 1,024 bytes at most.</param>
/// <param name="Salt">32 random bytes.</param>
/// <param name="WithPin">Whether the token is asked with its PIN: it answers otherwise without.</param>
public sealed record TokenKey(byte[] Credential, byte[] Salt, bool WithPin)
{
    /// <summary>For whom the token keeps the secret: CTAP2's relying party.</summary>
    public const string Party = "sbox.tomb";

    private const string Format = "FIDO2 key file";
    private const int SaltLength = 32, CredentialAtMost = 1024;

    /// <summary>Reads a file.</summary>
    /// <param name="json">An object with <c>fido2</c>, the party's name; <c>credential</c> and <c>salt</c>, base64; and <c>pin</c>.</param>
    /// <exception cref="MalformedException">It is none.</exception>
    public static TokenKey Parse(ReadOnlySpan<byte> json)
    {
        string party = "";
        TokenKey read = JsonFields.Read(json, Format, (ref Utf8JsonReader reader) =>
        {
            var key = new TokenKey([], [], false);
            JsonFields.Object(ref reader);
            while (JsonFields.Next(ref reader))
            {
                switch (reader.GetString())
                {
                    case "fido2":
                        party = JsonFields.Text(ref reader);
                        break;
                    case "credential":
                        key = key with { Credential = JsonFields.Bytes(ref reader) };
                        break;
                    case "salt":
                        key = key with { Salt = JsonFields.Bytes(ref reader) };
                        break;
                    case "pin":
                        reader.Read();
                        key = key with { WithPin = reader.GetBoolean() };
                        break;
                    default:
                        JsonFields.Skip(ref reader);
                        break;
                }
            }

            return key;
        });
        return party != Party ? throw new MalformedException(Format, "fido2", Party, $"'{party}'")
            : read.Salt.Length != SaltLength ? throw new MalformedException(Format, "salt", $"{SaltLength} bytes", $"{read.Salt.Length}")
            : read.Credential.Length is 0 or > CredentialAtMost ? throw new MalformedException(Format, "credential", $"1 to {CredentialAtMost} bytes", $"{read.Credential.Length}")
            : read;
    }

    /// <summary>The file's bytes, with a line end.</summary>
    public byte[] ToBytes()
    {
        var bytes = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(bytes))
        {
            writer.WriteStartObject();
            writer.WriteString("fido2", Party);
            writer.WriteBase64String("credential", Credential);
            writer.WriteBase64String("salt", Salt);
            writer.WriteBoolean("pin", WithPin);
            writer.WriteEndObject();
        }

        return [.. bytes.WrittenSpan, (byte)'\n'];
    }
}
