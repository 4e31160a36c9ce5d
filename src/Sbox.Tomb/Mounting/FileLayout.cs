using Sbox.Codecs;

namespace Sbox.Tomb.Mounting;

/// <summary>Where each blob of a file begins.</summary>
/// <param name="blobs">The file's blobs in order.</param>
/// <param name="lengthOf">Plain bytes of a blob.</param>
internal sealed class FileLayout(IReadOnlyList<Checksum> blobs, Func<Checksum, int> lengthOf)
{
    private const int SmallestReadAhead = 16 * 1024;

    private readonly long[] ends = Ends(blobs, lengthOf);
    private int lastRead = -1;

    /// <summary>The blobs.</summary>
    public IReadOnlyList<Checksum> Blobs => blobs;

    /// <summary>Bytes of the file.</summary>
    public long Length => ends.Length == 0 ? 0 : ends[^1];

    /// <summary>The blob that holds a byte of the file.</summary>
    public int BlobAt(long offset)
    {
        int found = Array.BinarySearch(ends, offset);
        if (found < 0)
            return ~found;
        while (found < ends.Length && ends[found] <= offset)
            found++; // a blob ends at this byte, so the next one that has any holds it
        return found;
    }

    /// <summary>Where a blob begins.</summary>
    public long Begin(int blob) => blob == 0 ? 0 : ends[blob - 1];

    /// <summary>
    /// Notes a read, and says whether the file is read on from where it was read before: in pieces so large as the kernel asks for when it reads ahead itself.
    /// </summary>
    /// <param name="blob">The first blob that is read.</param>
    /// <param name="length">Bytes that are asked for.</param>
    public bool ReadsOn(int blob, int length)
    {
        int before = Interlocked.Exchange(ref lastRead, blob);
        return length >= SmallestReadAhead && Math.Abs(blob - before) <= 1; // requests that the kernel sent one after the other may come the other way round
    }

    private static long[] Ends(IReadOnlyList<Checksum> blobs, Func<Checksum, int> lengthOf)
    {
        var ends = new long[blobs.Count];
        long end = 0;
        for (int at = 0; at < ends.Length; at++)
            ends[at] = end += lengthOf(blobs[at]);
        return ends;
    }
}
