using System.Buffers.Binary;
using System.Security.Cryptography;

namespace Sbox.Codecs.Verity;

/// <summary>What fs-verity keeps beside a file's bytes: its Merkle tree and the descriptor whose hash is the file's digest.</summary>
/// <param name="Tree">Blocks of 4096 bytes, the root's level first, the level over the file's bytes last; empty for a file of one block or none.</param>
/// <param name="Descriptor">256 bytes, <c>struct fsverity_descriptor</c>.</param>
/// <remarks>docs/formats/fs-verity.md, after the kernel's Documentation/filesystems/fsverity.rst.</remarks>
public sealed record VerityTree(byte[] Tree, byte[] Descriptor)
{
    private const int BlockSize = VerityHasher.BlockSize;

    /// <summary>The digest that the kernel measures.</summary>
    public Checksum Digest => Checksum.Of(Descriptor);

    /// <summary>Makes it of a file's bytes; kept in memory is a 127th of them.</summary>
    /// <param name="content">The file from here to its end.</param>
    /// <exception cref="IOException">The stream failed.</exception>
    public static VerityTree Of(Stream content)
    {
        var level = new MemoryStream();
        var block = new byte[BlockSize];
        ulong size = 0;
        int read;
        while ((read = content.ReadAtLeast(block, BlockSize, throwOnEndOfStream: false)) > 0)
        {
            size += (ulong)read;
            block.AsSpan(read).Clear();
            level.Write(SHA256.HashData(block));
        }

        // The kernel hashes no block at all of an empty file: its root hash is 32 zero bytes.
        if (size == 0)
            return new VerityTree([], MakeDescriptor(0, stackalloc byte[Checksum.Size]));
        var levels = new List<byte[]>();
        byte[] hashes = level.ToArray();
        while (hashes.Length > Checksum.Size)
        {
            byte[] blocks = Padded(hashes);
            levels.Insert(0, blocks);
            hashes = new byte[blocks.Length / BlockSize * Checksum.Size];
            for (int at = 0; at < blocks.Length; at += BlockSize)
                SHA256.HashData(blocks.AsSpan(at, BlockSize), hashes.AsSpan(at / BlockSize * Checksum.Size));
        }

        return new VerityTree([.. levels.SelectMany(static each => each)], MakeDescriptor(size, hashes));
    }

    /// <summary>The descriptor for a root hash and a file's size; what stays zero is salt, signature and reserved space.</summary>
    internal static byte[] MakeDescriptor(ulong fileSize, ReadOnlySpan<byte> rootHash)
    {
        var descriptor = new byte[256];
        descriptor[0] = 1; // version
        descriptor[1] = 1; // FS_VERITY_HASH_ALG_SHA256
        descriptor[2] = 12; // log2 of the block size
        BinaryPrimitives.WriteUInt64LittleEndian(descriptor.AsSpan(8), fileSize);
        rootHash.CopyTo(descriptor.AsSpan(16));
        return descriptor;
    }

    private static byte[] Padded(byte[] hashes)
    {
        var blocks = new byte[(hashes.Length + BlockSize - 1) / BlockSize * BlockSize];
        hashes.CopyTo(blocks, 0);
        return blocks;
    }
}
