using CsCheck;
using Sbox.Codecs;

namespace Sbox.Sysroot.Tests;

/// <summary>What a box does by itself, whatever is set and whatever is so.</summary>
public sealed class AutoDecisionTests
{
    private static readonly DateTimeOffset Monday = new(2026, 11, 23, 3, 0, 0, TimeSpan.FromHours(1));
    private static readonly AutoOffer Two = new(Checksum.Of("two"u8), "2.0", Monday.AddHours(-1));
    private static readonly AutoSettings Set = new() { Enabled = true, Windows = [AutoWindow.Parse("Mon-Fri 02:00-05:00")], Reboot = AutoReboot.Idle };
    private static readonly AutoFacts Quiet = new(Monday, "0123456789abcdef") { Checked = Monday.AddMinutes(-5), Offer = Two };

    private static Gen<T> OneOf<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(at => values[at]);

    private static readonly Gen<AutoSettings> AnySettings = Gen.Select(
        Gen.Bool, OneOf<AutoWindow[]>([], [AutoWindow.Parse("02:00-05:00")], [AutoWindow.Parse("Sat,Sun 22:00-06:00"), AutoWindow.Parse("Wed 12:00-12:00")]),
        OneOf<RolloutStep[]>([], [RolloutStep.Parse("10% 1h"), RolloutStep.Parse("100% 2d")]), OneOf(AutoReboot.Never, AutoReboot.Idle, AutoReboot.Always), OneOf(0, 40, 100), Gen.Bool, OneOf(1, 6, 48),
        (enabled, windows, rollout, reboot, battery, metered, hours) => new AutoSettings
        {
            Enabled = enabled, Windows = windows, Rollout = rollout, Reboot = reboot, BatteryMinimum = battery, OnMetered = metered, CheckEvery = TimeSpan.FromHours(hours),
        });

    private static readonly Gen<DateTimeOffset> AnyTime = Gen.Int[0, 60 * 24 * 14].Select(static minutes => Monday.AddMinutes(minutes));

    private static readonly Gen<AutoOffer> AnyOffer = Gen.Select(Gen.Int[0, 50], AnyTime, static (number, made) => new AutoOffer(Checksum.Of([(byte)number]), $"{number}", made));

    private static readonly Gen<AutoFacts> AnyFacts = Gen.Select(
        Gen.Select(AnyTime, Gen.Int[0, 1000], OneOf(NetworkCost.Free, NetworkCost.Metered, NetworkCost.Offline), Gen.Int[-1, 100], OneOf<string[]?>([], ["ann"], ["ann", "bob"], null), OneOf<string[]?>([], ["apt: a package is written"], null)),
        Gen.Select(Gen.Bool, AnyTime, Gen.Bool, AnyOffer), Gen.Select(Gen.Bool, AnyOffer, Gen.Bool, Gen.Bool, Gen.Bool, Gen.Bool, Gen.Select(Gen.Bool, Gen.Bool), AnyTime),
        static (machine, looked, box) => new AutoFacts(machine.Item1, $"machine {machine.Item2}")
        {
            Network = machine.Item3, Battery = machine.Item4 < 0 ? null : machine.Item4, Users = machine.Item5, Inhibitors = machine.Item6,
            Checked = looked.Item1 ? looked.Item2 : null, Offer = looked.Item3 ? looked.Item4 : null,
            Waiting = box.Item1 ? box.Item2 : null, WaitsByItself = box.Item3, Declined = box.Item4 ? "a person chose another" : null, IsOnTrial = box.Item5, IsGhost = box.Item6, Failed = box.Item7.Item1 ? box.Item8 : null, WaitingFailed = box.Item7.Item2,
        });

    private static void Always(Func<AutoSettings, AutoFacts, AutoDecision, bool> holds) =>
        Gen.Select(AnySettings, AnyFacts).Sample((settings, facts) => holds(settings, facts, AutoDecision.Of(settings, facts)), iter: 20_000);

    [Fact]
    public void Nothing_happens_while_it_is_off_or_in_a_boot_that_keeps_nothing() =>
        Always((settings, facts, decision) => (settings.Enabled && !facts.IsGhost) || decision.Action == AutoAction.Nothing);

    [Fact]
    public void Nothing_happens_outside_of_the_windows() => Always((settings, facts, decision) =>
        decision.Action == AutoAction.Nothing || settings.Windows.Count == 0 || settings.Windows.Any(window => window.IsOpen(facts.Now.DateTime)));

    [Fact]
    public void Nothing_is_fetched_over_a_link_that_costs_or_without_one() => Always((settings, facts, decision) =>
        decision.Action is not (AutoAction.Check or AutoAction.Deploy) || facts.Network == NetworkCost.Free || (facts.Network == NetworkCost.Metered && settings.OnMetered));

    [Fact]
    public void Nothing_happens_on_a_battery_below_the_limit() => Always((settings, facts, decision) =>
        decision.Action == AutoAction.Nothing || facts.Battery is not { } percent || (percent >= settings.BatteryMinimum && settings.BatteryMinimum < 100));

    [Fact]
    public void The_machine_is_never_restarted_with_people_logged_in_unless_that_is_set_and_never_where_it_is_not_set_at_all() => Always((settings, facts, decision) =>
        decision.Action != AutoAction.Reboot || settings.Reboot == AutoReboot.Always || (settings.Reboot == AutoReboot.Idle && facts.Users is { Count: 0 }));

    [Fact]
    public void The_machine_is_never_restarted_while_somebody_asks_that_it_is_not() => Always((_, facts, decision) =>
        decision.Action != AutoAction.Reboot || facts.Inhibitors is { Count: 0 });

    [Fact]
    public void A_clock_that_is_behind_keeps_no_version_off_where_there_are_no_steps()
    {
        AutoFacts behind = Quiet with { Offer = Two with { Made = Monday.AddDays(30) } };
        Assert.Equal(AutoAction.Deploy, AutoDecision.Of(Set, behind).Action);
        Assert.StartsWith("rollout: ", Assert.Single(Obstacles(Set with { Rollout = [RolloutStep.Parse("100% 0h")] }, behind)));
    }

    [Fact]
    public void The_machine_is_restarted_only_for_what_was_deployed_by_itself() => Always((_, facts, decision) =>
        decision.Action != AutoAction.Reboot || facts is { Waiting: not null, WaitsByItself: true });

    [Fact]
    public void The_machine_is_never_restarted_into_a_version_that_did_not_come_up_and_its_successor_is_taken_all_the_same()
    {
        Always((_, facts, decision) => decision.Action != AutoAction.Reboot || !facts.WaitingFailed);
        AutoFacts hung = Quiet with { Waiting = Two, WaitsByItself = true, WaitingFailed = true };
        Assert.StartsWith("failed-once: version 2.0 was started before, and did not come up", Assert.Single(Obstacles(Set, hung)));
        Assert.Equal(AutoAction.Check, AutoDecision.Of(Set, hung with { Checked = null }).Action);
        Assert.Equal(AutoAction.Deploy, AutoDecision.Of(Set, hung with { Offer = new AutoOffer(Checksum.Of("three"u8), "3.0", Monday.AddHours(-1)) }).Action);
        Assert.EndsWith("did not come up", AutoDecision.Of(Set with { Reboot = AutoReboot.Never }, hung).What);
    }

    [Fact]
    public void Nothing_takes_the_place_of_what_a_person_chose_or_of_what_was_not_found_good_yet() => Always((_, facts, decision) =>
        decision.Action != AutoAction.Deploy || (facts is { IsOnTrial: false, Declined: null, Offer: not null } && (facts.Waiting is null || facts.WaitsByItself)));

    [Fact]
    public void A_version_is_not_taken_before_the_machines_turn() => Always((settings, facts, decision) =>
        decision.Action != AutoAction.Deploy || settings.Rollout.Count == 0 || AutoDecision.Turn(settings, facts.MachineId, facts.Offer!) <= facts.Now);

    [Fact]
    public void What_keeps_it_from_something_is_said_and_else_it_is_done() => Always((settings, facts, decision) =>
        decision.Action == (decision.Obstacles.Count == 0 ? decision.Wanted : AutoAction.Nothing) && decision.What.Length > 0
        && decision.Obstacles.All(static obstacle => obstacle.Why.Length > 0 && obstacle.Name.Length > 0)
        && (settings.Enabled || decision.Obstacles.Any(static obstacle => obstacle.Name == "off")) && decision == AutoDecision.Of(settings, facts) with { Obstacles = decision.Obstacles });

    [Fact]
    public void What_ends_by_itself_is_over_at_the_time_that_was_said() => Always((settings, facts, decision) => decision.Obstacles.All(obstacle =>
        obstacle.Until is not { } until || AutoDecision.Of(settings, facts with { Now = until }) is var then && (then.Wanted != decision.Wanted || then.Obstacles.All(each => each.Name != obstacle.Name))));

    [Fact]
    public void Each_machine_has_its_place_for_a_version_and_as_many_have_their_turn_as_was_set()
    {
        var settings = new AutoSettings { Rollout = [RolloutStep.Parse("5% 0h"), RolloutStep.Parse("50% 24h"), RolloutStep.Parse("100% 3d")] };
        string[] fleet = [.. Enumerable.Range(0, 20_000).Select(static number => $"{number:x32}")];
        double Part(TimeSpan after, AutoOffer offer) => fleet.Count(machine => AutoDecision.Turn(settings, machine, offer) <= offer.Made + after) * 100.0 / fleet.Length;
        Assert.InRange(Part(TimeSpan.Zero, Two), 4, 6);
        Assert.InRange(Part(TimeSpan.FromHours(24), Two), 48, 52);
        Assert.Equal(100, Part(TimeSpan.FromDays(3), Two));
        Assert.All(fleet.Take(100), machine => Assert.Equal(AutoDecision.Place(machine, Two.Commit), AutoDecision.Place(machine + "\n", Two.Commit)));
        // Not always the same ones are the first.
        var three = new AutoOffer(Checksum.Of("three"u8), "3.0", Two.Made);
        Assert.InRange(fleet.Count(machine => AutoDecision.Place(machine, Two.Commit) < 5 && AutoDecision.Place(machine, three.Commit) < 5), 10, 100);
        // What a machine with this id does is the same in every version of sbox; python3's hashlib gives the same number.
        Assert.Equal(86.418, AutoDecision.Place("0123456789abcdef", Two.Commit), 0.01);
    }

    [Fact]
    public void It_looks_then_deploys_then_restarts_and_says_why_not()
    {
        Assert.Equal(AutoAction.Check, AutoDecision.Of(Set, Quiet with { Checked = null }).Action);
        Assert.Equal(AutoAction.Check, AutoDecision.Of(Set, Quiet with { Checked = Monday.AddHours(-6) }).Action);
        Assert.Equal(AutoAction.Check, AutoDecision.Of(Set, Quiet with { Checked = Monday.AddDays(1) }).Action);
        Assert.Equal(AutoAction.Deploy, AutoDecision.Of(Set, Quiet).Action);
        AutoFacts deployed = Quiet with { Waiting = Two, WaitsByItself = true };
        Assert.Equal(AutoAction.Reboot, AutoDecision.Of(Set, deployed).Action);
        Assert.Equal(AutoAction.Nothing, AutoDecision.Of(Set with { Reboot = AutoReboot.Never }, deployed).Wanted);
        Assert.Equal(["users: ann, bob are logged in"], Obstacles(Set, deployed with { Users = ["ann", "bob"] }));
        Assert.Equal(["users: who is logged in is not known: logind, which would know, does not run"], Obstacles(Set, deployed with { Users = null }));
        Assert.Equal(
            ["inhibited: whether somebody asks that the machine is not restarted is not known: logind did not answer"], Obstacles(Set with { Reboot = AutoReboot.Always }, deployed with { Inhibitors = null }));
        Assert.Equal(["inhibited: not to be restarted now: apt: a package is written"], Obstacles(Set with { Reboot = AutoReboot.Always }, deployed with { Users = null, Inhibitors = ["apt: a package is written"] }));
        Assert.Equal(
            [
                "window: outside of Mon,Tue,Wed,Thu,Fri 02:00-05:00: the next window opens Mon 02:00", "battery: on battery with 21 %, and the limit is 40 %", "metered: the network costs by the byte",
            ],
            Obstacles(Set, Quiet with { Now = Monday.AddDays(5), Checked = Monday.AddDays(5), Battery = 21, Network = NetworkCost.Metered }));
        Assert.StartsWith("rollout: this machine is at 86 % of its fleet for version 2.0: its turn is Wed 2026-11-25 02:00", Assert.Single(Obstacles(Set with { Rollout = [RolloutStep.Parse("50% 0h"), RolloutStep.Parse("100% 2d")] }, Quiet)));
        Assert.Equal("version 2.0 was made the next to boot by a person: it runs after a restart, which is left to them", AutoDecision.Of(Set, Quiet with { Waiting = Two }).What);
    }

    [Theory]
    [InlineData("02:00-05:00", "Mon 02:00", true), InlineData("02:00-05:00", "Mon 05:00", false), InlineData("Mon 22:00-06:00", "Tue 05:59", true), InlineData("Mon 22:00-06:00", "Mon 05:59", false)]
    [InlineData("Sat-Mon 00:00-24:00", "Sun 12:00", true), InlineData("Sat-Mon 00:00-24:00", "Tue 00:00", false), InlineData("Fri-Mon 12:00-12:00", "Tue 11:59", true), InlineData("mon,wed 10:00-11:00", "Wed 10:30", true)]
    public void A_window_is_open_from_when_it_opens_until_when_it_closes_also_over_midnight(string window, string time, bool open)
    {
        DateTime at = Monday.Date.AddDays(Array.IndexOf((string[])["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"], time[..3])) + TimeOnly.ParseExact(time[4..], "HH:mm").ToTimeSpan();
        AutoWindow read = AutoWindow.Parse(window);
        Assert.Equal(open, read.IsOpen(at));
        Assert.Equal(read, AutoWindow.Parse(read.ToString()));
    }

    [Fact]
    public void The_next_opening_is_the_first_time_after_now_at_which_a_closed_window_is_open() => Gen.Select(
        OneOf("02:00-05:00", "Mon 22:00-06:00", "Tue,Sun 00:30-00:31", "Fri 12:00-12:00"), Gen.Int[0, 60 * 24 * 7]).Sample((text, minutes) =>
        {
            (AutoWindow window, DateTime now) = (AutoWindow.Parse(text), Monday.DateTime.AddMinutes(minutes));
            DateTime next = window.NextOpening(now);
            return next > now && window.IsOpen(next) && (window.IsOpen(now) || Enumerable.Range(1, (int)(next - now).TotalMinutes - 1).Where(static at => at % 7 == 0).All(at => !window.IsOpen(now.AddMinutes(at))));
        });

    private static IEnumerable<string> Obstacles(AutoSettings settings, AutoFacts facts) => AutoDecision.Of(settings, facts).Obstacles.Select(static each => $"{each.Name}: {each.Why}");
}
