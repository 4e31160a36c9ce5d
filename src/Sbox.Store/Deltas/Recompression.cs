using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>
/// That a file is compressed, how, and how many bytes it and its old version unpack to: a delta has the differences of what both unpack to, which are few, and whoever applies it
/// compresses the outcome again.
/// </summary>
/// <param name="OldSize">Bytes that the old version unpacks to.</param>
/// <param name="NewSize">Bytes that the new one unpacks to.</param>
/// <param name="How">How the new one is compressed; the old one is by the same program.</param>
/// <remarks>docs/formats/static-delta.md, "Recompressing".</remarks>
internal sealed record Recompression(long OldSize, long NewSize, Packing How)
{
    /// <summary>The numbers that follow the operation, in the order in which <see cref="Read"/> asks for them.</summary>
    public long[] Numbers => [How.Kind, OldSize, NewSize, .. How.Numbers];

    /// <summary>Reads them.</summary>
    /// <param name="number">Gives the next one.</param>
    /// <exception cref="MalformedException">They say what this cannot do.</exception>
    public static Recompression Read(Func<long> number)
    {
        (long kind, long oldSize, long newSize) = (number(), number(), number());
        var how = Packing.Read(kind, number);
        return new Recompression(Packing.Within("old size", oldSize, 0, how.MaximumSize), Packing.Within("new size", newSize, 0, how.MaximumSize), how);
    }
}
