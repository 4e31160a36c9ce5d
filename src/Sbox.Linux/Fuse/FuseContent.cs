using System.Buffers;
using static Sbox.Linux.FuseProtocol;

namespace Sbox.Linux;

/// <summary>A file's bytes on their way to the kernel. What is in memory anyway is lent, and copied once, by the kernel itself.</summary>
public sealed class FuseContent
{
    private const int PartsAtMost = 16;

    private readonly List<Part> parts = new(PartsAtMost);
    private FuseDevice? device;
    private NativeBlock? room;
    private int copied;

    /// <summary>Bytes that are still wanted: all of them are expected, save at the file's end.</summary>
    public int Wanted { get; private set; }

    /// <summary>Bytes that are there.</summary>
    internal int Length { get; private set; }

    /// <summary>Room for all that is wanted, where a tree makes its bytes anew; <see cref="Fill"/> says how many it has made.</summary>
    public Memory<byte> Room
    {
        get
        {
            room ??= device!.TakeLarge();
            return room.Memory.Slice(copied, Wanted);
        }
    }

    /// <summary>Takes over the first bytes of <see cref="Room"/>.</summary>
    /// <param name="length">How many; at most <see cref="Wanted"/>.</param>
    public void Fill(int length)
    {
        if (length == 0)
            return;
        if (parts is [.., { Owner: null } before]) // ours, and it ends where this begins
            parts[^1] = before with { Length = before.Length + length };
        else
            parts.Add(new Part(room!.Memory.Slice(copied, length).Pin(), length, null));
        copied += length;
        Note(length);
    }

    /// <summary>Takes bytes as they are; at most <see cref="Wanted"/>.</summary>
    /// <param name="bytes">What follows.</param>
    /// <param name="owner">Disposed when they have been read, and not before.</param>
    public void Lend(ReadOnlyMemory<byte> bytes, IDisposable owner)
    {
        if (parts.Count < PartsAtMost - 1)
        {
            parts.Add(new Part(bytes.Pin(), bytes.Length, owner));
            Note(bytes.Length);
            return;
        }

        using (owner)
        {
            bytes.CopyTo(Room); // a file of very small pieces
            Fill(bytes.Length);
        }
    }

    /// <summary>Takes a copy of what was lent so far: for who has to wait for the rest, and would hold others' memory meanwhile.</summary>
    public unsafe void Keep()
    {
        if (copied > 0 || parts.Count == 0)
            return;
        room ??= device!.TakeLarge();
        foreach (Part part in parts)
        {
            new ReadOnlySpan<byte>(part.Bytes.Pointer, part.Length).CopyTo(room.GetSpan()[copied..]);
            copied += part.Length;
        }

        LetGo();
        parts.Add(new Part(room.Memory[..copied].Pin(), copied, null));
    }

    internal void Begin(FuseDevice from, int wanted)
    {
        device = from;
        Wanted = wanted;
    }

    /// <summary>Replies with what is there.</summary>
    internal unsafe void Reply(Microsoft.Win32.SafeHandles.SafeFileHandle handle, ulong unique)
    {
        var header = new OutHeader { Length = (uint)(OutHeaderSize + Length), Unique = unique };
        LibC.IoVec* vectors = stackalloc LibC.IoVec[parts.Count + 1];
        vectors[0] = new LibC.IoVec { Bytes = (byte*)&header, Length = OutHeaderSize };
        for (int at = 0; at < parts.Count; at++)
            vectors[at + 1] = new LibC.IoVec { Bytes = (byte*)parts[at].Bytes.Pointer, Length = parts[at].Length };
        FuseDevice.Reply(handle, vectors, parts.Count + 1);
    }

    /// <summary>Lets go of all of it.</summary>
    internal void End()
    {
        LetGo();
        if (room is not null)
            device!.Return(room);
        (room, copied, Length, Wanted) = (null, 0, 0, 0);
    }

    private void LetGo()
    {
        foreach (Part part in parts)
        {
            part.Bytes.Dispose();
            part.Owner?.Dispose();
        }

        parts.Clear();
    }

    private void Note(int length)
    {
        Length += length;
        Wanted -= length;
    }

    private readonly record struct Part(MemoryHandle Bytes, int Length, IDisposable? Owner);
}
