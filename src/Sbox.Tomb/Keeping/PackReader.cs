using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb.Crypto;

namespace Sbox.Tomb;

/// <summary>Looks into a pack that is in memory.</summary>
internal static class PackReader
{
    private const int Piece = 64 * 1024, Sector = 4096, LargestPack = 1 << 30;

    /// <summary>Lends a pack's bytes, zeros where the disk cannot read them, to who looks at them.</summary>
    /// <param name="tomb">The tomb.</param>
    /// <param name="pack">Which.</param>
    /// <param name="size">Its bytes, as a listing has them; -1 where it does not say.</param>
    /// <param name="look">Gets them for the call.</param>
    /// <param name="cancel">Ends it.</param>
    public static async Task Lend(TombRepository tomb, Checksum pack, long size, Action<ReadOnlyMemory<byte>> look, CancellationToken cancel)
    {
        StoredFile file = TombRepository.PackOf(pack);
        if (size < 0)
            size = await tomb.Backend.Size(file, cancel) ?? throw new StoredFileMissingException(tomb.Backend.Location, file);
        if (size > LargestPack)
            throw new BackendException($"{tomb.Backend.Location}/{file.Path}", $"it has {size} bytes; no pack is so large", isTransient: false);
        NativeBlock block = tomb.CheckedPacks.Rent(Math.Max((int)size, 1));
        try
        {
            Memory<byte> bytes = block.Memory[..(int)size];
            try
            {
                await tomb.Backend.LoadRange(file, 0, bytes, cancel);
            }
            catch (StoredFileUnreadableException)
            {
                await Fill(tomb.Backend, file, bytes, 0, Piece, cancel);
            }

            look(bytes);
        }
        finally
        {
            tomb.CheckedPacks.Return(block);
        }
    }

    /// <summary>A pack's bytes, zeros where the disk cannot read them: a blob that lies there does not open then, and the others do.</summary>
    public static async Task<byte[]> Load(TombRepository tomb, Checksum pack, CancellationToken cancel)
    {
        StoredFile file = TombRepository.PackOf(pack);
        try
        {
            return await tomb.Backend.Load(file, cancel);
        }
        catch (StoredFileUnreadableException)
        {
            var bytes = new byte[await tomb.Backend.Size(file, cancel) ?? throw new StoredFileMissingException(tomb.Backend.Location, file)];
            await Fill(tomb.Backend, file, bytes, 0, Piece, cancel);
            return bytes;
        }
    }

    private static async Task Fill(IBackend backend, StoredFile file, Memory<byte> into, long offset, int piece, CancellationToken cancel)
    {
        for (int at = 0; at < into.Length; at += piece)
        {
            Memory<byte> part = into.Slice(at, Math.Min(piece, into.Length - at));
            try
            {
                await backend.LoadRange(file, offset + at, part, cancel);
            }
            catch (StoredFileUnreadableException)
            {
                if (piece > Sector)
                    await Fill(backend, file, part, offset + at, Sector, cancel);
                else
                    part.Span.Clear();
            }
        }
    }

    /// <summary>Opens one blob of it; null when it is what was written, else what is wrong.</summary>
    public static string? TryOpen(TombRepository tomb, Checksum pack, PackEntry blob, ReadOnlySpan<byte> bytes)
    {
        if (blob.Offset + (long)blob.Length > bytes.Length)
            return $"it ends before blob {blob.Id}";
        var place = new BlobLocation(blob.Type, blob.Id, pack, blob.Offset, blob.Length, blob.UncompressedLength);
        NativeBlock plain = tomb.CheckedBlobs.Rent(Math.Max(place.PlainLength, 1));
        try
        {
            tomb.OpenBlob(place, bytes.Slice((int)blob.Offset, (int)blob.Length), plain.GetSpan()[..place.PlainLength]);
            return null;
        }
        catch (TombDamagedException damaged)
        {
            return $"{(blob.Type == BlobType.Tree ? "tree" : "data")} blob {blob.Id}: {damaged.Finding}";
        }
        finally
        {
            tomb.CheckedBlobs.Return(plain);
        }
    }

    /// <summary>What its own header lists; null when that cannot be read.</summary>
    public static IReadOnlyList<PackEntry>? TryHeader(TombRepository tomb, ReadOnlySpan<byte> bytes, out string? finding)
    {
        finding = "its header cannot be read";
        if (bytes.Length < PackHeader.Size(0, 0))
            return null;
        uint length = System.Buffers.Binary.BinaryPrimitives.ReadUInt32LittleEndian(bytes[^PackHeader.LengthSize..]);
        if (length > PackHeader.MaximumSize || length < SealingKey.Overhead || length > bytes.Length - PackHeader.LengthSize)
            return null;
        int start = bytes.Length - PackHeader.LengthSize - (int)length;
        var plain = new byte[length - SealingKey.Overhead];
        if (!tomb.Key.TryOpen(bytes.Slice(start, (int)length), plain))
            return null;
        try
        {
            IReadOnlyList<PackEntry> entries = PackHeader.Parse(plain, start);
            finding = null;
            return entries;
        }
        catch (MalformedException wrong)
        {
            finding = wrong.Message;
            return null;
        }
    }
}
