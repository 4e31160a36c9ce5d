using System.Buffers.Binary;

namespace Sbox.Vm;

/// <summary>One thing that a guest asked of its disk.</summary>
/// <param name="Offset">Where it was written, in bytes.</param>
/// <param name="Length">How much, in bytes; 0 for a flush, which has answered when everything that was answered before it is on the disk.</param>
/// <param name="Place">Where the bytes are in the log's file.</param>
public readonly record struct DiskRequest(long Offset, int Length, long Place)
{
    /// <summary>Whether it is a flush.</summary>
    public bool IsFlush => Length == 0;

    /// <summary>Whether it touches a part of the disk.</summary>
    public bool Touches(long start, long length) => !IsFlush && Offset < start + length && Offset + Length > start;
}

/// <summary>
/// The writes and flushes of a disk in their order. What was written lies in a file, beside one that says where it belongs: a machine writes more than a test should hold in memory,
/// and what it wrote can be looked at again without the machine.
/// </summary>
public sealed class DiskLog : IDisposable
{
    /// <summary>A sector in bytes: it reaches the disk as a whole or not at all, whatever the size of the request.</summary>
    public const int Sector = 512;

    private const int IndexEntry = 20;
    private readonly FileStream bytes, index;
    private readonly List<DiskRequest> requests = [];

    private DiskLog(FileStream bytes, FileStream index) => (this.bytes, this.index) = (bytes, index);

    /// <summary>How much was asked so far.</summary>
    public int Count
    {
        get
        {
            lock (requests)
                return requests.Count;
        }
    }

    /// <summary>The bytes that were written so far, all writes together.</summary>
    public long Length => bytes.Length;

    /// <summary>What was asked so far.</summary>
    public IReadOnlyList<DiskRequest> Requests
    {
        get
        {
            lock (requests)
                return [.. requests];
        }
    }

    /// <summary>Begins a log.</summary>
    public static DiskLog Create(string path) => new(
        new FileStream(path, FileMode.Create, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0), new FileStream(IndexOf(path), FileMode.Create, FileAccess.Write, FileShare.Read));

    /// <summary>Opens one that was closed.</summary>
    public static DiskLog Open(string path)
    {
        var log = new DiskLog(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0), new FileStream(IndexOf(path), FileMode.Open, FileAccess.Read));
        byte[] entry = new byte[IndexEntry];
        while (log.index.ReadAtLeast(entry, entry.Length, throwOnEndOfStream: false) == entry.Length)
            log.requests.Add(new DiskRequest(BinaryPrimitives.ReadInt64LittleEndian(entry), BinaryPrimitives.ReadInt32LittleEndian(entry.AsSpan(8)), BinaryPrimitives.ReadInt64LittleEndian(entry.AsSpan(12))));
        return log;
    }

    /// <summary>Adds a write; none of nothing.</summary>
    public void AddWrite(long offset, ReadOnlySpan<byte> written)
    {
        if (written.IsEmpty)
            return;
        lock (requests)
        {
            long place = bytes.Length;
            RandomAccess.Write(bytes.SafeFileHandle, written, place);
            Add(new DiskRequest(offset, written.Length, place));
        }
    }

    /// <summary>Adds a flush.</summary>
    public void AddFlush()
    {
        lock (requests)
            Add(default);
    }

    /// <summary>What a request wrote.</summary>
    public byte[] BytesOf(DiskRequest request)
    {
        var written = new byte[request.Length];
        for (int read = 0; read < written.Length;)
            read += RandomAccess.Read(bytes.SafeFileHandle, written.AsSpan(read), request.Place + read) is > 0 and var got ? got : throw new EndOfStreamException();
        return written;
    }

    /// <summary>
    /// Makes a disk out of one that the power failed on: all that was on it before a flush is there, of what came later some sectors are.
    /// </summary>
    /// <param name="stream">The disk as it was before the first request.</param>
    /// <param name="count">How many requests the disk had answered when the power failed.</param>
    /// <param name="survives">Whether a piece (a sector's place) that no flush covers reached the disk.</param>
    public void Replay(Stream stream, int count, Func<bool> survives)
    {
        IReadOnlyList<DiskRequest> asked = Requests;
        int flushed = count - 1;
        while (flushed >= 0 && !asked[flushed].IsFlush)
            flushed--;
        for (int at = 0; at < count; at++)
        {
            byte[] written = BytesOf(asked[at]);
            for (int from = 0; from < written.Length; from += Sector)
            {
                if (at > flushed && !survives())
                    continue;
                stream.Position = asked[at].Offset + from;
                stream.Write(written, from, Math.Min(Sector, written.Length - from));
            }
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        bytes.Dispose();
        index.Dispose();
    }

    private static string IndexOf(string path) => $"{path}.index";

    private void Add(DiskRequest request)
    {
        requests.Add(request);
        Span<byte> entry = stackalloc byte[IndexEntry];
        BinaryPrimitives.WriteInt64LittleEndian(entry, request.Offset);
        BinaryPrimitives.WriteInt32LittleEndian(entry[8..], request.Length);
        BinaryPrimitives.WriteInt64LittleEndian(entry[12..], request.Place);
        index.Write(entry);
    }
}
