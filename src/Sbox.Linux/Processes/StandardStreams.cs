using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Standard input, output and error of this process.</summary>
public static class StandardStreams
{
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
