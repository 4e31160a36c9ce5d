using System.Text.Json;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb.Crypto;

namespace Sbox.Tomb;

/// <summary>A file of <c>keys/</c>: the master key, sealed under a key that scrypt makes of a password.</summary>
/// <param name="Id">The file's name.</param>
/// <param name="Created">When it was made.</param>
/// <param name="Username">By whom.</param>
/// <param name="Hostname">Where.</param>
/// <param name="Cost">scrypt's N.</param>
/// <param name="BlockSize">scrypt's r.</param>
/// <param name="Lanes">scrypt's p.</param>
/// <param name="Salt">scrypt's salt.</param>
/// <param name="Data">The sealed master key.</param>
public sealed record KeyRecord(
    Checksum Id, Moment Created, string Username, string Hostname, int Cost, int BlockSize, int Lanes, byte[] Salt, byte[] Data)
{
    private const string Format = "restic key";

    // What restic's calibration comes to on most machines; 32 MiB for each lane that runs.
    internal const int NewCost = 32768;

    private const int NewBlockSize = 8, NewLanes = 2;

    /// <summary>Reads a key file.</summary>
    /// <exception cref="MalformedException">It is none, or asks for a derivation that is not known or would need more than 1 GiB.</exception>
    public static KeyRecord Parse(ReadOnlySpan<byte> json, Checksum id)
    {
        string kdf = "";
        KeyRecord key = JsonFields.Read(json, Format, (ref Utf8JsonReader reader) =>
        {
            var read = new KeyRecord(id, default, "", "", 0, 0, 0, [], []);
            JsonFields.Object(ref reader);
            while (JsonFields.Next(ref reader))
            {
                switch (reader.GetString())
                {
                    case "created":
                        read = read with { Created = JsonFields.Time(ref reader) };
                        break;
                    case "username":
                        read = read with { Username = JsonFields.Text(ref reader) };
                        break;
                    case "hostname":
                        read = read with { Hostname = JsonFields.Text(ref reader) };
                        break;
                    case "kdf":
                        kdf = JsonFields.Text(ref reader);
                        break;
                    case "N":
                        read = read with { Cost = checked((int)JsonFields.Number(ref reader)) };
                        break;
                    case "r":
                        read = read with { BlockSize = checked((int)JsonFields.Number(ref reader)) };
                        break;
                    case "p":
                        read = read with { Lanes = checked((int)JsonFields.Number(ref reader)) };
                        break;
                    case "salt":
                        read = read with { Salt = JsonFields.Bytes(ref reader) };
                        break;
                    case "data":
                        read = read with { Data = JsonFields.Bytes(ref reader) };
                        break;
                    default:
                        JsonFields.Skip(ref reader);
                        break;
                }
            }

            return read;
        });
        if (kdf != "scrypt")
            throw new MalformedException(Format, "kdf", "scrypt", $"'{kdf}'");
        bool sane = key.Cost >= 2 && System.Numerics.BitOperations.IsPow2(key.Cost) && key.BlockSize is >= 1 and <= 64 && key.Lanes is >= 1 and <= 64
            && 128L * key.Cost * key.BlockSize <= 1 << 30;
        return sane ? key : throw new MalformedException(Format, "N, r, p", "scrypt parameters of at most 1 GiB", $"{key.Cost}, {key.BlockSize}, {key.Lanes}");
    }

    /// <summary>The master key; null when the password is not this key's.</summary>
    public SealingKey? Open(SecretMemory password)
    {
        using var wrapping = new SealingKey(Scrypt.Derive(password.Span, Salt, Cost, BlockSize, Lanes, SealingKey.Size));
        using var json = new SecretMemory(Math.Max(0, Data.Length - SealingKey.Overhead));
        return wrapping.TryOpen(Data, json.Span) ? Master(json.Span) : null;
    }

    /// <summary>A key file for a password.</summary>
    /// <param name="master">What it opens.</param>
    /// <param name="password">The password, UTF-8; borrowed.</param>
    /// <param name="now">When.</param>
    /// <param name="username">By whom.</param>
    /// <param name="hostname">Where.</param>
    /// <param name="cost">scrypt's N: <see cref="NewCost"/> wherever the password is one that somebody may guess at.</param>
    /// <returns>The file's bytes; its name is their checksum.</returns>
    internal static byte[] Make(SealingKey master, SecretMemory password, Moment now, string username, string hostname, int cost = NewCost)
    {
        byte[] salt = System.Security.Cryptography.RandomNumberGenerator.GetBytes(64);
        using var wrapping = new SealingKey(Scrypt.Derive(password.Span, salt, cost, NewBlockSize, NewLanes, SealingKey.Size));
        using var secret = new SecretMemory(256);
        int used = WriteMaster(master.Secret, secret.Span);
        byte[] data = wrapping.Seal(secret.Span[..used]);

        var json = new GoJson();
        json.Raw("{\"created\":"u8);
        json.Time(now);
        json.Raw(",\"username\":"u8);
        json.Text(username);
        json.Raw(",\"hostname\":"u8);
        json.Text(hostname);
        json.Raw(",\"kdf\":\"scrypt\",\"N\":"u8);
        json.Number((ulong)cost);
        json.Raw(",\"r\":"u8);
        json.Number(NewBlockSize);
        json.Raw(",\"p\":"u8);
        json.Number(NewLanes);
        json.Raw(",\"salt\":"u8);
        json.Bytes(salt);
        json.Raw(",\"data\":"u8);
        json.Bytes(data);
        json.Raw("}"u8);
        return json.Written.ToArray();
    }

    // {"mac":{"k":"16 bytes","r":"16 bytes"},"encrypt":"32 bytes"}, base64; written and read without a copy on the collector's heap.
    private static int WriteMaster(ReadOnlySpan<byte> secret, Span<byte> into)
    {
        int used = 0;
        Put("{\"mac\":{\"k\":\""u8, into, ref used);
        Encode(secret[32..48], into, ref used);
        Put("\",\"r\":\""u8, into, ref used);
        Encode(secret[48..64], into, ref used);
        Put("\"},\"encrypt\":\""u8, into, ref used);
        Encode(secret[..32], into, ref used);
        Put("\"}"u8, into, ref used);
        return used;
    }

    private static void Put(ReadOnlySpan<byte> text, Span<byte> into, ref int used)
    {
        text.CopyTo(into[used..]);
        used += text.Length;
    }

    private static void Encode(ReadOnlySpan<byte> secret, Span<byte> into, ref int used)
    {
        System.Buffers.Text.Base64.EncodeToUtf8(secret, into[used..], out _, out int written);
        used += written;
    }

    private static SealingKey Master(ReadOnlySpan<byte> json)
    {
        var secret = new SecretMemory(SealingKey.Size);
        var reader = new Utf8JsonReader(json);
        int found = 0;
        Span<byte> decoded = stackalloc byte[48];
        while (reader.Read())
        {
            if (reader.TokenType != JsonTokenType.PropertyName)
                continue;
            Span<byte> part = reader.ValueTextEquals("encrypt"u8) ? secret.Span[..32]
                : reader.ValueTextEquals("k"u8) ? secret.Span[32..48]
                : reader.ValueTextEquals("r"u8) ? secret.Span[48..64]
                : default;
            if (part.IsEmpty || !reader.Read() || reader.TokenType != JsonTokenType.String)
                continue;
            System.Buffers.Text.Base64.DecodeFromUtf8(reader.ValueSpan, decoded, out _, out int count);
            if (count == part.Length)
                found += count;
            decoded[..Math.Min(count, part.Length)].CopyTo(part);
            decoded.Clear();
        }

        return found == SealingKey.Size ? new SealingKey(secret) : throw new MalformedException(Format, "data", "the three parts of a master key", $"{found} bytes of them");
    }
}
