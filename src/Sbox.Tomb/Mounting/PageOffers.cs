namespace Sbox.Tomb.Mounting;

/// <summary>
/// Opening a blob costs far more than a few bytes of it are worth. Where a file is read here and there, the kernel gets all of what was opened, and asks for each only
/// once. One blob at a time: putting waits for reads that are under way.
/// </summary>
/// <param name="blobs">Lends the blobs.</param>
/// <param name="put">Puts bytes of a file into the kernel's cache.</param>
internal sealed class PageOffers(BlobReader blobs, PageOffers.Put put)
{
    private const int PageSize = 4096;
    private int offering;

    /// <summary>Puts bytes of a file into the kernel's cache.</summary>
    /// <param name="node">The file's number.</param>
    /// <param name="offset">Where in the file: the beginning of a page.</param>
    /// <param name="bytes">The bytes, borrowed for the call.</param>
    public delegate void Put(ulong node, long offset, ReadOnlySpan<byte> bytes);

    /// <summary>Offers a blob, unless it was offered or another one is just then.</summary>
    /// <param name="node">The file's number.</param>
    /// <param name="begin">Where in the file the blob begins.</param>
    /// <param name="plain">The blob; it may be disposed when this returns.</param>
    public void Offer(ulong node, long begin, PlainBlob plain)
    {
        if (plain.IsOffered || Interlocked.CompareExchange(ref offering, 1, 0) != 0)
            return;
        plain.IsOffered = true;
        PlainBlob own = blobs.Share(plain);
        _ = Task.Run(() =>
        {
            try
            {
                int skipped = (int)Math.Min(-begin & (PageSize - 1), own.Length);
                put(node, begin + skipped, own.Span[skipped..]);
            }
            finally
            {
                own.Dispose();
                Volatile.Write(ref offering, 0); // whatever became of this one, the next has its turn
            }
        });
    }
}
