using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>A whole file in memory of its own, given back to the kernel when disposed: megabytes that the garbage collector would keep.</summary>
public sealed unsafe class NativeBytes : IDisposable
{
    private byte* memory;
    private int length;

    private NativeBytes()
    {
    }

    /// <summary>The bytes; not to be used after disposal.</summary>
    public ReadOnlySpan<byte> Span => new(memory, length);

    /// <summary>Reads a file from where it stands.</summary>
    /// <param name="file">Open for reading.</param>
    /// <param name="path">What it is, for the error.</param>
    /// <exception cref="LinuxException">Refused.</exception>
    public static NativeBytes ReadAll(SafeFileHandle file, string path)
    {
        using var fd = new Borrowed(file);
        var bytes = new NativeBytes();
        int capacity = (int)Math.Min(Math.Max(Files.Stat(file, path).Size + 1, 4096), int.MaxValue);
        bytes.memory = (byte*)NativeMemory.Alloc((nuint)capacity);
        while (true)
        {
            if (bytes.length == capacity)
            {
                capacity = checked(capacity * 2);
                bytes.memory = (byte*)NativeMemory.Realloc(bytes.memory, (nuint)capacity);
            }

            nint read = LibC.read(fd.Number, bytes.memory + bytes.length, capacity - bytes.length);
            Errno errno = Answer.Of(read);
            if (errno == Errno.EINTR)
                continue;
            if (errno != Errno.None || read == 0)
                return errno == Errno.None ? bytes : throw bytes.Failed(errno, path);
            bytes.length += (int)read;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        NativeMemory.Free(memory);
        memory = null;
        length = 0;
    }

    private LinuxException Failed(Errno errno, string path)
    {
        Dispose();
        return new LinuxException(errno, "read", path);
    }
}
