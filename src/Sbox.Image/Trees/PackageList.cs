namespace Sbox.Image;

/// <summary>One installed package.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Version">Its version.</param>
/// <param name="Architecture">Its architecture.</param>
public sealed record InstalledPackage(string Name, string Version, string Architecture)
{
    /// <summary>As commits list it: <c>name version architecture</c>.</summary>
    public override string ToString() => $"{Name} {Version} {Architecture}";
}

/// <summary>Which packages a tree holds, by dpkg's database.</summary>
public static class PackageList
{
    /// <summary>Reads dpkg's <c>status</c> file: blank-line separated stanzas of <c>Field: value</c>.</summary>
    /// <returns>What is installed, in the order of the names' bytes.</returns>
    public static IReadOnlyList<InstalledPackage> Parse(string status)
    {
        var packages = new List<InstalledPackage>();
        foreach (string stanza in status.Split("\n\n", StringSplitOptions.RemoveEmptyEntries))
        {
            string Field(string name) =>
                stanza.Split('\n').FirstOrDefault(line => line.StartsWith(name + ": ", StringComparison.Ordinal))?[(name.Length + 2)..].Trim() ?? "";

            if (Field("Status") is "install ok installed" or "hold ok installed")
                packages.Add(new InstalledPackage(Field("Package"), Field("Version"), Field("Architecture")));
        }

        return [.. packages.OrderBy(package => package.ToString(), StringComparer.Ordinal)];
    }
}
