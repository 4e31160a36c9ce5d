using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>What became of the wish for fs-verity on a file.</summary>
public enum VerityState
{
    /// <summary>The kernel proves every byte of it from now on.</summary>
    Enabled,
    /// <summary>It had been so before.</summary>
    AlreadyEnabled,
    /// <summary>The kernel or the file system cannot.</summary>
    Unsupported,
}

/// <summary>fs-verity: the kernel hashes what it reads of a file, and refuses what is not as it was. Such a file is never written again.</summary>
public static unsafe class Verity
{
    private const uint Sha256 = 1;
    private const int DigestSize = 32;

    /// <summary>
    /// Seals a file: SHA-256, blocks of 4096 bytes, no salt. Its bytes are hashed now and are on the disk afterwards. It keeps its time of modification, which ext4
    /// sets to that of the sealing, except where it is another user's.
    /// </summary>
    /// <param name="file">Open for reading on a writable mount; nobody may have it open for writing (ETXTBSY).</param>
    /// <param name="path">For the error.</param>
    /// <exception cref="LinuxException">Refused for another reason than that it cannot be.</exception>
    public static VerityState TryEnable(SafeFileHandle file, string path)
    {
        var argument = new LibC.VerityEnable { Version = 1, Algorithm = Sha256, BlockSize = 4096 };
        FileStat before = Files.Stat(file, path);
        using var fd = new Borrowed(file);
        Errno errno;
        do
            errno = Answer.Of(LibC.ioctl(fd.Number, LibC.FS_IOC_ENABLE_VERITY, &argument));
        while (errno == Errno.EINTR);
        if (errno == Errno.None)
        {
            KeepTime(file, before, path);
            return VerityState.Enabled;
        }

        return errno switch
        {
            Errno.EEXIST => VerityState.AlreadyEnabled,
            Errno.ENOTTY or Errno.EOPNOTSUPP => VerityState.Unsupported,
            _ => throw new LinuxException(errno, "ioctl(FS_IOC_ENABLE_VERITY)", path),
        };
    }

    private static void KeepTime(SafeFileHandle file, FileStat before, string path)
    {
        try
        {
            Files.SetModified(file, before.ModifiedSeconds, before.ModifiedNanoseconds, path);
        }
        catch (LinuxException refused) when (refused.Errno == Errno.EPERM)
        {
            // Whoever may write it may seal it; times are its owner's.
            return;
        }
    }

    /// <summary>Whether a name in a directory is a sealed file, without opening it; null where it is no regular file, or nothing is there.</summary>
    /// <exception cref="LinuxException">It may not be looked at.</exception>
    public static bool? IsEnabled(Dir dir, string name)
    {
        LibC.Statx raw = default;
        using var fd = new Borrowed(dir.Handle);
        fixed (byte* path = CString.Of(name))
        {
            Errno errno = Answer.Of(LibC.statx(fd.Number, path, LibC.AT_SYMLINK_NOFOLLOW, LibC.STATX_BASIC_STATS, &raw));
            if (errno is not (Errno.None or Errno.ENOENT))
                throw new LinuxException(errno, "statx", dir.Of(name));
            return errno == Errno.None && (FileKind)(raw.Mode & 0xF000) == FileKind.Regular ? (raw.Attributes & LibC.STATX_ATTR_VERITY) != 0 : null;
        }
    }

    /// <summary>Whether a file is sealed or could be: its kernel and file system know fs-verity.</summary>
    public static bool IsKnown(SafeFileHandle file)
    {
        LibC.VerityDigest digest = default;
        digest.Size = 64;
        using var fd = new Borrowed(file);
        return Answer.Of(LibC.ioctl(fd.Number, LibC.FS_IOC_MEASURE_VERITY, &digest)) is Errno.None or Errno.ENODATA or Errno.EOVERFLOW;
    }

    /// <summary>The digest that the kernel holds a file to, 32 bytes; null where it is not sealed, or nothing here can be.</summary>
    /// <exception cref="LinuxException">Refused, or sealed by another hash than SHA-256 (EOVERFLOW).</exception>
    public static byte[]? Measure(SafeFileHandle file, string path)
    {
        LibC.VerityDigest digest = default;
        digest.Size = DigestSize;
        using var fd = new Borrowed(file);
        Errno errno = Answer.Of(LibC.ioctl(fd.Number, LibC.FS_IOC_MEASURE_VERITY, &digest));
        if (errno is Errno.ENODATA or Errno.ENOTTY or Errno.EOPNOTSUPP)
            return null;
        if (errno != Errno.None)
            throw new LinuxException(errno, "ioctl(FS_IOC_MEASURE_VERITY)", path);
        if (digest.Algorithm != Sha256 || digest.Size != DigestSize)
            throw new LinuxException(Errno.EOVERFLOW, "ioctl(FS_IOC_MEASURE_VERITY)", path);
        return new ReadOnlySpan<byte>(digest.Bytes, DigestSize).ToArray();
    }
}

internal static unsafe partial class LibC
{
    // _IOW('f', 133, struct fsverity_enable_arg) and _IOWR('f', 134, struct fsverity_digest).
    public const ulong FS_IOC_ENABLE_VERITY = 0x40806685;
    public const ulong FS_IOC_MEASURE_VERITY = 0xC0046686;

    [StructLayout(LayoutKind.Sequential)]
    public struct VerityEnable
    {
        public uint Version;
        public uint Algorithm;
        public uint BlockSize;
        public uint SaltSize;
        public ulong Salt;
        public uint SignatureSize;
        public uint Reserved;
        public ulong Signature;
        public fixed ulong Reserved2[11];
    }

    [StructLayout(LayoutKind.Sequential)]
    public struct VerityDigest
    {
        public ushort Algorithm;
        public ushort Size;
        public fixed byte Bytes[64];
    }
}
