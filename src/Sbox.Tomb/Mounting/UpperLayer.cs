using System.Text;
using Sbox.Linux;

namespace Sbox.Tomb.Mounting;

/// <summary>What an entry of an overlay's upper layer says about what is below it.</summary>
internal enum UpperKind
{
    /// <summary>It is there, with bytes of its own.</summary>
    Present,
    /// <summary>What is below by this name is deleted.</summary>
    Deleted,
    /// <summary>A file of which only attributes changed: its bytes are below.</summary>
    AttributesOnly,
    /// <summary>A directory that hides what is below by this name.</summary>
    Replaced,
    /// <summary>A directory that adds to one below.</summary>
    Merged,
}

/// <summary>One name in the upper layer of an overlay.</summary>
/// <param name="Name">The name.</param>
/// <param name="Stat">What it is there.</param>
/// <param name="Kind">What it says about what is below.</param>
/// <param name="Redirect">Where it was below before it was renamed: a name in the same directory, or an absolute path from the lower layer's top; null where it has not moved.</param>
/// <param name="Attributes">Its own extended attributes; the overlay's are not among them.</param>
/// <param name="LinkTarget">Where a symbolic link leads; empty for all else.</param>
internal sealed record UpperEntry(string Name, FileStat Stat, UpperKind Kind, string? Redirect, IReadOnlyList<Xattr> Attributes, string LinkTarget)
{
    private const string Prefix = "trusted.overlay.";

    /// <summary>All entries of a directory of an upper layer, in the order of their names' bytes.</summary>
    /// <exception cref="LinuxException">It cannot be read.</exception>
    public static IEnumerable<UpperEntry> In(Dir directory)
    {
        foreach (DirEntry entry in directory.Entries())
        {
            if (At(directory, entry.Name) is { } found)
                yield return found;
        }
    }

    /// <summary>One name; null where there is none.</summary>
    /// <exception cref="LinuxException">It cannot be looked at.</exception>
    public static UpperEntry? At(Dir directory, string name) => directory.TryStat(name) is { } stat ? Of(directory, name, stat) : null;

    /// <summary>Attributes that are the file's own, not the overlay's.</summary>
    public static IReadOnlyList<Xattr> Own(IReadOnlyList<Xattr> attributes) =>
        attributes.Any(static each => each.Name.StartsWith(Prefix, StringComparison.Ordinal))
            ? [.. attributes.Where(static each => !each.Name.StartsWith(Prefix, StringComparison.Ordinal))]
            : attributes;

    // Null where it was deleted between the listing and the look.
    private static UpperEntry? Of(Dir directory, string name, FileStat stat)
    {
        if (stat.Kind == FileKind.CharacterDevice && stat.RawDevice == 0)
            return new UpperEntry(name, stat, UpperKind.Deleted, null, [], "");
        IReadOnlyList<Xattr> attributes;
        string target;
        try
        {
            attributes = Xattrs.Read(directory, name);
            target = stat.IsSymlink ? directory.ReadLink(name) : "";
        }
        catch (LinuxException gone) when (gone.Errno == Errno.ENOENT)
        {
            return null;
        }

        IReadOnlyList<Xattr> own = Own(attributes);
        if (!stat.IsDirectory && !stat.IsRegular)
            return new UpperEntry(name, stat, UpperKind.Present, null, own, target);
        string? redirect = Find(attributes, "redirect") is { } where ? FileName.FromBytes(where) : null;
        UpperKind kind = stat.IsDirectory
            ? Find(attributes, "opaque") is [(byte)'y'] ? UpperKind.Replaced : UpperKind.Merged
            : Find(attributes, "metacopy") is null ? UpperKind.Present : UpperKind.AttributesOnly;
        return new UpperEntry(name, stat, kind, redirect, own, target);
    }

    private static byte[]? Find(IReadOnlyList<Xattr> attributes, string name)
    {
        foreach (Xattr attribute in attributes)
        {
            if (attribute.Name.StartsWith(Prefix, StringComparison.Ordinal) && attribute.Name.AsSpan(Prefix.Length).SequenceEqual(name))
                return attribute.Value;
        }

        return null;
    }
}
