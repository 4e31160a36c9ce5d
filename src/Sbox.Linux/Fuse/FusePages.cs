namespace Sbox.Linux;

/// <summary>
/// The kernel's page cache of a mounted tree. What was read and verified anyway may be put there unasked: whoever reads on finds it without a request, it is nobody's
/// memory but the kernel's, and it goes when that is needed for something else.
/// </summary>
public sealed class FusePages
{
    private readonly FuseDevice device;

    internal FusePages(FuseDevice device) => this.device = device;

    /// <summary>
    /// Puts bytes of a file there. It waits for pages that are being read just then: never call it from within a read, which would wait for itself.
    /// </summary>
    /// <param name="node">The file's number.</param>
    /// <param name="offset">Where in the file, a multiple of 4096 or only whole pages count.</param>
    /// <param name="bytes">The bytes, borrowed for the call.</param>
    /// <returns>False where the kernel does not take them: it has given the file up, or the file system is unmounted.</returns>
    public bool Put(ulong node, long offset, ReadOnlySpan<byte> bytes) => device.Store(node, offset, bytes) == Errno.None;
}
