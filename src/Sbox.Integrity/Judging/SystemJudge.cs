namespace Sbox.Integrity;

/// <summary>Judges what happens beside mounts: modules, disks, set-user-id files, attacks on the sentinel.</summary>
internal sealed class SystemJudge(SentinelPolicy policy, SystemFacts facts, Func<string, uint, string?> visible, Func<uint, bool> isOfSbox, Func<string, bool> isModule)
{
    private const ulong Module = 2;
    private const ulong KexecImage = 3;
    private const uint Regular = 0x8000;
    private const int ThreadsRemembered = 64;

    // enum bpf_prog_type of linux/bpf.h.
    private static readonly Dictionary<ulong, string> KernelPrograms = new()
    {
        [2] = "kprobe", [5] = "tracepoint", [7] = "perf event", [17] = "raw tracepoint", [24] = "writable raw tracepoint", [26] = "tracing", [27] = "struct-ops",
        [28] = "extension", [29] = "LSM", [31] = "system call",
    };

    // Below /proc/sys: programs that the kernel starts as root, and what keeps others out of it.
    private static readonly HashSet<string> Settings =
    [
        "/sys/kernel/core_pattern", "/sys/kernel/modprobe", "/sys/kernel/hotplug", "/sys/kernel/poweroff_cmd", "/sys/kernel/usermodehelper/bset", "/sys/kernel/usermodehelper/inheritable",
        "/sys/kernel/unprivileged_bpf_disabled", "/sys/kernel/kptr_restrict", "/sys/kernel/yama/ptrace_scope", "/sys/vm/mmap_min_addr", "/sys/fs/protected_symlinks", "/sys/fs/protected_hardlinks",
        "/sys/fs/suid_dumpable",
    ];

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
        KernelAct.Trace => OfTrace(seen, culprit),
        KernelAct.FollowLink when isOfSbox(seen.ObjectDevice) && !culprit.IsSbox => Entered("a program that is not sbox reached into it by a link in /proc, to where the system's storage is writable"),
        KernelAct.LoadProgram => OfProgram(seen, culprit),
        KernelAct.WriteSetting => OfSetting(seen),
        _ => null,
    };

    private Finding? OfDevice(KernelEvent seen, Culprit culprit)
    {
        string device = SystemFacts.DeviceName(seen.ObjectDevice);
        if (device is "1:1" or "1:2" or "1:4")
            return new Finding(FindingKind.KernelChanged, $"/dev{seen.ObjectPath}", "the machine's memory or ports were opened for writing");
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

    private Finding? OfTrace(KernelEvent seen, Culprit culprit) =>
        (int)seen.Arguments[0] == Environment.ProcessId ? new Finding(FindingKind.SentinelAttacked, "sentinel", "a program took hold of the sentinel's memory (ptrace)")
        : isOfSbox(seen.ObjectDevice) && !culprit.IsSbox ? Entered($"a program that is not sbox took hold of process {seen.Arguments[0]} in it (ptrace), where the system's storage is writable")
        : null;

    private static Finding Entered(string says) => new(FindingKind.NamespaceEntered, "mount namespace of sbox", says);

    // Those that systemd and containers load limit a control group's own traffic and devices; these see or change what the kernel does.
    private static Finding? OfProgram(KernelEvent seen, Culprit culprit)
    {
        // systemd's own programs restrict units by some, and try out what the kernel can; nobody tells them what to load.
        if (!KernelPrograms.TryGetValue(seen.Arguments[0], out string? kind) || (culprit.IsUnaltered && MountTree.IsAtOrBelow(culprit.Program, "/usr/lib/systemd")))
            return null;
        return new Finding(FindingKind.KernelChanged, $"BPF {(seen.Text.Length > 0 ? seen.Text : "program")}", $"a {kind} program was put into the kernel");
    }

    private static Finding? OfSetting(KernelEvent seen) => Settings.Contains(seen.ObjectPath)
        ? new Finding(FindingKind.KernelChanged, $"/proc{seen.ObjectPath}", "the kernel was told what it starts by itself, or what it lets programs do to it") : null;

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
