using System.Collections.Concurrent;
using System.Diagnostics;
using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>
/// Does what the policy says about an alarm. What stops the harm comes first, then what is written down, then what may take its time:
/// walls and hooks run on a thread of their own.
/// </summary>
internal sealed class Reactor(SentinelPolicy policy, SystemFacts facts, string sbox, History history, Metrics metrics, Action<string> complain)
{
    private static readonly TimeSpan HookLimit = TimeSpan.FromSeconds(30), UndoLimit = TimeSpan.FromSeconds(10);
    private readonly ConcurrentDictionary<uint, bool> hanging = new();

    // What stops harm, what tells others, and what is shown: each is late by itself only. A desktop is as slow as its user wants.
    private readonly Errands stops = new(int.MaxValue), tells = new(16), shows = new(8);

    /// <summary>Reacts.</summary>
    /// <param name="alarm">What is reported.</param>
    /// <param name="call">The call that it comes from; null where none was seen.</param>
    /// <returns>The alarm as it was written down.</returns>
    public Alarm React(Alarm alarm, KernelEvent? call)
    {
        ReactionPlan plan = policy.ReactionTo(alarm.Severity);
        var done = new List<string>();
        foreach (Reaction step in plan.Do)
        {
            if (Stop(step, alarm, call) is { } what)
                done.Add(what);
        }

        alarm = alarm with
        {
            Done = done,
            Latency = call is null ? null : TimeSpan.FromTicks((Stopwatch.GetTimestamp() - call.Nanoseconds) / 100),
        };
        Tell(plan, alarm);
        return alarm;
    }

    private void Tell(ReactionPlan plan, Alarm alarm)
    {
        if (plan.Do.Contains(Reaction.Journal) && Journal.Write(alarm) != Errno.None)
            complain($"<2>{alarm}"); // no journal: stderr, with the priority as systemd reads it there
        try
        {
            history.Add(alarm.ToJson());
            if (plan.Do.Contains(Reaction.Metrics))
            {
                metrics.Count(alarm);
                metrics.Write();
            }
        }
        catch (IOException full)
        {
            complain($"<3>the alarm is in the journal only: {full.Message}");
        }

        if (plan.Do.Contains(Reaction.CloseTombs))
            stops.Add(() => Run(new ChildCommand(sbox, ["tomb", "slam", "--all"])), always: true);
        if (plan.Do.Contains(Reaction.Wall))
        {
            shows.Add(() => Run(new ChildCommand("wall", []) { Input = $"sbox: {PolicyReader.NameOf(alarm.Severity)}: {alarm}\n" }));
            shows.Add(() => ShowOnDesktops(alarm));
        }

        if (plan.Do.Contains(Reaction.Hook) && plan.Hook is { } hook)
            tells.Add(() => Run(new ChildCommand(hook, []) { Input = alarm.ToJson() + "\n", Environment = Facts(alarm) }));
        if (plan.Do.Contains(Reaction.Reboot))
            stops.Add(() => Run(new ChildCommand("systemctl", ["reboot", "--force"])), always: true);
    }

    private void ShowOnDesktops(Alarm alarm)
    {
        foreach (uint user in DesktopMessage.Users($"/proc/{facts.Process}/root"))
            Run(DesktopMessage.For(user, alarm));
    }

    private string? Stop(Reaction step, Alarm alarm, KernelEvent? call)
    {
        try
        {
            return step switch
            {
                Reaction.Undo => Undo(alarm, call),
                Reaction.Kill => Kill(alarm.Culprit),
                Reaction.Freeze => Freeze(alarm.Culprit),
                Reaction.CloseTombs => "open tombs are slammed",
                Reaction.Reboot => "the machine reboots",
                _ => null,
            };
        }
        catch (Exception refused) when (refused is IOException or UnauthorizedAccessException)
        {
            return $"{PolicyReader.NameOf(step)} failed: {refused.Message}";
        }
    }

    private string? Undo(Alarm alarm, KernelEvent? call)
    {
        if (MountUndo.Of(alarm.Finding) is not { } undo)
            return null;
        if (alarm.Finding.IsSpared)
            return "not undone: sbox was at work there when the sentinel started";
        int[] likely = alarm.Namespace == facts.Namespace ? [facts.Process] : call is null ? [] : [call.Caller.Process, call.Caller.Parent];
        using MountNamespace? place = MountNamespace.Find(alarm.Namespace, likely);
        if (place is null)
            return "not undone: its namespace has no process any more";
        // Who makes one undo hang could make all of them wait, one after the other.
        if (!hanging.TryAdd(place.Number, true))
            return "not undone: what was begun in its namespace before still hangs";
        string says = "";
        try
        {
            place.Run(
                mounts =>
                {
                    try
                    {
                        says = undo.Do(mounts);
                    }
                    finally
                    {
                        hanging.TryRemove(place.Number, out _);
                    }
                }, UndoLimit);
            return says;
        }
        catch (HangingException hangs)
        {
            return $"not undone: {hangs.Message}";
        }
        catch (IOException)
        {
            hanging.TryRemove(place.Number, out _); // it did not even come in
            throw;
        }
    }

    // Process 1 and what belongs to the sealed system's systemd are never killed: the machine would go down with them.
    private static string? Kill(Culprit? who)
    {
        if (!MayStop(who))
            return null;
        try
        {
            Signals.Send(who!.Process, Signals.Kill);
            return $"killed {who.Process}";
        }
        catch (LinuxException gone) when (gone.Errno == Errno.ESRCH)
        {
            // One call is often seen by two eyes; what the first one reported ended it.
            return $"{who!.Process} is gone already";
        }
    }

    private static string? Freeze(Culprit? who)
    {
        if (!MayStop(who) || who!.ControlGroup is not { Length: > 1 } group)
            return null;
        return $"froze {Freeze(group)}";
    }

    /// <summary>Freezes a control group. What a user's own manager has made belongs to that user, and the sentinel's unit may not write what is others': then it is all of that manager's, which is the system's.</summary>
    /// <param name="group">The group.</param>
    /// <param name="root">Where control groups are.</param>
    /// <returns>The group that was frozen, it or one above it.</returns>
    internal static string Freeze(string group, string root = "/sys/fs/cgroup")
    {
        try
        {
            File.WriteAllText($"{root}{group}/cgroup.freeze", "1");
            return group;
        }
        catch (UnauthorizedAccessException) when (Path.GetDirectoryName(group) is { } above && above.Contains(".service", StringComparison.Ordinal))
        {
            return Freeze(above, root);
        }
    }

    private static bool MayStop(Culprit? who) =>
        who is not null && who.Process > 1 && who.Process != Environment.ProcessId && who.SystemProgram is not ("/usr/lib/systemd/systemd" or "/usr/lib/systemd/systemd-executor");

    private static Dictionary<string, string> Facts(Alarm alarm) =>
        Journal.Fields(alarm).Where(static field => field.Name.StartsWith("SBOX_", StringComparison.Ordinal) && !field.Value.Contains('\0', StringComparison.Ordinal))
            .ToDictionary(static field => field.Name, static field => field.Value, StringComparer.Ordinal);

    private void Run(ChildCommand command)
    {
        using var limit = new CancellationTokenSource(HookLimit);
        try
        {
            ChildResult result = ChildProcess.Run(command, cancel: limit.Token);
            if (result.ExitCode != 0)
                complain($"<4>{command.Title} ended with {result.ExitCode}");
        }
        catch (Exception failure) when (failure is IOException or OperationCanceledException)
        {
            complain($"<4>{command.Title}: {failure.Message}");
        }
    }
}
