namespace Sbox.Integrity;

/// <summary>Judges what happens beside mounts: modules, disks, set-user-id files, attacks on the sentinel.</summary>
internal sealed class SystemJudge(SentinelPolicy policy, SystemFacts facts, Func<string, uint, string?> visible, Func<string, bool> isModule)
{
    private const ulong Module = 2;
    private const ulong KexecImage = 3;
    private const uint Regular = 0x8000;
    private const int ThreadsRemembered = 64;

    private readonly Queue<(int Thread, bool FromFile)> reading = new();

    /// <summary>Whether an event is of a kind that is judged here.</summary>
    public static bool Knows(KernelAct act) => act >= KernelAct.SetUserId;

    /// <summary>What an event is; null when it is as it should be.</summary>
    public Finding? Judge(KernelEvent seen, Culprit culprit) => seen.Act switch
    {
        KernelAct.OpenDevice => OfDevice(seen, culprit),
        KernelAct.ReadModule => OfFile(seen),
        KernelAct.LoadFromMemory => OfMemory(seen),
        KernelAct.LoadModule => OfLoaded(seen, culprit),
        KernelAct.SetUserId or KernelAct.CreateSetUserId or KernelAct.SetCapabilities => OfSetUserId(seen, culprit),
        KernelAct.Signal => OfSignal(seen),
        KernelAct.Trace => new Finding(FindingKind.SentinelAttacked, "sentinel", "a program took hold of the sentinel's memory (ptrace)"),
        _ => null,
    };

    private Finding? OfDevice(KernelEvent seen, Culprit culprit)
    {
        string device = SystemFacts.DeviceName(seen.ObjectDevice);
        return culprit.IsSbox || culprit.ServesSbox || facts.Storage.FirstOrDefault(storage => storage.Disk.Contains(device)) is not { } behind ? null
            : new Finding(FindingKind.DeviceOpened, seen.ObjectPath.Length > 0 ? $"/dev{seen.ObjectPath}" : device, $"a part ({device}) of the disk behind {behind.Rule.Mount} was opened for writing");
    }

    private Finding? OfFile(KernelEvent seen)
    {
        if (seen.Arguments[1] == KexecImage)
            return new Finding(FindingKind.Kexec, seen.ObjectPath, "a kernel was made ready to be started in place of this one");
        if (seen.Arguments[1] != Module)
            return null; // firmware, certificates: not code for this processor
        Remember(seen.Caller.Thread, fromFile: true);
        bool ofSystem = SystemFacts.DeviceName(seen.ObjectDevice) == facts.RootDevice && MountTree.IsAtOrBelow(seen.ObjectPath, "/usr/lib/modules");
        return ofSystem ? null
            : new Finding(FindingKind.Module, visible(seen.ObjectPath, seen.ObjectDevice) ?? seen.ObjectPath, "a kernel module was loaded that is not the system's");
    }

    private Finding? OfMemory(KernelEvent seen)
    {
        if (seen.Arguments[0] == KexecImage)
            return new Finding(FindingKind.Kexec, "kexec_load", "a kernel was made ready to be started in place of this one");
        if (seen.Arguments[0] == Module)
            Remember(seen.Caller.Thread, fromFile: false); // its name comes with the next event
        return null;
    }

    // A module from a file was judged by its file. One from memory has only its name, and the program that brought it.
    private Finding? OfLoaded(KernelEvent seen, Culprit culprit)
    {
        bool fromFile = reading.Any(each => each.Thread == seen.Caller.Thread && each.FromFile);
        return fromFile || (culprit.IsOfSystem && isModule(seen.Text)) ? null
            : new Finding(FindingKind.Module, seen.Text, "a kernel module was loaded from memory that is not the system's");
    }

    private Finding? OfSetUserId(KernelEvent seen, Culprit culprit)
    {
        ulong mode = seen.Act switch { KernelAct.SetUserId => seen.Arguments[1], KernelAct.CreateSetUserId => seen.Arguments[2], _ => 0xC00 | 0x49 };
        bool regular = seen.Act == KernelAct.CreateSetUserId || (seen.Arguments[EyeRecord.ModeArgument] & 0xF000) == Regular;
        bool gives = (mode & 0x800) != 0 || (mode & 0x408) == 0x408; // set-group-id means nothing without the group's x
        string path = visible(seen.ObjectPath, seen.ObjectDevice) ?? seen.ObjectPath;
        return !regular || !gives || culprit.IsSbox || policy.SetUserIdAllowed.Any(pattern => pattern.Covers(path)) ? null
            : new Finding(FindingKind.SetUserId, path, seen.Act == KernelAct.SetCapabilities ? "a file got capabilities of root" : "a file got a set-user-id or set-group-id bit");
    }

    private static Finding? OfSignal(KernelEvent seen) => seen.Arguments[0] switch
    {
        9 => new Finding(FindingKind.SentinelAttacked, "sentinel", "the sentinel was killed"),
        19 or 20 or 21 or 22 => new Finding(FindingKind.SentinelAttacked, "sentinel", "the sentinel was told to stand still"),
        _ => null,
    };

    private void Remember(int thread, bool fromFile)
    {
        if (reading.Count == ThreadsRemembered)
            reading.Dequeue();
        reading.Enqueue((thread, fromFile));
    }
}
