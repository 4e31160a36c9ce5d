using System.Text;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>How the box is doing: health, staging, room, time, seal, and what earlier repairs set aside.</summary>
internal static class StateChecks
{
    private const string FinalizeFailure = "boot/ostree/finalize-failure.stamp";

    // Commits are made on machines whose clocks may be a little off.
    private static readonly TimeSpan Tolerance = TimeSpan.FromMinutes(10);

    public static IEnumerable<DoctorFinding> Look(DoctorScene scene) =>
        Health(scene).Concat(Staged(scene)).Concat(Space(scene)).Concat(Time(scene)).Concat(Seal(scene)).Concat(Aside(scene));

    private static IEnumerable<DoctorFinding> Health(DoctorScene scene)
    {
        foreach (string unit in scene.Options.FailedUnits)
            yield return new DoctorFinding("unit-failed", FindingGrade.Warning, unit, "failed", "what it does at boot, at shutdown or now and then was not done", $"journalctl -b -u {unit} says why");
        foreach (string os in scene.Sysroot.Deployments.Select(static each => each.Name.Os).Distinct())
        {
            foreach (BadVersion bad in BadVersions.Read(scene.Sysroot, os).Where(bad => scene.Sysroot.Deployments.Any(each => each.Name.Commit == bad.Commit)))
            {
                yield return new DoctorFinding(
                    "version-bad", FindingGrade.Warning, scene.Root.Of($"{Layout.Stateroot(os)}/var/lib/sbox/bad-versions"), $"says of {Describe(scene, os, bad.Commit)}: {bad.Reason}", "this box went back from it by itself, and does not take it again",
                    "its successor is taken as always; sbox upgrade --retry takes it again, sbox undeploy removes it");
            }
        }

        foreach (DeploymentName name in scene.Sysroot.Deployments.Select(static each => each.Name))
        {
            int? left = Trials.Of(scene.Sysroot, name)?.Left;
            if (left == 0)
                yield return new DoctorFinding("trial-failed", FindingGrade.Warning, name.Short, "has no try left", "it did not come up, and nothing starts it by itself", "journalctl --list-boots shows its boots; sbox upgrade brings its successor, sbox rollback --to tries it anew");
            else if (left is not null)
                yield return new DoctorFinding("on-trial", FindingGrade.Note, name.Short, $"is on trial, with {left} tries left", "it becomes the default when the health checks find it good", "sbox health asks them now");
        }
    }

    private static string Describe(DoctorScene scene, string os, Checksum commit) => DeploymentSelector.Describe(scene.Sysroot, scene.Sysroot.Deployments.First(each => each.Name.Os == os && each.Name.Commit == commit).Name);

    private static IEnumerable<DoctorFinding> Staged(DoctorScene scene)
    {
        if (scene.Root.TryReadAll(FinalizeFailure) is { } bytes)
        {
            yield return new DoctorFinding(
                "finalize-failed", FindingGrade.Warning, scene.Root.Of(FinalizeFailure), $"says why a staged deployment was not finalized: {Encoding.UTF8.GetString(bytes).Trim()}", "the version that ostree had staged is not deployed",
                "it is set aside; ostree admin upgrade, or sbox upgrade, deploys the version again")
            { Repair = [BootChecks.SetAside(FinalizeFailure)] };
        }

        if (scene.Staged is not { } staged)
            yield break;
        if (staged.Name is { } name && scene.Directories.Contains(name))
        {
            yield return new DoctorFinding(
                "staged", FindingGrade.Note, staged.Path, $"has ostree deploy {name.Short} at shutdown", staged.IsHeld ? "it is held back (ostree admin lock-finalization), so the reboot does not bring it" : "a power cut before that loses it",
                "sbox upgrade deploys at once");
        }
        else
        {
            yield return new DoctorFinding(
                "staged-lost", FindingGrade.Warning, staged.Path, staged.Name is { } gone ? $"names {gone.Short}, whose directory is not there" : "names no deployment", "nothing is deployed at shutdown, and ostree may complain there",
                "ostree admin undeploy 0, or the reboot, takes it away; sbox upgrade deploys at once");
        }
    }

    private static IEnumerable<DoctorFinding> Space(DoctorScene scene)
    {
        if (scene.Sysroot.Deployments is not [var first, ..])
            yield break;
        long Free(Dir dir) => scene.Sysroot.Options.FreeBytes?.Invoke(dir) ?? FileSystemSpace.Of(dir).FreeBytes;
        TreeLook? tree = scene.Trees.GetValueOrDefault(first.Name);
        if (tree is { HasCommit: true, MissingObjects.Count: 0 })
        {
            var space = new RootSpace(scene.Sysroot);
            long needed = space.Needed(new DeployRequest(first.Name.Os, first.Name.Commit)), free = Free(scene.Root);
            if (free < needed)
                yield return new DoctorFinding("space-root", FindingGrade.Broken, scene.Root.Path, $"has {Mebibytes(free)} MiB free, and a version like the first one needs {Mebibytes(needed)} MiB beside what is downloaded", "sbox upgrade refuses", Freed(space.Freeable()));
        }

        if (scene.Deployer.Esp is not { } esp)
            yield break;
        IReadOnlyDictionary<string, long> ukis = esp.UnifiedKernels();
        long largest = ukis.Values.DefaultIfEmpty(0).Max(), left = Free(esp.Directory);
        // What an upgrade drops anyway may make the room; what runs and what is pinned stays.
        long dropped = scene.Sysroot.Deployments.Where(each => !scene.Sysroot.IsBooted(each) && !each.IsPinned && each != first)
            .Sum(each => ukis.Where(uki => UnifiedKernel.IsOf(uki.Key, each.Name)).Sum(static uki => uki.Value));
        if (left < largest)
        {
            yield return new DoctorFinding(
                "space-esp", left + dropped < largest ? FindingGrade.Broken : FindingGrade.Note, esp.Directory.Path, $"has {Mebibytes(left)} MiB free, and the largest UKI has {Mebibytes(largest)} MiB",
                left + dropped < largest ? "sbox upgrade refuses" : "the next version takes the place of one that an upgrade drops anyway, which goes first",
                left + dropped < largest ? "sbox undeploy or sbox pin --unpin frees a version's room; files that are not sbox's can go" : "nothing need be done");
        }
    }

    private static string Freed(IReadOnlyList<Freeable> freeable) => freeable.Count == 0 ? "delete what you do not need in /var"
        : $"removing {string.Join(" or ", freeable.Take(3).Select(static each => $"{each.What} frees {Mebibytes(each.Bytes)} MiB"))}";

    private static string Mebibytes(long bytes) => (bytes / 1048576.0).ToString("0.0", System.Globalization.CultureInfo.InvariantCulture);

    private static IEnumerable<DoctorFinding> Time(DoctorScene scene)
    {
        DateTimeOffset now = scene.Sysroot.Options.Clock.GetUtcNow();
        DateTimeOffset? newest = scene.Sysroot.Deployments.Where(each => scene.Trees.GetValueOrDefault(each.Name) is { HasCommit: true })
            .Select(each => (DateTimeOffset?)scene.Sysroot.Repository.LoadCommit(each.Name.Commit).Time).Max();
        if (newest > now + Tolerance)
        {
            yield return new DoctorFinding(
                "clock", FindingGrade.Warning, "the clock", $"says {now:yyyy-MM-dd HH:mm} UTC, and what is deployed was made at {newest:yyyy-MM-dd HH:mm} UTC", "it is wrong here, or was where that was made; certificates and signatures may be refused",
                "timedatectl shows and sets it");
        }
    }

    private static IEnumerable<DoctorFinding> Seal(DoctorScene scene)
    {
        bool needsSeal = scene.Deployer.Sealing.IsSealed;
        foreach (Deployment each in needsSeal ? scene.Sysroot.Deployments : [])
        {
            if (scene.Trees.GetValueOrDefault(each.Name) is { HasCommit: true } && CommitSeal.Of(scene.Sysroot.Repository.LoadDetachedMetadata(each.Name.Commit)) is null)
                yield return new DoctorFinding("seal-missing", FindingGrade.Warning, each.Name.Short, "has no seal, and this box is sealed", "where firmware checks, it starts only as long as its signed UKI is on the EFI partition", "sbox upgrade brings the seal with the branch; sbox seal makes one where the branch is published");
        }

        if (scene.Options.Seal is { } seal)
        {
            if (!seal.IsSealed && seal is { CommandLineAsks: true, FilesVerified: false })
                yield return new DoctorFinding("seal", FindingGrade.Broken, "/", seal.ToString(), "files are not verified as they are read", "reboot; where that does not help: sbox prove");
            else if (!seal.IsSealed)
                yield return new DoctorFinding("seal", FindingGrade.Note, "/", $"is {seal}", "who can write to the disk from outside can change what runs", "docs/threat-model.md tells what a seal stops; sbox keys and sbox seal make one");
        }

        VerityCoverage verity = scene.Sysroot.Repository.CountVerity(scene.Cancel);
        if (verity is { Total: > 0, IsWhole: false })
        {
            yield return new DoctorFinding(
                "verity", needsSeal && verity.Supported ? FindingGrade.Warning : FindingGrade.Note, scene.Root.Of($"{Layout.Repo}/objects"), verity.ToString(), "the kernel does not notice where the others are changed",
                verity.Supported ? "sbox verity seals the rest" : "tune2fs -O verity on the root file system, then sbox verity");
        }
    }

    private static IEnumerable<DoctorFinding> Aside(DoctorScene scene)
    {
        if (scene.Root.TryOpenDir(BoxRepair.AsideDirectory) is not { } aside)
            yield break;
        using (aside)
        {
            if (aside.Entries().Count > 0)
                yield return new DoctorFinding("set-aside", FindingGrade.Note, aside.Path, $"has what {(aside.Entries().Count == 1 ? "a repair" : $"{aside.Entries().Count} repairs")} set aside", "it takes room, and nothing uses it", "sbox doctor --drop-aside deletes it");
        }
    }
}
