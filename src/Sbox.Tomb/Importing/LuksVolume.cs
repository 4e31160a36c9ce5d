using System.Buffers.Binary;
using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>A disk of LUKS cannot be opened.</summary>
/// <param name="path">The file.</param>
/// <param name="finding">Why not.</param>
public sealed class LuksException(string path, string finding) : TombException($"{path}: {finding}");

/// <summary>
/// What is in a file that is a disk of LUKS1, as dyne's Tomb makes them: deciphered where it is read, with neither dm-crypt nor cryptsetup, and never written. Safe on several threads.
/// </summary>
public sealed class LuksVolume : IDisposable
{
    private const int DigestSize = 20;
    private readonly SafeFileHandle file;
    private readonly string path;
    private readonly SecretMemory key;
    private readonly long begin;

    private LuksVolume(SafeFileHandle file, string path, SecretMemory key, long begin)
    {
        (this.file, this.path, this.key, this.begin) = (file, path, key, begin);
        Length = (Files.Stat(file, path).Size - begin) / Luks1Header.SectorSize * Luks1Header.SectorSize;
    }

    /// <summary>Bytes of it.</summary>
    public long Length { get; }

    /// <summary>Opens one.</summary>
    /// <param name="path">The file.</param>
    /// <param name="passphrase">What opens it; borrowed for the call.</param>
    /// <exception cref="LuksException">It is none, or enciphered in another way, or this is not what opens it.</exception>
    public static LuksVolume Open(string path, SecretMemory passphrase)
    {
        using Dir parent = Dir.Open(Path.GetDirectoryName(Path.GetFullPath(path))!);
        SafeFileHandle file = parent.OpenFile(Path.GetFileName(path));
        try
        {
            Luks1Header header = Header(file, path);
            foreach (Luks1Slot slot in header.Slots.Where(static slot => slot.IsActive))
            {
                if (KeyIn(file, path, header, slot, passphrase) is { } key)
                    return new LuksVolume(file, path, key, (long)header.PayloadOffset * Luks1Header.SectorSize);
            }

            throw new LuksException(path, "this key does not open it");
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Reads whole sectors.</summary>
    /// <param name="offset">Where: a multiple of 512.</param>
    /// <param name="into">Takes them; of a length that is a multiple of 512 too.</param>
    /// <exception cref="LinuxException">The file cannot be read, or ends early (EIO).</exception>
    public void Read(long offset, Span<byte> into)
    {
        Fill(file, into, begin + offset, path);
        using var cipher = new SectorCipher(key.Span);
        cipher.Decrypt(into, offset / Luks1Header.SectorSize);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        file.Dispose();
        key.Dispose();
    }

    private static Luks1Header Header(SafeFileHandle file, string path)
    {
        var bytes = new byte[Luks1Header.Size];
        Luks1Header header;
        try
        {
            Fill(file, bytes, 0, path);
            header = Luks1Header.Parse(bytes);
        }
        catch (Exception wrong) when (wrong is MalformedException or LinuxException)
        {
            throw new LuksException(path, wrong.Message);
        }

        return header is { Cipher: "aes", Mode: "xts-plain64", Hash: "sha256" or "sha512", KeyLength: 32 or 64 } ? header
            : throw new LuksException(path, $"it is enciphered by {header.Cipher}-{header.Mode} with {header.KeyLength * 8} bits and {header.Hash}, and aes-xts-plain64 with sha256 or sha512 is what this opens");
    }

    // A slot's stripes are the volume's key, spread so that a few lost bytes of them lose it all, under the passphrase. Whether it is the key, its digest tells.
    private static SecretMemory? KeyIn(SafeFileHandle file, string path, Luks1Header header, Luks1Slot slot, SecretMemory passphrase)
    {
        HashAlgorithmName hash = HashOf(header);
        using var opener = new SecretMemory(header.KeyLength);
        Rfc2898DeriveBytes.Pbkdf2(passphrase.Span, slot.Salt, opener.Span, slot.Iterations, hash);
        int length = header.KeyLength * slot.Stripes;
        using var stripes = new SecretMemory((length + Luks1Header.SectorSize - 1) / Luks1Header.SectorSize * Luks1Header.SectorSize);
        Fill(file, stripes.Span, (long)slot.Offset * Luks1Header.SectorSize, path);
        using (var cipher = new SectorCipher(opener.Span))
            cipher.Decrypt(stripes.Span, 0);
        var key = new SecretMemory(header.KeyLength);
        Merge(stripes.Span[..length], key.Span, hash);
        Span<byte> digest = stackalloc byte[DigestSize];
        Rfc2898DeriveBytes.Pbkdf2(key.Span, header.DigestSalt, digest, header.DigestIterations, hash);
        if (CryptographicOperations.FixedTimeEquals(digest, header.Digest))
            return key;
        key.Dispose();
        return null;
    }

    private static HashAlgorithmName HashOf(Luks1Header header) => header.Hash == "sha256" ? HashAlgorithmName.SHA256 : HashAlgorithmName.SHA512;

    private static void Merge(ReadOnlySpan<byte> stripes, Span<byte> key, HashAlgorithmName hash)
    {
        key.Clear();
        for (int at = 0; at < stripes.Length; at += key.Length)
        {
            for (int i = 0; i < key.Length; i++)
                key[i] ^= stripes[at + i];
            if (at + key.Length < stripes.Length)
                Diffuse(key, hash);
        }
    }

    // Piece by piece, each as long as a digest, is hashed behind its number.
    private static void Diffuse(Span<byte> key, HashAlgorithmName hash)
    {
        Span<byte> digest = stackalloc byte[SHA512.HashSizeInBytes], numbered = stackalloc byte[sizeof(uint) + SHA512.HashSizeInBytes];
        int size = CryptographicOperations.HashData(hash, [], digest);
        for (int at = 0, piece = 0; at < key.Length; piece++)
        {
            int length = Math.Min(size, key.Length - at);
            BinaryPrimitives.WriteInt32BigEndian(numbered, piece);
            key.Slice(at, length).CopyTo(numbered[sizeof(uint)..]);
            CryptographicOperations.HashData(hash, numbered[..(sizeof(uint) + length)], digest);
            digest[..length].CopyTo(key[at..]);
            at += length;
        }

        digest.Clear();
        numbered.Clear();
    }

    private static void Fill(SafeFileHandle file, Span<byte> into, long offset, string path)
    {
        for (int done = 0; done < into.Length;)
        {
            int read = Files.ReadAt(file, into[done..], offset + done, path);
            done += read > 0 ? read : throw new LinuxException(Errno.EIO, "pread", $"{path}: it ends at {offset + done} bytes");
        }
    }
}
