using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>
/// The Poly1305 of the system's libcrypto, which is written for each processor: several times as fast as what can be compiled ahead for any amd64. The class library's own
/// hashes load the same library.
/// </summary>
public static unsafe partial class LibCrypto
{
    private static readonly nint Poly1305 = Fetch();

    /// <summary>Whether there is one.</summary>
    public static bool HasPoly1305 => Poly1305 != 0;

    /// <summary>Computes a tag.</summary>
    /// <param name="key">32 bytes: r, then s.</param>
    /// <param name="message">What is authenticated.</param>
    /// <param name="tag">16 bytes, written.</param>
    /// <exception cref="InvalidOperationException">libcrypto refused, for want of memory.</exception>
    public static void ComputePoly1305(ReadOnlySpan<byte> key, ReadOnlySpan<byte> message, Span<byte> tag)
    {
        // A context of its own for each message: freeing it clears the key.
        nint context = EVP_MAC_CTX_new(Poly1305);
        try
        {
            nuint written = 0;
            fixed (byte* secret = key, bytes = message, into = tag)
            {
                if (context == 0 || EVP_MAC_init(context, secret, (nuint)key.Length, 0) != 1 || EVP_MAC_update(context, bytes, (nuint)message.Length) != 1
                    || EVP_MAC_final(context, into, &written, (nuint)tag.Length) != 1 || written != 16)
                    throw new InvalidOperationException("libcrypto computes no Poly1305");
            }
        }
        finally
        {
            EVP_MAC_CTX_free(context);
        }
    }

    private static nint Fetch()
    {
        try
        {
            return EVP_MAC_fetch(0, "POLY1305", 0);
        }
        catch (Exception none) when (none is DllNotFoundException or EntryPointNotFoundException)
        {
            return 0; // the caller has another way
        }
    }

    [LibraryImport("libcrypto.so.3", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint EVP_MAC_fetch(nint library, string algorithm, nint properties);

    [LibraryImport("libcrypto.so.3")]
    private static partial nint EVP_MAC_CTX_new(nint mac);

    [LibraryImport("libcrypto.so.3")]
    private static partial int EVP_MAC_init(nint context, byte* key, nuint length, nint parameters);

    [LibraryImport("libcrypto.so.3")]
    private static partial int EVP_MAC_update(nint context, byte* data, nuint length);

    [LibraryImport("libcrypto.so.3")]
    private static partial int EVP_MAC_final(nint context, byte* tag, nuint* written, nuint size);

    [LibraryImport("libcrypto.so.3")]
    private static partial void EVP_MAC_CTX_free(nint context);
}
