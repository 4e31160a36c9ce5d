namespace Sbox.Tomb;

/// <summary>The collector's heap after much was read of which little is kept.</summary>
internal static class Garbage
{
    /// <summary>Gives back what nobody needs. What is kept of a tomb has next to no references in it: this is a matter of milliseconds.</summary>
    public static void LetGo() => GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
}
