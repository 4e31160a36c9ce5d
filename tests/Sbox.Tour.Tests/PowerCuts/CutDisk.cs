using System.Text.Json;
using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>A part of a disk, in bytes.</summary>
internal readonly record struct DiskPart(long Start, long Length);

/// <summary>
/// The EFI partition and the root of a recorded disk, each a file of its own, as a power cut leaves them. There is one copy of each, which only goes forward in the record: what a
/// cut adds, and what a judge repairs, is taken back afterwards.
/// </summary>
internal sealed class CutDisk : IDisposable
{
    private const int Chunk = 1 << 20;
    private readonly DiskLog log;
    private readonly IReadOnlyList<DiskRequest> requests;
    private readonly FileStream esp, root;
    private int reached;

    /// <summary>Takes both out of an image.</summary>
    /// <param name="image">The disk as it was before the record begins; it is only read.</param>
    /// <param name="log">The record.</param>
    /// <param name="directory">Where the files go.</param>
    public CutDisk(string image, DiskLog log, string directory)
    {
        this.log = log;
        requests = log.Requests;
        JsonElement[] table = [.. JsonDocument.Parse(Judge.OnPath("sfdisk").Run("-J", image)).RootElement.GetProperty("partitiontable").GetProperty("partitions").EnumerateArray()];
        (EspPart, RootPart) = (PartOf(table[0]), PartOf(table[1]));
        esp = TakenOut(image, EspPart, Path.Combine(directory, "esp.img"));
        root = TakenOut(image, RootPart, Path.Combine(directory, "root.img"));
    }

    /// <summary>Where the EFI partition is.</summary>
    public DiskPart EspPart { get; }

    /// <summary>Where the root is.</summary>
    public DiskPart RootPart { get; }

    /// <summary>The EFI partition.</summary>
    public FileStream Esp => esp;

    /// <summary>The root's file.</summary>
    public string Root => root.Name;

    /// <summary>Brings all before a request to the disk.</summary>
    /// <param name="request">Its number; not before one that was reached.</param>
    public void GoTo(int request)
    {
        for (; reached < request; reached++)
            Write(reached, static (_, _) => true);
    }

    /// <summary>The EFI partition as it is when all before a request is there, in a file of its own.</summary>
    /// <remarks>Only before anything else is asked of this.</remarks>
    public FileStream EspAt(int request, string path)
    {
        File.Copy(esp.Name, path, overwrite: true);
        var copy = new FileStream(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        foreach (DiskRequest each in requests.Take(request).Where(each => each.Touches(EspPart.Start, EspPart.Length)))
        {
            (long from, long to) = Within(each, EspPart);
            RandomAccess.Write(copy.SafeFileHandle, log.BytesOf(each).AsSpan((int)(from - each.Offset), (int)(to - from)), from - EspPart.Start);
        }

        return copy;
    }

    /// <summary>Keeps what fsck.vfat may change of the EFI partition: all before the clusters, and directories.</summary>
    /// <returns>Brings it back.</returns>
    public IDisposable KeepEsp(FatLook fat)
    {
        var kept = new List<(FileStream, long, byte[])>();
        foreach ((long at, int length) in fat.Files.Where(static file => file.IsDirectory).SelectMany(fat.Places).Prepend((0, (int)fat.DataStart)))
        {
            byte[] bytes = new byte[length];
            RandomAccess.Read(esp.SafeFileHandle, bytes, at);
            kept.Add((esp, at, bytes));
        }

        return new TakenBack(kept);
    }

    /// <summary>Adds some of what was asked for from where the disk is.</summary>
    /// <param name="until">The request before which the power fails.</param>
    /// <param name="survives">Whether a sector is there, by its request and its place on the disk; the same is said whenever it is asked.</param>
    /// <returns>Takes them back.</returns>
    public IDisposable Cut(int until, Func<int, long, bool> survives)
    {
        var before = new List<(FileStream File, long At, byte[] Bytes)>();
        for (int at = reached; at < until; at++)
        {
            foreach ((FileStream file, DiskPart part) in Files.Where(each => requests[at].Touches(each.Part.Start, each.Part.Length)))
            {
                (long from, long to) = Within(requests[at], part);
                byte[] old = new byte[to - from];
                RandomAccess.Read(file.SafeFileHandle, old, from - part.Start);
                before.Add((file, from - part.Start, old));
            }
        }

        for (int at = reached; at < until; at++)
            Write(at, survives);
        return new TakenBack(before);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        esp.Dispose();
        root.Dispose();
    }

    private (FileStream File, DiskPart Part)[] Files => [(esp, EspPart), (root, RootPart)];

    private static DiskPart PartOf(JsonElement partition) => new(partition.GetProperty("start").GetInt64() * DiskLog.Sector, partition.GetProperty("size").GetInt64() * DiskLog.Sector);

    private static (long From, long To) Within(DiskRequest request, DiskPart part) =>
        (Math.Max(request.Offset, part.Start), Math.Min(request.Offset + request.Length, part.Start + part.Length));

    private static FileStream TakenOut(string image, DiskPart part, string path)
    {
        using var from = new FileStream(image, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var file = new FileStream(path, FileMode.Create, FileAccess.ReadWrite, FileShare.ReadWrite, bufferSize: 0);
        file.SetLength(part.Length);
        var chunk = new byte[Chunk];
        for (long at = 0; at < part.Length; at += Chunk)
        {
            int count = (int)Math.Min(Chunk, part.Length - at);
            from.Position = part.Start + at;
            from.ReadExactly(chunk, 0, count);
            if (chunk.AsSpan(0, count).ContainsAnyExcept((byte)0))
                RandomAccess.Write(file.SafeFileHandle, chunk.AsSpan(0, count), at);
        }

        return file;
    }

    private void Write(int number, Func<int, long, bool> survives)
    {
        DiskRequest request = requests[number];
        foreach ((FileStream file, DiskPart part) in Files.Where(each => request.Touches(each.Part.Start, each.Part.Length)))
        {
            (long from, long to) = Within(request, part);
            ReadOnlySpan<byte> bytes = log.BytesOf(request);
            for (long at = from; at < to;)
            {
                // Sectors that share a fate go in one piece.
                bool there = survives(number, at);
                long end = at + DiskLog.Sector;
                while (end < to && survives(number, end) == there)
                    end += DiskLog.Sector;
                end = Math.Min(end, to);
                if (there)
                    RandomAccess.Write(file.SafeFileHandle, bytes[(int)(at - request.Offset)..(int)(end - request.Offset)], at - part.Start);
                at = end;
            }
        }
    }

    private sealed class TakenBack(List<(FileStream File, long At, byte[] Bytes)> before) : IDisposable
    {
        public void Dispose()
        {
            foreach ((FileStream file, long at, byte[] bytes) in before)
                RandomAccess.Write(file.SafeFileHandle, bytes, at);
        }
    }
}
