using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Sbox.Codecs;

namespace Sbox.Sysroot;

/// <summary>What a box does by itself next.</summary>
public enum AutoAction
{
    /// <summary>Nothing is to be done.</summary>
    Nothing,
    /// <summary>Look what the branch leads to.</summary>
    Check,
    /// <summary>Fetch and deploy a version.</summary>
    Deploy,
    /// <summary>Restart, to run what was deployed.</summary>
    Reboot,
}

/// <summary>How the machine is connected.</summary>
public enum NetworkCost
{
    /// <summary>By a link that costs nothing by the byte, as far as is known.</summary>
    Free,
    /// <summary>By a link that costs by the byte.</summary>
    Metered,
    /// <summary>Not at all.</summary>
    Offline,
}

/// <summary>A version that a branch offers.</summary>
/// <param name="Commit">Its commit.</param>
/// <param name="Version">Its version; null where it has none.</param>
/// <param name="Made">When its commit was made.</param>
public sealed record AutoOffer(Checksum Commit, string? Version, DateTimeOffset Made)
{
    /// <summary>What a person calls it.</summary>
    public string Words => Version is null ? Commit.ToString()[..12] : $"version {Version}";
}

/// <summary>All that a decision is made of.</summary>
/// <param name="Now">The time, with the offset of where the machine is: windows are meant by the clock on the wall.</param>
/// <param name="MachineId">What tells this machine from others (<c>/etc/machine-id</c>).</param>
public sealed record AutoFacts(DateTimeOffset Now, string MachineId)
{
    /// <summary>How it is connected.</summary>
    public NetworkCost Network { get; init; }

    /// <summary>Percent of the battery while it is discharging; null on mains, and without a battery.</summary>
    public int? Battery { get; init; }

    /// <summary>Who is logged in; null where that is not known.</summary>
    public IReadOnlyList<string>? Users { get; init; } = [];

    /// <summary>Who asks that the machine is not restarted now, and why; null where that is not known.</summary>
    public IReadOnlyList<string>? Inhibitors { get; init; } = [];

    /// <summary>When the branch was looked at last; null where it never was.</summary>
    public DateTimeOffset? Checked { get; init; }

    /// <summary>What it led to then; null where that runs or is older than what runs.</summary>
    public AutoOffer? Offer { get; init; }

    /// <summary>What is deployed and runs after a restart; null where nothing waits.</summary>
    public AutoOffer? Waiting { get; init; }

    /// <summary>Whether what waits was deployed by itself, and not by a person, and nobody chose anew since.</summary>
    public bool WaitsByItself { get; init; }

    /// <summary>Whether what waits was deployed by itself and ran since.</summary>
    public bool WaitingRan { get; init; }

    /// <summary>Whether what waits was started before and did not come up.</summary>
    public bool WaitingFailed { get; init; }

    /// <summary>Whether a person went back from the offered version, or this box did by itself.</summary>
    public string? Declined { get; init; }

    /// <summary>Whether what runs was not found good yet.</summary>
    public bool IsOnTrial { get; init; }

    /// <summary>Whether this boot keeps nothing.</summary>
    public bool IsGhost { get; init; }

    /// <summary>Whether what runs was deployed by itself, and nobody wrote down yet that it ran.</summary>
    public bool RunsUnnoted { get; init; }

    /// <summary>When the last attempt failed; null where it did not.</summary>
    public DateTimeOffset? Failed { get; init; }

    /// <summary>Why it did.</summary>
    public string? FailedWhy { get; init; }
}

/// <summary>Something that keeps a box from an action.</summary>
/// <param name="Name">What it is; the same in every version of sbox.</param>
/// <param name="Why">In words.</param>
/// <param name="Until">When it ends, where that is known.</param>
public sealed record AutoObstacle(string Name, string Why, DateTimeOffset? Until = null);

/// <summary>What a box would do, and what keeps it from it. A pure function of settings and facts.</summary>
/// <param name="Wanted">What would be done.</param>
/// <param name="What">The same in words.</param>
/// <param name="Obstacles">What keeps it from that.</param>
public sealed record AutoDecision(AutoAction Wanted, string What, IReadOnlyList<AutoObstacle> Obstacles)
{
    private static readonly TimeSpan AfterFailure = TimeSpan.FromHours(1);

    /// <summary>What is done now.</summary>
    public AutoAction Action => Obstacles.Count == 0 ? Wanted : AutoAction.Nothing;

    /// <summary>Decides.</summary>
    public static AutoDecision Of(AutoSettings settings, AutoFacts facts)
    {
        (AutoAction wanted, string what) = Wish(settings, facts);
        return new AutoDecision(wanted, what, [.. Obstacle(settings, facts, wanted)]);
    }

    /// <summary>A machine's place in its fleet for a version, from 0 to below 100: the same every time, another for another version.</summary>
    public static double Place(string machineId, Checksum commit) =>
        BinaryPrimitives.ReadUInt64BigEndian(Checksum.Of(Encoding.UTF8.GetBytes($"sbox rollout\n{machineId.Trim()}\n{commit}")).ToArray()) / (ulong.MaxValue + 1.0) * 100;

    /// <summary>When a machine's turn is to take a version.</summary>
    public static DateTimeOffset Turn(AutoSettings settings, string machineId, AutoOffer offer) =>
        settings.Rollout.FirstOrDefault(step => Place(machineId, offer.Commit) < step.Percent) is { } step ? offer.Made + step.After : offer.Made;

    private static (AutoAction Wanted, string What) Wish(AutoSettings settings, AutoFacts facts)
    {
        (AutoAction, string)? restart = facts is { Waiting: { } waiting, WaitsByItself: true } && settings.Reboot != AutoReboot.Never ? (AutoAction.Reboot, $"restart, to run {waiting.Words}") : null;
        // While one that did not come up keeps it from a restart, its successor is looked for.
        if (restart is not null && !facts.WaitingFailed)
            return restart.Value;
        if (facts is { Waiting: { } ran, WaitingRan: true })
            return (AutoAction.Nothing, $"{ran.Words} ran before, and a person chose what runs now: a restart is left to them");
        // Another version is not put before the one that a person chose for the next boot.
        if (facts is { Waiting: { } chosen, WaitsByItself: false })
            return (AutoAction.Nothing, $"{chosen.Words} was made the next to boot by a person: it runs after a restart, which is left to them");
        // A clock that was set back must not put the next look off.
        if (facts.Checked is not { } last || facts.Now - last >= settings.CheckEvery || last > facts.Now)
            return (AutoAction.Check, "look what the branch leads to");
        if (facts.Offer is { } offer && offer.Commit != facts.Waiting?.Commit)
            return (AutoAction.Deploy, $"fetch and deploy {offer.Words}");
        return restart ?? (AutoAction.Nothing, facts.Waiting is { } ready ? $"{ready.Words} runs after a restart, which is left to its owner{(facts.WaitingFailed ? "; it was started before, and did not come up" : "")}" : string.Create(
            CultureInfo.InvariantCulture, $"the newest version runs; the branch is looked at again at {facts.Checked + settings.CheckEvery:ddd HH:mm}"));
    }

    private static IEnumerable<AutoObstacle> Obstacle(AutoSettings settings, AutoFacts facts, AutoAction wanted)
    {
        if (!settings.Enabled)
            yield return new AutoObstacle("off", "automatic updates are off: sbox auto on");
        if (wanted == AutoAction.Nothing)
            yield break;
        if (facts.IsGhost)
            yield return new AutoObstacle("ghost", "this boot keeps nothing");
        if (settings.Windows.Count > 0 && !settings.Windows.Any(window => window.IsOpen(facts.Now.DateTime)))
        {
            DateTime next = settings.Windows.Min(window => window.NextOpening(facts.Now.DateTime));
            yield return new AutoObstacle("window", string.Create(CultureInfo.InvariantCulture, $"outside of {string.Join(" and ", settings.Windows)}: the next window opens {next:ddd HH:mm}"), new DateTimeOffset(next, facts.Now.Offset));
        }

        if (facts.Battery is { } percent && (percent < settings.BatteryMinimum || settings.BatteryMinimum == 100))
            yield return new AutoObstacle("battery", string.Create(CultureInfo.InvariantCulture, $"on battery with {percent} %, and the limit is {settings.BatteryMinimum} %"));
        if (facts.Failed is { } failed && facts.Now - failed < AfterFailure && facts.Now >= failed)
            yield return new AutoObstacle("failure", string.Create(CultureInfo.InvariantCulture, $"the last attempt failed at {failed.ToOffset(facts.Now.Offset):HH:mm}{(facts.FailedWhy is { Length: > 0 } why ? $" ({why})" : "")}: the next one is an hour later"), failed + AfterFailure);
        foreach (AutoObstacle more in wanted == AutoAction.Reboot ? OfReboot(settings, facts) : OfFetching(settings, facts, wanted))
            yield return more;
    }

    private static IEnumerable<AutoObstacle> OfReboot(AutoSettings settings, AutoFacts facts)
    {
        if (facts is { WaitingFailed: true, Waiting: { } failed })
            yield return new AutoObstacle("failed-once", $"{failed.Words} was started before, and did not come up: whether it is tried once more is left to a person (sbox rollback, or a restart), and its successor comes by itself");
        if (facts.Inhibitors is not { } inhibitors)
            yield return new AutoObstacle("inhibited", "whether somebody asks that the machine is not restarted is not known: logind did not answer");
        else if (inhibitors.Count > 0)
            yield return new AutoObstacle("inhibited", $"not to be restarted now: {string.Join("; ", inhibitors)}");
        if (settings.Reboot == AutoReboot.Always)
            yield break;
        if (facts.Users is not { } users)
            yield return new AutoObstacle("users", "who is logged in is not known: logind, which would know, does not run");
        else if (users.Count > 0)
            yield return new AutoObstacle("users", $"{string.Join(", ", users)} {(users.Count == 1 ? "is" : "are")} logged in");
    }

    private static IEnumerable<AutoObstacle> OfFetching(AutoSettings settings, AutoFacts facts, AutoAction wanted)
    {
        if (facts.Network == NetworkCost.Offline)
            yield return new AutoObstacle("offline", "there is no way to the network");
        if (facts.Network == NetworkCost.Metered && !settings.OnMetered)
            yield return new AutoObstacle("metered", "the network costs by the byte");
        if (facts.IsOnTrial)
            yield return new AutoObstacle("on-trial", "what runs was not found good yet: nothing takes its place before that");
        if (wanted != AutoAction.Deploy || facts.Offer is not { } offer)
            yield break;
        if (facts.Declined is { } declined)
            yield return new AutoObstacle("declined", declined);
        // A clock that is behind is no step of a rollout.
        if (settings.Rollout.Count > 0 && Turn(settings, facts.MachineId, offer) is var turn && turn > facts.Now)
        {
            yield return new AutoObstacle(
                "rollout", string.Create(CultureInfo.InvariantCulture, $"this machine is at {Place(facts.MachineId, offer.Commit):0} % of its fleet for {offer.Words}: its turn is {turn.ToOffset(facts.Now.Offset):ddd yyyy-MM-dd HH:mm}"), turn);
        }
    }
}
