using Microsoft.Win32.SafeHandles;

namespace Sbox.Store;

/// <summary>What came for one request: in memory, or in a file without a name, whose bytes are counted in the transaction for as long as it is there.</summary>
/// <param name="spill">Where such a file is made; null keeps all in memory.</param>
internal sealed class Fetched(Transaction? spill) : IDisposable
{
    private long reserved;

    public MemoryStream? Memory { get; private set; } = new();

    public SafeFileHandle? File { get; private set; }

    public long Length { get; private set; }

    /// <summary>The server said that the file is as it was; nothing came.</summary>
    public bool IsUnchanged { get; set; }

    /// <summary>The server has no such file.</summary>
    public bool IsMissing { get; set; }

    /// <summary>What the server said of it.</summary>
    public Validators? Validators { get; set; }

    /// <summary>Whether the rest of it can be asked for: some of it came, and the server said how to tell that it is still the same.</summary>
    public bool CanResume => Length > 0 && Validators is { ETag: { Length: > 0 } } or { LastModified: not null };

    /// <summary>Forgets what came.</summary>
    public void Clear()
    {
        File?.Dispose();
        File = null;
        Memory = new MemoryStream();
        spill?.Release(reserved);
        (reserved, Length) = (0, 0);
    }

    public void Append(ReadOnlySpan<byte> bytes, int inMemory)
    {
        if (Memory is not null && spill is not null && Length + bytes.Length > inMemory)
        {
            Reserve(Length);
            File = spill.Staging.Dir.CreateUnnamed();
            RandomAccess.Write(File, Memory.GetBuffer().AsSpan(0, (int)Memory.Length), 0);
            Memory = null;
        }

        if (Memory is not null)
        {
            Memory.Write(bytes);
        }
        else
        {
            // Before the bytes are written: nothing is known of them yet, and a server may send without end.
            Reserve(bytes.Length);
            RandomAccess.Write(File!, bytes, Length);
        }

        Length += bytes.Length;
    }

    /// <summary>The file is an object now: its bytes stay counted when this is disposed.</summary>
    public void Keep() => reserved = 0;

    /// <summary>The bytes from the beginning.</summary>
    public Stream Open()
    {
        if (Memory is not null)
            return new MemoryStream(Memory.GetBuffer(), 0, (int)Memory.Length, writable: false);
        return new FileStream(new SafeFileHandle(File!.DangerousGetHandle(), ownsHandle: false), FileAccess.Read, bufferSize: 0) { Position = 0 };
    }

    public void Dispose()
    {
        File?.Dispose();
        spill?.Release(reserved);
        reserved = 0;
    }

    private void Reserve(long bytes)
    {
        spill!.Reserve(bytes);
        reserved += bytes;
    }
}
