using Sbox.Judges;

namespace Sbox.Integrity.Tests;

/// <summary>What an alarm asks for beside writing it down: nobody's slowness holds up what stops the harm.</summary>
public sealed class ErrandsTests
{
    [Fact]
    public void What_may_be_left_out_is_when_too_much_waits_and_what_must_be_done_is_done_in_its_order()
    {
        using var slow = new ManualResetEventSlim();
        using var begun = new ManualResetEventSlim();
        using var done = new CountdownEvent(4);
        var order = new List<int>();
        var errands = new Errands(2);
        errands.Add(() => { begun.Set(); slow.Wait(TimeSpan.FromMinutes(1)); });
        Assert.True(begun.Wait(TimeSpan.FromMinutes(1)));
        for (int at = 0; at < 10; at++)
        {
            int number = at;
            errands.Add(() => { order.Add(number); done.Signal(); }, always: number >= 8);
        }

        slow.Set();
        Assert.True(done.Wait(TimeSpan.FromMinutes(1)));
        Assert.Equal([0, 1, 8, 9], order);
    }

    [Fact]
    public void A_group_that_belongs_to_a_user_is_frozen_with_all_of_that_users_manager_and_never_more()
    {
        string root = Directory.CreateTempSubdirectory("sbox-groups-").FullName;
        try
        {
            const string manager = "/user.slice/user-1000.slice/user@1000.service", app = $"{manager}/app.slice/app.scope", session = "/user.slice/user-1000.slice/session-1.scope";
            // A directory in the file's place: nobody, root neither, writes to it.
            foreach (string locked in (string[])[app, $"{manager}/app.slice", session])
                Directory.CreateDirectory($"{root}{locked}/cgroup.freeze");
            Assert.Equal(manager, Reactor.Freeze(app, root));
            Assert.Equal("1", File.ReadAllText($"{root}{manager}/cgroup.freeze"));
            Assert.Throws<UnauthorizedAccessException>(() => Reactor.Freeze(session, root));
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }

    [Fact]
    public void Slow_hooks_and_many_alarms_keep_no_tomb_open()
    {
        string directory = Directory.CreateTempSubdirectory("sbox-errands-").FullName;
        try
        {
            Program("sbox", $"echo >> {directory}/slammed");
            Program("hook", "sleep 15");
            var policy = BoxTable.Policy with
            {
                Reactions = new Dictionary<Severity, ReactionPlan> { [Severity.Critical] = new ReactionPlan([Reaction.Hook, Reaction.CloseTombs], $"{directory}/hook") },
            };
            var reactor = new Reactor(policy, BoxTable.Facts, $"{directory}/sbox", new History($"{directory}/history"), new Metrics($"{directory}/metrics"), static _ => { });
            for (int at = 0; at < 25; at++)
                reactor.React(new Alarm(new Finding(FindingKind.Covered, $"/usr/{at}", ""), Severity.Critical, null, DateTimeOffset.UtcNow, 1, null), null);
            Assert.True(SpinWait.SpinUntil(() => File.Exists($"{directory}/slammed") && File.ReadAllLines($"{directory}/slammed").Length == 25, TimeSpan.FromSeconds(50)));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }

        void Program(string name, string script) => Script.Write($"{directory}/{name}", script);
    }
}
