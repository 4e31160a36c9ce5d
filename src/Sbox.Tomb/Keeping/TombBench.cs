using System.Diagnostics;
using System.Security.Cryptography;
using Sbox.Codecs;
using Sbox.Tomb.Crypto;

namespace Sbox.Tomb;

/// <summary>What a tomb's place and this machine do.</summary>
/// <param name="RoundTrip">A question with a short answer, the median of several.</param>
/// <param name="SealedPerSecond">Bytes that one processor hashes, compresses and seals in a second; of the kind that does not compress.</param>
/// <param name="WrittenPerSecond">Bytes that the place takes in a second, until they are durable there.</param>
/// <param name="ReadPerSecond">Bytes that it gives back in a second, all in one request.</param>
/// <param name="SmallRead">4 KiB out of the middle of a file, the median of several.</param>
public sealed record TombSpeed(TimeSpan RoundTrip, double SealedPerSecond, double WrittenPerSecond, double ReadPerSecond, TimeSpan SmallRead);

/// <summary>Measures a tomb with a pack of random bytes, which it writes, reads and deletes again. Killed in between, it leaves a pack that the next prune takes.</summary>
public static class TombBench
{
    /// <summary>Bytes that are written and read.</summary>
    public const int PackSize = 16 << 20;

    private const int Blob = 1 << 20, Small = 4096, Times = 9;

    /// <summary>Measures. A shared lock is held by the caller.</summary>
    /// <param name="tomb">An open tomb.</param>
    /// <param name="cancel">Ends it; the pack is deleted all the same.</param>
    /// <exception cref="TombDamagedException">What came back is not what was written.</exception>
    /// <exception cref="BackendException">The place does not answer, or does not let anything be deleted.</exception>
    public static async Task<TombSpeed> Run(TombRepository tomb, CancellationToken cancel)
    {
        TimeSpan roundTrip = await Median(() => tomb.Backend.Size(StoredFile.Config, cancel));
        var bytes = new byte[PackSize];
        double sealing = Seal(tomb, bytes);
        StoredFile file = TombRepository.PackOf(Checksum.Of(bytes));
        try
        {
            long begun = Stopwatch.GetTimestamp();
            await tomb.Backend.Save(file, bytes, cancel);
            double writing = bytes.Length / Stopwatch.GetElapsedTime(begun).TotalSeconds;
            var back = new byte[bytes.Length];
            begun = Stopwatch.GetTimestamp();
            await tomb.Backend.LoadRange(file, 0, back, cancel);
            double reading = bytes.Length / Stopwatch.GetElapsedTime(begun).TotalSeconds;
            if (!back.AsSpan().SequenceEqual(bytes))
                throw new TombDamagedException(tomb.Backend.Location, file.Path, "what came back is not what was written");
            TimeSpan small = await Median(() => tomb.Backend.LoadRange(file, RandomNumberGenerator.GetInt32(PackSize - Small), back.AsMemory(0, Small), cancel));
            return new TombSpeed(roundTrip, sealing, writing, reading, small);
        }
        finally
        {
            await tomb.Backend.Delete(file, CancellationToken.None);
        }
    }

    // Fills it with sealed blobs: what a pack is.
    private static double Seal(TombRepository tomb, Span<byte> into)
    {
        Span<byte> plain = new byte[Blob - SealingKey.Overhead];
        RandomNumberGenerator.Fill(plain);
        var packed = new byte[Zstandard.Bound(plain.Length)];
        long begun = Stopwatch.GetTimestamp();
        for (int at = 0; at < into.Length; at += Blob)
        {
            plain[0]++;
            Checksum.Of(plain);
            Zstandard.Compress(plain, packed);
            tomb.Key.Seal(plain, into.Slice(at, Blob));
        }

        return into.Length / Stopwatch.GetElapsedTime(begun).TotalSeconds;
    }

    private static async Task<TimeSpan> Median(Func<Task> ask)
    {
        var times = new List<TimeSpan>();
        for (int time = 0; time < Times; time++)
        {
            long begun = Stopwatch.GetTimestamp();
            await ask();
            times.Add(Stopwatch.GetElapsedTime(begun));
        }

        return times.Order().ElementAt(Times / 2);
    }
}
