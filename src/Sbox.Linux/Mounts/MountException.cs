using System.Runtime.InteropServices;

namespace Sbox.Linux;

/// <summary>The kernel refused to make or change a mount, with its own words where it left some.</summary>
/// <param name="errno">The reason.</param>
/// <param name="fileSystem">The file system's type: <c>overlay</c>.</param>
/// <param name="step">What was refused: <c>fsconfig datadir+=/x</c>.</param>
/// <param name="kernelWords">The kernel's messages on the context, joined by "; "; empty where it left none.</param>
public sealed class MountException(Errno errno, string fileSystem, string step, string kernelWords)
    : IOException($"{fileSystem}: {step}: {Marshal.GetPInvokeErrorMessage((int)errno)}{(kernelWords.Length > 0 ? $" ({kernelWords})" : "")}")
{
    /// <summary>The reason.</summary>
    public Errno Errno { get; } = errno;

    /// <summary>The file system's type.</summary>
    public string FileSystem { get; } = fileSystem;

    /// <summary>What was refused.</summary>
    public string Step { get; } = step;

    /// <summary>The kernel's own messages.</summary>
    public string KernelWords { get; } = kernelWords;
}
