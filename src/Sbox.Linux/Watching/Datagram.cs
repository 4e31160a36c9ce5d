using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Sends datagrams to sockets in the file system: the journal's, and the one that systemd is notified by.</summary>
public static unsafe class Datagram
{
    private const int PathAtMost = 107;

    /// <summary>Sends one datagram.</summary>
    /// <param name="socketPath">The socket's path; <c>@</c> first for one without a place in the file system.</param>
    /// <param name="content">What to send.</param>
    /// <returns>Why not; <see cref="Errno.None"/> when it was sent.</returns>
    public static Errno Send(string socketPath, ReadOnlySpan<byte> content)
    {
        byte[] path = CString.Of(socketPath);
        int length = Array.IndexOf(path, (byte)0);
        if (length > PathAtMost)
            return Errno.ENAMETOOLONG;
        int fd = LibC.socket(LibC.AF_UNIX, LibC.SOCK_DGRAM | LibC.SOCK_CLOEXEC, 0);
        if (Answer.Of(fd) is var refused && refused != Errno.None)
            return refused;
        using var socket = new SafeFileHandle(fd, ownsHandle: true);
        byte* address = stackalloc byte[PathAtMost + 3];
        *(ushort*)address = LibC.AF_UNIX;
        path.AsSpan(0, length + 1).CopyTo(new Span<byte>(address + 2, PathAtMost + 1));
        bool abstracted = address[2] == (byte)'@';
        if (abstracted)
            address[2] = 0;
        using var borrowed = new Borrowed(socket);
        fixed (byte* data = content)
            return Answer.Of(LibC.sendto(borrowed.Number, data, content.Length, LibC.MSG_NOSIGNAL, address, 2 + length + (abstracted ? 0 : 1)));
    }
}
