using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>A new finding, with the call that it comes from where one was seen.</summary>
internal readonly record struct Seen(Finding Finding, uint Namespace, KernelEvent? Call);

/// <summary>
/// Looks at mount namespaces after something was done in them, and tells what became wrong. Events say where to look and who it was;
/// what is wrong is read from the kernel's own table of mounts.
/// </summary>
internal sealed class MountLook(SentinelPolicy policy, SystemFacts facts, MountInfoFile system, NamespaceBook book, string sbox, Func<KernelEvent, Culprit> culpritOf)
{
    private const int CallsRemembered = 64;
    private const long RecentNanoseconds = 1_000_000_000;
    private readonly Queue<KernelEvent> recent = new();
    private readonly Queue<ToldMount> told = new();

    // What was told of a mount, and the call that it was put down to.
    private sealed class ToldMount(uint number, Finding finding, long nanoseconds, KernelEvent? call)
    {
        private readonly string path = finding.Path;

        public long Nanoseconds => nanoseconds;

        public KernelEvent? Call { get; set; } = call;

        public bool IsOf(uint other, string otherPath) => number == other && path == otherPath;

        // The place of the mount that a call's descriptor leads to; null where something else was told.
        public string? PlaceOf(uint other, KernelEvent call) => number == other && finding.Mount is { } mount && LeadsTo(call, mount) ? path : null;

        // Put down to nobody, or to a step before it: mount(8) first makes a mount without a place.
        public bool LacksTheCall(uint other, string otherPath) => IsOf(other, otherPath) && Call?.Text != path;
    }

    /// <summary>Whether an event is about mounts.</summary>
    public static bool IsAboutMounts(KernelAct act) => act is KernelAct.Mount or KernelAct.Unmount or KernelAct.MoveMount
        or KernelAct.SetAttributes or KernelAct.Reconfigure or KernelAct.PivotRoot or KernelAct.NewMount;

    /// <summary>What was wrong already when the sentinel started, everywhere.</summary>
    public IEnumerable<Seen> First()
    {
        foreach (Seen each in LookAt(facts.Namespace, []))
            yield return each;
        foreach ((uint number, int process) in Namespaces.All())
        {
            if (number == facts.Namespace)
                continue;
            book.Add(number, process);
            foreach (Seen each in LookAt(number, [], isFirst: true))
                yield return each;
        }
    }

    /// <summary>What became wrong by a burst of events.</summary>
    /// <param name="events">What was seen, oldest first; only events about mounts and namespaces.</param>
    /// <param name="systemChanged">Whether the kernel says that the system's own mounts changed.</param>
    public IEnumerable<Seen> After(IReadOnlyList<KernelEvent> events, bool systemChanged)
    {
        var findings = new List<Seen>();
        foreach (KernelEvent each in events)
        {
            if (each.Act is KernelAct.NewNamespace or KernelAct.EnterNamespace)
                findings.AddRange(OfNamespace(each));
            else
                Remember(each);
        }

        foreach (IGrouping<uint, KernelEvent> calls in events.Where(static each => IsAboutMounts(each.Act)).GroupBy(static each => each.Namespace))
            findings.AddRange(LookAt(calls.Key, [.. calls]));
        // A superblock is shared: whoever changed it, the system's mounts of it changed too. Mounts also propagate.
        if (systemChanged || events.Any(each => each.Act == KernelAct.Reconfigure && each.Namespace != facts.Namespace))
            findings.AddRange(LookAt(facts.Namespace, []));
        return findings;
    }

    /// <summary>Looks at everything once more: events were lost.</summary>
    public IEnumerable<Seen> Again() => [.. book.All.Select(static each => each.Number).ToArray().SelectMany(number => LookAt(number, []))];

    private IEnumerable<Seen> OfNamespace(KernelEvent each)
    {
        Culprit who = culpritOf(each);
        if (each.Act == KernelAct.EnterNamespace)
        {
            if (book.Find(each.Namespace) is { IsSbox: true } && !who.IsSbox)
                yield return new Seen(new Finding(FindingKind.NamespaceEntered, "mount namespace of sbox", "a program that is not sbox entered it, where the system's storage is writable"), each.Namespace, each);
            yield break;
        }

        // By the function that makes them the number is known; by the system call, the caller or its new child has it.
        uint number = each.ObjectDevice != 0 ? each.ObjectDevice
            : each.Result > 0 ? Namespaces.MountNamespaceOf((int)each.Result) ?? 0 : each.Namespace;
        if (number == 0 || number == facts.Namespace)
            yield break;
        KnownNamespace made = book.Add(number, each.Result > 0 ? (int)each.Result : each.Caller.Process);
        made.IsSbox = who.IsSbox;
    }

    private IEnumerable<Seen> LookAt(uint number, IReadOnlyList<KernelEvent> calls, bool isFirst = false)
    {
        KnownNamespace known = book.Add(number, calls.Count > 0 ? calls[^1].Caller.Thread : book.Find(number)?.Process ?? 0);
        IReadOnlyList<MountEntry>? mounts = Read(number, known, calls);
        List<(KernelEvent Call, Finding? News)> late = Late(number, calls);
        foreach ((KernelEvent call, Finding? name) in late)
        {
            if (name is not null)
                yield return new Seen(name, number, call);
        }

        calls = [.. calls.Where(call => !late.Exists(each => ReferenceEquals(each.Call, call)))];
        var here = new HashSet<string>(StringComparer.Ordinal);
        if (mounts is not null)
        {
            IReadOnlyList<Finding> wrong = MountJudge.Violations(policy, facts, new NamespaceView(number, mounts, known.IsSbox));
            // Nobody saw who made what was there before the sentinel.
            if (isFirst && wrong.Count > 0)
                known.IsSpared = Namespaces.ProcessesIn(number).Any(process => Culprit.SeemsSbox(process, sbox));
            Finding[] news = [.. wrong.Where(finding => (!known.Wrong.Contains(finding.Key) || IsDoneAgain(finding, calls)) && !(!known.IsLookedAt && book.IsWrongSomewhere(finding.Kind, finding.Path)))];
            known.Wrong = [.. wrong.Select(static finding => finding.Key)];
            known.IsLookedAt = true;
            here.UnionWith(wrong.Select(static finding => finding.Path));
            foreach (Finding finding in OutermostFirst(news))
            {
                KernelEvent? call = CallBehind(finding, number, calls);
                if (MountJudge.IsAllowed(policy, facts, finding, number, call is null ? null : culpritOf(call).SystemProgram))
                    continue;
                yield return new Seen(finding with { IsSpared = known.IsSpared && (call is null || culpritOf(call).IsSbox) }, number, call);
                Told(finding, number, call);
            }
        }

        bool isSystem = mounts is null || (MountTree.Of(mounts).Base is { } root && root.Device == facts.RootDevice && root.Root == facts.RootPath);
        foreach (KernelEvent call in calls)
        {
            if (OfCall(call, number, known, isSystem) is not { } over || IsStillThere(over, call, mounts) || !here.Add(over.Path))
                continue;
            if (!MountJudge.IsAllowed(policy, facts, over, number, culpritOf(call).SystemProgram) && News(over, number, call) is { } news)
                yield return new Seen(news, number, call);
        }
    }

    // In the order in which they can be taken back: what hides another comes before it. Of covers at one place the last is the topmost.
    private static IEnumerable<Finding> OutermostFirst(IEnumerable<Finding> findings) => findings.Reverse()
        .OrderBy(static finding => finding.Kind is FindingKind.Covered or FindingKind.SystemExtension ? 0 : 1).ThenBy(static finding => finding.Mount?.MountPoint.Length ?? 0);

    // The kernel gives the number of a mount that went to the next one: the same number is not always the same mount.
    private static bool IsDoneAgain(Finding finding, IReadOnlyList<KernelEvent> calls) =>
        finding.Mount is { } mount && calls.Any(call => call.Act is KernelAct.Mount or KernelAct.MoveMount && call.Text == mount.MountPoint);

    private void Told(Finding finding, uint number, KernelEvent? call)
    {
        if (told.Count == CallsRemembered)
            told.Dequeue();
        told.Enqueue(new ToldMount(number, finding, System.Diagnostics.Stopwatch.GetTimestamp(), call));
    }

    // Calls that had returned when what they did was told already, of the table alone. What is at their place now is something else.
    private List<(KernelEvent Call, Finding? News)> Late(uint number, IReadOnlyList<KernelEvent> calls) =>
    [
        .. calls.Where(call => told.Any(each => each.LacksTheCall(number, call.Text) && call.Nanoseconds <= each.Nanoseconds))
            .Select(call => (Call: call, Over: CallJudge.Judge(policy, call))).Where(static each => each.Over is not null)
            .Select(each => (each.Call, News(each.Over!, number, each.Call))),
    ];

    // The kernel's table changes before the call that changed it returns. What was told by then, and undone, may lack its name; it is told no second time.
    private Finding? News(Finding over, uint number, KernelEvent call)
    {
        if (told.LastOrDefault(each => each.LacksTheCall(number, over.Path) && call.Nanoseconds - each.Nanoseconds < RecentNanoseconds) is not { } before)
        {
            Told(over, number, call);
            return over;
        }

        bool isNamed = before.Call?.Caller.Process == call.Caller.Process; // by an earlier step of the same program
        before.Call = call;
        return isNamed ? null : over with { Says = "here is who did what was told a moment before, without a name" };
    }

    // What was mounted is in the table, and the table was judged.
    private bool IsStillThere(Finding over, KernelEvent call, IReadOnlyList<MountEntry>? mounts) => over.IsOver && mounts is not null && over.Kind switch
    {
        FindingKind.Writable => false,
        FindingKind.PhysicalWritable or FindingKind.DetachedWritable => mounts.Any(mount => LeadsTo(call, mount) && !mount.IsMarkedReadOnly),
        _ => mounts.Count(mount => mount.MountPoint == call.Text) > (call.Text == "/" || policy.Protected.Any(path => path.Path == call.Text && path.Storage is not null) ? 1 : 0),
    };

    private Finding? OfCall(KernelEvent call, uint number, KnownNamespace known, bool isSystem)
    {
        if (known.IsSbox && culpritOf(call).IsSbox)
            return null;
        return OfDetached(call) ?? (isSystem ? CallJudge.Judge(policy, call) : null) ?? OfDescriptor(number, call);
    }

    // Where the table told of that mount, its place is known.
    private Finding? OfDescriptor(uint number, KernelEvent call) => CallJudge.OfDescriptor(facts, call) is { } over
        ? over with { Path = told.Select(each => each.PlaceOf(number, call)).OfType<string>().LastOrDefault(over.Path) } : null;

    private static bool LeadsTo(KernelEvent call, MountEntry mount) =>
        call.Text.Length == 0 && mount.Device == SystemFacts.DeviceName(call.ObjectDevice) && mount.Root == call.ObjectPath;

    // A mount without a place is in no table. What it is of can be asked as long as its maker lives.
    private Finding? OfDetached(KernelEvent call)
    {
        const ulong readOnly = 1;
        int descriptor = call.Act switch
        {
            KernelAct.NewMount when (call.Arguments[2] & readOnly) == 0 => (int)call.Result,
            KernelAct.SetAttributes when call.Text.Length == 0 && call.Structure.Length >= 16
                && (BitConverter.ToUInt64(call.Structure.Span[8..]) & readOnly) != 0 => (int)call.Arguments[0],
            _ => -1,
        };
        if (descriptor < 0 || DescriptorMount.Of(call.Caller.Process, descriptor) is not { } mount
            || facts.Storage.FirstOrDefault(each => each.Device == mount.Device) is not { } storage || HasPlace(mount.Id, call.Caller.Process))
            return null;
        return new Finding(FindingKind.DetachedWritable, storage.Rule.Mount, $"a writable mount of the storage behind it ({mount.Device}) was made that has no place in the tree");
    }

    // Attached since, or the number is another descriptor's by now: then the table was judged.
    private static bool HasPlace(int mount, int process)
    {
        using MountInfoFile? file = MountInfoFile.TryOpen(process);
        try
        {
            return file?.Read().Any(entry => entry.Id == mount) ?? false;
        }
        catch (LinuxException) // it ended just now: what was seen of the descriptor stands
        {
            return false;
        }
    }

    private IReadOnlyList<MountEntry>? Read(uint number, KnownNamespace known, IReadOnlyList<KernelEvent> calls)
    {
        if (number == facts.Namespace)
            return system.Read();
        // The caller is often gone by now; whoever started it is mostly still there, and in the same namespace.
        IEnumerable<int> likely = calls.Reverse().SelectMany(static call => new[] { call.Caller.Thread, call.Caller.Process, call.Caller.Parent }).Append(known.Process).Distinct();
        for (int attempt = 0; attempt < 2 && Namespaces.ProcessIn(number, likely) is { } process; attempt++)
        {
            using MountInfoFile? file = MountInfoFile.TryOpen(process);
            try
            {
                if (file?.Read() is { Count: > 0 } mounts)
                    return mounts;
            }
            catch (LinuxException)
            {
                continue; // it ended between the two; somebody else may still be there
            }
        }

        return null;
    }

    private KernelEvent? CallBehind(Finding finding, uint number, IReadOnlyList<KernelEvent> calls)
    {
        string place = finding.Mount?.MountPoint ?? finding.Path;
        long now = System.Diagnostics.Stopwatch.GetTimestamp();
        return calls.LastOrDefault(call => call.Text == place)
            ?? calls.LastOrDefault()
            ?? recent.LastOrDefault(call => call.Text == place && IsOpen(call))
            ?? recent.LastOrDefault(call => (call.Namespace == number || call.Act == KernelAct.Reconfigure) && IsOpen(call));

        // What a call did at a place was told once; what is there now is somebody else's, or the same one's next.
        bool IsOpen(KernelEvent call) => now - call.Nanoseconds < RecentNanoseconds && !told.Any(each => ReferenceEquals(each.Call, call) && each.IsOf(number, finding.Path));
    }

    private void Remember(KernelEvent call)
    {
        if (!IsAboutMounts(call.Act))
            return;
        if (recent.Count == CallsRemembered)
            recent.Dequeue();
        recent.Enqueue(call);
    }
}
