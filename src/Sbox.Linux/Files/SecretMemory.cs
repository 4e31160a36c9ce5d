using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>
/// Bytes that must not outlive their use: outside the collector's heap, so nothing copies them; locked against swap where the kernel
/// allows it, left out of core dumps, and zeroed when disposed. Prints as <c>***</c>.
/// </summary>
public sealed unsafe class SecretMemory : IDisposable
{
    private const int HugePage = 2 << 20;

    private readonly int length;
    private readonly nint mapped;
    private byte* bytes;

    /// <param name="length">Bytes wanted; zeroed.</param>
    /// <exception cref="LinuxException">The kernel has no memory for it.</exception>
    public SecretMemory(int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        this.length = length;
        mapped = Math.Max(length, 1);
        nint at = LibC.mmap(0, mapped, LibC.PROT_READ | LibC.PROT_WRITE, LibC.MAP_PRIVATE | LibC.MAP_ANONYMOUS, -1, 0);
        Errno errno = at == -1 ? Answer.Of(-1) : Errno.None;
        if (errno != Errno.None)
            throw new LinuxException(errno, "mmap", "secret memory");
        bytes = (byte*)at;
        if (mapped >= HugePage)
            _ = LibC.madvise(bytes, mapped, LibC.MADV_HUGEPAGE); // one fault for 2 MiB, where there are such pages
        IsLocked = Answer.Of(LibC.mlock(bytes, mapped)) == Errno.None;
        Answer.Check(LibC.madvise(bytes, mapped, LibC.MADV_DONTDUMP), "madvise", "secret memory");
    }

    /// <summary>Memory with a copy of these bytes.</summary>
    public SecretMemory(ReadOnlySpan<byte> secret)
        : this(secret.Length) => secret.CopyTo(Span);

    /// <summary>Whether it is locked against swap: RLIMIT_MEMLOCK can forbid it, and then it is only zeroed and left out of dumps.</summary>
    public bool IsLocked { get; }

    /// <summary>The bytes, until this is disposed.</summary>
    /// <exception cref="ObjectDisposedException">It is.</exception>
    public Span<byte> Span => bytes != null ? new Span<byte>(bytes, length) : throw new ObjectDisposedException(nameof(SecretMemory));

    /// <inheritdoc/>
    public override string ToString() => "***";

    /// <inheritdoc/>
    public void Dispose()
    {
        Release();
        GC.SuppressFinalize(this);
    }

    /// <summary>Zeroes what nobody disposed.</summary>
    ~SecretMemory() => Release();

    private void Release()
    {
        byte* mine = bytes;
        bytes = null;
        if (mine == null)
            return;
        System.Security.Cryptography.CryptographicOperations.ZeroMemory(new Span<byte>(mine, length));
        _ = LibC.munmap((nint)mine, mapped); // it can only fail for an address that is no mapping
    }
}

internal static unsafe partial class LibC
{
    public const int MAP_PRIVATE = 2;
    public const int MAP_ANONYMOUS = 0x20;
    public const int MADV_DONTNEED = 4;
    public const int MADV_HUGEPAGE = 14;
    public const int MADV_DONTDUMP = 16;
    public const int RLIMIT_CORE = 4;

    [StructLayout(LayoutKind.Sequential)]
    public struct ResourceLimit
    {
        public ulong Soft, Hard;
    }

    [LibraryImport("libc", SetLastError = true)]
    public static partial int setrlimit(int resource, ResourceLimit* limit);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int mlock(void* address, nint length);

    [LibraryImport("libc", SetLastError = true)]
    public static partial int madvise(void* address, nint length, int advice);
}
