using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Standard input, output and error of this process.</summary>
public static class StandardStreams
{
    /// <summary>
    /// Opens those that whoever started this process had closed. Left so, the next file that is opened becomes one of them, and what was meant for a terminal is written into it; and .NET's
    /// console ends a program that has no stdout. To be called first of all.
    /// </summary>
    /// <param name="outputIsLost">Whether what is written to a stdout that was closed is lost without a word, as it is to a program in C; else writing there fails, as it does to a closed one.</param>
    public static unsafe void OpenClosed(bool outputIsLost)
    {
        for (int stream = 0; stream <= 2; stream++)
        {
            if (LibC.dup2(stream, stream) >= 0)
                continue;
            int access = stream == 0 || (stream == 1 && !outputIsLost) ? LibC.O_RDONLY : LibC.O_WRONLY;
            fixed (byte* nothing = "/dev/null\0"u8)
            {
                // The lowest number that is free: those before it are open by now.
                if (LibC.openat(LibC.AT_FDCWD, nothing, access, 0) < 0)
                    return; // a root without it, as an installer's may be: then it is as it was
            }
        }
    }

    /// <summary>Leads all three to /dev/null: whoever reads what this process writes sees its end.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static void ToNull()
    {
        using Dir dev = Dir.Open("/dev");
        using SafeFileHandle nothing = dev.OpenToWrite("null");
        using var fd = new Borrowed(nothing);
        for (int stream = 0; stream <= 2; stream++)
            Answer.Check(LibC.dup2(fd.Number, stream), "dup2", "/dev/null");
    }
}

internal static unsafe partial class LibC
{
    [System.Runtime.InteropServices.LibraryImport("libc", SetLastError = true)]
    public static partial int dup2(int from, int to);
}
