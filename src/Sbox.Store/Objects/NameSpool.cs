using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>The order in which a <see cref="NameSpool"/> gives names back.</summary>
internal enum NameOrder
{
    /// <summary>By checksum, as the directory of objects lists them; of one checksum by the type's number.</summary>
    Checksum,
    /// <summary>What needs before what it needs (commits, what lies beside them, dirtrees, dirmetas, files), each kind by checksum.</summary>
    NeedingFirst,
}

/// <summary>
/// Names of objects, far more of them than memory shall hold: added in any order and more than once, read back in order and once each. Sorted
/// runs go to a file without a name, and are merged when they are read. Of each block in it 8 bytes of its hash are held: what a disk gives back
/// changed would be deleted, or not be looked at, by whoever believed it. Adding is for one thread; so is each reading.
/// </summary>
/// <param name="repository">In whose <c>tmp</c> that file is, else in <c>/var/tmp</c>; where neither takes it, or the disk is full, memory must hold the names after all.</param>
/// <param name="order">The order of reading.</param>
/// <param name="most">Names that are held before they are written, 33 bytes each.</param>
internal sealed class NameSpool(Dir repository, NameOrder order = NameOrder.Checksum, int most = 32 * 1024) : IDisposable
{
    private static readonly ObjectType[] NeedingFirst =
        [ObjectType.Commit, ObjectType.CommitMeta, ObjectType.TombstoneCommit, ObjectType.DirTree, ObjectType.DirMeta, ObjectType.File];

    private const int AtOnce = 256; // records that are read, and hashed, together

    private readonly List<Run> runs = [];
    private Record[] gathered = new Record[Math.Min(256, most)];
    private int count;
    private SafeFileHandle? file;
    private string path = "";
    private long written;
    private bool staysInMemory;

    /// <summary>Adds a name.</summary>
    public void Add(ObjectName name)
    {
        if (count == most)
            EndRun();
        if (count == gathered.Length)
            Array.Resize(ref gathered, Math.Min(most, gathered.Length * 2));
        Pack(name, ref gathered[count++]);
    }

    /// <summary>How many different names there are; reads all of them.</summary>
    public long Count() => Names().LongCount();

    /// <summary>All names in order, each once. Nothing may be added from the first reading on.</summary>
    /// <exception cref="NamesDamagedException">The file has something else than was written to it. All names before it were right.</exception>
    public IEnumerable<ObjectName> Names()
    {
        count = SortOnce(gathered.AsSpan(0, count));
        var cursors = new PriorityQueue<Cursor, Record>(Comparer<Record>.Create(static (a, b) => Compare(in a, in b)));
        foreach (Run run in runs.Append(new Run(gathered, 0, count, [])))
        {
            var cursor = new Cursor(this, run);
            if (cursor.Next())
                cursors.Enqueue(cursor, cursor.Current);
        }

        Record last = default;
        bool any = false;
        while (cursors.TryPeek(out Cursor? first, out Record record))
        {
            int order = any ? Compare(in record, in last) : 1;
            if (order < 0)
                throw new NamesDamagedException(path, "names come back in no order");
            if (order > 0)
                yield return Unpack(in record);
            (last, any) = (record, true);
            if (first.Next())
                cursors.DequeueEnqueue(first, first.Current);
            else
                cursors.Dequeue();
        }
    }

    public void Dispose() => file?.Dispose();

    private void EndRun()
    {
        int length = SortOnce(gathered.AsSpan(0, count));
        if (length <= most / 2)
        {
            count = length; // mostly repeats: there is room again
            return;
        }

        if (!staysInMemory && TryWrite(gathered.AsSpan(0, length)))
        {
            runs.Add(new Run(null, written, length, Hashes(gathered.AsSpan(0, length))));
            written += (long)length * Record.Size;
        }
        else
        {
            runs.Add(new Run(gathered[..length], 0, length, []));
        }

        count = 0;
    }

    private bool TryWrite(ReadOnlySpan<Record> records)
    {
        try
        {
            file ??= Create();
            if (file is null)
                return false;
            Linux.Files.WriteAt(file, MemoryMarshal.AsBytes(records), written, path);
            return true;
        }
        catch (LinuxException)
        {
            // A disk that is full must not keep anyone from making room on it. What was written before is still there.
            staysInMemory = true;
            return false;
        }
    }

    private SafeFileHandle? Create()
    {
        foreach (Func<Dir> open in (Func<Dir>[])[() => repository.OpenDir("tmp"), static () => Dir.Open("/var/tmp")])
        {
            try
            {
                using Dir dir = open();
                path = dir.Path;
                return dir.CreateUnnamed(0x180 /* 0600 */);
            }
            catch (LinuxException)
            {
                // Read-only, another's, or a file system that has no files without names: the next one may do.
            }
        }

        staysInMemory = true;
        return null;
    }

    private static int SortOnce(Span<Record> records)
    {
        if (records.IsEmpty)
            return 0;
        records.Sort(static (a, b) => Compare(in a, in b));
        int kept = 1;
        for (int i = 1; i < records.Length; i++)
        {
            if (Compare(in records[i], in records[kept - 1]) != 0)
                records[kept++] = records[i];
        }

        return kept;
    }

    private static int Compare(in Record a, in Record b) => ((ReadOnlySpan<byte>)a).SequenceCompareTo(b);

    private void Pack(ObjectName name, ref Record record)
    {
        Span<byte> bytes = record;
        bool kindFirst = order == NameOrder.NeedingFirst;
        bytes[kindFirst ? 0 : Checksum.Size] = kindFirst ? (byte)Array.IndexOf(NeedingFirst, name.Type) : (byte)name.Type;
        name.Checksum.CopyTo(bytes[(kindFirst ? 1 : 0)..]);
    }

    private ObjectName Unpack(in Record record)
    {
        ReadOnlySpan<byte> bytes = record;
        return order == NameOrder.NeedingFirst
            ? new ObjectName(Checksum.FromBytes(bytes[1..]), NeedingFirst[bytes[0]])
            : new ObjectName(Checksum.FromBytes(bytes[..Checksum.Size]), (ObjectType)bytes[Checksum.Size]);
    }

    private static ulong[] Hashes(ReadOnlySpan<Record> records)
    {
        var hashes = new ulong[(records.Length + AtOnce - 1) / AtOnce];
        for (int i = 0; i < hashes.Length; i++)
            hashes[i] = HashOf(MemoryMarshal.AsBytes(records[(i * AtOnce)..Math.Min((i + 1) * AtOnce, records.Length)]));
        return hashes;
    }

    private static ulong HashOf(ReadOnlySpan<byte> block) => BitConverter.ToUInt64(Checksum.Of(block).Span);

    // Records in memory; or so many of them in the file from an offset on, with the hashes of their blocks.
    private readonly record struct Run(Record[]? Records, long Offset, int Length, ulong[] Hashes);

    [InlineArray(Size)]
    private struct Record
    {
        public const int Size = Checksum.Size + 1;
        private byte first;
    }

    private sealed class Cursor(NameSpool spool, Run run)
    {
        private readonly Record[] block = run.Records ?? new Record[Math.Min(AtOnce, run.Length)];
        private int at = -1, inBlock = run.Records is null ? 0 : run.Length, read;

        public Record Current => block[at];

        // Each is greater than the one before, or no merging of them is in order.
        public bool Next()
        {
            bool any = at >= 0;
            Record before = any ? block[at] : default;
            if (++at >= inBlock && !Read())
                return false;
            if (any && Compare(in block[at], in before) <= 0)
                throw new NamesDamagedException(spool.path, "names come back in no order");
            return true;
        }

        private bool Read()
        {
            if (run.Records is not null || read == run.Length)
                return false;
            inBlock = Math.Min(block.Length, run.Length - read);
            Span<byte> bytes = MemoryMarshal.AsBytes(block.AsSpan(0, inBlock));
            long from = run.Offset + ((long)read * Record.Size);
            for (int done = 0; done < bytes.Length;)
            {
                int got = Linux.Files.ReadAt(spool.file!, bytes[done..], from + done, spool.path);
                done += got > 0 ? got : throw new LinuxException(Errno.EIO, "pread", spool.path); // it was written: who shortened it?
            }

            if (HashOf(bytes) != run.Hashes[read / AtOnce])
                throw new NamesDamagedException(spool.path, $"{bytes.Length} bytes of names at {from} are not those that were written there");
            read += inBlock;
            at = 0;
            return true;
        }
    }
}
