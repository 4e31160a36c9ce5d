using System.Globalization;
using System.Text;
using Sbox.Codecs;

namespace Sbox.Image;

/// <summary>What a build would do: what it starts from, and what it finds in the cache.</summary>
/// <param name="Recipe">The recipe.</param>
/// <param name="Programs">The box's programs; null when the recipe wants none.</param>
/// <param name="Digest">One checksum for the recipe, the content of its files, and the programs.</param>
/// <param name="BaseKey">The cache's key of the base tree.</param>
/// <param name="CachedPackages">What the cached base tree holds; null when the mirror will be asked.</param>
/// <param name="InitrdCached">Whether the initrd is in the cache; false too when the packages are not known yet.</param>
public sealed record TreePlan(
    Recipe Recipe, BoxPrograms? Programs, Checksum Digest, Checksum BaseKey, IReadOnlyList<InstalledPackage>? CachedPackages, bool InitrdCached)
{
    /// <summary>When the cached base tree was made; null when the mirror will be asked.</summary>
    public DateTimeOffset? BaseMade { get; init; }

    /// <summary>The plan for a person, a line each step.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"recipe    {Recipe.Name} {Recipe.Version}, {Digest.ToString()[..12]} -> {Recipe.Ref}\n");
        text.Append(CachedPackages is { } packages
            ? $"packages  {packages.Count} of {Recipe.Packages.Suite} as of {BaseMade:yyyy-MM-dd}, from the cache ({BaseKey.ToString()[..12]})\n"
            : $"packages  mmdebstrap installs {Recipe.Packages.Packages.Count} and what they need from {Recipe.Packages.Suite}\n");
        text.Append(CultureInfo.InvariantCulture, $"files     {Recipe.Files.Count}{(Programs is null ? "" : " and the programs of a box")}\n");
        text.Append(InitrdCached ? "initrd    from the cache\n" : Recipe.Initrd.MadeBy == InitrdMaker.Dracut ? "initrd    dracut makes it\n" : "initrd    sbox-root and drivers\n");
        return text.ToString();
    }
}

/// <summary>An immutable tree on disk; it goes away when this is disposed, unless it was moved elsewhere.</summary>
public sealed class BuiltTree : IDisposable
{
    private readonly WorkDirectory work;

    internal BuiltTree(WorkDirectory work, string path, TreePlan plan, string kernel, IReadOnlyList<InstalledPackage> packages, long timestamp)
    {
        this.work = work;
        (Path, Plan, Kernel, Packages, Timestamp) = (path, plan, kernel, packages, timestamp);
    }

    /// <summary>The directory.</summary>
    public string Path { get; }

    /// <summary>The plan that made it.</summary>
    public TreePlan Plan { get; }

    /// <summary>The kernel's version, the name of its directory in /usr/lib/modules.</summary>
    public string Kernel { get; }

    /// <summary>What is installed.</summary>
    public IReadOnlyList<InstalledPackage> Packages { get; }

    /// <summary>Seconds since 1970 that its commit shall say.</summary>
    public long Timestamp { get; }

    /// <inheritdoc/>
    public void Dispose() => work.Dispose();
}
