using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Bytes that are written once and then read anywhere: in memory as long as they are few, else in a file without a name. Reading is safe
/// from several threads at once.
/// </summary>
/// <param name="where">Where the file is.</param>
/// <param name="inMemory">How many bytes are few.</param>
/// <param name="counted">Against whose reserve the file's bytes count until this is disposed; null for nobody's.</param>
internal sealed class Spool(Dir where, int inMemory, Transaction? counted = null) : OutputStream
{
    private byte[] memory = [];
    private SafeFileHandle? file;
    private int filled;
    private long written, reserved;

    public override long Length => written + filled;

    public override void Write(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            if (filled == memory.Length)
                MakeRoom(bytes.Length);
            int count = Math.Min(bytes.Length, memory.Length - filled);
            bytes[..count].CopyTo(memory.AsSpan(filled));
            filled += count;
            bytes = bytes[count..];
        }
    }

    /// <summary>Reads; fewer bytes than asked for only at the end.</summary>
    public int ReadAt(Span<byte> into, long offset)
    {
        int count = (int)Math.Clamp(Length - offset, 0, into.Length);
        int done = 0;
        if (offset < written)
        {
            int inFile = (int)Math.Min(count, written - offset);
            for (int read; done < inFile && (read = Linux.Files.ReadAt(file!, into[done..inFile], offset + done, where.Path)) > 0;)
                done += read;
        }

        if (done < count)
            memory.AsSpan((int)(offset + done - written), count - done).CopyTo(into[done..]);
        return count;
    }

    /// <summary>Copies a stretch.</summary>
    public void CopyTo(Stream output, long offset, long count)
    {
        byte[] buffer = System.Buffers.ArrayPool<byte>.Shared.Rent(64 * 1024);
        try
        {
            for (int read; count > 0; offset += read, count -= read)
            {
                read = ReadAt(buffer.AsSpan(0, (int)Math.Min(buffer.Length, count)), offset);
                output.Write(buffer, 0, read);
            }
        }
        finally
        {
            System.Buffers.ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    protected override void Dispose(bool disposing)
    {
        if (!disposing)
            return;
        file?.Dispose();
        counted?.Release(reserved);
        reserved = 0;
        GiveBack();
    }

    // Lent, since thousands of them are made one after the other: the collector is slow to notice large arrays.
    private void GiveBack()
    {
        if (memory.Length > 0)
            System.Buffers.ArrayPool<byte>.Shared.Return(memory);
        memory = [];
    }

    private void MakeRoom(int wanted)
    {
        if (memory.Length < inMemory)
        {
            byte[] larger = System.Buffers.ArrayPool<byte>.Shared.Rent((int)Math.Min(inMemory, Math.Max(4096, Math.Max(memory.Length * 2L, (long)filled + wanted))));
            memory.AsSpan(0, filled).CopyTo(larger);
            GiveBack();
            memory = larger;
            return;
        }

        counted?.Reserve(filled);
        reserved += filled;
        file ??= where.CreateUnnamed(0x180 /* 0600 */);
        Linux.Files.WriteAt(file, memory.AsSpan(0, filled), written, where.Path);
        written += filled;
        filled = 0;
    }
}

/// <summary>A stretch of something that can be read anywhere, as a stream.</summary>
internal sealed class StretchStream(Codecs.ReadAt source, long offset, long size) : InputStream
{
    private long done;

    public override long Length => size;

    public override long Position { get => done; set => throw new NotSupportedException(); }

    public override int Read(Span<byte> buffer)
    {
        int read = source(buffer[..(int)Math.Min(buffer.Length, size - done)], offset + done);
        done += read;
        return read;
    }
}
