using System.Text;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>Something in the boot configuration that leads nowhere.</summary>
/// <param name="Path">The link, entry or origin.</param>
/// <param name="Finding">What is wrong there.</param>
/// <param name="Kind">What it is.</param>
/// <param name="Entry">The entry, where it could be read.</param>
internal sealed record BootTrouble(string Path, string Finding, BootTroubleKind Kind, BootEntry? Entry = null);

internal enum BootTroubleKind
{
    /// <summary><c>boot/loader</c>: which entries are active cannot be told.</summary>
    LoaderLink,
    /// <summary><c>ostree/boot.V</c>: which links the entries go through cannot be told.</summary>
    LinksLink,
    /// <summary>A boot entry leads to no deployment.</summary>
    Entry,
    /// <summary>An origin cannot be read.</summary>
    Origin,
}

/// <summary>Reads a boot configuration as far as it can be read, and says what cannot.</summary>
internal static class BootSurvey
{
    /// <summary>The configuration that is active, or that most entries fit; its deployments; and what is wrong.</summary>
    public static (BootVersion Version, IReadOnlyList<Deployment> Deployments, IReadOnlyList<BootTrouble> Troubles) Of(Dir root)
    {
        var troubles = new List<BootTrouble>();
        int? active = ActiveVersion(root, troubles);
        var read = new Dictionary<int, (List<Deployment> Deployments, List<BootTrouble> Troubles)>();
        foreach (int version in active is { } known ? (int[])[known] : [0, 1])
            read[version] = Entries(root, version);
        int chosen = active ?? (read[1].Deployments.Count > read[0].Deployments.Count ? 1 : 0);
        int subversion = Subversion(root, chosen);
        if (read[chosen].Deployments.Count + read[chosen].Troubles.Count > 0 && LinkTrouble(root, chosen) is { } trouble)
            troubles.Add(trouble);
        return (new BootVersion(chosen, subversion), read[chosen].Deployments, [.. troubles, .. read[chosen].Troubles]);
    }

    private static int? ActiveVersion(Dir root, List<BootTrouble> troubles)
    {
        bool Made(int version) => root.TryStat($"boot/loader.{version}/entries") is { IsDirectory: true };
        string path = root.Of("boot/loader");
        string? finding = root.TryStat("boot/loader") switch
        {
            null when !Made(0) && !Made(1) => "", // nothing was ever deployed
            null => "is missing, and there are boot entries",
            { IsSymlink: false } => "is no symbolic link",
            _ => root.ReadLink("boot/loader") switch
            {
                "loader.0" or "loader.1" when root.TryStat($"boot/{root.ReadLink("boot/loader")}") is { IsDirectory: true } => "",
                "loader.0" or "loader.1" => $"leads to {root.ReadLink("boot/loader")}, which is not there",
                var other => $"leads to '{other}', neither loader.0 nor loader.1",
            },
        };
        if (finding.Length == 0)
            return root.TryStat("boot/loader") is null ? 0 : root.ReadLink("boot/loader")[^1] - '0';
        troubles.Add(new BootTrouble(path, finding, BootTroubleKind.LoaderLink));
        return null;
    }

    private static BootTrouble? LinkTrouble(Dir root, int version)
    {
        string name = $"ostree/boot.{version}";
        string? finding = root.TryStat(name) switch
        {
            null => "is missing, and boot entries go through it",
            { IsSymlink: false } => "is no symbolic link",
            _ when root.ReadLink(name) is var target && target != $"boot.{version}.0" && target != $"boot.{version}.1" => $"leads to '{target}', neither boot.{version}.0 nor boot.{version}.1",
            _ => root.TryStat($"ostree/{root.ReadLink(name)}") is { IsDirectory: true } ? null : $"leads to {root.ReadLink(name)}, which is not there",
        };
        return finding is null ? null : new BootTrouble(root.Of(name), finding, BootTroubleKind.LinksLink);
    }

    // Where the link says nothing: the links that are there, the fuller ones where both are.
    private static int Subversion(Dir root, int version)
    {
        string name = $"ostree/boot.{version}";
        if (root.TryStat(name) is { IsSymlink: true } && root.ReadLink(name) is var target && (target == $"boot.{version}.0" || target == $"boot.{version}.1")
            && root.TryStat($"ostree/{target}") is { IsDirectory: true })
            return target[^1] - '0';
        return Count(1) > Count(0) ? 1 : 0;

        int Count(int subversion)
        {
            using Dir? links = root.TryStat($"{name}.{subversion}") is { IsDirectory: true } ? root.TryOpenDir($"{name}.{subversion}") : null;
            return links?.Entries().Sum(os => links.TryStat(os.Name) is { IsDirectory: true } ? Names(links, os.Name) : 0) ?? -1;
        }

        static int Names(Dir parent, string name)
        {
            using Dir dir = parent.OpenDir(name);
            return dir.Entries().Count;
        }
    }

    private static (List<Deployment> Deployments, List<BootTrouble> Troubles) Entries(Dir root, int version)
    {
        (List<Deployment> deployments, List<BootTrouble> troubles) = ([], []);
        using Dir? entries = root.TryOpenDir($"boot/loader.{version}/entries");
        foreach ((string path, BootEntry entry) in Read(entries, troubles).OrderByDescending(static each => each.Entry.Version ?? "", VersionOrder.Comparer))
        {
            try
            {
                Deployment found = BootLinks.Follow(root, path, entry, which => $"ostree/boot.{which}.{Subversion(root, which)}");
                deployments.Add(found);
                if (found.Origin is null && root.Exists(Layout.OriginOf(found.Name)))
                    troubles.Add(new BootTrouble(root.Of(Layout.OriginOf(found.Name)), "is no key file", BootTroubleKind.Origin));
            }
            catch (SysrootDamagedException damaged)
            {
                troubles.Add(new BootTrouble(path, damaged.Path == path ? damaged.Message[(path.Length + 2)..] : damaged.Message, BootTroubleKind.Entry, entry));
            }
        }

        return (deployments, troubles);
    }

    private static List<(string Path, BootEntry Entry)> Read(Dir? entries, List<BootTrouble> troubles)
    {
        var read = new List<(string, BootEntry)>();
        foreach (string name in (entries?.Entries() ?? []).Select(static entry => entry.Name))
        {
            if (!name.StartsWith("ostree-", StringComparison.Ordinal) || !name.EndsWith(".conf", StringComparison.Ordinal) || entries!.TryStat(name) is not { IsRegular: true })
                continue;
            try
            {
                read.Add((entries.Of(name), BootEntry.Parse(Encoding.UTF8.GetString(entries.ReadAll(name)))));
            }
            catch (MalformedException damaged)
            {
                troubles.Add(new BootTrouble(entries.Of(name), damaged.Message, BootTroubleKind.Entry));
            }
        }

        return read;
    }
}
