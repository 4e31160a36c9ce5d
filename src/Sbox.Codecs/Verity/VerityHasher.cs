using System.Security.Cryptography;

namespace Sbox.Codecs.Verity;

/// <summary>
/// Computes the fs-verity digest of a file while its bytes pass by: SHA-256, blocks of 4096 bytes, no salt, which is
/// what the kernel measures on a file that ostree or composefs sealed.
/// </summary>
/// <remarks>
/// docs/formats/fs-verity.md, after the kernel's Documentation/filesystems/fsverity.rst. Whole blocks are hashed where the caller
/// has them; kept are one block of data and one block of digests for each level of the tree (at most eight).
/// </remarks>
public sealed class VerityHasher
{
    /// <summary>Bytes in a block of data, and in a block of digests.</summary>
    public const int BlockSize = 4096;

    private readonly byte[] pending = new byte[BlockSize];
    private readonly List<Level> levels = [];
    private int pendingBytes;
    private ulong fileSize;
    private bool finished;

    /// <summary>Takes the next bytes of the file.</summary>
    /// <param name="data">Any number of bytes; borrowed for the call. Multiples of 4096 are hashed without a copy.</param>
    /// <exception cref="InvalidOperationException">The digest was already taken.</exception>
    public void Append(ReadOnlySpan<byte> data)
    {
        ThrowIfFinished();
        fileSize += (ulong)data.Length;
        if (pendingBytes > 0)
        {
            int taken = Math.Min(BlockSize - pendingBytes, data.Length);
            data[..taken].CopyTo(pending.AsSpan(pendingBytes));
            pendingBytes += taken;
            data = data[taken..];
            if (pendingBytes < BlockSize)
                return;
            AddDigestOf(pending, level: 0);
            pendingBytes = 0;
        }

        while (data.Length >= BlockSize)
        {
            AddDigestOf(data[..BlockSize], level: 0);
            data = data[BlockSize..];
        }

        data.CopyTo(pending);
        pendingBytes = data.Length;
    }

    /// <summary>Ends the file and returns its digest. The hasher takes no more bytes after that.</summary>
    /// <exception cref="InvalidOperationException">The digest was already taken.</exception>
    public Checksum Finish()
    {
        ThrowIfFinished();
        Span<byte> root = stackalloc byte[Checksum.Size];
        FinishTree(root);
        finished = true;

        return Checksum.Of(VerityTree.MakeDescriptor(fileSize, root));
    }

    /// <summary>The fs-verity digest of a file that is wholly in memory.</summary>
    /// <param name="content">The file's bytes; borrowed for the call.</param>
    public static Checksum Of(ReadOnlySpan<byte> content)
    {
        var hasher = new VerityHasher();
        hasher.Append(content);
        return hasher.Finish();
    }

    /// <summary>A digest as <c>fsverity digest</c> and <c>fsverity measure</c> print it: the algorithm, a colon, lower-case hex.</summary>
    public static string ToText(Checksum digest) => $"sha256:{digest}";

    private void ThrowIfFinished()
    {
        if (finished)
            throw new InvalidOperationException("This hasher already gave its digest.");
    }

    private void FinishTree(Span<byte> root)
    {
        // The kernel hashes no block at all of an empty file: its root hash is 32 zero bytes.
        root.Clear();
        if (fileSize == 0)
            return;

        if (pendingBytes > 0)
        {
            pending.AsSpan(pendingBytes).Clear();
            AddDigestOf(pending, level: 0);
        }

        // The first level that only ever saw one digest is above the tree's last block.
        int top = 0;
        for (; levels[top].Seen > 1; top++)
        {
            Level level = levels[top];
            if (level.Filled == 0)
                continue;
            level.Block.AsSpan(level.Filled).Clear();
            AddDigestOf(level.Block, top + 1);
        }

        levels[top].Block.AsSpan(0, Checksum.Size).CopyTo(root);
    }

    private void AddDigestOf(ReadOnlySpan<byte> block, int level)
    {
        while (true)
        {
            if (level == levels.Count)
                levels.Add(new Level());
            Level into = levels[level];
            SHA256.HashData(block, into.Block.AsSpan(into.Filled, Checksum.Size));
            into.Filled += Checksum.Size;
            into.Seen++;
            if (into.Filled < BlockSize)
                return;

            into.Filled = 0;
            block = into.Block;
            level++;
        }
    }

    private sealed class Level
    {
        public readonly byte[] Block = new byte[BlockSize];
        public int Filled;
        public ulong Seen;
    }
}
