using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace Sbox.Tour.Tests;

/// <summary>A name on a FAT.</summary>
/// <param name="Path">From the root, without a slash before it.</param>
/// <param name="IsDirectory">Whether it is a directory.</param>
/// <param name="Size">In bytes, as the name's entry has it; 0 for a directory.</param>
/// <param name="Chain">Its clusters in their order, as far as the table tells them.</param>
/// <param name="Damage">What is wrong with its chain; null for nothing.</param>
internal sealed record FatFile(string Path, bool IsDirectory, long Size, IReadOnlyList<uint> Chain, string? Damage)
{
    /// <summary>The name without its directory.</summary>
    public string Name => Path[(Path.LastIndexOf('/') + 1)..];
}

/// <summary>
/// A FAT32 as firmware reads it, which believes the first table and asks nobody what is free. It is read here and not by mtools, since a cut has hundreds of looks and what matters
/// after one is what no tool lists: which chains are cut short, and which two names have a cluster in common.
/// </summary>
/// <remarks>After Microsoft's fatgen103.</remarks>
internal sealed class FatLook
{
    private const int Sector = 512, Entry = 32;
    private const uint Mask = 0x0FFFFFFF, EndOfChain = 0x0FFFFFF8;
    private readonly FileStream image;
    private readonly uint[] table;
    private readonly long data;
    private readonly int cluster;
    private readonly List<FatFile> files = [];
    private readonly Dictionary<(uint Start, int Clusters, long Size), string> digests;

    /// <summary>Reads all names.</summary>
    /// <param name="image">The partition.</param>
    /// <param name="same">A look at the same clusters, whatever names and tables say by now: what it has read need not be read again.</param>
    public FatLook(FileStream image, FatLook? same = null)
    {
        this.image = image;
        digests = same?.digests ?? [];
        byte[] boot = Read(0, Sector);
        int reserved = BinaryPrimitives.ReadUInt16LittleEndian(boot.AsSpan(14)), tableSectors = BinaryPrimitives.ReadInt32LittleEndian(boot.AsSpan(36));
        cluster = boot[13] * Sector;
        TableStart = (long)reserved * Sector;
        data = TableStart + (boot[16] * (long)tableSectors * Sector);
        table = [.. MemoryMarshal.Cast<byte, uint>(Read(TableStart, tableSectors * Sector))];
        List<uint> root = Follow(BinaryPrimitives.ReadUInt32LittleEndian(boot.AsSpan(44)), out _);
        files.Add(new FatFile("", true, 0, root, null));
        ReadDirectory("", root, depth: 0);
    }

    /// <summary>Where the tables begin, in bytes; before them are the boot sector, the count of free clusters and copies of both.</summary>
    public long TableStart { get; }

    /// <summary>Where the clusters begin, in bytes.</summary>
    public long DataStart => data;

    /// <summary>Every name, directories among them; the root has the path "".</summary>
    public IReadOnlyList<FatFile> Files => files;

    /// <summary>Each two names that have a cluster in common.</summary>
    public IEnumerable<(FatFile One, FatFile Other)> Shared()
    {
        var owners = new FatFile?[table.Length];
        var found = new HashSet<(FatFile, FatFile)>();
        foreach (FatFile file in files)
        {
            foreach (uint each in file.Chain)
            {
                if (owners[each] is { } owner)
                    found.Add((owner, file));
                owners[each] ??= file;
            }
        }

        return found;
    }

    /// <summary>A name; null where it is not there.</summary>
    public FatFile? Find(string path) => files.FirstOrDefault(file => file.Path == path);

    /// <summary>The SHA-256 of some bytes.</summary>
    public static string Digest(byte[] bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    /// <summary>The SHA-256 of a file; null where the table does not tell all of it.</summary>
    public string? Digest(FatFile file)
    {
        // A chain that begins in the same place and is as long is another one only where a table is damaged; that is looked for apart from this.
        (uint, int, long) key = (file.Chain.FirstOrDefault(), file.Chain.Count, file.Size);
        if (!digests.TryGetValue(key, out string? digest) && Bytes(file) is { } bytes)
            digests[key] = digest = Digest(bytes);
        return digest;
    }

    /// <summary>Where the clusters of a directory or file are, in bytes, and how large one is.</summary>
    public IEnumerable<(long At, int Length)> Places(FatFile file) => file.Chain.Select(each => (PlaceOf(each), cluster));

    /// <summary>A file's bytes; null where the table does not tell all of it.</summary>
    public byte[]? Bytes(FatFile file)
    {
        if (file.Chain.Count < (file.Size + cluster - 1) / cluster)
            return null;
        var bytes = new byte[file.Size];
        for ((int from, int done) = (0, 0); done < bytes.Length;)
        {
            int to = from + 1; // clusters that follow each other on the disk are read as one piece
            while (to < file.Chain.Count && file.Chain[to] == file.Chain[to - 1] + 1)
                to++;
            Span<byte> piece = bytes.AsSpan(done, (int)Math.Min(bytes.Length - done, (to - from) * (long)cluster));
            Read(PlaceOf(file.Chain[from]), piece);
            done += piece.Length;
            from = to;
        }

        return bytes;
    }

    private long PlaceOf(uint number) => data + ((number - 2L) * cluster);

    private byte[] Read(long at, int count)
    {
        var bytes = new byte[count];
        Read(at, bytes);
        return bytes;
    }

    private void Read(long at, Span<byte> bytes)
    {
        for (int read = 0; read < bytes.Length;)
            read += RandomAccess.Read(image.SafeFileHandle, bytes[read..], at + read) is > 0 and var got ? got : throw new EndOfStreamException();
    }

    private List<uint> Follow(uint start, out string? damage)
    {
        var chain = new List<uint>();
        for (uint at = start & Mask; ; at = table[at] & Mask)
        {
            damage = at switch
            {
                0 => "goes on in a free cluster",
                1 or > EndOfChain - 2 and < EndOfChain => "goes on in no cluster",
                < EndOfChain when at >= table.Length || PlaceOf(at) + cluster > image.Length => "leaves the partition",
                _ => null,
            };
            if (damage is not null || at >= EndOfChain)
                return chain;
            // The last thing that a chain says of a cluster is where it goes on: one that the table calls free is nobody's.
            if ((table[at] & Mask) == 0)
            {
                damage = $"has cluster {at}, which is free";
                return chain;
            }

            if (chain.Count > table.Length)
            {
                damage = "never ends";
                return chain;
            }

            chain.Add(at);
        }
    }

    private void ReadDirectory(string path, List<uint> chain, int depth)
    {
        var longName = new SortedDictionary<int, string>();
        foreach (byte[] entry in chain.SelectMany(each => Read(PlaceOf(each), cluster).Chunk(Entry)))
        {
            if (entry[0] == 0)
                return;
            if (entry[0] == 0xE5 || entry[11] != 0x0F)
            {
                string name = longName.Count > 0 ? string.Concat(longName.Values).Split('\0')[0] : ShortName(entry);
                longName.Clear();
                if (entry[0] != 0xE5 && entry[0] != (byte)'.' && (entry[11] & 8) == 0)
                    Add(path.Length == 0 ? name : $"{path}/{name}", entry, depth);
                continue;
            }

            longName[entry[0] & 0x3F] = Encoding.Unicode.GetString([.. entry[1..11], .. entry[14..26], .. entry[28..32]]);
        }
    }

    private void Add(string path, byte[] entry, int depth)
    {
        uint start = ((uint)BinaryPrimitives.ReadUInt16LittleEndian(entry.AsSpan(20)) << 16) | BinaryPrimitives.ReadUInt16LittleEndian(entry.AsSpan(26));
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(entry.AsSpan(28));
        bool directory = (entry[11] & 0x10) != 0;
        string? damage = null;
        List<uint> chain = start == 0 ? [] : Follow(start, out damage);
        if (chain.Count * (long)cluster < size)
            damage ??= $"has {chain.Count} clusters for {size} bytes";
        files.Add(new FatFile(path, directory, size, chain, damage));
        if (directory && depth < 8)
            ReadDirectory(path, chain, depth + 1);
    }

    private static string ShortName(byte[] entry)
    {
        string name = Encoding.ASCII.GetString(entry, 0, 8).TrimEnd(), more = Encoding.ASCII.GetString(entry, 8, 3).TrimEnd();
        name = more.Length == 0 ? name : $"{name}.{more}";
        return (entry[12] & 0x18) != 0 ? name.ToLowerInvariant() : name;
    }
}
