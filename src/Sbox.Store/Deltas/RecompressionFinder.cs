using System.Collections.Concurrent;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Finds files that are compressed and that can be made again out of what they unpack to, to the byte: each is compressed here, and compared. Kernel modules are most of what a kernel's update
/// brings, the initrd is half of the rest, and what they unpack to hardly differs from the kernel before.
/// </summary>
/// <param name="repository">Where the files are.</param>
/// <param name="tmp">Where bytes may wait.</param>
/// <param name="differs">Looks for the differences.</param>
/// <param name="found">What was found out of files before, null of those that cannot be made again; added to.</param>
/// <param name="cancel">Looked at every now and then.</param>
internal sealed class RecompressionFinder(Repository repository, Dir tmp, DifferencePool differs, ConcurrentDictionary<Checksum, Packing?> found, CancellationToken cancel) : IDisposable
{
    // Whoever compressed so many files in a way that is not known here compressed the rest so too.
    private const int Tries = 16;
    private readonly XzEncoders encoders = new();
    private int known, unknown;
    private long lastMake = 6; // as Debian's modules have it

    /// <summary>One file made so.</summary>
    /// <param name="How">How.</param>
    /// <param name="Patch">The differences of what old and new version unpack to.</param>
    public sealed record Found(Recompression How, Spool Patch) : IDisposable
    {
        /// <inheritdoc/>
        public void Dispose() => Patch.Dispose();
    }

    /// <summary>How to make a file so; null where that is not known, or not worth it.</summary>
    /// <param name="fresh">The file.</param>
    /// <param name="old">Its old version.</param>
    public Found? Find(DeltaItem fresh, OldVersion old)
    {
        bool isAsked = found.TryGetValue(fresh.Name.Checksum, out Packing? asked);
        if (isAsked ? asked is null : known == 0 && unknown >= Tries)
            return null;
        FileObject file = repository.LoadFile(fresh.Name.Checksum);
        using var content = new RandomContent(repository, file, tmp);
        Span<byte> first = stackalloc byte[Packing.ShapeSize];
        List<Packing> candidates = isAsked ? [asked!] : [.. Packing.Candidates(first[..content.ReadAt(first, 0)])];
        if (candidates.Count == 0)
            return null;
        using Spool? after = TryUnpack(file, candidates[0]), before = TryUnpack(repository.LoadFile(old.Checksum), candidates[0]);
        if (after is null || before is null || found.GetOrAdd(fresh.Name.Checksum, _ => MadeBy(candidates, after, content)) is not { } how)
            return null;
        (Spool patch, long unchanged) = differs.Of(before.ReadAt, before.Length, after.ReadAt, after.Length);
        if (unchanged >= after.Length / 2)
            return new Found(new Recompression(before.Length, after.Length, how), patch);
        patch.Dispose();
        return null;
    }

    /// <inheritdoc/>
    public void Dispose() => encoders.Dispose();

    private Packing? MadeBy(List<Packing> candidates, Spool unpacked, RandomContent wanted)
    {
        long last = Volatile.Read(ref lastMake);
        foreach (Packing how in candidates.OrderByDescending(each => each.Make == last))
        {
            if (!IsMadeBy(how, unpacked, wanted))
                continue;
            Volatile.Write(ref lastMake, how.Make);
            Interlocked.Increment(ref known);
            return how;
        }

        Interlocked.Increment(ref unknown);
        return null;
    }

    private bool IsMadeBy(Packing how, Spool unpacked, RandomContent wanted)
    {
        cancel.ThrowIfCancellationRequested();
        var made = new ComparedOutput(wanted);
        using var bytes = new StretchStream(unpacked.ReadAt, 0, unpacked.Length);
        how.Pack(bytes, unpacked.Length, made, encoders, () => made.IsSame);
        return made.IsSame && made.Length == wanted.Size;
    }

    private Spool? TryUnpack(FileObject file, Packing how)
    {
        try
        {
            return Recompressor.Unpacked(file, how, how.MaximumSize, tmp);
        }
        catch (MalformedException)
        {
            return null;
        }
    }

    // Compares what is written with a file.
    private sealed class ComparedOutput(RandomContent wanted) : OutputStream
    {
        private readonly byte[] buffer = new byte[64 * 1024];
        private long written;

        public override long Length => written;

        public bool IsSame { get; private set; } = true;

        public override void Write(ReadOnlySpan<byte> bytes)
        {
            while (IsSame && !bytes.IsEmpty)
            {
                ReadOnlySpan<byte> now = bytes[..Math.Min(bytes.Length, buffer.Length)];
                IsSame = now.SequenceEqual(buffer.AsSpan(0, wanted.ReadAt(buffer.AsSpan(0, now.Length), written)));
                written += now.Length;
                bytes = bytes[now.Length..];
            }
        }
    }
}
