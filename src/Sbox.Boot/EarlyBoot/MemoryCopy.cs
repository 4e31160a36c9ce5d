using System.Diagnostics;
using System.Globalization;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>There is no copy in memory, and why.</summary>
/// <param name="message">Why.</param>
internal sealed class NotCopiedException(string message) : Exception(message);

/// <summary>
/// A copy of a disk's ext4 in memory: its used blocks at their places in a sparse file, and a read-only block device over that. What was proven of the disk is proven of it.
/// </summary>
/// <param name="say">One line for the consoles.</param>
/// <param name="run">Where /run is; the copy is below it.</param>
/// <param name="proc">Where procfs is.</param>
internal sealed class MemoryCopy(Action<string> say, string run = "/run", string proc = "/proc") : IDisposable
{
    // A box that idles takes less than half of it; a desktop wants more, and says itself what is tight.
    private const long ForTheSession = 384L << 20;

    // Pieces are large because sticks are slow to begin; a short gap is quicker read than left out.
    private const int Piece = 4 << 20, Gap = 128 << 10, ForgetAfter = 64 << 20;
    private static readonly TimeSpan BetweenLines = TimeSpan.FromSeconds(4);

    private SafeFileHandle? device;

    private string At => $"{run}/{MemoryDisk.Directory}";

    /// <summary>Lets go of the block device: it stays as long as it is mounted.</summary>
    public void Dispose() => device?.Dispose();

    /// <summary>Makes the copy.</summary>
    /// <param name="medium">The device node; not mounted, and clean.</param>
    /// <returns>The node of a block device to be mounted before this is disposed, and what it is a copy of.</returns>
    /// <exception cref="NotCopiedException">There is none; nothing is left of what there was of it.</exception>
    public (string Device, MemoryDisk Disk) Make(string medium)
    {
        long started = Stopwatch.GetTimestamp();
        try
        {
            using Dir nodes = Dir.Open(Path.GetDirectoryName(medium)!);
            using SafeFileHandle source = OpenFollowed(nodes, Path.GetFileName(medium));
            UsedBlocks used = UsedBlocks.Read((offset, bytes) => Read(source, medium, offset, bytes));
            long bytes = used.Count * used.Layout.BlockSize;
            RequireMemory(bytes);
            say($"copying {Mebibytes(bytes)} of {medium} into memory; leave it in until then");
            Mount(bytes);
            using Dir memory = Dir.Open(At);
            using (SafeFileHandle copy = memory.CreateFile(MemoryDisk.FileName, 0x180 /* 0600 */))
                Copy(used, source, medium, copy, bytes);
            Files.ForgetCached(source, medium);

            // Nobody writes to it any more, not even by its name.
            Mounts.SetAttributes(At, set: MountAttributes.ReadOnly);
            using SafeFileHandle whole = memory.OpenFile(MemoryDisk.FileName);
            (device, string path) = LoopDevice.Attach(whole, memory.Of(MemoryDisk.FileName));
            return (path, new MemoryDisk(medium, bytes, Stopwatch.GetElapsedTime(started)));
        }
        catch (Exception failed) when (failed is IOException or MalformedException or NotCopiedException)
        {
            Forget();
            throw new NotCopiedException(failed.Message);
        }
    }

    /// <summary>Takes back what was made: the memory is free again.</summary>
    public void Forget()
    {
        device?.Dispose();
        device = null;
        if (MountTable.At(At) is not null)
            Mounts.Detach(At);
    }

    /// <summary>What a session may take of the memory that such a copy leaves, for what it changes.</summary>
    public long HalfOfTheRest(long copied) => Math.Max(0, (Memory("MemTotal") - copied) / 2);

    private void RequireMemory(long bytes)
    {
        long available = Memory("MemAvailable");
        if (bytes + ForTheSession > available)
            throw new NotCopiedException($"it has {Mebibytes(bytes)} in use, a session wants {Mebibytes(ForTheSession)} beside them, and {Mebibytes(available)} of memory are free");
    }

    private long Memory(string key)
    {
        string line = File.ReadLines($"{proc}/meminfo").First(line => line.StartsWith($"{key}:", StringComparison.Ordinal));
        return long.Parse(line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1], CultureInfo.InvariantCulture) << 10;
    }

    private void Mount(long bytes)
    {
        RootMounter.MakeMountPoint(At);
        using FileSystemContext context = FileSystemContext.Open("tmpfs");
        context.Set("source", "sbox-memory").Set("mode", "0700").Set("size", $"{bytes + (16 << 20)}").Set("noswap");
        using DetachedMount mount = context.Create(MountAttributes.NoDevices | MountAttributes.NoSetUid | MountAttributes.NoExecute);
        mount.AttachAt(At);
    }

    private void Copy(UsedBlocks used, SafeFileHandle source, string medium, SafeFileHandle copy, long bytes)
    {
        int block = used.Layout.BlockSize;
        var buffer = new byte[Piece];
        var piece = new List<BlockRange>();
        var (progress, unforgotten) = (new Progress(say, bytes), 0L);
        RandomAccess.SetLength(copy, used.Layout.Bytes);
        foreach (BlockRange range in used.Ranges(Piece / block))
        {
            if (piece.Count > 0 && (range.End - piece[0].First > Piece / block || (range.First - piece[^1].End) * block > Gap))
                Flush();
            piece.Add(range);
        }

        if (piece.Count > 0)
            Flush();

        void Flush()
        {
            long from = piece[0].First;
            Span<byte> all = buffer.AsSpan(0, (int)(piece[^1].End - from) * block);
            Read(source, medium, from * block, all);
            foreach (BlockRange range in piece)
            {
                Write(copy, all.Slice((int)(range.First - from) * block, (int)range.Count * block), range.First * block, block);
                progress.Add(range.Count * block);
            }

            piece.Clear();
            // Else the medium would be in memory twice.
            if ((unforgotten += all.Length) >= ForgetAfter)
            {
                Files.ForgetCached(source, medium);
                unforgotten = 0;
            }
        }
    }

    // Blocks of zeros stay holes, which take no memory and read the same.
    private static void Write(SafeFileHandle copy, ReadOnlySpan<byte> bytes, long at, int block)
    {
        for (int from = 0, to; from < bytes.Length; from = to)
        {
            bool holds = Holds(bytes, from, block);
            for (to = from + block; to < bytes.Length && Holds(bytes, to, block) == holds; to += block)
                continue;
            if (holds)
                RandomAccess.Write(copy, bytes[from..to], at + from);
        }
    }

    private static bool Holds(ReadOnlySpan<byte> bytes, int at, int block) => bytes.Slice(at, block).ContainsAnyExcept((byte)0);

    private static void Read(SafeFileHandle source, string medium, long offset, Span<byte> bytes)
    {
        try
        {
            for (int filled = 0, read; filled < bytes.Length; filled += read)
            {
                read = RandomAccess.Read(source, bytes[filled..], offset + filled);
                if (read <= 0)
                    throw new NotCopiedException($"{medium} ends at byte {offset + filled}, and its file system does not");
            }
        }
        catch (IOException failed)
        {
            throw new NotCopiedException($"{medium} cannot be read at byte {offset} and the {bytes.Length} behind it: {failed.Message}");
        }
    }

    // /dev/mapper has links in it.
    private static SafeFileHandle OpenFollowed(Dir nodes, string name)
    {
        if (nodes.TryStat(name) is not { IsSymlink: true })
            return nodes.OpenFile(name);
        string target = Path.GetFullPath(nodes.ReadLink(name), nodes.Path);
        using Dir other = Dir.Open(Path.GetDirectoryName(target)!);
        return other.OpenFile(Path.GetFileName(target));
    }

    private static string Mebibytes(long bytes) => string.Create(CultureInfo.InvariantCulture, $"{(bytes + (1 << 20) - 1) >> 20} MiB");

    // People look at a console that stands still as at one that hangs.
    private sealed class Progress(Action<string> say, long total)
    {
        private readonly long started = Stopwatch.GetTimestamp();
        private long done, said = Stopwatch.GetTimestamp();

        public void Add(long bytes)
        {
            done += bytes;
            if (Stopwatch.GetElapsedTime(said) < BetweenLines)
                return;
            said = Stopwatch.GetTimestamp();
            double rate = done / Stopwatch.GetElapsedTime(started).TotalSeconds;
            say(string.Create(CultureInfo.InvariantCulture, $"{done * 100 / total} %, {Mebibytes(done)} of {Mebibytes(total)}, {Mebibytes((long)rate)} a second, {(total - done) / rate:0} s left"));
        }
    }
}
