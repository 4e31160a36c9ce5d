using System.Globalization;
using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>A FIDO2 token that is plugged in.</summary>
/// <param name="Path">Its device: <c>/dev/hidraw3</c>.</param>
/// <param name="Name">What its maker calls it.</param>
public sealed record Fido2Device(string Path, string Name);

/// <summary>What a token refused, or what did not work with it.</summary>
/// <param name="device">The token's device.</param>
/// <param name="code">libfido2's code: above zero the token's own (CTAP2), below zero the library's.</param>
/// <param name="finding">libfido2's word for it.</param>
public sealed class Fido2Exception(string device, int code, string finding) : IOException($"{device}: the token answers {finding}")
{
    /// <summary>libfido2's code.</summary>
    public int Code => code;

    /// <summary>Whether the PIN was wrong, is missing, or is blocked (0x31 to 0x37, CTAP2's codes about PINs).</summary>
    public bool IsAboutPin => code is >= 0x31 and <= 0x37;

    /// <summary>Whether this token does not have the credential: it is another token.</summary>
    public bool IsAnotherToken => code is 0x2E or 0x22;
}

/// <summary>
/// A FIDO2 token by the system's libfido2: it keeps a secret of its own for each credential, and answers a salt with what that secret makes of it (CTAP2's hmac-secret).
/// Calls wait until somebody touches the token, or it gives up waiting. One thread at a time.
/// </summary>
/// <remarks>What the token answers passes through libfido2's memory, which it clears; only what comes out of here is locked against swap.</remarks>
public sealed unsafe partial class Fido2Token : IDisposable
{
    /// <summary>Bytes of a salt, and of the answer.</summary>
    public const int SecretLength = 32;

    private const string Library = "libfido2.so.1";
    private const int Es256 = -7, HmacSecret = 1, OptionFalse = 1, DevicesAtMost = 64;
    private nint device;

    private Fido2Token(nint device, string path) => (this.device, Path) = (device, path);

    /// <summary>Its device.</summary>
    public string Path { get; }

    /// <summary>Whether this system has libfido2.</summary>
    public static bool IsThere { get; } = Look();

    /// <summary>Whether it asks for a PIN before it makes a credential.</summary>
    public bool HasPin => fido_dev_has_pin(device) != 0;

    /// <summary>The tokens that are plugged in.</summary>
    /// <exception cref="Fido2Exception">They cannot be listed.</exception>
    public static IReadOnlyList<Fido2Device> Devices()
    {
        nint list = fido_dev_info_new(DevicesAtMost);
        try
        {
            nuint found = 0;
            Check("/dev/hidraw*", fido_dev_info_manifest(list, DevicesAtMost, &found));
            var devices = new List<Fido2Device>();
            for (nuint at = 0; at < found; at++)
            {
                nint one = fido_dev_info_ptr(list, at);
                devices.Add(new Fido2Device(Text(fido_dev_info_path(one)), $"{Text(fido_dev_info_manufacturer_string(one))} {Text(fido_dev_info_product_string(one))}".Trim()));
            }

            return devices;
        }
        finally
        {
            fido_dev_info_free(&list, DevicesAtMost);
        }
    }

    /// <summary>Opens one.</summary>
    /// <param name="path">Its device.</param>
    /// <exception cref="Fido2Exception">There is none there, it may not be opened, or it is older than FIDO2.</exception>
    public static Fido2Token Open(string path)
    {
        var token = new Fido2Token(fido_dev_new(), path);
        try
        {
            Check(path, fido_dev_open(token.device, path));
            return fido_dev_is_fido2(token.device) != 0 ? token : throw new Fido2Exception(path, 0x16, "that it is older than FIDO2 and keeps no secret");
        }
        catch
        {
            token.Dispose();
            throw;
        }
    }

    /// <summary>Makes a credential with a secret of its own. Somebody must touch the token.</summary>
    /// <param name="party">For whom, a name like a host's: asked for under the same name only.</param>
    /// <param name="user">What the token may show of it.</param>
    /// <param name="pin">Its PIN, ended by a zero byte; null where it has none.</param>
    /// <returns>What names the credential; no secret.</returns>
    /// <exception cref="Fido2Exception">It refused.</exception>
    public byte[] MakeCredential(string party, string user, SecretMemory? pin)
    {
        nint credential = fido_cred_new();
        Span<byte> random = stackalloc byte[SecretLength];
        System.Security.Cryptography.RandomNumberGenerator.Fill(random);
        try
        {
            fixed (byte* some = random, digits = pin is null ? default : pin.Span)
            {
                // Nobody verifies a signature: what is asked for is the secret. So the challenge is random, and so is the user's number.
                Check(Path, fido_cred_set_type(credential, Es256));
                Check(Path, fido_cred_set_clientdata_hash(credential, some, SecretLength));
                Check(Path, fido_cred_set_rp(credential, party, party));
                Check(Path, fido_cred_set_user(credential, some, SecretLength, user, user, 0));
                Check(Path, fido_cred_set_extensions(credential, HmacSecret));
                Check(Path, fido_cred_set_rk(credential, OptionFalse));
                Check(Path, fido_dev_make_cred(device, credential, digits));
            }

            return new ReadOnlySpan<byte>(fido_cred_id_ptr(credential), (int)fido_cred_id_len(credential)).ToArray();
        }
        finally
        {
            fido_cred_free(&credential);
        }
    }

    /// <summary>What the credential's secret makes of a salt: always the same. Somebody must touch the token.</summary>
    /// <param name="party">For whom the credential was made.</param>
    /// <param name="credential">What <see cref="MakeCredential"/> returned.</param>
    /// <param name="salt">32 bytes, no secret.</param>
    /// <param name="pin">Its PIN, ended by a zero byte; null to ask without. A token answers otherwise with a PIN than without.</param>
    /// <returns>32 bytes.</returns>
    /// <exception cref="Fido2Exception">It refused, or is another token.</exception>
    public SecretMemory Secret(string party, ReadOnlySpan<byte> credential, ReadOnlySpan<byte> salt, SecretMemory? pin)
    {
        nint assertion = fido_assert_new();
        Span<byte> challenge = stackalloc byte[SecretLength];
        System.Security.Cryptography.RandomNumberGenerator.Fill(challenge);
        try
        {
            fixed (byte* some = challenge, id = credential, salted = salt, digits = pin is null ? default : pin.Span)
            {
                Check(Path, fido_assert_set_rp(assertion, party));
                Check(Path, fido_assert_set_clientdata_hash(assertion, some, SecretLength));
                Check(Path, fido_assert_allow_cred(assertion, id, (nuint)credential.Length));
                Check(Path, fido_assert_set_extensions(assertion, HmacSecret));
                Check(Path, fido_assert_set_hmac_salt(assertion, salted, (nuint)salt.Length));
                Check(Path, fido_dev_get_assert(device, assertion, digits));
            }

            return fido_assert_count(assertion) == 1 && fido_assert_hmac_secret_len(assertion, 0) == SecretLength
                ? new SecretMemory(new ReadOnlySpan<byte>(fido_assert_hmac_secret_ptr(assertion, 0), SecretLength))
                : throw new Fido2Exception(Path, 0x16, "without a secret: it has no hmac-secret");
        }
        finally
        {
            fido_assert_free(&assertion);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        nint mine = device;
        device = 0;
        if (mine == 0)
            return;
        _ = fido_dev_close(mine); // one that was never opened is refused, and freed all the same
        fido_dev_free(&mine);
    }

    private static void Check(string path, int code)
    {
        if (code != 0)
            throw new Fido2Exception(path, code, Text(fido_strerr(code)) is { Length: > 0 } word ? word : code.ToString(CultureInfo.InvariantCulture));
    }

    private static string Text(nint text) => Marshal.PtrToStringUTF8(text) ?? "";

    private static bool Look()
    {
        try
        {
            fido_init(0);
            return true;
        }
        catch (Exception none) when (none is DllNotFoundException or EntryPointNotFoundException)
        {
            return false; // whoever asks says what to install
        }
    }

    // fido.h of libfido2 1.12 and 1.15; its bool is one byte.
    [LibraryImport(Library)]
    private static partial void fido_init(int flags);

    [LibraryImport(Library)]
    private static partial nint fido_strerr(int code);

    [LibraryImport(Library)]
    private static partial nint fido_dev_info_new(nuint count);

    [LibraryImport(Library)]
    private static partial int fido_dev_info_manifest(nint list, nuint count, nuint* found);

    [LibraryImport(Library)]
    private static partial nint fido_dev_info_ptr(nint list, nuint at);

    [LibraryImport(Library)]
    private static partial nint fido_dev_info_path(nint info);

    [LibraryImport(Library)]
    private static partial nint fido_dev_info_manufacturer_string(nint info);

    [LibraryImport(Library)]
    private static partial nint fido_dev_info_product_string(nint info);

    [LibraryImport(Library)]
    private static partial void fido_dev_info_free(nint* list, nuint count);

    [LibraryImport(Library)]
    private static partial nint fido_dev_new();

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int fido_dev_open(nint device, string path);

    [LibraryImport(Library)]
    private static partial int fido_dev_close(nint device);

    [LibraryImport(Library)]
    private static partial void fido_dev_free(nint* device);

    [LibraryImport(Library)]
    private static partial byte fido_dev_is_fido2(nint device);

    [LibraryImport(Library)]
    private static partial byte fido_dev_has_pin(nint device);

    [LibraryImport(Library)]
    private static partial int fido_dev_make_cred(nint device, nint credential, byte* pin);

    [LibraryImport(Library)]
    private static partial int fido_dev_get_assert(nint device, nint assertion, byte* pin);

    [LibraryImport(Library)]
    private static partial nint fido_cred_new();

    [LibraryImport(Library)]
    private static partial void fido_cred_free(nint* credential);

    [LibraryImport(Library)]
    private static partial int fido_cred_set_type(nint credential, int algorithm);

    [LibraryImport(Library)]
    private static partial int fido_cred_set_clientdata_hash(nint credential, byte* hash, nuint length);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int fido_cred_set_rp(nint credential, string id, string name);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int fido_cred_set_user(nint credential, byte* id, nuint length, string name, string shown, nint icon);

    [LibraryImport(Library)]
    private static partial int fido_cred_set_extensions(nint credential, int extensions);

    [LibraryImport(Library)]
    private static partial int fido_cred_set_rk(nint credential, int option);

    [LibraryImport(Library)]
    private static partial byte* fido_cred_id_ptr(nint credential);

    [LibraryImport(Library)]
    private static partial nuint fido_cred_id_len(nint credential);

    [LibraryImport(Library)]
    private static partial nint fido_assert_new();

    [LibraryImport(Library)]
    private static partial void fido_assert_free(nint* assertion);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int fido_assert_set_rp(nint assertion, string id);

    [LibraryImport(Library)]
    private static partial int fido_assert_set_clientdata_hash(nint assertion, byte* hash, nuint length);

    [LibraryImport(Library)]
    private static partial int fido_assert_allow_cred(nint assertion, byte* id, nuint length);

    [LibraryImport(Library)]
    private static partial int fido_assert_set_extensions(nint assertion, int extensions);

    [LibraryImport(Library)]
    private static partial int fido_assert_set_hmac_salt(nint assertion, byte* salt, nuint length);

    [LibraryImport(Library)]
    private static partial nuint fido_assert_count(nint assertion);

    [LibraryImport(Library)]
    private static partial byte* fido_assert_hmac_secret_ptr(nint assertion, nuint at);

    [LibraryImport(Library)]
    private static partial nuint fido_assert_hmac_secret_len(nint assertion, nuint at);
}
