using System.Buffers;
using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>Fetches many blobs in few requests: neighbours in a pack come as one range.</summary>
public static class BlobFetcher
{
    /// <summary>A gap of this many bytes between two wanted blobs is read along: cheaper than another request.</summary>
    private const int GapAtMost = 128 * 1024;

    /// <summary>A range grows no larger than this, but for a single blob that is.</summary>
    private const int RangeAtMost = 4 * 1024 * 1024;

    /// <summary>A blob that was fetched.</summary>
    /// <param name="place">Which.</param>
    /// <param name="plain">Its plain bytes, verified; lent for the call.</param>
    public delegate void Fetched(BlobLocation place, ReadOnlySpan<byte> plain);

    /// <summary>Plans the ranges for some blobs.</summary>
    /// <returns>Ranges with their blobs in order of offset; a blob that is wanted twice is there once.</returns>
    public static IReadOnlyList<BlobRange> Plan(IEnumerable<BlobLocation> wanted)
    {
        var ranges = new List<BlobRange>();
        List<BlobLocation> current = [];
        foreach (BlobLocation place in wanted.Distinct().OrderBy(static place => place.Pack).ThenBy(static place => place.Offset))
        {
            if (current.Count > 0 && (current[0].Pack != place.Pack || place.Offset - current[^1].End > GapAtMost || place.End - current[0].Offset > RangeAtMost))
            {
                ranges.Add(new BlobRange(current));
                current = [];
            }

            current.Add(place);
        }

        if (current.Count > 0)
            ranges.Add(new BlobRange(current));
        return ranges;
    }

    /// <summary>Fetches a range and opens its blobs. A damaged blob is fetched from another pack where there is one.</summary>
    /// <param name="tomb">The tomb.</param>
    /// <param name="range">What to fetch.</param>
    /// <param name="onBlob">Told each blob, in order of offset, on the thread that fetched.</param>
    /// <param name="onFailure">Told each blob that cannot be had; null lets the first failure end it.</param>
    /// <param name="cancel">Ends it.</param>
    public static async Task Fetch(TombRepository tomb, BlobRange range, Fetched onBlob, Action<BlobLocation, TombException>? onFailure, CancellationToken cancel)
    {
        byte[] bytes = ArrayPool<byte>.Shared.Rent(range.Length);
        byte[] plain = ArrayPool<byte>.Shared.Rent(range.Blobs.Max(static blob => blob.PlainLength));
        try
        {
            bool whole = await TryLoad(tomb, range, bytes, cancel);
            foreach (BlobLocation blob in range.Blobs)
            {
                try
                {
                    Memory<byte> into = plain.AsMemory(0, blob.PlainLength);
                    if (!whole || !TryOpen(tomb, blob, bytes.AsSpan((int)(blob.Offset - range.Offset), (int)blob.Length), into.Span))
                        (await tomb.LoadBlob(blob.Type, blob.Id, cancel)).CopyTo(into);
                    onBlob(blob, into.Span);
                }
                catch (TombException lost) when (onFailure is not null)
                {
                    onFailure(blob, lost);
                }
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
            ArrayPool<byte>.Shared.Return(plain);
        }
    }

    private static async Task<bool> TryLoad(TombRepository tomb, BlobRange range, byte[] bytes, CancellationToken cancel)
    {
        try
        {
            await tomb.Backend.LoadRange(TombRepository.PackOf(range.Pack), range.Offset, bytes.AsMemory(0, range.Length), cancel);
            return true;
        }
        catch (BackendException gone) when (!gone.IsTransient)
        {
            return false; // each blob is then looked for by itself, elsewhere too
        }
    }

    private static bool TryOpen(TombRepository tomb, BlobLocation blob, Span<byte> bytes, Span<byte> plain)
    {
        try
        {
            tomb.OpenBlob(blob, bytes, plain);
            return true;
        }
        catch (TombDamagedException)
        {
            return false;
        }
    }
}

/// <summary>Blobs that lie near each other in one pack.</summary>
/// <param name="Blobs">In order of offset; at least one.</param>
public sealed record BlobRange(IReadOnlyList<BlobLocation> Blobs)
{
    /// <summary>The pack.</summary>
    public Checksum Pack => Blobs[0].Pack;

    /// <summary>Where the range begins.</summary>
    public long Offset => Blobs[0].Offset;

    /// <summary>Its bytes.</summary>
    public int Length => (int)(Blobs[^1].End - Offset);
}
