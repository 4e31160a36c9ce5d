using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Integrity;

/// <summary>What is known of the root that runs.</summary>
/// <param name="Root">The mount that carries <c>/</c>; null where it is not known.</param>
/// <param name="Image">The composefs image's digests; null where no deployment is known to run.</param>
/// <param name="AsksForVerity">Whether the command line asks for verity.</param>
/// <param name="Names">Names below /usr that were compared with the commit; null where none were.</param>
/// <param name="Differences">Those that are not as the commit has them.</param>
public sealed record RootEvidence(MountEntry? Root, ImageEvidence? Image, bool AsksForVerity, int? Names, IReadOnlyList<string> Differences);

/// <summary>One module of the running kernel.</summary>
/// <param name="Name">As the kernel calls it.</param>
/// <param name="Taint">Why it taints the kernel, letters of the kernel's own; empty for not at all.</param>
public sealed record LoadedModule(string Name, string Taint);

/// <summary>Judges the running system: its root, mounts, modules, /etc, and who approved its commit. Nothing here asks the machine.</summary>
public static class SystemProofJudge
{
    private const int Shown = 200;

    /// <summary>Whether <c>/</c> is the image that command line, seal and commit name, and the kernel proves each file.</summary>
    public static Fact Root(RootEvidence root)
    {
        Fact Say(Verdict verdict, string says) => new Fact("root", verdict, says).With(
            ("digest", root.Image?.Found?.ToString()), ("mount", root.Root is { } mount ? $"{mount.Type} {mount.Options} {mount.SuperOptions}" : null), ("names-compared", root.Names?.ToString()))
            with { List = [.. root.Differences.Take(Shown)] };
        if (root.Image is null)
            return Say(Verdict.Unchecked, "no deployment is known to run here");
        (Verdict verdict, string says) = ImageJudge.Judge(root.Image);
        if (verdict == Verdict.Wrong)
            return Say(Verdict.Wrong, $"the composefs image: {says}");
        if (root.Root is not { Type: "overlay", IsReadOnly: true } overlay)
            return Say(Verdict.Wrong, $"/ is no read-only overlay: {(root.Root is { } other ? MountJudge.Describe(other) : "nothing known is mounted there")}");
        if (root.Differences.Count > 0)
            return Say(Verdict.Wrong, $"{root.Differences.Count} names below /usr are not as the commit has them");
        bool verified = overlay.SuperOptions.Split(',').Contains("verity=require");
        if (root.AsksForVerity && !verified)
            return Say(Verdict.Wrong, "the command line asks for verity, and / is mounted without");
        if (!verified)
            return Say(Verdict.Unchecked, $"the composefs image: {says}; but nothing asks for verity, so what is read is not proven");
        if (root.Names is null)
            return Say(Verdict.Unchecked, $"the composefs image: {says}; every file is verified as it is read; names below /usr were not compared with the commit");
        return Say(verdict, $"the composefs image: {says}; every file is verified as it is read; {root.Names} names below /usr are the commit's");
    }

    /// <summary>Whether mounts are as the sentinel's policy wants them.</summary>
    /// <param name="findings">What is wrong in any namespace; null where that could not be looked at.</param>
    /// <param name="namespaces">How many were looked at.</param>
    /// <param name="unseen">Why not, or how many not; null where all were.</param>
    public static Fact MountsOf(IReadOnlyList<Finding>? findings, int namespaces, string? unseen)
    {
        if (findings is null)
            return new Fact("mounts", Verdict.Unchecked, unseen ?? "they were not looked at");
        Fact fact = findings.Count > 0
            ? new Fact("mounts", Verdict.Wrong, $"{findings.Count} mounts are not as the policy wants them")
            : unseen is not null
                ? new Fact("mounts", Verdict.Unchecked, $"nothing is wrong in {namespaces} mount namespaces, but {unseen}")
                : new Fact("mounts", Verdict.Ok, $"nothing of the system is writable or covered, in {namespaces} mount namespaces");
        return fact with { List = [.. findings.Take(Shown).Select(static finding => $"{PolicyReader.NameOf(finding.Kind)} {finding.Path}: {finding.Says}")] };
    }

    /// <summary>Whether the loaded modules are the tree's.</summary>
    /// <param name="loaded">Those that are loaded; null where they cannot be seen.</param>
    /// <param name="known">The names of the tree's modules for the running kernel; null where it has none.</param>
    /// <param name="taint">/proc/sys/kernel/tainted.</param>
    public static Fact Modules(IReadOnlyList<LoadedModule>? loaded, IReadOnlySet<string>? known, ulong taint)
    {
        const string foreign = "EF"; // unsigned; forced
        if (loaded is null || known is null)
            return new Fact("modules", Verdict.Unchecked, loaded is null ? "the kernel's list of modules cannot be read" : "the tree has no modules of the running kernel").With(("tainted", $"{taint}"));
        string[] strange = [.. loaded.Where(module => !known.Contains(module.Name)).Select(static module => $"{module.Name}: the tree has none of this name")];
        string[] unsigned = [.. loaded.Where(module => known.Contains(module.Name) && module.Taint.AsSpan().ContainsAny(foreign)).Select(static module => $"{module.Name}: unsigned or forced (taint {module.Taint})")];
        const ulong forcedLoad = 1 << 1, forcedUnload = 1 << 3, unsignedModule = 1 << 13;
        bool tainted = (taint & (forcedLoad | forcedUnload | unsignedModule)) != 0;
        (Verdict verdict, string says) = (strange.Length + unsigned.Length, tainted) switch
        {
            (0, false) => (Verdict.Ok, $"all {loaded.Count} are named as the tree's are, and signed"),
            (0, true) => (Verdict.Wrong, $"all {loaded.Count} are the tree's, but one was there that was forced or not signed, and is gone"),
            (var count, _) => (Verdict.Wrong, $"{count} of {loaded.Count} are not the tree's"),
        };
        return new Fact("modules", verdict, says).With(("tainted", $"{taint}"), ("loaded", $"{loaded.Count}")) with { List = [.. strange, .. unsigned] };
    }

    /// <summary>How /etc differs from the defaults of the tree. It is the owner's: no difference is wrong, and each is told.</summary>
    /// <param name="changes">The differences; null where they could not be looked at.</param>
    /// <param name="unseen">Why not.</param>
    public static Fact Etc(IReadOnlyList<EtcChange>? changes, string? unseen)
    {
        if (changes is null)
            return new Fact("etc", Verdict.Unchecked, $"/etc was not compared with its defaults: {unseen}");
        int Count(EtcChangeKind kind) => changes.Count(change => change.Kind == kind);
        return new Fact(
            "etc", Verdict.Ok, changes.Count == 0 ? "/etc is as the tree has it" : $"in /etc, {Count(EtcChangeKind.Added)} names were added, {Count(EtcChangeKind.Modified)} changed, {Count(EtcChangeKind.Removed)} deleted")
        {
            List = [.. changes.Select(static change => $"{change}")],
        };
    }

    /// <summary>Whether the root lies encrypted, and opens only where it should. A plain disk is not wrong: it is told.</summary>
    /// <param name="isEncrypted">Whether it is on an encrypted volume.</param>
    /// <param name="state">Who can open that; null where it could not be looked at.</param>
    /// <param name="unseen">Why not.</param>
    /// <param name="away">What was said where the boot went on without the machine's TPM; null where it did not.</param>
    public static Fact Disk(bool isEncrypted, DiskState? state, string? unseen, string? away)
    {
        Fact fact = Disk(isEncrypted, state, unseen);
        return away is null ? fact : fact with { Verdict = fact.Verdict == Verdict.Wrong ? Verdict.Wrong : Verdict.Unchecked, Says = $"{fact.Says}; {away}" };
    }

    private static Fact Disk(bool isEncrypted, DiskState? state, string? unseen)
    {
        if (!isEncrypted)
            return new Fact("disk", Verdict.Ok, "the root's disk is not encrypted: /etc and /var are whoever's who has it in hand");
        Fact Say(Verdict verdict, string says) => new Fact("disk", verdict, $"the root's disk is encrypted{says}").With(
            ("device", state?.Disk.Path), ("uuid", state?.Disk.Uuid), ("recovery-key", state?.HasRecoveryKey.ToString()));
        return state switch
        {
            null => Say(Verdict.Unchecked, $"; {unseen}"),
            { IsFirst: true } => Say(Verdict.Unchecked, ", and the key of its first boot still opens it"),
            { IsLooseForGood: true } => Say(Verdict.Wrong, ", and opens whatever the firmware checks, by what another program bound to the TPM"),
            { IsLoose: true } => Say(Verdict.Unchecked, ", and opens once more whatever the firmware checks, since keys are being changed"),
            { IsBound: true } => Say(Verdict.Ok, ", and opens by this machine's TPM for versions that the owner's pcr key signed, with the firmware as it is"),
            _ => Say(Verdict.Unchecked, ", and this machine's TPM does not open it to this version with the firmware as it is"),
        };
    }

    /// <summary>Whether enough approved keys signed the commit that runs.</summary>
    /// <param name="approval">Whose signatures it has; null where the tree has no policy, or it could not be looked at.</param>
    /// <param name="problem">What is wrong with the policy, or why it could not be looked at; null for neither.</param>
    /// <param name="isBroken">Whether the problem is a policy that nobody can go by.</param>
    public static Fact Approved(Approval? approval, string? problem, bool isBroken) => approval switch
    {
        null when isBroken => new Fact("approval", Verdict.Wrong, problem!),
        null => new Fact("approval", Verdict.Unchecked, problem ?? $"the tree has no /{ApprovalPolicy.FileName}: nothing says who must have signed the commit"),
        { IsEnough: true } => new Fact("approval", Verdict.Ok, $"the commit has {approval}") { List = approval.Signers },
        _ => new Fact("approval", Verdict.Wrong, $"the commit has {approval}") { List = approval.Signers },
    };
}
