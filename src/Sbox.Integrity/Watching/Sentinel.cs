using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>How well a sentinel sees.</summary>
/// <param name="Policy">The policy that it goes by.</param>
/// <param name="OpenEyes">How many eyes it has in the kernel; 0 where the kernel lets none in.</param>
/// <param name="Closed">What it does not see, and why.</param>
/// <param name="Storage">The storage that it guards.</param>
public sealed record Outlook(LoadedPolicy Policy, int OpenEyes, IReadOnlyList<ClosedEye> Closed, IReadOnlyList<StorageFacts> Storage);

/// <summary>
/// Watches until told to stop. It sleeps until the kernel says that something happened: a mount changed, an eye saw something, a file
/// of its own was touched. Nothing is looked for in a loop.
/// </summary>
public sealed class Sentinel : IDisposable
{
    private const int SystemMounts = 1, Eyes = 2, Stopping = 3, FirstWatch = 16;
    private const int CatchUpMilliseconds = 20;

    private readonly SentinelOptions options;
    private readonly Action<Alarm> told;
    private readonly Action<string> complain;
    private readonly Poller poller = new();
    private readonly WakeUp stop = new();
    private readonly MountInfoFile system;
    private readonly KernelEyes? eyes;
    private readonly SystemFacts facts;
    private readonly SentinelPolicy policy;
    private readonly NamespaceBook book = new();
    private readonly MountLook mounts;
    private readonly SystemJudge judge;
    private readonly Reactor reactor;
    private readonly Metrics metrics;
    private readonly List<FileWatch> watches = [];
    private readonly List<KernelEvent> events = [];
    private readonly Dictionary<KernelEvent, Culprit> culprits = new(ReferenceEqualityComparer.Instance);
    private readonly string mark;
    private long lost;

    /// <summary>Opens everything; after this, nothing that happens is missed.</summary>
    /// <param name="options">Where things are.</param>
    /// <param name="told">Told of each alarm, after it was reacted to.</param>
    /// <param name="complain">Told what the sentinel itself cannot do; a line that begins with a priority as sd-daemon(3) has it.</param>
    /// <exception cref="PolicyException">The sealed policy is wrong.</exception>
    /// <exception cref="IOException">There is no policy, or the system's mounts cannot be seen.</exception>
    public Sentinel(SentinelOptions options, Action<Alarm> told, Action<string> complain)
    {
        (this.options, this.told, this.complain) = (options, told, complain);
        HeldProc.Take();
        LoadedPolicy loaded = LoadedPolicy.Load(options.TreePolicy, options.OwnerPolicy);
        policy = loaded.Policy;
        Directory.CreateDirectory(options.StateDirectory);
        Directory.CreateDirectory(options.RuntimeDirectory);
        system = MountInfoFile.TryOpen(options.SystemProcess) ?? throw new IOException($"/proc/{options.SystemProcess}/mountinfo: the mounts of the system cannot be seen");
        uint number = Namespaces.MountNamespaceOf(options.SystemProcess) ?? throw new IOException($"/proc/{options.SystemProcess}/ns/mnt: it cannot be read; the sentinel needs root");
        facts = SystemFacts.Of(policy, system.Read(), number, SystemFacts.DisksOf) with { Process = options.SystemProcess };
        (eyes, string? blind) = OpenEyes();
        metrics = new Metrics(options.Metrics) { Eyes = (eyes?.OpenCount ?? 0, eyes?.Closed.Count ?? 0) };
        mounts = new MountLook(policy, facts, system, book, options.Sbox, CulpritOf);
        judge = new SystemJudge(policy, facts, Visible, number => book.Find(number) is { IsSbox: true }, name => KernelModules.IsOfSystem(name, $"/proc/{options.SystemProcess}/root"));
        reactor = new Reactor(policy, facts, options.Sbox, new History(options.History), metrics, complain);
        mark = Path.Combine(options.RuntimeDirectory, "running");
        Outlook = new Outlook(loaded, eyes?.OpenCount ?? 0, eyes?.Closed ?? [new ClosedEye("BPF", blind!)], facts.Storage);
        poller.Add(system.Handle, Readiness.Changed, SystemMounts);
        poller.Add(stop.Handle, Readiness.Readable, Stopping);
        if (eyes is not null)
            poller.Add(eyes.Ring, Readiness.Readable, Eyes);
        Watch();
    }

    /// <summary>How well it sees.</summary>
    public Outlook Outlook { get; }

    /// <summary>Watches until <paramref name="cancel"/>.</summary>
    /// <param name="beat">Called at least as often as <see cref="SentinelOptions.Watchdog"/> asks for, as long as the sentinel works.</param>
    /// <param name="cancel">Ends it.</param>
    public void Run(Action beat, CancellationToken cancel)
    {
        using CancellationTokenRegistration registration = cancel.Register(stop.Now);
        foreach (PolicyException refused in Outlook.Policy.Refused)
            Report(new Finding(FindingKind.PolicyChanged, refused.File, $"the owner's policy is not taken: {refused.Message}"), 0, null, null);
        if (File.Exists(mark))
            Report(new Finding(FindingKind.SentinelAttacked, "sentinel", "the sentinel before this one ended without being told to"), 0, null, null);
        File.WriteAllText(mark, $"{Environment.ProcessId}\n");
        foreach (Seen each in mounts.First())
            Report(each);
        metrics.Write();
        var thrift = new Thrift();
        thrift.Rest(); // starting took megabytes that watching does not need
        beat();

        Span<long> ready = stackalloc long[16];
        int timeout = options.Watchdog is { } often ? (int)(often.TotalMilliseconds / 2) : -1;
        while (!cancel.IsCancellationRequested)
        {
            int count = poller.Wait(ready, thrift.Patience(timeout));
            if (count == 0)
                thrift.Idle();
            Look(systemChanged: ready[..count].Contains(SystemMounts));
            foreach (long number in ready[..count])
            {
                if (number >= FirstWatch)
                    Look(watches[(int)(number - FirstWatch)]);
            }

            if (count > 0)
                thrift.Worked();
            if (timeout > 0)
                beat();
        }

        File.Delete(mark);
    }

    /// <summary>Writes down that somebody stops the sentinel, though the machine goes on.</summary>
    public void ReportStop() =>
        Report(new Finding(FindingKind.SentinelAttacked, "sentinel", "the sentinel was stopped while the system goes on"), 0, null, null);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (FileWatch watch in watches)
            watch.Dispose();
        eyes?.Dispose();
        system.Dispose();
        stop.Dispose();
        poller.Dispose();
    }

    private void Look(bool systemChanged)
    {
        events.Clear();
        culprits.Clear();
        Drain();
        // The kernel tells of the change before the call that made it returns: who it was follows within microseconds, or when its caller has
        // the processor again.
        Span<long> ready = stackalloc long[16];
        // Others may make noise all the while: it ends with its time, not with quiet.
        long until = Environment.TickCount64 + CatchUpMilliseconds;
        while (systemChanged && eyes is not null && !events.Exists(MayBeOfSystem) && until - Environment.TickCount64 is > 0 and var left)
        {
            if (poller.Wait(ready, (int)left) == 0)
                break;
            Drain();
        }

        if (events.Count == 0 && !systemChanged)
            return;
        foreach (KernelEvent each in events)
        {
            if (SystemJudge.Knows(each.Act) && judge.Judge(each, CulpritOf(each)) is { } finding)
                Report(new Seen(finding, each.Namespace, each));
        }

        KernelEvent[] ofMounts = [.. events.Where(static each => MountLook.IsAboutMounts(each.Act) || each.Act is KernelAct.NewNamespace or KernelAct.EnterNamespace)];
        if (ofMounts.Length > 0 || systemChanged)
        {
            foreach (Seen each in mounts.After(ofMounts, systemChanged))
                Report(each);
        }

        Missed();
    }

    private bool MayBeOfSystem(KernelEvent seen) => MountLook.IsAboutMounts(seen.Act) && (seen.Namespace == facts.Namespace || seen.Act == KernelAct.Reconfigure);

    private void Drain() => eyes?.Drain(seen =>
    {
        if (seen.Caller.Process != Environment.ProcessId)
            events.Add(seen); // what the sentinel does itself, to undo, is no news
    });

    private void Missed()
    {
        if (eyes is null || eyes.Lost is var now && now == lost)
            return;
        Report(new Finding(FindingKind.Unseen, "kernel", $"{eyes.Lost - lost} events came faster than they could be read; all known namespaces are looked at again"), 0, null, null);
        metrics.Lost = lost = eyes.Lost;
        foreach (Seen each in mounts.Again())
            Report(each);
    }

    private void Look(FileWatch watch)
    {
        foreach (FileChange change in watch.Take())
        {
            bool policyFile = watch.DirectoryPath == options.OwnerPolicy;
            if (change.Process == Environment.ProcessId || !(policyFile || change.Name.StartsWith("sbox-watch.service", StringComparison.Ordinal)))
                continue;
            var finding = new Finding(FindingKind.PolicyChanged, Path.Combine(watch.DirectoryPath, change.Name),
                policyFile ? "the owner's policy was changed; it counts after a restart of sbox-watch.service" : "the sentinel's unit was changed or masked");
            Report(finding, facts.Namespace, Culprit.Of(change.Process, facts), null);
        }
    }

    private void Watch()
    {
        foreach (string directory in options.GuardedDirectories)
        {
            if (!Directory.Exists(directory))
                continue;
            try
            {
                var watch = FileWatch.Open(directory);
                poller.Add(watch.Handle, Readiness.Readable, FirstWatch + watches.Count);
                watches.Add(watch);
            }
            catch (LinuxException refused)
            {
                complain($"<4>changes in {directory} are not seen: {refused.Message}");
            }
        }
    }

    private static (KernelEyes? Eyes, string? Reason) OpenEyes()
    {
        try
        {
            KernelEyes eyes = KernelEyes.Open();
            if (eyes.OpenCount > 0)
                return (eyes, null);
            string reason = eyes.Closed.Count > 0 ? eyes.Closed[0].Reason : "nothing to look at";
            eyes.Dispose();
            return (null, reason);
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException or FormatException)
        {
            return (null, refused.Message); // mounts are still seen, by /proc; who did it is not
        }
    }

    private Culprit CulpritOf(KernelEvent seen)
    {
        if (!culprits.TryGetValue(seen, out Culprit? culprit))
            culprits[seen] = culprit = Culprit.Of(seen.Caller, facts, options.Sbox);
        return culprit;
    }

    private void Report(Seen seen) => Report(seen.Finding, seen.Namespace, seen.Call is { } call ? CulpritOf(call) : null, seen.Call);

    private void Report(Finding finding, uint number, Culprit? culprit, KernelEvent? call)
    {
        Severity severity = policy.SeverityOf(finding.Kind);
        if (severity == Severity.Off || MountJudge.IsAllowed(policy, facts, finding, number, culprit?.SystemProgram))
            return;
        told(reactor.React(new Alarm(finding, severity, culprit, DateTimeOffset.UtcNow, number, null), call));
    }

    // A path inside of a file system, as the system shows it.
    private string? Visible(string path, uint device)
    {
        string name = SystemFacts.DeviceName(device);
        MountEntry? mount = system.Read().Where(each => each.Device == name && MountTree.IsAtOrBelow(path, each.Root)).MaxBy(static each => each.Root.Length);
        return mount is null ? null
            : $"{mount.MountPoint.TrimEnd('/')}/{path[(mount.Root == "/" ? 0 : mount.Root.Length)..].TrimStart('/')}";
    }
}
