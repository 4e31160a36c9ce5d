using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>What merges of /etc, and resets, left behind or to their owner.</summary>
internal static class EtcChecks
{
    public static IEnumerable<DoctorFinding> Look(DoctorScene scene) =>
        scene.Sysroot.Deployments.Select(static each => each.Name).SelectMany(name => Of(scene, name)).Concat(Resets(scene));

    private static IEnumerable<DoctorFinding> Of(DoctorScene scene, DeploymentName name)
    {
        string fresh = $"{name.Directory}/{LateEtcMerge.Fresh}", beside = EtcRecord.BesideOf(name);
        if (scene.Root.Exists(fresh))
        {
            yield return new DoctorFinding("etc-leftover", FindingGrade.Warning, scene.Root.Of(fresh), "is a merge of /etc that was cut short, or the /etc before it", "nothing reads it", "it is set aside") { Repair = [BootChecks.SetAside(fresh)] };
        }

        if (scene.Root.Exists(beside))
        {
            yield return new DoctorFinding(
                "etc-leftover", FindingGrade.Warning, scene.Root.Of(beside), "is the record of a merge of /etc that was cut short", "sbox etc tells of the merge before it", "where it belongs to the /etc that is there it takes its place, else it is set aside")
            { Repair = [new RepairStep(RepairKind.FinishEtc, beside, $"finish or set aside {beside}") { Deployment = name }] };
        }

        EtcRecord? record = null;
        string? unreadable = null;
        try
        {
            record = EtcRecord.Of(scene.Sysroot, name);
        }
        catch (MalformedException damaged)
        {
            unreadable = damaged.Message;
        }

        string place = EtcRecord.DirectoryOf(name);
        if (unreadable is not null)
            yield return new DoctorFinding("etc-record", FindingGrade.Warning, scene.Root.Of(place), unreadable, "sbox status and sbox etc refuse to work; /etc itself is not touched by it", "it is set aside: what the merge decided is then no longer known") { Repair = [BootChecks.SetAside(place)] };
        if (record?.Failure is { } failure)
            yield return new DoctorFinding("etc-failure", FindingGrade.Warning, scene.Root.Of(place), $"says of the last merge at shutdown: {failure}", "what was edited after the upgrade did not come with it", "sbox etc diff shows your changes; the /etc of the version before is in its deployment");
        if (record?.Open.Count() is > 0 and var open)
            yield return new DoctorFinding("etc-conflicts", FindingGrade.Note, scene.Root.Of($"{name.Directory}/etc"), $"has {open} files that you and the new version changed, among them {record.Open.First().Path}", "yours are kept", "sbox etc resolve shows them and takes your choice");
    }

    private static IEnumerable<DoctorFinding> Resets(DoctorScene scene)
    {
        foreach (string os in scene.Directories.Select(static name => name.Os).Distinct())
        {
            string path = $"{Layout.Stateroot(os)}/.sbox-reset";
            if (scene.Root.Exists(path))
                yield return new DoctorFinding("reset-waits", FindingGrade.Note, scene.Root.Of(path), "has what a reset took away", "what runs still uses it", "reboot: the next boot deletes it");
        }
    }
}
