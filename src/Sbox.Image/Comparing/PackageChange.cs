namespace Sbox.Image;

/// <summary>What became of a package.</summary>
public enum PackageChangeKind
{
    /// <summary>It was not there.</summary>
    Added,
    /// <summary>It is not there any more.</summary>
    Removed,
    /// <summary>Its version is a newer one.</summary>
    Upgraded,
    /// <summary>Its version is an older one.</summary>
    Downgraded,
}

/// <summary>A package that is not the same in two trees.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Old">As it was; null where it was not there.</param>
/// <param name="New">As it is; null where it is not there any more.</param>
public sealed record PackageChange(string Name, InstalledPackage? Old, InstalledPackage? New)
{
    /// <summary>What became of it.</summary>
    public PackageChangeKind Kind => Old is null ? PackageChangeKind.Added
        : New is null ? PackageChangeKind.Removed
        : new DebianVersion(New.Version).CompareTo(new DebianVersion(Old.Version)) < 0 ? PackageChangeKind.Downgraded
        : PackageChangeKind.Upgraded;

    /// <summary>What its changelog tells of the versions between, where the new tree has it.</summary>
    public Changelog Changelog { get; init; } = Changelog.Empty;

    /// <summary>What changed between two lists, by the names.</summary>
    public static IReadOnlyList<PackageChange> Between(IReadOnlyList<InstalledPackage> old, IReadOnlyList<InstalledPackage> @new)
    {
        var before = old.Except(@new).ToLookup(static package => package.Name);
        var after = @new.Except(old).ToLookup(static package => package.Name);
        var changes = new List<PackageChange>();
        foreach (string name in before.Concat(after).Select(static group => group.Key).Distinct().Order(StringComparer.Ordinal))
            changes.AddRange(Pair(name, [.. before[name]], [.. after[name]]));
        return changes;
    }

    // Of one architecture first; one that is of another now is still the same package.
    private static IEnumerable<PackageChange> Pair(string name, List<InstalledPackage> before, List<InstalledPackage> after)
    {
        foreach (InstalledPackage old in before)
        {
            InstalledPackage? next = after.Find(package => package.Architecture == old.Architecture) ?? (before.Count == 1 && after.Count == 1 ? after[0] : null);
            if (next is not null)
                after.Remove(next);
            yield return new PackageChange(name, old, next);
        }

        foreach (InstalledPackage added in after)
            yield return new PackageChange(name, null, added);
    }
}
