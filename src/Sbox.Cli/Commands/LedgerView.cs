using System.Text;
using Sbox.Image;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>A ghost's ledger with all that is known of it beside the paths: what each change means, which packages came and went, and what is kept somewhere already.</summary>
internal sealed class LedgerView
{
    private const string Packages = "packages", Database = "/var/lib/dpkg/status", OfTheTree = "usr/lib/sysimage/dpkg/status";

    private readonly IReadOnlyList<GhostLayer> layers;
    private readonly Dictionary<string, string> inTombs = new(StringComparer.Ordinal);

    private LedgerView(IReadOnlyList<GhostLayer> layers, IReadOnlyList<LedgerEntry> entries, IReadOnlyList<PackageChange> packages)
    {
        (this.layers, Entries, Changed, Rules) = (layers, entries, packages, GhostSession.Rules());
        var kept = KeptInTombs.Read();
        using Dir root = Dir.Open("/");
        foreach (LedgerEntry entry in kept.IsEmpty ? [] : entries)
        {
            if (kept.TombOf(root, entry) is { } tomb)
                inTombs[entry.Path] = tomb;
        }
    }

    /// <summary>What was asked for.</summary>
    public IReadOnlyList<LedgerEntry> Entries { get; }

    /// <summary>Packages that the tree of this version has otherwise.</summary>
    public IReadOnlyList<PackageChange> Changed { get; }

    /// <summary>What lists say that is kept.</summary>
    public IReadOnlyList<KeepRule> Rules { get; }

    /// <summary>Reads the ledger.</summary>
    /// <param name="layers">The ghost's directories.</param>
    /// <param name="asked">Paths and groups; none for all.</param>
    /// <param name="cancel">Looked at between two names.</param>
    public static LedgerView Of(IReadOnlyList<GhostLayer> layers, string[] asked, CancellationToken cancel) => new(layers,
        GhostSession.Select(GhostSession.Read(layers, cancel), asked, includeNoise: true), asked.Length == 0 || asked.Contains(Packages) ? PackagesOf(layers) : []);

    /// <summary>What an entry means, a sentence each.</summary>
    public IReadOnlyList<string> Means(LedgerEntry entry) => LedgerMeaning.Of(layers, entry);

    /// <summary>The open tomb that has it as it is; null where none has.</summary>
    public string? TombOf(LedgerEntry entry) => inTombs.GetValueOrDefault(entry.Path);

    /// <summary>What tombs have that no list keeps on the disk, by tomb.</summary>
    public IEnumerable<IGrouping<string, LedgerEntry>> InTombs() => inTombs.Count == 0 ? []
        : Entries.Where(entry => TombOf(entry) is not null && Rules.For(entry.Path) is null).GroupBy(entry => inTombs[entry.Path]);

    /// <summary>Whether it is lost at power-off: neither a list nor a tomb keeps it.</summary>
    public bool IsLost(LedgerEntry entry) => (Rules.Count == 0 || Rules.For(entry.Path) is null) && (inTombs.Count == 0 || !inTombs.ContainsKey(entry.Path));

    // /usr of a box cannot be written; what apt writes over it (an overlay of somebody's, an extension that brings a database) is seen in dpkg's own words, beside those of the tree.
    private static IReadOnlyList<PackageChange> PackagesOf(IReadOnlyList<GhostLayer> layers)
    {
        if (layers.FirstOrDefault(static layer => layer.At == "/etc") is not { } etc || Path.GetDirectoryName(etc.Lower) is not { } deployment)
            return [];
        var now = new FileInfo(Database);
        var tree = new FileInfo($"{deployment}/{OfTheTree}");
        return !now.Exists || !tree.Exists || (now.Length == tree.Length && now.LastWriteTimeUtc == tree.LastWriteTimeUtc) ? []
            : PackageChange.Between(Installed(tree.FullName), Installed(Database));
    }

    private static IReadOnlyList<InstalledPackage> Installed(string database) => PackageList.Parse(File.ReadAllText(database, Encoding.UTF8));
}
