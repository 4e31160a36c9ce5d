using Sbox.Linux;

namespace Sbox.Linux.Tests;

public sealed class PriorityTests
{
    [Fact]
    public void A_thread_that_is_idle_leaves_all_others_as_they_are()
    {
        (bool taken, string own, string made) = (false, "", "");
        var thread = new Thread(() =>
        {
            taken = Priority.BeIdle();
            own = Policy();
            var inner = new Thread(() => made = Policy());
            inner.Start();
            inner.Join();
        });
        thread.Start();
        thread.Join();
        Assert.True(taken);
        Assert.Equal(("5", "0", "0"), (own, made, Policy()));
    }

    // proc_pid_stat(5), field 41: the scheduling policy; 5 is SCHED_IDLE.
    private static string Policy()
    {
        string stat = File.ReadAllText("/proc/thread-self/stat");
        return stat[(stat.LastIndexOf(')') + 2)..].Split(' ')[41 - 3];
    }
}
