using System.Text;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// Which of the two boot configurations is active, and which of the two sets of links belongs to it: <c>boot/loader</c> leads to
/// <c>loader.VERSION</c>, and <c>ostree/boot.VERSION</c> to <c>boot.VERSION.SUBVERSION</c>. Each is 0 or 1.
/// </summary>
/// <param name="Version">Of the boot entries.</param>
/// <param name="Subversion">Of the links that the entries' <c>ostree=</c> goes through.</param>
internal readonly record struct BootVersion(int Version, int Subversion);

/// <summary>Reads what is deployed, as libostree does: from the boot entries, through the links, to the directories.</summary>
internal static class BootLinks
{
    /// <summary>The active configuration; 0 and 0 in a sysroot without any.</summary>
    /// <exception cref="SysrootDamagedException">A link leads to something else.</exception>
    public static BootVersion ReadVersion(Dir root)
    {
        int version = root.TryStat("boot/loader") switch
        {
            null => 0,
            { IsSymlink: true } => root.ReadLink("boot/loader") switch
            {
                "loader.0" => 0,
                "loader.1" => 1,
                var other => throw new SysrootDamagedException(root.Of("boot/loader"), $"leads to '{other}', neither loader.0 nor loader.1"),
            },
            _ => throw new SysrootDamagedException(root.Of("boot/loader"), "is no symbolic link"),
        };
        return new BootVersion(version, ReadSubversion(root, version));
    }

    /// <summary>The set of links that <c>ostree/boot.VERSION</c> leads to; 0 where there is none.</summary>
    /// <exception cref="SysrootDamagedException">It leads to something else.</exception>
    public static int ReadSubversion(Dir root, int version)
    {
        string name = $"ostree/boot.{version}";
        if (root.TryStat(name) is not { IsSymlink: true })
            return 0;
        string target = root.ReadLink(name);
        return target == $"boot.{version}.0" ? 0 : target == $"boot.{version}.1" ? 1
            : throw new SysrootDamagedException(root.Of(name), $"leads to '{target}', neither boot.{version}.0 nor boot.{version}.1");
    }

    /// <summary>The deployments that the active boot entries lead to, in the order in which a boot menu lists them.</summary>
    /// <exception cref="SysrootDamagedException">An entry leads nowhere.</exception>
    /// <exception cref="MalformedException">An entry or an origin cannot be read.</exception>
    public static IReadOnlyList<Deployment> ReadDeployments(Dir root, BootVersion boot)
    {
        return [.. ReadEntries(root, boot.Version).Select(each => Follow(root, each.Path, each.Entry))];
    }

    /// <summary>The boot entries of a version with their paths, in the order in which a boot menu lists them; none where it was never written.</summary>
    /// <exception cref="MalformedException">One cannot be read.</exception>
    internal static IReadOnlyList<(string Path, BootEntry Entry)> ReadEntries(Dir root, int version)
    {
        using Dir? entries = root.TryOpenDir($"boot/loader.{version}/entries");
        if (entries is null)
            return [];
        return [.. entries.Entries()
            .Where(entry => entry.Name.StartsWith("ostree-", StringComparison.Ordinal) && entry.Name.EndsWith(".conf", StringComparison.Ordinal)
                && entries.TryStat(entry.Name) is { IsRegular: true })
            .Select(entry => (Path: entries.Of(entry.Name), Entry: BootEntry.Parse(Encoding.UTF8.GetString(entries.ReadAll(entry.Name)))))
            .OrderByDescending(static each => each.Entry.Version ?? "", VersionOrder.Comparer)];
    }

    /// <summary>The deployment that an entry leads to.</summary>
    /// <param name="root">The physical root.</param>
    /// <param name="path">The entry's path, for messages.</param>
    /// <param name="entry">The entry.</param>
    /// <param name="links">Where the links of a boot version are, and an origin that cannot be read counts as none; null: where <c>ostree/boot.VERSION</c> leads.</param>
    /// <exception cref="SysrootDamagedException">It leads nowhere.</exception>
    /// <exception cref="MalformedException">The origin cannot be read.</exception>
    internal static Deployment Follow(Dir root, string path, BootEntry entry, Func<int, string>? links = null)
    {
        string link = entry.Options.Get("ostree") ?? throw new SysrootDamagedException(path, "has no ostree= among its options");
        string[] parts = link.Split('/');
        if (parts is not ["", "ostree", "boot.0" or "boot.1", var os, var bootChecksum, var serial]
            || !Checksum.TryParse(bootChecksum, out Checksum kernel) || !int.TryParse(serial, out int bootSerial))
            throw new SysrootDamagedException(path, $"ostree={link} is not /ostree/boot.VERSION/OS/CHECKSUM/SERIAL");
        string place = links is null ? link[1..] : $"{links(parts[2] == "boot.0" ? 0 : 1)}/{os}/{bootChecksum}/{serial}";
        if (root.TryStat(place) is not { IsSymlink: true })
            throw new SysrootDamagedException(path, $"ostree={link} is no link");
        string target = root.ReadLink(place);
        if (!DeploymentName.TryParse($"{os}/{target[(target.LastIndexOf('/') + 1)..]}", out DeploymentName name))
            throw new SysrootDamagedException(root.Of(place), $"leads to '{target}', which is no deployment");
        if (root.TryStat(name.Directory) is not { IsDirectory: true })
            throw new SysrootDamagedException(root.Of(place), $"leads to {name}, which is not there");
        return new Deployment(name, kernel, bootSerial, entry, links is null ? ReadOrigin(root, name) : TryReadOrigin(root, name));
    }

    private static Origin? TryReadOrigin(Dir root, DeploymentName name)
    {
        try
        {
            return ReadOrigin(root, name);
        }
        catch (MalformedException)
        {
            return null; // whoever tolerates damage looks whether the file is there
        }
    }

    private static Origin? ReadOrigin(Dir root, DeploymentName name) =>
        root.TryReadAll(Layout.OriginOf(name)) is { } bytes ? Origin.Parse(Encoding.UTF8.GetString(bytes)) : null;
}
