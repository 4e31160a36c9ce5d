using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>Reads what the running kernel says of itself and of its modules.</summary>
internal static class KernelLooks
{
    private const int VersionPointerAt = 0x20E, SetupBase = 0x200;

    /// <summary>The kernel, with what the tree's own file says of it.</summary>
    /// <param name="proc">Where procfs is.</param>
    /// <param name="sys">Where sysfs is.</param>
    /// <param name="tree">The running tree.</param>
    public static KernelEvidence Kernel(string proc, string sys, Dir tree)
    {
        string release = Line($"{proc}/sys/kernel/osrelease") ?? "";
        return new KernelEvidence(release, Line($"{proc}/sys/kernel/version") ?? "")
        {
            TreesOwnWords = release.Length > 0 && !release.Contains('/', StringComparison.Ordinal)
                && tree.TryStat($"usr/lib/modules/{release}/vmlinuz") is { IsRegular: true } ? VersionIn(tree.ReadAll($"usr/lib/modules/{release}/vmlinuz")) : null,
            Lockdown = Line($"{sys}/kernel/security/lockdown"),
        };
    }

    /// <summary>What a kernel for x86 says of itself in its header; null for any other file.</summary>
    /// <remarks>The kernel's Documentation/arch/x86/boot.rst: <c>HdrS</c> at 0x202, and at 0x20E where the text is, from 0x200 on.</remarks>
    internal static string? VersionIn(ReadOnlySpan<byte> kernel)
    {
        if (kernel.Length < VersionPointerAt + 2 || !kernel.Slice(0x202, 4).SequenceEqual("HdrS"u8))
            return null;
        int at = SetupBase + BinaryPrimitives.ReadUInt16LittleEndian(kernel[VersionPointerAt..]);
        if (at == SetupBase || at >= kernel.Length)
            return null;
        ReadOnlySpan<byte> text = kernel[at..Math.Min(kernel.Length, at + 512)];
        int end = text.IndexOf((byte)0);
        return end > 0 ? Encoding.ASCII.GetString(text[..end]) : null;
    }

    /// <summary>The loaded modules; null where the list cannot be read.</summary>
    public static IReadOnlyList<LoadedModule>? Modules(string proc, string sys) => !File.Exists($"{proc}/modules") ? null :
    [
        .. File.ReadLines($"{proc}/modules").Select(static line => line.Split(' ')[0]).Where(static name => name.Length > 0)
            .Select(name => new LoadedModule(name, Line($"{sys}/module/{name}/taint") ?? "")),
    ];

    /// <summary>The kernel's taint; all bits where it does not say.</summary>
    public static ulong Taint(string proc) =>
        ulong.TryParse(Line($"{proc}/sys/kernel/tainted"), NumberStyles.None, CultureInfo.InvariantCulture, out ulong taint) ? taint : ulong.MaxValue;

    private static string? Line(string file)
    {
        try
        {
            return File.Exists(file) ? File.ReadAllText(file).Trim() : null;
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            return null; // what is not told is not known
        }
    }
}
