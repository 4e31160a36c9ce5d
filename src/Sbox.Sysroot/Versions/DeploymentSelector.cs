using System.Globalization;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>Finds the deployment that a person means.</summary>
public static class DeploymentSelector
{
    /// <summary>
    /// By its number in the status (0 is the first of the boot menu), its version, its name (<c>OS/CSUM.SERIAL</c>, short or long), or the beginning of
    /// its commit's checksum, four digits or more.
    /// </summary>
    /// <exception cref="NoSuchDeploymentException">None fits, or several do.</exception>
    public static Deployment Find(OstreeSysroot sysroot, string text)
    {
        IReadOnlyList<Deployment> all = sysroot.Deployments;
        Deployment[] byVersion = [.. all.Where(each => VersionOf(sysroot, each.Name) == text)];
        // A version may be a number too, and is what a person reads first.
        if (byVersion.Length == 0 && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int index) && index < all.Count)
            return all[index];
        Deployment[] found = byVersion.Length > 0 ? byVersion
            : [.. all.Where(each => each.Name.ToString() == text || each.Name.Short == text || $"{each.Name.Commit}.{each.Name.Serial}" == text)];
        if (found.Length == 0 && text.Length >= 4)
            found = [.. all.Where(each => each.Name.Commit.ToString().StartsWith(text, StringComparison.Ordinal))];
        return found.Length switch
        {
            1 => found[0],
            0 => throw new NoSuchDeploymentException(sysroot.Path, $"no deployment is '{text}'; there are {string.Join(", ", all.Select((each, at) => $"{at}: {Describe(sysroot, each.Name)}"))}"),
            _ => throw new NoSuchDeploymentException(sysroot.Path, $"'{text}' fits {string.Join(" and ", found.Select(static each => each.Name.Short))}: say which by its number"),
        };
    }

    /// <summary>A deployment's version; null where its commit has none, or is not there.</summary>
    public static string? VersionOf(OstreeSysroot sysroot, DeploymentName name) =>
        sysroot.Repository.Has(new ObjectName(name.Commit, ObjectType.Commit)) ? sysroot.Repository.LoadCommit(name.Commit).Version : null;

    /// <summary>What a person calls it: its version, else its short name.</summary>
    public static string Describe(OstreeSysroot sysroot, DeploymentName name) => VersionOf(sysroot, name) is { } version ? $"version {version}" : name.Short;
}
