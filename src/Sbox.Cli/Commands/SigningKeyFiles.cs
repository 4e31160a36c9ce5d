using System.Security.Cryptography;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Cli.StoreCommands;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Cli.Commands;

/// <summary>Files of Ed25519 keys as libostree has them: base64, the private one of 64 bytes, the public one of 32.</summary>
internal static class SigningKeyFiles
{
    private const uint OwnerAlone = 0x180; // 0600
    private const int SecretSize = 64, PublicSize = 32;

    /// <summary>How ostree signs and verifies by these.</summary>
    public static SignatureEngine Engine { get; } = SignatureEngine.Of("ed25519");

    /// <summary>Where the public part of a new private key goes.</summary>
    public static string PublicOf(string file) => Path.ChangeExtension(file, null) is { Length: > 0 } name && file.EndsWith(".key", StringComparison.Ordinal) ? $"{name}.pub" : $"{file}.pub";

    /// <summary>Makes a key: its private part in a file that its owner alone may read, its public part beside it. Neither is ever written over.</summary>
    /// <exception cref="Finding">One of the files is there.</exception>
    public static Ed25519PublicKey Create(string file)
    {
        using var key = Ed25519Key.Generate();
        byte[] secret = [.. key.ToSeed(), .. Convert.FromBase64String($"{key.Public}")];
        try
        {
            using Dir dir = Dir.Open(Path.GetDirectoryName(Path.GetFullPath(file)) ?? "/");
            string name = Path.GetFileName(file), open = Path.GetFileName(PublicOf(file));
            if (dir.Exists(open))
                throw new LinuxException(Errno.EEXIST, "openat", dir.Of(open));
            Write(dir, name, $"{Convert.ToBase64String(secret)}\n", OwnerAlone);
            Write(dir, open, $"{key.Public}\n", 0x1A4 /* 0644 */);
            Durable.Sync(dir);
            return key.Public;
        }
        catch (LinuxException taken) when (taken.Errno == Errno.EEXIST)
        {
            throw new Finding($"{taken.Path}: there is a file already", "It is not written over: whoever lost that key could not sign with it any more. Name another file");
        }
        finally
        {
            CryptographicOperations.ZeroMemory(secret);
        }
    }

    /// <summary>A public key, in base64 or in a file.</summary>
    /// <exception cref="Finding">It is none.</exception>
    public static Ed25519PublicKey ReadPublic(string text)
    {
        if (TryDecode(text, PublicSize) is { } inline)
            return new Ed25519PublicKey(inline);
        if (!File.Exists(text))
            throw new Finding($"{text}: neither a public key in base64 nor a file", "sbox keys create NAME.key makes one, with NAME.pub beside it");
        return TryReadPublic(text) ?? throw new Finding($"{text}: no Ed25519 public key", "Its public part is one line of 44 letters: NAME.pub beside the private key, or tree.pub of the owner's keys");
    }

    /// <summary>The public key in a file, or that of the private key in it; null where it holds none.</summary>
    public static Ed25519PublicKey? TryReadPublic(string file)
    {
        string line = FirstLine(file);
        if (TryDecode(line, PublicSize) is { } open)
            return new Ed25519PublicKey(open);
        if (TryDecode(line, SecretSize) is not { } secret)
            return null;
        using var key = Ed25519Key.Of(secret.AsSpan(0, SecretSize - PublicSize));
        CryptographicOperations.ZeroMemory(secret);
        return key.Public;
    }

    /// <summary>Whether a file holds a private key.</summary>
    public static bool IsPrivate(string file) => TryDecode(FirstLine(file), SecretSize) is not null;

    /// <summary>Signs with the private key in a file.</summary>
    /// <exception cref="Finding">It holds none.</exception>
    public static byte[] Sign(string file, byte[] bytes) => IsPrivate(file)
        ? Engine.Sign(bytes, FirstLine(file))
        : throw new Finding($"{file}: no Ed25519 private key", "Name the file that sbox keys create made, not the .pub beside it");

    /// <summary>What people compare by voice: the first half of the key's SHA-256, in fours.</summary>
    public static string Fingerprint(Ed25519PublicKey key) => string.Join(
        ' ', Convert.ToHexStringLower(SHA256.HashData(Convert.FromBase64String($"{key}")).AsSpan(0, 16)).Chunk(4).Select(static four => new string(four)));

    private static string FirstLine(string file) => Encoding.UTF8.GetString(RepositoryCommand.ReadFile(file)).Split('\n')[0].Trim();

    private static byte[]? TryDecode(string text, int size)
    {
        var bytes = new byte[text.Length];
        return Convert.TryFromBase64String(text, bytes, out int length) && length == size ? bytes[..length] : null;
    }

    private static void Write(Dir dir, string name, string text, uint mode)
    {
        using SafeFileHandle file = dir.CreateFile(name, mode);
        RandomAccess.Write(file, Encoding.ASCII.GetBytes(text), fileOffset: 0);
        Linux.Files.ChangeMode(file, mode, dir.Of(name));
        Durable.Sync(file, dir.Of(name));
    }
}
