namespace Sbox.Sysroot;

/// <summary>What a box starts as when nobody chooses in the boot menu. The names are those of recipes, metadata and answers: <see cref="DefaultBoots"/>.</summary>
public enum DefaultBoot
{
    /// <summary>The menu's entry <c>normal</c>: what changes in /etc and /var stays.</summary>
    Normal,

    /// <summary>The entry <c>ghost</c>: it is gone at power-off.</summary>
    Ghost,

    /// <summary>The entry <c>ghost in memory</c>: so it is, and the medium may be taken out.</summary>
    GhostInMemory,
}

/// <summary>The names of <see cref="DefaultBoot"/>.</summary>
public static class DefaultBoots
{
    /// <summary>A commit's metadata with the name of what a new box of it starts as; absent for the normal entry.</summary>
    public const string MetadataKey = "sbox.boots-as";

    /// <summary>All names, for whoever says what may be written.</summary>
    public const string Names = "'normal', 'ghost' or 'ghost-in-memory'";

    /// <summary>Its name: <c>normal</c>, <c>ghost</c>, <c>ghost-in-memory</c>.</summary>
    public static string Name(this DefaultBoot boot) => boot switch
    {
        DefaultBoot.Ghost => "ghost",
        DefaultBoot.GhostInMemory => "ghost-in-memory",
        _ => "normal",
    };

    /// <summary>The one of a name; null for no name of one.</summary>
    public static DefaultBoot? Parse(string? name) => name switch
    {
        "normal" => DefaultBoot.Normal,
        "ghost" => DefaultBoot.Ghost,
        "ghost-in-memory" => DefaultBoot.GhostInMemory,
        _ => null,
    };

    /// <summary>The profile of <see cref="BootProfiles.Standard"/> that is started; null for the first, whose entry is called by the file alone.</summary>
    internal static string? Profile(this DefaultBoot boot) => boot == DefaultBoot.Normal ? null : boot.Name();

    /// <summary>
    /// What a trial starts. A boot from memory has no disk to write a verdict to, and a version that nobody judges would never be the default: an ordinary ghost keeps as little.
    /// </summary>
    internal static DefaultBoot OnTrial(this DefaultBoot boot) => boot == DefaultBoot.GhostInMemory ? DefaultBoot.Ghost : boot;
}
