using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux;

/// <summary>Where a BPF program is attached, by the numbers of the kernel's bpf_attach_type.</summary>
public enum BpfAttach
{
    /// <summary>A tracepoint, with its arguments typed.</summary>
    Tracepoint = 23,
    /// <summary>Before a kernel function.</summary>
    Entry = 24,
    /// <summary>After a kernel function, with its arguments and its answer.</summary>
    Exit = 25,
}

/// <summary>The kernel's checker refused a program, or may not be asked.</summary>
/// <param name="errno">Why.</param>
/// <param name="program">Which program.</param>
/// <param name="words">The checker's own last words; empty where it said none.</param>
public sealed class BpfException(Errno errno, string program, string words)
    : IOException($"BPF program {program}: {Marshal.GetPInvokeErrorMessage((int)errno)}{(words.Length > 0 ? $": {words}" : "")}")
{
    /// <summary>Why.</summary>
    public Errno Errno { get; } = errno;
}

/// <summary>Programs and maps of the kernel's BPF machine, by bpf(2) itself: no library, no compiler.</summary>
public static unsafe class Bpf
{
    private const int MapCreate = 0;
    private const int MapLookup = 1;
    private const int ProgramLoad = 5;
    private const int TracepointOpen = 17;
    private const uint TypeTracing = 26;
    private const uint TypeArray = 2;
    private const uint TypeRing = 27;
    private const int LogSize = 64 * 1024;

    /// <summary>A ring that programs write records into; its bytes are a power of two, and a page at least.</summary>
    /// <exception cref="LinuxException">Refused: not root (EPERM), or a kernel without BPF (ENOSYS).</exception>
    public static SafeFileHandle NewRing(int bytes) => NewMap(TypeRing, key: 0, value: 0, entries: (uint)bytes);

    /// <summary>Counters of 8 bytes each, by their number.</summary>
    /// <exception cref="LinuxException">Refused.</exception>
    public static SafeFileHandle NewCounters(int count) => NewMap(TypeArray, key: 4, value: 8, (uint)count);

    /// <summary>The value of one counter.</summary>
    /// <exception cref="LinuxException">There is no counter of that number.</exception>
    public static long Counter(SafeFileHandle counters, int number)
    {
        long value = 0;
        using var fd = new Borrowed(counters);
        byte* attributes = stackalloc byte[32];
        new Span<byte>(attributes, 32).Clear();
        *(int*)attributes = fd.Number;
        *(void**)(attributes + 8) = &number;
        *(void**)(attributes + 16) = &value;
        Answer.Check(Call(MapLookup, attributes, 32), "bpf", "counter");
        return value;
    }

    /// <summary>Loads a tracing program.</summary>
    /// <param name="name">A name of at most 15 letters, for bpftool and errors.</param>
    /// <param name="code">Its instructions.</param>
    /// <param name="attach">Where it will be attached.</param>
    /// <param name="target">The BTF id of the function, or of the tracepoint's type.</param>
    /// <exception cref="BpfException">The checker refused it.</exception>
    public static SafeFileHandle Load(string name, ReadOnlySpan<byte> code, BpfAttach attach, int target)
    {
        byte[] empty = [];
        Errno errno = TryLoad(name, code, attach, target, empty, out int fd);
        if (errno == Errno.None)
            return new SafeFileHandle(fd, ownsHandle: true);
        var log = new byte[LogSize];
        Errno again = TryLoad(name, code, attach, target, log, out fd); // only for its words
        if (again == Errno.None)
            return new SafeFileHandle(fd, ownsHandle: true);
        string words = Encoding.UTF8.GetString(log).TrimEnd('\0').Trim();
        throw new BpfException(errno, name, string.Join("; ", words.Split('\n').TakeLast(3)));
    }

    /// <summary>Attaches a loaded program; it runs until the answer is closed.</summary>
    /// <exception cref="LinuxException">The function cannot be traced.</exception>
    public static SafeFileHandle Attach(SafeFileHandle program, string name)
    {
        using var fd = new Borrowed(program);
        byte* attributes = stackalloc byte[16];
        new Span<byte>(attributes, 16).Clear();
        *(int*)(attributes + 8) = fd.Number;
        long link = Call(TracepointOpen, attributes, 16);
        Answer.Check(link, "bpf", $"attaching {name}");
        return new SafeFileHandle((nint)link, ownsHandle: true);
    }

    private static Errno TryLoad(string name, ReadOnlySpan<byte> code, BpfAttach attach, int target, byte[] log, out int fd)
    {
        const int size = 128;
        byte* attributes = stackalloc byte[size];
        new Span<byte>(attributes, size).Clear();
        // The kernel lends helpers that read its memory only to programs under its own licence; docs/decisions/0040 says what that means here.
        fixed (byte* licence = "Dual MIT/GPL\0"u8, instructions = code, words = log)
        {
            *(uint*)attributes = TypeTracing;
            *(uint*)(attributes + 4) = (uint)(code.Length / 8);
            *(byte**)(attributes + 8) = instructions;
            *(byte**)(attributes + 16) = licence;
            if (log.Length > 0)
            {
                *(uint*)(attributes + 24) = 1;
                *(uint*)(attributes + 28) = (uint)log.Length;
                *(byte**)(attributes + 32) = words;
            }

            Encoding.ASCII.GetBytes(name.AsSpan(0, Math.Min(name.Length, 15)), new Span<byte>(attributes + 48, 15));
            *(uint*)(attributes + 68) = (uint)attach;
            *(uint*)(attributes + 108) = (uint)target;
            long result = Call(ProgramLoad, attributes, size);
            Errno errno = Answer.Of(result);
            fd = (int)result;
            return errno;
        }
    }

    private static SafeFileHandle NewMap(uint type, uint key, uint value, uint entries)
    {
        byte* attributes = stackalloc byte[24];
        new Span<byte>(attributes, 24).Clear();
        *(uint*)attributes = type;
        *(uint*)(attributes + 4) = key;
        *(uint*)(attributes + 8) = value;
        *(uint*)(attributes + 12) = entries;
        long fd = Call(MapCreate, attributes, 24);
        Answer.Check(fd, "bpf", "new map");
        return new SafeFileHandle((nint)fd, ownsHandle: true);
    }

    private static long Call(int command, void* attributes, int size) => LibC.syscall(LibC.BpfNumber, command, attributes, size);
}
