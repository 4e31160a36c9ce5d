using Sbox.Boot;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>The running ghost, as the commands of the ledger see it.</summary>
internal static class GhostSession
{
    // docs: the tree's layout. A person types the left one.
    private static readonly (string Link, string Target)[] Links =
        [("/home", "/var/home"), ("/root", "/var/roothome"), ("/opt", "/var/opt"), ("/srv", "/var/srv"), ("/mnt", "/var/mnt"), ("/usr/local", "/var/usrlocal")];

    /// <summary>Its directories; null where this boot is no ghost.</summary>
    /// <exception cref="Finding">This machine is no box, or the caller is not root, who alone may see what changed.</exception>
    public static IReadOnlyList<GhostLayer>? Layers()
    {
        using OstreeSysroot sysroot = OstreeSysroot.Open(RequireBox());
        DeploymentName? booted = sysroot.BootedName;
        if (booted is null || !RootConfig.IsGhost(sysroot.BootArguments))
            return null;
        return Environment.IsPrivilegedProcess ? GhostLayer.Of(booted.Value)
            : throw new Finding("only root may see what a ghost changed: it holds everyone's files", "sudo sbox ledger");
    }

    /// <summary>The directories of this boot, ghost or not: on one that is none the disk's side is what everybody sees.</summary>
    /// <returns>The directories, and whether a session stands over them; null where no deployment was booted.</returns>
    /// <exception cref="Finding">This machine is no box.</exception>
    public static (IReadOnlyList<GhostLayer> Layers, bool IsGhost)? Disk()
    {
        using OstreeSysroot sysroot = OstreeSysroot.Open(RequireBox());
        if (sysroot.BootedName is not { } booted)
            return null;
        IReadOnlyList<GhostLayer> layers = GhostLayer.Of(booted);
        return RootConfig.IsGhost(sysroot.BootArguments) ? (layers, true) : ([.. layers.Select(static layer => layer with { Lower = layer.At })], false);
    }

    /// <summary>What lists of what stays have left on the disk and name no more.</summary>
    /// <exception cref="GhostSettingsException">A list cannot be read: what it names is not known.</exception>
    /// <exception cref="IOException">The record or a list cannot be read.</exception>
    public static IReadOnlyList<Orphan> Orphans(IReadOnlyList<GhostLayer> layers)
    {
        string directory = OsOf(layers);
        if (!Directory.Exists(directory))
            return [];
        using Dir os = Dir.Open(directory);
        return KeptRecord.Read(os) is { Count: > 0 } record ? KeptOrphans.Find(record, [.. KeepList.Read(Absolute), .. OtherRules(directory)], layers) : [];
    }

    // /var and the record are common to all versions, and each has an /etc of its own: what the disk's names, under a ghost's session, or another version's, is no orphan.
    private static IEnumerable<KeepRule> OtherRules(string os)
    {
        using Dir directory = Dir.Open(os);
        using Dir? deployments = directory.TryOpenDir("deploy");
        return [.. (deployments?.Entries() ?? []).Where(static each => each.Kind is FileKind.Directory or FileKind.Unknown)
            .SelectMany(each => KeepList.Read(Absolute, $"{os}/deploy/{each.Name}{KeepList.Directory}"))];
    }

    /// <summary>Takes from the record what paths and groups mean: it is somebody's by now, and no list's.</summary>
    /// <returns>How many lines went.</returns>
    /// <exception cref="IOException">The record could not be read or replaced.</exception>
    public static int Release(IReadOnlyList<GhostLayer> layers, string[] asked) => Release(layers, kept => Means(asked, kept.Path));

    /// <summary>Takes lines from the record. May replace the process by itself, once.</summary>
    public static int Release(IReadOnlyList<GhostLayer> layers, Func<KeptPath, bool> released)
    {
        string directory = OsOf(layers);
        if (!Directory.Exists(directory))
            return 0;
        using (Dir look = Dir.Open(directory))
        {
            if (!KeptRecord.Read(look).Any(released))
                return 0;
        }

        PrivateMounts.Enter();
        using PrivateMounts mounts = PrivateMounts.Open();
        using Dir os = Dir.Open(directory);
        IReadOnlyList<KeptPath> record = KeptRecord.Read(os);
        KeptPath[] left = [.. record.Where(kept => !released(kept))];
        KeptRecord.Write(os, left);
        return record.Count - left.Length;
    }

    /// <summary>Whether paths and groups that somebody asked for mean a path, noise or not.</summary>
    public static bool Means(string[] asked, string path) => asked.Any(each => LedgerGroup.All.Any(group => group.Id == each)
        ? LedgerGroup.Of(path).Group.Id == each : GhostLayer.IsAtOrBelow(path, Absolute(each)));

    private static string OsOf(IReadOnlyList<GhostLayer> layers) => Path.GetDirectoryName(layers[0].Staging)!;

    /// <summary>The whole ledger.</summary>
    public static IReadOnlyList<LedgerEntry> Read(IReadOnlyList<GhostLayer> layers, CancellationToken cancel) =>
        layers.Select(layer => LedgerScan.Of(layer, cancel)).Aggregate(static (first, second) => second.Count == 0 ? first : [.. first, .. second]);

    /// <summary>What is kept without being asked; nothing where this boot runs from memory, and has no disk to keep it on.</summary>
    public static IReadOnlyList<KeepRule> Rules() => MemoryDisk.IsUsed() ? [] : KeepList.Read(Absolute);

    /// <summary>The entries that paths and groups mean; all where nothing is asked for.</summary>
    /// <param name="entries">The ledger.</param>
    /// <param name="asked">Paths and names of groups.</param>
    /// <param name="includeNoise">Whether a directory that is asked for means the noise in it too. A path that is itself noise, or in it, always does.</param>
    /// <exception cref="Finding">One is neither.</exception>
    public static IReadOnlyList<LedgerEntry> Select(IReadOnlyList<LedgerEntry> entries, string[] asked, bool includeNoise)
    {
        if (asked.Length == 0)
            return entries;
        var wanted = new List<Func<LedgerEntry, LedgerGroup, bool>>();
        foreach (string each in asked)
        {
            if (LedgerGroup.All.FirstOrDefault(group => group.Id == each) is { } named)
                wanted.Add((_, group) => group == named);
            else if (each.Contains('/', StringComparison.Ordinal) || Path.Exists(each))
            {
                string path = Absolute(each);
                bool noiseToo = includeNoise || LedgerGroup.Of(path).Group.IsNoise;
                wanted.Add((entry, group) => GhostLayer.IsAtOrBelow(entry.Path, path) && (noiseToo || entry.Path == path || !group.IsNoise));
            }
            else
                throw new Finding($"{each}: no group by that name, and no file here", $"Groups: {string.Join(", ", LedgerGroup.All.Select(static group => group.Id))}; a path has a slash in it");
        }

        return [.. entries.Where(entry => wanted.Any(means => means(entry, LedgerGroup.Of(entry))))];
    }

    /// <summary>The path that a person means, in the words of the ledger: /home is /var/home.</summary>
    public static string Absolute(string path)
    {
        string full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));
        foreach ((string link, string target) in Links)
        {
            if (GhostLayer.IsAtOrBelow(full, link))
                return target + full[link.Length..];
        }

        return full;
    }

    /// <summary>Writes entries to the disk, which is writable to this process alone until it returns. May replace the process by itself, once.</summary>
    /// <param name="layers">Its directories.</param>
    /// <param name="entries">What to write.</param>
    /// <param name="cancel">Looked at between two entries.</param>
    /// <param name="note">Told where the record of what lists have kept could not be written.</param>
    /// <param name="rules">The lists that ask for it; null where a person did.</param>
    public static IReadOnlyList<LedgerEntry> Keep(IReadOnlyList<GhostLayer> layers, IReadOnlyList<LedgerEntry> entries, CancellationToken cancel, Action<string> note, IReadOnlyList<KeepRule>? rules = null)
    {
        PrivateMounts.Enter();
        using PrivateMounts mounts = PrivateMounts.Open();
        var kept = new List<LedgerEntry>();
        foreach (GhostLayer layer in layers)
        {
            LedgerEntry[] here = [.. entries.Where(entry => layer.Holds(entry.Path))];
            if (here.Length == 0)
                continue;
            using LedgerKeeper keeper = LedgerKeeper.Open(layer);
            kept.AddRange(keeper.Keep(here, cancel, rules));
            if (keeper.RecordTrouble is { } trouble)
                note($"what lists keep is not remembered, and is kept all the same: {trouble}");
        }

        return kept;
    }

    /// <summary>Puts entries back as the disk has them, what is deepest first, so that a new directory is empty when its turn comes.</summary>
    public static void Forget(IReadOnlyList<GhostLayer> layers, IReadOnlyList<LedgerEntry> entries, CancellationToken cancel)
    {
        foreach (GhostLayer layer in layers)
        {
            using LedgerKeeper keeper = LedgerKeeper.Open(layer);
            foreach (LedgerEntry entry in entries.Where(entry => layer.Holds(entry.Path)).Reverse())
            {
                cancel.ThrowIfCancellationRequested();
                keeper.Forget(entry);
            }
        }
    }

    private static string RequireBox()
    {
        const string sysroot = "/sysroot";
        return Directory.Exists($"{sysroot}/ostree/deploy") ? sysroot
            : throw new Finding("this machine is no box: it has no /sysroot/ostree/deploy", "What a ghost forgets is listed and kept in a boot of a box's menu entry 'ghost'");
    }
}
