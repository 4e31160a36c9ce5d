namespace Sbox.Tomb.Mounting;

/// <summary>
/// Opening a blob costs far more than a few bytes of it are worth. Where a file is read here and there, the kernel gets all of what was opened, and asks for each only
/// once. One blob after the other: putting waits for reads that are under way.
/// </summary>
/// <param name="blobs">Lends the blobs.</param>
/// <param name="put">Puts bytes of a file into the kernel's cache.</param>
internal sealed class PageOffers(BlobReader blobs, PageOffers.Put put)
{
    private const int PageSize = 4096;
    private const long WaitingAtMost = 8 << 20;

    private readonly Lock gate = new();
    private readonly Queue<(ulong Node, long Begin, PlainBlob Plain)> waiting = new();
    private long bytes;
    private bool working;

    /// <summary>Puts bytes of a file into the kernel's cache.</summary>
    /// <param name="node">The file's number.</param>
    /// <param name="offset">Where in the file: the beginning of a page.</param>
    /// <param name="bytes">The bytes, borrowed for the call.</param>
    public delegate void Put(ulong node, long offset, ReadOnlySpan<byte> bytes);

    /// <summary>Offers a blob, unless it was offered or too many wait already.</summary>
    /// <param name="node">The file's number.</param>
    /// <param name="begin">Where in the file the blob begins.</param>
    /// <param name="plain">The blob; it may be disposed when this returns.</param>
    public void Offer(ulong node, long begin, PlainBlob plain)
    {
        lock (gate)
        {
            if (plain.IsOffered || (bytes > 0 && bytes + plain.Length > WaitingAtMost))
                return;
            plain.IsOffered = true;
            bytes += plain.Length;
            waiting.Enqueue((node, begin, blobs.Share(plain)));
            if (working)
                return;
            working = true;
        }

        _ = Task.Run(Work);
    }

    private void Work()
    {
        while (Next() is { Plain: { } plain } next)
        {
            try
            {
                int skipped = (int)Math.Min(-next.Begin & (PageSize - 1), plain.Length);
                put(next.Node, next.Begin + skipped, plain.Span[skipped..]);
            }
            catch (Exception gone) when (gone is ObjectDisposedException or Sbox.Linux.LinuxException)
            {
                continue; // whatever became of this one, the next has its turn
            }
            finally
            {
                plain.Dispose();
            }
        }
    }

    private (ulong Node, long Begin, PlainBlob? Plain) Next()
    {
        lock (gate)
        {
            if (waiting.TryDequeue(out (ulong Node, long Begin, PlainBlob Plain) next))
            {
                bytes -= next.Plain.Length;
                return next;
            }

            working = false;
            return default;
        }
    }
}
