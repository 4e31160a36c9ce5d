using System.Text;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>The public keys of one engine that are believed, less those that were revoked.</summary>
/// <param name="engine">Whose keys they are.</param>
/// <remarks>After ostree-sign(1): <c>trusted.ENGINE</c>, <c>trusted.ENGINE.d/</c>, <c>revoked.ENGINE</c> and <c>revoked.ENGINE.d/</c>.</remarks>
public sealed class TrustedKeys(SignatureEngine engine)
{
    private const int NamedInErrors = 3;
    private readonly List<byte[]> keys = [], revoked = [];

    /// <summary>Where keys for the whole machine lie.</summary>
    public static IReadOnlyList<string> SystemDirectories { get; } = ["/etc/ostree", "/usr/share/ostree"];

    /// <summary>Whose keys they are.</summary>
    public SignatureEngine Engine { get; } = engine;

    /// <summary>Whether there is none yet.</summary>
    public bool IsEmpty => keys.Count == 0;

    /// <summary>Believes a key.</summary>
    /// <param name="text">As the engine writes public keys.</param>
    /// <exception cref="SignatureException">It is no public key of the engine.</exception>
    public void Add(string text) => keys.Add(Engine.ReadPublicKey(text));

    /// <summary>Believes all keys of a file.</summary>
    /// <exception cref="SignatureException">There is no such file, or something in it is no key, or nothing is.</exception>
    public void AddFile(string path)
    {
        int before = keys.Count;
        foreach (byte[] key in ReadFile(path))
            keys.Add(key);
        if (keys.Count == before)
            throw new SignatureException(path, $"signature: {Engine.Name}: no valid keys in file");
    }

    /// <summary>Believes what directories say: files that hold no key grant nothing and are passed over, but every revoked key must be readable.</summary>
    /// <exception cref="SignatureException">No key was found, or a file of revoked keys cannot be read.</exception>
    public void AddDirectories(IEnumerable<string> directories)
    {
        string[] given = [.. directories];
        foreach (string file in given.SelectMany(directory => Files(directory, "trusted")))
        {
            try
            {
                AddFile(file);
            }
            catch (SignatureException)
            {
                // A note beside the keys, or a key of another kind: nothing is believed because of it.
            }
        }

        if (IsEmpty)
            throw new SignatureException(null, $"signature: {Engine.Name}: no keys loaded from {string.Join(", ", given)}");
        foreach (string file in given.SelectMany(directory => Files(directory, "revoked")))
            revoked.AddRange(ReadFile(file));
    }

    /// <summary>Finds a signature that is one of the keys'. Where no key was given, those of <see cref="SystemDirectories"/> are asked.</summary>
    /// <returns>Which key's it was, in libostree's words.</returns>
    /// <exception cref="SignatureException">None is; says what was tried.</exception>
    public string Verify(ReadOnlySpan<byte> data, IReadOnlyList<byte[]> signatures)
    {
        if (IsEmpty)
            AddDirectories(SystemDirectories);
        var tried = new List<string>();
        foreach (byte[] signature in signatures)
        {
            foreach (byte[] key in keys.Where(key => !revoked.Exists(gone => gone.AsSpan().SequenceEqual(key))))
            {
                if (Engine.Verify(data, signature, key))
                    return Engine.Name == "dummy" ? "dummy: Signature verified" : $"{Engine.Name}: Signature verified successfully with key '{Engine.Describe(key)}'";
                tried.Add(Engine.Describe(key));
            }
        }

        throw new SignatureException(null, tried.Count switch
        {
            0 => $"{Engine.Name}: no signatures found",
            > NamedInErrors => $"{Engine.Name}: Signature couldn't be verified; tried {tried.Count} keys",
            _ => $"{Engine.Name}: Signature couldn't be verified with: {string.Join("; ", tried.Select(static key => $"key '{key}'"))}",
        });
    }

    private List<byte[]> ReadFile(string path)
    {
        try
        {
            return [.. Engine.KeysIn(Encoding.UTF8.GetString(File.ReadAllBytes(path))).Select(Engine.ReadPublicKey)];
        }
        catch (Exception unread) when (unread is IOException or UnauthorizedAccessException)
        {
            throw new SignatureException(path, $"no file of keys: {unread.Message}", unread);
        }
        catch (SignatureException malformed)
        {
            throw new SignatureException(path, malformed.Message, malformed);
        }
    }

    private IEnumerable<string> Files(string directory, string kind)
    {
        string name = Path.Combine(directory, $"{kind}.{Engine.Name}");
        if (File.Exists(name))
            yield return name;
        if (!Directory.Exists(name + ".d"))
            yield break;
        foreach (string file in Directory.EnumerateFiles(name + ".d").Order(StringComparer.Ordinal))
            yield return file;
    }
}
