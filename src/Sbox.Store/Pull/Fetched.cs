using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// What came for one request: in memory, or in a file without a name, whose bytes are counted in the transaction for as long as it is there. It grows from its
/// beginning; of a file, pieces farther ahead may come by requests of their own.
/// </summary>
/// <param name="spill">Where such a file is made; null keeps all in memory.</param>
/// <param name="name">What such a file is called beside the objects that wait, where a later process of this boot may go on with it; null for none.</param>
internal sealed class Fetched(Transaction? spill, string? name = null) : IDisposable
{
    private const long MarkEach = 1024 * 1024;
    private const int Least = 4096;
    private readonly Lock gate = new();
    private long unmarked;
    private bool isNamed;
    private readonly SortedDictionary<long, long> ahead = []; // where a piece begins, and how far it came
    private long reserved;
    private byte[] memory = []; // lent by the pool: thousands of objects come, each of another size, and nothing of them is kept

    /// <summary>One for what is at an address: with what came of it by a pull that was ended, killed or given up.</summary>
    public static Fetched Of(string url, Transaction? spill)
    {
        // Of an archive's objects the file itself becomes the object.
        var fetched = new Fetched(spill, spill is null or { Repository.Mode: RepositoryMode.Archive } ? null : PartialNote.NameOf(url));
        fetched.GoOn();
        return fetched;
    }

    /// <summary>Some of it came by another process: its bytes are believed only when they were hashed.</summary>
    public bool GoesOn { get; private set; }

    /// <summary>The network, or somebody who had no more time, ended it: another process may go on.</summary>
    public bool MayGoOn { get; set; }

    /// <summary>How long the last answer's bytes took to come.</summary>
    public TimeSpan Took { get; set; }

    /// <summary>All of it is there.</summary>
    public bool IsWhole => File is not null && Length == Total;

    /// <summary>Nothing of it is in a file.</summary>
    public bool IsInMemory => File is null;

    /// <summary>What is in memory, until this is disposed.</summary>
    public ReadOnlySpan<byte> Bytes => memory.AsSpan(0, IsInMemory ? (int)Length : 0);

    public SafeFileHandle? File { get; private set; }

    /// <summary>What is there from the beginning on, without a hole.</summary>
    public long Length { get; private set; }

    /// <summary>How long the whole is, by the server's word; null where it said nothing.</summary>
    public long? Total { get; set; }

    /// <summary>How long the whole may be, by its own first bytes; null where they tell nothing.</summary>
    public long? Most { get; set; }

    /// <summary>The server said that the file is as it was; nothing came.</summary>
    public bool IsUnchanged { get; set; }

    /// <summary>The server has no such file.</summary>
    public bool IsMissing { get; set; }

    /// <summary>The server has answered a request for a part in a way that shows that it is no use asking it for several.</summary>
    public bool ComesInOne { get; set; }

    /// <summary>What the server said of it.</summary>
    public Validators? Validators { get; set; }

    /// <summary>Whether the rest of it can be asked for: some of it came, and the server said how to tell that it is still the same.</summary>
    public bool CanResume => Length > 0 && Validators is { ETag: { Length: > 0 } } or { LastModified: not null };

    /// <summary>Where what is not there yet ends: before a piece that came ahead; null where nothing did.</summary>
    public long? NextPiece
    {
        get
        {
            lock (gate)
                return ahead.Count > 0 ? ahead.First().Key : null;
        }
    }

    /// <summary>Forgets what came.</summary>
    public void Clear()
    {
        lock (gate)
        {
            ahead.Clear();
            DropName();
            File?.Dispose();
            (File, GoesOn, isNamed, unmarked) = (null, false, false, 0);
            spill?.Release(reserved);
            (reserved, Length, Total, Most) = (0, 0, null, null);
        }
    }

    /// <summary>Adds bytes at the end of what is there.</summary>
    /// <exception cref="NotEnoughSpaceException">There is no room for them.</exception>
    public void Append(ReadOnlySpan<byte> bytes, int inMemory)
    {
        if (IsInMemory && spill is not null && Length + bytes.Length > inMemory)
            Spill(spill);
        if (IsInMemory)
        {
            MakeRoom(bytes.Length, inMemory);
            bytes.CopyTo(memory.AsSpan((int)Length));
        }
        else
        {
            // Before the bytes are written: nothing is known of them yet, and a server may send without end.
            Reserve(bytes.Length);
            Write(bytes, Length);
        }

        Length += bytes.Length;
        Mark(bytes.Length);
    }

    /// <summary>Adds bytes to a piece that is ahead, of what is in a file.</summary>
    /// <param name="begin">Where the piece begins.</param>
    /// <param name="at">Where these go: behind what it has.</param>
    /// <param name="bytes">The bytes.</param>
    /// <exception cref="NotEnoughSpaceException">There is no room for them.</exception>
    public void AppendAhead(long begin, long at, ReadOnlySpan<byte> bytes)
    {
        Reserve(bytes.Length);
        Write(bytes, at);
        lock (gate)
            ahead[begin] = at + bytes.Length;
        Mark(bytes.Length);
    }

    /// <summary>What came ahead counts as there from where all before it is.</summary>
    public void Join()
    {
        lock (gate)
        {
            while (ahead.Count > 0 && ahead.First() is var (begin, end) && begin <= Length)
            {
                Length = Math.Max(Length, end);
                ahead.Remove(begin);
            }
        }
    }

    /// <summary>The file is an object now: its bytes stay counted when this is disposed.</summary>
    public void Keep() => reserved = 0;

    /// <summary>The bytes from the beginning, until this is disposed.</summary>
    public Stream Open()
    {
        if (IsInMemory)
            return new MemoryStream(memory, 0, (int)Length, writable: false);
        return new FileStream(new SafeFileHandle(File!.DangerousGetHandle(), ownsHandle: false), FileAccess.Read, bufferSize: 0) { Position = 0 };
    }

    /// <summary>It was made use of, or is no good: nobody needs go on with it.</summary>
    public void DropName()
    {
        if (isNamed)
            spill!.Staging.Dir.TryUnlink(name!);
        isNamed = false;
    }

    public void Dispose()
    {
        // What is kept is room that the next pull has not: never most of it.
        if (MayGoOn && CanResume && !IsWhole && spill?.Room > Length)
            Mark(MarkEach);
        else
            DropName();
        File?.Dispose();
        GiveBack();
        spill?.Release(reserved);
        reserved = 0;
    }

    // What the server says of its length saves making room twice; but a server may say anything.
    private void MakeRoom(int more, int inMemory)
    {
        long needed = Length + more;
        if (needed <= memory.Length)
            return;
        long wanted = Math.Max(Math.Max(needed, Least), Math.Max(Math.Min(Total ?? 0, inMemory), memory.Length * 2L));
        byte[] larger = System.Buffers.ArrayPool<byte>.Shared.Rent((int)Math.Min(wanted, Array.MaxLength));
        Bytes.CopyTo(larger);
        GiveBack();
        memory = larger;
    }

    private void GiveBack()
    {
        if (memory.Length > 0)
            System.Buffers.ArrayPool<byte>.Shared.Return(memory);
        memory = [];
    }

    private void Spill(Transaction to)
    {
        Reserve(Length);
        ReadOnlySpan<byte> bytes = Bytes;
        File = to.Staging.Dir.CreateUnnamed();
        Write(bytes, 0);
        GiveBack();
    }

    private void GoOn()
    {
        if (name is null || PartialNote.TryOpen(spill!.Staging.Dir, name) is not var (file, note))
            return;
        (File, GoesOn, isNamed) = (file, true, true);
        (Length, Total, Most, Validators) = (note.Length, note.Total, note.Most, note.Said);
        foreach ((long begin, long end) in note.Ahead)
            ahead[begin] = end;
        Join();
    }

    // Now and then: what a killed process leaves unsaid is fetched again.
    private void Mark(long came)
    {
        if (name is null || File is null)
            return;
        lock (gate)
        {
            unmarked += came;
            if (unmarked < MarkEach || Validators is null)
                return;
            unmarked = 0;
            bool said = new PartialNote(Length, Total, Most, Validators, [.. ahead.Select(static each => (each.Key, each.Value))]).TryWriteTo(File, name);
            if (said && !isNamed)
                isNamed = spill!.Staging.Dir.TryLink(File, name);
        }
    }

    // A full disk is no broken network, though the class library has one exception for both.
    private void Write(ReadOnlySpan<byte> bytes, long at)
    {
        try
        {
            RandomAccess.Write(File!, bytes, at);
        }
        catch (IOException failed) when (failed is not LinuxException)
        {
            throw new CannotWriteException(spill!.Repository.Path, failed);
        }
    }

    private void Reserve(long bytes)
    {
        spill!.Reserve(bytes);
        Interlocked.Add(ref reserved, bytes);
    }
}
