using System.Buffers;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb.Chunking;

namespace Sbox.Tomb;

public sealed partial class Saver
{
    // Room for a whole chunk behind what is left of the last one, so that bytes are moved seldom.
    private const int WindowSize = Chunker.MaximumSize + (2 * 1024 * 1024);

    private void Work()
    {
        byte[]? window = null;
        byte[] small = ArrayPool<byte>.Shared.Rent(Chunker.MinimumSize);
        try
        {
            foreach (FileJob job in jobs.GetConsumingEnumerable())
            {
                if (stop.IsCancellationRequested)
                    continue;
                Settle(job.Directory, job.Slot, job.Directory.Dir.Of(job.Name), () => Read(job, small, ref window));
            }
        }
        catch (Exception broken)
        {
            Fail(broken);
            foreach (FileJob _ in jobs.GetConsumingEnumerable())
                continue; // the walker must not wait for room that nobody makes
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(small);
        }
    }

    private Node? Read(FileJob job, byte[] small, ref byte[]? window)
    {
        Dir dir = job.Directory.Dir;
        string path = dir.Of(job.Name);
        using SafeFileHandle file = dir.OpenFile(job.Name);
        FileStat stat = Files.Stat(file, path);
        if (!stat.IsRegular)
            return null; // replaced by something else a moment ago: the next save sees what
        var content = new List<Checksum>();
        long size = stat.Size <= Chunker.MinimumSize
            ? ReadSmall(file, path, small, content) ?? ReadLarge(file, path, window ??= GC.AllocateUninitializedArray<byte>(WindowSize), content)
            : ReadLarge(file, path, window ??= GC.AllocateUninitializedArray<byte>(WindowSize), content);
        Interlocked.Add(ref bytesRead, size);
        Node node = Describe(dir, job.Name, stat, Xattrs.Read(file, path)) with { Size = (ulong)size, Content = content };
        Count(job.Before, node);
        return node;
    }

    // A file of one chunk; null when it has grown meanwhile.
    private long? ReadSmall(SafeFileHandle file, string path, byte[] buffer, List<Checksum> content)
    {
        int filled = 0;
        for (int read; filled < Chunker.MinimumSize && (read = Files.ReadAt(file, buffer.AsSpan(filled, Chunker.MinimumSize - filled), filled, path)) > 0;)
            filled += read;
        if (filled == Chunker.MinimumSize)
            return null;
        if (filled > 0)
            Keep(buffer.AsSpan(0, filled), content);
        return filled;
    }

    private long ReadLarge(SafeFileHandle file, string path, byte[] window, List<Checksum> content)
    {
        long offset = 0;
        int start = 0, filled = 0;
        bool ended = false;
        while (true)
        {
            if (filled - start < Chunker.MaximumSize && !ended)
            {
                window.AsSpan(start, filled - start).CopyTo(window);
                filled -= start;
                start = 0;
                while (filled < window.Length && !ended)
                {
                    int read = Files.ReadAt(file, window.AsSpan(filled), offset, path);
                    filled += read;
                    offset += read;
                    ended = read == 0;
                }
            }

            if (start == filled)
                return offset;
            stop.Token.ThrowIfCancellationRequested();
            int length = tomb.Chunker.Length(window.AsSpan(start, Math.Min(filled - start, Chunker.MaximumSize)));
            Keep(window.AsSpan(start, length), content);
            start += length;
        }
    }

    private void Keep(ReadOnlySpan<byte> chunk, List<Checksum> content)
    {
        Checksum id = Checksum.Of(chunk);
        content.Add(id);
        if (!options.DryRun)
            packs.Add(BlobType.Data, id, chunk);
    }
}
