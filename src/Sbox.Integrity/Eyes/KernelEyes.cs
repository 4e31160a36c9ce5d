using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>An eye that could not be opened, and what is not seen for it.</summary>
/// <param name="Function">The kernel function that it would look at.</param>
/// <param name="Reason">Why not.</param>
public sealed record ClosedEye(string Function, string Reason);

/// <summary>
/// The sentinel's eyes in the kernel: small programs after functions that change mounts, load modules, open disks or attack the
/// sentinel. They copy facts into a ring and decide nothing. A kernel that lets none of them in leaves the sentinel with /proc alone.
/// </summary>
public sealed class KernelEyes : IDisposable
{
    /// <summary>300 records; they are taken out as they come.</summary>
    private const int RingSize = 256 * 1024;

    private readonly List<SafeFileHandle> links = [];
    private readonly SafeFileHandle counters;
    private readonly RingReader reader;

    private KernelEyes(SafeFileHandle ring, SafeFileHandle counters)
    {
        (Ring, this.counters) = (ring, counters);
        reader = new RingReader(ring, RingSize);
    }

    /// <summary>Readable when something was seen.</summary>
    public SafeFileHandle Ring { get; }

    /// <summary>Eyes that stay closed, with the reason.</summary>
    public IReadOnlyList<ClosedEye> Closed { get; private set; } = [];

    /// <summary>How many eyes are open.</summary>
    public int OpenCount => links.Count;

    /// <summary>Things that happened while the ring was full, since the eyes were opened.</summary>
    public long Lost => Bpf.Counter(counters, 0);

    /// <summary>Opens as many eyes as this kernel allows.</summary>
    /// <param name="typesFile">The kernel's type description.</param>
    /// <exception cref="IOException">It allows none: no BPF, no type description, or not root.</exception>
    public static KernelEyes Open(string typesFile = "/sys/kernel/btf/vmlinux")
    {
        SafeFileHandle ring = Bpf.NewRing(RingSize);
        SafeFileHandle counters = Bpf.NewCounters(1);
        var eyes = new KernelEyes(ring, counters);
        Sight[] sights = [.. Sights.All()];
        KernelTypes types = ReadTypes(typesFile, [.. sights.Select(static sight => sight.Function), Sight.EveryCall]);
        var closed = new List<ClosedEye>();
        foreach (Sight sight in sights)
        {
            if (eyes.TryOpen(sight, types) is { } reason && (sight.Instead is null || eyes.TryOpen(sight.Instead, types) is not null))
                closed.Add(new ClosedEye(sight.Function, reason));
        }

        eyes.Closed = closed;
        return eyes;
    }

    /// <summary>Takes out what was seen, oldest first.</summary>
    /// <returns>How many records.</returns>
    public int Drain(Action<KernelEvent> see) => reader.Drain(record =>
    {
        if (KernelEvent.Read(record) is { } seen)
            see(seen);
    });

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (SafeFileHandle link in links)
            link.Dispose();
        reader.Dispose();
        Ring.Dispose();
        counters.Dispose();
    }

    private string? TryOpen(Sight sight, KernelTypes types)
    {
        try
        {
            var program = new EyeProgram(types, (int)Ring.DangerousGetHandle(), (int)counters.DangerousGetHandle());
            byte[] code = sight.Write(program);
            using SafeFileHandle loaded = Bpf.Load($"sbox_{sight.Act}", code, sight.Attach, types.Target(sight.Function));
            links.Add(Bpf.Attach(loaded, sight.Function));
            return null;
        }
        catch (Exception refused) when (refused is BlindException or BpfException or LinuxException)
        {
            return refused.Message;
        }
    }

    private static KernelTypes ReadTypes(string file, IReadOnlyList<string> functions)
    {
        using SafeFileHandle handle = File.OpenHandle(file);
        using NativeBytes bytes = NativeBytes.ReadAll(handle, file);
        return KernelTypes.Of(bytes.Span, functions);
    }
}
