using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Image;

/// <summary>The programs of a box, as files on the machine that builds.</summary>
/// <param name="Sbox">The program <c>sbox</c>, which is <c>ostree</c> too.</param>
/// <param name="SboxRoot">The initrd's program <c>sbox-root</c>.</param>
/// <param name="DracutModule">The directory <c>90sbox</c>, which tells dracut how to put sbox-root into an initrd.</param>
public sealed record BoxPrograms(string Sbox, string SboxRoot, string DracutModule)
{
    private const string ModuleInTree = "usr/lib/dracut/modules.d/90sbox";
    private const string PolicyInTree = "usr/lib/sbox/sentinel.d";
    private const string ExamplesInTree = "usr/lib/sbox/examples";
    private const string Units = "usr/lib/systemd/system";
    private const string AtShutdown = ".shutdown", AtLogout = ".logout";
    private const string UnitInTree = $"{Units}/sbox-watch.service";
    private const string VerityService = "sbox-verity.service", DiskService = "sbox-disk.service";

    /// <summary>The directory of the sentinel's policy; null for a box without a sentinel.</summary>
    public string? SentinelPolicy { get; init; }

    /// <summary>The sentinel's unit.</summary>
    public string? SentinelUnit { get; init; }

    /// <summary>The unit that seals what is not sealed yet, after the first boot; null for a box without it.</summary>
    public string? VerityUnit { get; init; }

    /// <summary>The directory of the units that every box has (services, timers), and of settings (.toml); null for a box without them.</summary>
    public string? BoxUnits { get; init; }

    /// <summary>The directory of what opens tombs by itself: units, and the lines of PAM; null for a box without.</summary>
    public string? Tombs { get; init; }

    /// <summary>The unit that binds an encrypted disk to its machine; null for a box without it.</summary>
    public string? DiskUnit { get; init; }

    /// <summary>The directory of the manual pages; null for a box without them.</summary>
    public string? ManualPages { get; init; }

    /// <summary>What is absent of them; empty when all is there.</summary>
    public IReadOnlyList<string> Missing() =>
    [
        .. new[] { Sbox, SboxRoot, SentinelUnit, VerityUnit, DiskUnit }.OfType<string>().Where(file => !File.Exists(file)),
        .. new[] { DracutModule, SentinelPolicy, BoxUnits, Tombs, ManualPages }.OfType<string>().Where(directory => !Directory.Exists(directory)),
    ];

    internal void InstallInto(TreeRoot tree)
    {
        tree.Write("usr/bin/sbox", File.ReadAllBytes(Sbox), Permission.Program);
        tree.Link("usr/bin/ostree", "sbox");
        tree.Write("usr/lib/sbox/sbox-root", File.ReadAllBytes(SboxRoot), Permission.Program);
        tree.Remove(ModuleInTree);
        foreach (string name in ModuleFiles())
        {
            using Dir module = Dir.Open(DracutModule);
            uint mode = (module.Stat(name).Permissions & Permission.Execute) != 0 ? Permission.Program : Permission.File;
            tree.Write($"{ModuleInTree}/{name}", module.ReadAll(name), mode);
        }

        InstallSentinel(tree);
        ShellFiles.InstallCompletion(tree);
        if (ManualPages is not null)
            ShellFiles.InstallPages(tree, ManualPages);
        if (Tombs is not null)
            TombUnits.InstallInto(tree, Tombs);
        foreach ((string? unit, string service) in (ReadOnlySpan<(string?, string)>)[(VerityUnit, VerityService), (DiskUnit, DiskService)])
        {
            if (unit is null)
                continue;
            tree.Write($"{Units}/{service}", File.ReadAllBytes(unit));
            tree.Link($"{Units}/multi-user.target.wants/{service}", $"../{service}");
        }

        foreach (string name in UnitFiles())
        {
            if (name.Contains('/', StringComparison.Ordinal)) // a drop-in for a unit of others
            {
                tree.Write($"{Units}/{name}", File.ReadAllText($"{BoxUnits}/{name}"));
                tree.Link($"usr/lib/sbox/box/{name}", $"../../../systemd/system/{name}");
            }
            else if (name.EndsWith(".toml", StringComparison.Ordinal)) // settings that the owner's in /etc stand over
            {
                tree.Write($"usr/lib/sbox/{name}", File.ReadAllText($"{BoxUnits}/{name}"));
                tree.Link($"usr/lib/sbox/box/{name}", $"../{name}");
            }
            else if (name.EndsWith(AtShutdown, StringComparison.Ordinal)) // what systemd-shutdown runs last of all
            {
                string hook = $"{Units[..Units.LastIndexOf('/')]}/system-shutdown/{name[..^AtShutdown.Length]}";
                tree.Write(hook, File.ReadAllBytes($"{BoxUnits}/{name}"), Permission.Program);
                tree.Link($"usr/lib/sbox/box/{name}", $"../../systemd/system-shutdown/{name[..^AtShutdown.Length]}");
            }
            else if (name.EndsWith(AtLogout, StringComparison.Ordinal))
                LogoutLine.InstallInto(tree, name, File.ReadAllText($"{BoxUnits}/{name}"));
            else
                InstallUnit(tree, name, File.ReadAllText($"{BoxUnits}/{name}"));
        }

        if (BoxUnits is not null)
        {
            foreach (string kind in (string[])["required", "wanted"])
                tree.MakeDirs($"usr/lib/sbox/health.d/{kind}");
        }
    }

    // What its [Install] asks for is asked for in /usr, as with the sentinel.
    private static void InstallUnit(TreeRoot tree, string name, string text)
    {
        tree.Write($"{Units}/{name}", text);
        tree.Link($"usr/lib/sbox/box/{name}", $"../../systemd/system/{name}"); // where a box that builds others looks for them
        foreach ((string key, string suffix) in (ReadOnlySpan<(string, string)>)[("WantedBy=", "wants"), ("RequiredBy=", "requires")])
        {
            foreach (string target in text.Split('\n').Where(line => line.StartsWith(key, StringComparison.Ordinal)).SelectMany(line => line[key.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries)))
                tree.Link($"{Units}/{target}.{suffix}/{name}", $"../{name}");
        }
    }

    // Its start is asked for in /usr, which is sealed: nothing in /etc has to say so, and a change there that stops it is seen.
    private void InstallSentinel(TreeRoot tree)
    {
        if (SentinelPolicy is null || SentinelUnit is null)
            return;
        tree.Empty(PolicyInTree);
        foreach (string name in PolicyFiles())
            tree.Write($"{PolicyInTree}/{name}", File.ReadAllBytes($"{SentinelPolicy}/{name}"));
        tree.Write(UnitInTree, File.ReadAllBytes(SentinelUnit));
        tree.Link("usr/lib/systemd/system/sysinit.target.wants/sbox-watch.service", "../sbox-watch.service");
        foreach (string name in ExampleFiles())
            tree.Write($"{ExamplesInTree}/{name}", File.ReadAllBytes($"{Examples}/{name}"), name.Contains('.', StringComparison.Ordinal) ? Permission.File : Permission.Program);
        tree.MakeDirs("usr/lib/sbox/watch-test");
        tree.MakeDirs("etc/sbox/sentinel.d"); // only what is there when the sentinel starts can be watched
    }

    // Beside the policies: how an owner has alarms sent.
    private string Examples => Path.Combine(Path.GetDirectoryName(SentinelPolicy) ?? "", "examples");

    private IEnumerable<string> ExampleFiles() => SentinelPolicy is null || !Directory.Exists(Examples)
        ? [] : Directory.GetFiles(Examples).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal);

    internal Checksum Digest()
    {
        using var digest = new InputDigest("sbox programs 2");
        digest.AddFile(Sbox).Add(InitrdDigest().Span);
        foreach (string unit in new[] { SentinelUnit, VerityUnit, DiskUnit }.OfType<string>())
            digest.AddFile(unit);
        foreach (string name in UnitFiles())
            digest.Add(name).AddFile($"{BoxUnits}/{name}");
        foreach (string name in PolicyFiles())
            digest.Add(name).AddFile($"{SentinelPolicy}/{name}");
        foreach (string name in ExampleFiles())
            digest.Add(name).AddFile($"{Examples}/{name}");
        foreach (string file in Tombs is null ? [] : TombUnits.Files(Tombs))
            digest.Add(file).AddFile($"{Tombs}/{file}");
        foreach (string page in ManualPages is null ? [] : ShellFiles.Pages(ManualPages))
            digest.Add(Path.GetFileName(page)).AddFile(page);
        return digest.Finish();
    }

    /// <summary>Of what gets into the initrd only: another sbox alone must not make another initrd.</summary>
    internal Checksum InitrdDigest()
    {
        using var digest = new InputDigest("sbox initrd programs 1");
        digest.AddFile(SboxRoot);
        foreach (string name in ModuleFiles())
            digest.Add(name).AddFile($"{DracutModule}/{name}");
        return digest.Finish();
    }

    private IEnumerable<string> PolicyFiles() => SentinelPolicy is null
        ? [] : Directory.GetFiles(SentinelPolicy, "*.toml").Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal);

    private IEnumerable<string> UnitFiles() => BoxUnits is null
        ? [] : Directory.GetFiles(BoxUnits, "*", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(BoxUnits, file)).Order(StringComparer.Ordinal);

    private IEnumerable<string> ModuleFiles() => Directory.GetFiles(DracutModule).Select(file => Path.GetFileName(file)).Order(StringComparer.Ordinal);
}
