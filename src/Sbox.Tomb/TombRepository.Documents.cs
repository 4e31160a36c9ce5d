using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb.Crypto;

namespace Sbox.Tomb;

public sealed partial class TombRepository
{
    // Index files are megabytes, and there are many: the same memory serves for all of them, and none of it is the collector's.
    private const long LargestLent = 64 << 20;

    /// <summary>A document's JSON, lent for the call.</summary>
    private delegate void Reading(Checksum id, ReadOnlySpan<byte> json);

    /// <summary>Memory for documents on their way, and leave to open one: it is several times as large opened as it was sealed.</summary>
    private readonly record struct Lending(BlockPool Blocks, SemaphoreSlim Opening);

    private async Task ForEachFile(StoredFileType type, Reading read, CancellationToken cancel) => await ForEachFile(type, await Backend.List(type, cancel), read, cancel);

    private async Task ForEachFile(StoredFileType type, IReadOnlyList<ListedFile> files, Reading read, CancellationToken cancel, Action<DamagedFile>? damaged = null)
    {
        var blocks = new BlockPool(keptAtMost: 24 << 20);
        using var opening = new SemaphoreSlim(Math.Min(Environment.ProcessorCount, 2));
        try
        {
            await Parallel.ForEachAsync(
                files, new ParallelOptions { MaxDegreeOfParallelism = Math.Max(2, Backend.Connections), CancellationToken = cancel },
                async (file, stop) =>
                {
                    if (Checksum.TryParse(file.Name, out Checksum id))
                        await ReadOrName(type, id, file.Size, new Lending(blocks, opening), read, damaged, stop);
                });
        }
        finally
        {
            blocks.Close();
        }
    }

    private async Task ReadOrName(StoredFileType type, Checksum id, long size, Lending lending, Reading read, Action<DamagedFile>? damaged, CancellationToken cancel)
    {
        try
        {
            await ReadOne(type, id, size, lending, read, cancel);
        }
        catch (Exception wrong) when (damaged is not null && DamagedFile.Finding(wrong) is not null)
        {
            damaged(new DamagedFile(new StoredFile(type, id.ToString()), id, DamagedFile.Finding(wrong)!));
        }
    }

    private async Task ReadOne(StoredFileType type, Checksum id, long size, Lending lending, Reading read, CancellationToken cancel)
    {
        try
        {
            if (size is > SealingKey.Overhead and <= LargestLent)
                await Lend(new StoredFile(type, id.ToString()), id, (int)size, lending, read, cancel);
            else
                read(id, await LoadDocument(type, id, cancel));
        }
        catch (StoredFileMissingException)
        {
            // Deleted by someone since the listing: then it is no longer part of the tomb.
            return;
        }
        catch (MalformedException wrong)
        {
            throw new TombDamagedException(Backend.Location, new StoredFile(type, id.ToString()).Path, wrong.Message);
        }
    }

    private async Task Lend(StoredFile file, Checksum id, int size, Lending lending, Reading read, CancellationToken cancel)
    {
        NativeBlock sealedBytes = lending.Blocks.Rent(size);
        try
        {
            await Backend.LoadRange(file, 0, sealedBytes.Memory[..size], cancel);
            await lending.Opening.WaitAsync(cancel);
            try
            {
                OpenDocument(file, id, sealedBytes.GetSpan()[..size], lending.Blocks, read);
            }
            finally
            {
                lending.Opening.Release();
            }
        }
        finally
        {
            lending.Blocks.Return(sealedBytes);
        }
    }

    private void OpenDocument(StoredFile file, Checksum id, ReadOnlySpan<byte> bytes, BlockPool blocks, Reading read)
    {
        if (Checksum.Of(bytes) is var found && found != id)
            throw new TombDamagedException(Backend.Location, file.Path, $"it hashes to {found}, which is not its name");
        NativeBlock opened = blocks.Rent(bytes.Length);
        NativeBlock? unpacked = null;
        try
        {
            Span<byte> plain = opened.GetSpan()[..(bytes.Length - SealingKey.Overhead)];
            if (!Key.TryOpen(bytes, plain))
                throw new TombDamagedException(Backend.Location, file.Path, "its tag is not right: the bytes were changed");
            if (plain[0] != CompressedDocument || Zstandard.SizeOf(plain[1..]) is not { } length)
            {
                read(id, Unpacked(file, plain.ToArray()));
                return;
            }

            unpacked = blocks.Rent(Math.Max(length, 1));
            Span<byte> json = unpacked.GetSpan()[..length];
            if (!Zstandard.TryDecompress(plain[1..], json))
                throw new TombDamagedException(Backend.Location, file.Path, $"it does not decompress to {length} bytes");
            read(id, json);
        }
        finally
        {
            blocks.Return(opened);
            if (unpacked is not null)
                blocks.Return(unpacked);
        }
    }

    private byte[] Unpacked(StoredFile file, byte[] plain) => plain switch
    {
        [(byte)'{' or (byte)'[', ..] => plain,
        [CompressedDocument, ..] => Zstandard.Decompress(plain, 1, $"restic {file.Type}"),
        _ => throw new TombDamagedException(Backend.Location, file.Path, "its encoding is not known"),
    };
}
