using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Image;

/// <summary>
/// The key that signs commits, on a PKCS#11 token: an Ed25519 key that signs there. The class library knows no such keys, so it is openssl(1) that asks, by its
/// provider pkcs11; the engine of that name knows only RSA and curves of other kinds.
/// </summary>
internal static class TokenTree
{
    // openssl's own words for such a key, before its 32 bytes (RFC 8410).
    private static readonly byte[] PublicPrefix = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2); // a token with a button waits for a finger
    private const int KeySize = 32, SignatureSize = 64;

    /// <summary>Asks a token for the public part of a key.</summary>
    /// <exception cref="TokenException">There is no such token or key, it is of another kind, or the PIN is another one.</exception>
    public static Ed25519PublicKey Public(string uri, Passphrase pin)
    {
        byte[] encoded = Ask(uri, pin, ["pkey", "-pubout", "-outform", "DER", "-in"], "-out", null);
        return encoded.Length == PublicPrefix.Length + KeySize && encoded.AsSpan().StartsWith(PublicPrefix)
            ? new Ed25519PublicKey(encoded.AsSpan(PublicPrefix.Length))
            : throw new TokenException(Shown(uri), "the key there is no Ed25519 key, and commits are signed by such");
    }

    /// <summary>The key: what it signs, it signs on the token.</summary>
    /// <exception cref="TokenException">The token does not sign, or signs as another key than the one that is known.</exception>
    public static Ed25519Key Open(string uri, Ed25519PublicKey known, Passphrase pin) => Ed25519Key.Elsewhere(known, content =>
    {
        byte[] signature = Ask(uri, pin, ["pkeyutl", "-sign", "-rawin", "-inkey"], "-out", content);
        return signature.Length == SignatureSize && known.Verify(content, signature)
            ? signature : throw new TokenException(Shown(uri), $"what it signs is not by {known}, the key that tree.pub has");
    });

    // In files of their own: a token's answer is bytes, and openssl reads what is to be signed as a whole.
    private static byte[] Ask(string uri, Passphrase pin, IReadOnlyList<string> action, string into, byte[]? content)
    {
        string directory = Directory.CreateTempSubdirectory("sbox-token-").FullName, answer = Path.Combine(directory, "answer"), message = Path.Combine(directory, "message");
        using var limit = new CancellationTokenSource(Limit);
        try
        {
            if (content is not null)
                File.WriteAllBytes(message, content);
            // Where it is not told, the provider asks for it at the terminal, again and again. Not in the URI: what runs is for everyone to see.
            string named = uri;
            if (!uri.Contains("pin-source=", StringComparison.Ordinal) && !uri.Contains("pin-value=", StringComparison.Ordinal))
            {
                File.WriteAllText(Path.Combine(directory, "pin"), new string(pin.Characters));
                named = $"{uri}{(uri.Contains('?', StringComparison.Ordinal) ? "&" : "?")}pin-source=file:{directory}/pin";
            }

            ChildProcess.Check(new ChildCommand("openssl",
            [
                action[0], "-provider", "pkcs11", "-provider", "default", .. action.Skip(1), named, into, answer, .. content is null ? Array.Empty<string>() : ["-in", message],
            ])
            {
                Environment = TokenKey.Settings,
            }, cancel: limit.Token);
            return File.ReadAllBytes(answer);
        }
        catch (ChildFailedException refused)
        {
            string said = refused.LastLines.FirstOrDefault(static line => line.Contains("pkcs11", StringComparison.OrdinalIgnoreCase)) ?? refused.LastLines.LastOrDefault() ?? $"openssl ended with {refused.ExitCode}";
            throw new TokenException(Shown(uri), $"openssl has no Ed25519 key of it: {said.Trim()}");
        }
        catch (OperationCanceledException)
        {
            throw new TokenException(Shown(uri), $"openssl did not answer within {Limit.TotalSeconds:0} s");
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static string Shown(string uri) => uri.Split('?')[0];
}
