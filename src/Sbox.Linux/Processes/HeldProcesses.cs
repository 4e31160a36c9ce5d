using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;

namespace Sbox.Linux;

/// <summary>
/// Processes that stand still for some milliseconds, so that what they write can be seen as it is at one moment. They notice nothing but the time; neither do
/// their parents. Needs CAP_SYS_PTRACE where they are other users'.
/// </summary>
/// <remarks>
/// By ptrace(2), PTRACE_SEIZE: unlike SIGSTOP it shows in no shell, and unlike a frozen control group it ends with whoever holds, however that ends. A call that
/// waited goes on waiting, or says EINTR where signal(7) has it say so after SIGCONT. One thread does all of it, since the kernel takes hold for a thread.
/// </remarks>
public sealed class HeldProcesses : IDisposable
{
    private readonly BlockingCollection<Action> work = [];
    private readonly Dictionary<int, HeldTask> tasks = [];
    private readonly Thread holder;
    private readonly TimeSpan atMost;
    private volatile bool late;

    /// <summary>Holds nobody yet.</summary>
    /// <param name="atMost">After this everybody goes on, whatever else happens.</param>
    public HeldProcesses(TimeSpan atMost)
    {
        this.atMost = atMost;
        holder = new Thread(Work) { IsBackground = true, Name = "holder" };
        holder.Start();
    }

    /// <summary>Has processes stand still, with all of their threads. Those that have ended count as standing still.</summary>
    /// <param name="processes">Their numbers; never the own one.</param>
    /// <param name="patience">How long is waited for those that are in the kernel.</param>
    /// <returns>Whether all of them do.</returns>
    /// <exception cref="LinuxException">/proc cannot be read.</exception>
    public bool Hold(IReadOnlyCollection<int> processes, TimeSpan patience)
    {
        var done = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        try
        {
            work.Add(() =>
            {
                try
                {
                    done.SetResult(Seize(processes, patience));
                }
                catch (Exception failure)
                {
                    done.SetException(failure); // thrown where it was asked for; this thread has to let go
                }
            });
        }
        catch (InvalidOperationException)
        {
            return false; // time ran out
        }

        return done.Task.GetAwaiter().GetResult();
    }

    /// <summary>Lets all go on.</summary>
    /// <returns>Whether they stood still until now; false where time had run out.</returns>
    public bool LetGo()
    {
        work.CompleteAdding();
        holder.Join();
        return !late;
    }

    /// <inheritdoc cref="LetGo"/>
    public void Dispose()
    {
        if (holder.IsAlive)
            LetGo();
        work.Dispose();
    }

    private void Work()
    {
        long since = Stopwatch.GetTimestamp();
        while (!work.IsCompleted)
        {
            TimeSpan left = atMost - Stopwatch.GetElapsedTime(since);
            if (left <= TimeSpan.Zero)
            {
                late = true;
                work.CompleteAdding();
                break;
            }

            if (work.TryTake(out Action? next, left))
                next();
        }

        foreach (HeldTask task in tasks.Values)
            task.LetGo();
        while (work.TryTake(out Action? next)) // came too late: answered all the same, and held nobody for longer than this thread lives
            next();
    }

    private bool Seize(IReadOnlyCollection<int> processes, TimeSpan patience)
    {
        long since = Stopwatch.GetTimestamp();
        var refused = new HashSet<int>(); // whoever cannot be had keeps nobody else from being held
        while (!late)
        {
            // A thread that runs can make another one: until none is new, all that were there stand still.
            int[] found = [.. processes.SelectMany(TasksOf).Where(number => !tasks.ContainsKey(number) && !refused.Contains(number))];
            if (found.Length == 0)
                return refused.Count == 0;
            foreach (int number in found)
            {
                if (HeldTask.Seize(number) is { } task)
                    tasks[number] = task;
                else
                    refused.Add(number);
            }

            while (tasks.Values.Any(static task => !task.Stands && !task.Ended))
            {
                if (Stopwatch.GetElapsedTime(since) > patience)
                    return false;
                foreach (HeldTask task in tasks.Values.Where(static task => !task.Stands && !task.Ended))
                    task.Look();
                Thread.Sleep(0);
            }
        }

        return false;
    }

    private static IEnumerable<int> TasksOf(int process)
    {
        try
        {
            using Dir all = Dir.Open(string.Create(CultureInfo.InvariantCulture, $"/proc/{process}/task"));
            return [.. all.Entries().Select(static entry => int.Parse(entry.Name, CultureInfo.InvariantCulture))];
        }
        catch (LinuxException gone) when (gone.Errno is Errno.ENOENT or Errno.ESRCH)
        {
            return [];
        }
    }
}
