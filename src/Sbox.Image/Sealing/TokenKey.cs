using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using Sbox.Codecs;

namespace Sbox.Image;

/// <summary>A token's key cannot be used.</summary>
/// <param name="uri">The key, without its PIN.</param>
/// <param name="finding">What OpenSSL says.</param>
public sealed class TokenException(string uri, string finding) : Exception($"{uri}: {finding}")
{
    /// <summary>The key, without its PIN.</summary>
    public string Uri { get; } = uri;
}

/// <summary>
/// A private key that stays on a PKCS#11 token (a smart card, an HSM) and signs there, named by a URI as RFC 7512 has it. OpenSSL opens it: by its
/// provider pkcs11, or by the engine of that name where there is no provider (Debian 12).
/// </summary>
internal static class TokenKey
{
    private const string Module = "pkcs11";

    // By what OpenSSL, its provider and tokens find their settings: a child gets no variables but those that are named.
    private static readonly string[] Variables =
        ["OPENSSL_CONF", "OPENSSL_MODULES", "PKCS11_PROVIDER_MODULE", "PKCS11_MODULE_PATH", "SOFTHSM2_CONF", "P11_KIT_PROVIDER_URL"];

    /// <summary>What the environment says of tokens, for a program that opens them.</summary>
    public static IReadOnlyDictionary<string, string> Settings => Variables
        .Select(static name => KeyValuePair.Create(name, Environment.GetEnvironmentVariable(name))).Where(static each => each.Value is not null)
        .ToDictionary(static each => each.Key, static each => each.Value!);

    /// <summary>Opens an RSA key.</summary>
    /// <param name="uri">Such as <c>pkcs11:token=owner;object=db</c>. With <c>pin-source</c> or <c>pin-value</c> in it, the PIN is that.</param>
    /// <param name="pin">The token's PIN otherwise.</param>
    /// <exception cref="TokenException">There is no such token or key, or the PIN is another one.</exception>
    [SuppressMessage("Interoperability", "CA1416", Justification = "A box is Linux, and so is whoever builds one.")]
    public static RSA Open(string uri, Passphrase pin)
    {
        string query = uri.Contains('?', StringComparison.Ordinal) ? "&" : "?";
        string withPin = uri.Contains("pin-source=", StringComparison.Ordinal) || uri.Contains("pin-value=", StringComparison.Ordinal)
            ? uri : $"{uri}{query}pin-value={Uri.EscapeDataString(new string(pin.Characters))}";
        var findings = new List<string>();
        foreach (Func<SafeEvpPKeyHandle> open in (Func<SafeEvpPKeyHandle>[])
            [() => SafeEvpPKeyHandle.OpenKeyFromProvider(Module, withPin), () => SafeEvpPKeyHandle.OpenPrivateKeyFromEngine(Module, withPin)])
        {
            try
            {
                using SafeEvpPKeyHandle handle = open();
                return new RSAOpenSsl(handle);
            }
            catch (Exception refused) when (refused is CryptographicException or PlatformNotSupportedException)
            {
                findings.Add(refused.Message);
            }
        }

        throw new TokenException(Shown(uri), $"OpenSSL opens no RSA key there; provider: {findings[0]}; engine: {findings[1]}");
    }

    // A PIN in the URI is nobody's to read.
    private static string Shown(string uri) => uri.Split('?')[0];
}
