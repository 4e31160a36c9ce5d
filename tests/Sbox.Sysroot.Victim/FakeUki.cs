using System.Text;

namespace Sbox.Sysroot.Victim;

/// <summary>Stands in for a PE image where the tree holds no real stub: text that says what it was made of, and whether it is whole.</summary>
public static class FakeUki
{
    /// <summary>The command line is the second line; the initrd's bytes are the end.</summary>
    public static void Assemble(UnifiedKernel parts, Stream output)
    {
        output.Write(Encoding.UTF8.GetBytes($"whole\n{parts.CommandLine}\n{parts.KernelVersion}\n{Encoding.UTF8.GetString(parts.Kernel)}\n{parts.OsRelease}"));
        parts.Initrd?.CopyTo(output);
    }
}
