using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>Why the kernel refused, by the number that <c>errno</c> held; the names are errno(3)'s.</summary>
public enum Errno
{
#pragma warning disable CS1591 // errno(3) documents these better than a paraphrase would
    Unexplained = -1,
    None = 0,
    EPERM = 1,
    ENOENT = 2,
    ESRCH = 3,
    EINTR = 4,
    EIO = 5,
    ENXIO = 6,
    E2BIG = 7,
    EBADF = 9,
    EAGAIN = 11,
    ENOMEM = 12,
    EACCES = 13,
    EBUSY = 16,
    EEXIST = 17,
    EXDEV = 18,
    ENODEV = 19,
    ENOTDIR = 20,
    EISDIR = 21,
    EINVAL = 22,
    ENFILE = 23,
    EMFILE = 24,
    ENOTTY = 25,
    ETXTBSY = 26,
    EFBIG = 27,
    ENOSPC = 28,
    EROFS = 30,
    EMLINK = 31,
    ERANGE = 34,
    ENAMETOOLONG = 36,
    ENOSYS = 38,
    ENOTEMPTY = 39,
    ELOOP = 40,
    ENODATA = 61,
    EPROTO = 71,
    EOVERFLOW = 75,
    EOPNOTSUPP = 95,
    ECONNABORTED = 103,
    ENOTCONN = 107,
    ETIMEDOUT = 110,
    ESTALE = 116,
    EDQUOT = 122,
#pragma warning restore CS1591
}

/// <summary>The kernel refused a call: which call, on what path, and why.</summary>
/// <param name="errno">The reason.</param>
/// <param name="call">The system call's name, as its man page has it.</param>
/// <param name="path">What it was asked about, as a person would write it.</param>
public sealed class LinuxException(Errno errno, string call, string path)
    : IOException($"{path}: {call}: {Describe(errno)}")
{
    /// <summary>The reason.</summary>
    public Errno Errno { get; } = errno;

    /// <summary>The system call's name.</summary>
    public string Call { get; } = call;

    /// <summary>What it was asked about.</summary>
    public string Path { get; } = path;

    private static string Describe(Errno errno) => errno switch
    {
        Errno.Unexplained => "refused without a reason",
        _ => Marshal.GetPInvokeErrorMessage((int)errno),
    };
}

/// <summary>The one place where the result of a system call becomes an answer.</summary>
internal static class Answer
{
    /// <summary>The reason for a refusal; <see cref="Errno.None"/> when there was none.</summary>
    /// <remarks>errno is read on the very next step: formatting a number or closing a handle in between can replace it.</remarks>
    public static Errno Of(long result) => (result, Marshal.GetLastPInvokeError()) switch
    {
        ( >= 0, _) => Errno.None,
        (_, 0) => Errno.Unexplained, // a refusal without a reason must never read as success
        (_, int errno) => (Errno)errno,
    };

    /// <summary>Throws unless the call succeeded.</summary>
    /// <exception cref="LinuxException">The call was refused.</exception>
    public static void Check(long result, string call, string path)
    {
        Errno errno = Of(result);
        if (errno != Errno.None)
            throw new LinuxException(errno, call, path);
    }
}
