namespace Sbox.Integrity;

/// <summary>Where a sentinel finds and keeps things.</summary>
public sealed record SentinelOptions
{
    /// <summary>The sealed tree's policies.</summary>
    public string TreePolicy { get; init; } = LoadedPolicy.TreeDirectory;

    /// <summary>The owner's additions.</summary>
    public string OwnerPolicy { get; init; } = LoadedPolicy.OwnerDirectory;

    /// <summary>Where the history is kept over reboots.</summary>
    public string StateDirectory { get; init; } = "/var/lib/sbox/sentinel";

    /// <summary>Where metrics and the mark of a running sentinel are.</summary>
    public string RuntimeDirectory { get; init; } = "/run/sbox/sentinel";

    /// <summary>A process that sees the system as everyone does.</summary>
    public int SystemProcess { get; init; } = 1;

    /// <summary>sbox's own path in the system.</summary>
    public string Sbox { get; init; } = "/usr/bin/sbox";

    /// <summary>Directories whose changes are attacks on the sentinel, when they are about it.</summary>
    public IReadOnlyList<string> GuardedDirectories { get; init; } =
        [LoadedPolicy.OwnerDirectory, "/etc/systemd/system", "/run/systemd/system", "/etc/systemd/system.control", "/run/systemd/system.control"];

    /// <summary>How often systemd wants to hear that the sentinel lives; null when it does not.</summary>
    public TimeSpan? Watchdog { get; init; }

    /// <summary>The history's file.</summary>
    public string History => Path.Combine(StateDirectory, "history.jsonl");

    /// <summary>The metrics' file.</summary>
    public string Metrics => Path.Combine(RuntimeDirectory, "metrics.prom");
}
