using System.Text;
using System.Text.RegularExpressions;
using Sbox.Judges;

namespace Sbox.Tour.Tests;

/// <summary>What must be on an EFI partition at a moment.</summary>
/// <param name="Kernels">The commits of the unified kernel images that there may be, by their SHA-256.</param>
/// <param name="Loader">The SHA-256 of the boot loader.</param>
/// <param name="Defaults">The commits that may be the default.</param>
/// <param name="Needed">The commits that must be in the menu.</param>
/// <param name="Deployed">The commits whose deployment is whole.</param>
internal sealed record EspRule(
    IReadOnlyDictionary<string, string> Kernels, string Loader, IReadOnlyCollection<string> Defaults, IReadOnlyCollection<string> Needed, IReadOnlySet<string> Deployed);

/// <summary>
/// Says what is wrong with an EFI partition. A cut may leave clusters that nobody has, a wrong count of free ones, tables that differ, the mark that it is in use, an empty file in the place of
/// one that never got its bytes, and a temporary file that is cut short: firmware passes over all of these, and <c>fsck.vfat -a</c>, which sbox starts before it writes to such a partition, mends
/// them. Nothing else is tolerated: a name that is read at boot, or that is removed later, must have its own clusters, all of them.
/// </summary>
internal static partial class EspJudge
{
    private const string Entries = "EFI/Linux/";

    /// <summary>Whether a file is an entry of the menu. systemd-boot shows none for a name with a dot before it, or a file that is no program.</summary>
    public static bool IsEntry(FatFile file) =>
        file.Path.StartsWith(Entries, StringComparison.Ordinal) && !file.Name.StartsWith('.') && file.Name.EndsWith(".efi", StringComparison.OrdinalIgnoreCase) && (file.Size > 0 || file.Chain.Count > 0);

    /// <summary>What is wrong; nothing where all is well.</summary>
    /// <param name="fat">The partition.</param>
    /// <param name="rule">What must be there.</param>
    public static IEnumerable<string> Wrong(FatLook fat, EspRule rule)
    {
        var menu = new Dictionary<string, string>();
        foreach (FatFile file in fat.Files.Where(IsEntry))
        {
            if (fat.Digest(file) is not { } digest || !rule.Kernels.TryGetValue(digest, out string? commit))
                yield return $"{file.Path} is not whole ({file.Size} bytes; {file.Damage ?? "its bytes are others"})";
            else if (!rule.Deployed.Contains(commit))
                yield return $"{file.Path} leads to {commit}, which is not whole on the root";
            else
                menu[file.Name] = commit;
        }

        foreach (string missing in rule.Needed.Except(menu.Values))
            yield return $"{missing} was to stay in the menu, and is not there: {string.Join(' ', menu.Keys)}";
        string? named = Text(fat, "loader/loader.conf") is { } conf ? DefaultLine().Match(conf).Groups[1].Value : null;
        if (named is null || !menu.TryGetValue(named, out string? starts) || !rule.Defaults.Contains(starts))
            yield return $"loader.conf names '{named}' and should name one of {string.Join(' ', rule.Defaults)}; in the menu: {string.Join(' ', menu.Keys)}";
        foreach (string path in (string[])["EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"])
        {
            if (fat.Find(path) is not { } file || fat.Digest(file) != rule.Loader)
                yield return $"{path} is not whole";
        }

        foreach (FatFile file in fat.Files.Where(static file => file.Damage is not null && !IsTemporary(file.Name)))
            yield return $"{file.Path} {file.Damage}";
        foreach ((FatFile one, FatFile other) in fat.Shared())
            yield return $"{one.Path} and {other.Path} have clusters in common";
    }

    /// <summary>What fsck.vfat finds that a cut may not leave.</summary>
    /// <param name="image">The partition; it is not changed.</param>
    public static IEnumerable<string> Fsck(string image)
    {
        bool temporary = false; // what it says of a file are lines below its name that begin with blanks
        foreach (string line in Judge.OnPath("fsck.vfat").Ask("-n", image).Output.Split('\n').Where(static line => line.Length > 0))
        {
            if (line.StartsWith('/') && !line.StartsWith(image, StringComparison.Ordinal))
                temporary = line.EndsWith(".tmp", StringComparison.Ordinal) && !line.Contains(" and ", StringComparison.Ordinal);
            if (!(temporary && (line.StartsWith('/') || line.StartsWith(' '))) && !line.StartsWith(image, StringComparison.Ordinal) && !Tolerated().IsMatch(line))
                yield return $"fsck.vfat: {line}";
            temporary &= line.StartsWith('/') || line.StartsWith(' ');
        }
    }

    /// <summary>What is wrong after fsck.vfat mended it.</summary>
    /// <param name="image">The partition; it is mended.</param>
    /// <param name="before">A look at it.</param>
    /// <param name="rule">What must be there.</param>
    public static IEnumerable<string> WrongWhenMended(FileStream image, FatLook before, EspRule rule)
    {
        Verdict mended = Judge.OnPath("fsck.vfat").Ask("-a", image.Name);
        if (mended.ExitCode > 1)
            yield return $"fsck.vfat -a gave up: {mended.Output}{mended.Error}";
        Verdict again = Judge.OnPath("fsck.vfat").Ask("-n", image.Name);
        if (again.ExitCode != 0)
            yield return $"fsck.vfat -a left something: {again.Output}";
        var fat = new FatLook(image, before);
        foreach (string wrong in Wrong(fat, rule).Concat(fat.Files.Where(static file => file.Damage is not null).Select(static file => $"{file.Path} {file.Damage}")))
            yield return $"when fsck.vfat had mended it, {wrong}";
    }

    private static bool IsTemporary(string name) => name.StartsWith('.') && name.EndsWith(".tmp", StringComparison.Ordinal);

    private static string? Text(FatLook fat, string path) => fat.Find(path) is { } file && fat.Bytes(file) is { } bytes ? Encoding.Latin1.GetString(bytes) : null;

    [GeneratedRegex(@"^default\s+(\S+)", RegexOptions.Multiline)]
    private static partial Regex DefaultLine();

    [GeneratedRegex("^(fsck\\.fat |There are differences between boot sector and its backup|This is mostly harmless|  65:01/00$|  Not automatically fixing this|Dirty bit is set| Automatically removing dirty bit"
        + "|FATs differ but appear to be intact|  Using first FAT|Reclaimed [0-9]+ unused clusters?|Free cluster summary wrong|  Auto-correcting|Leaving filesystem unchanged)")]
    private static partial Regex Tolerated();
}
