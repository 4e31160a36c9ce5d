using System.Globalization;
using System.Text.Json;
using Sbox.Boot;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;
using Sbox.Tomb;
using Sbox.Tomb.Sessions;

namespace Sbox.Cli.Commands;

/// <summary>What a desktop's bar shows, as far as its user may see it. Nothing here may take long: it is looked at every two seconds.</summary>
internal sealed class BarLook
{
    private const string Good = "#7bd88f", Plain = "#d8d4e8", Forgets = "#b8a9ff", Busy = "#f4c95d", Bad = "#ff6b6b";
    private const string Alarms = "/var/lib/sbox/sentinel/history.jsonl";
    private static readonly TimeSpan AlarmLasts = TimeSpan.FromHours(1), Patience = TimeSpan.FromSeconds(1), Rarely = TimeSpan.FromSeconds(30);
    private readonly SessionClient tombs = new();
    private readonly KernelArguments arguments = KernelArguments.Parse(File.ReadAllText("/proc/cmdline"));
    private (DateTime Written, BarItem? Item, DateTimeOffset Until) alarm;
    private (long At, BarItem? Update, BarItem Seal)? rare;

    /// <summary>Looks.</summary>
    public async Task<IReadOnlyList<BarItem>> Look(CancellationToken cancel)
    {
        if (rare is not { } known || TimeProvider.System.GetElapsedTime(known.At) > Rarely)
            rare = known = (TimeProvider.System.GetTimestamp(), Update(), Seal());
        var items = new List<BarItem?> { Alarm(), known.Update, known.Seal, Ghost() };
        foreach (string name in tombs.Names)
            items.Add(await Tomb(name, cancel));
        items.Add(new BarItem("time", TimeProvider.System.GetLocalNow().ToString("ddd d MMM  HH:mm", CultureInfo.InvariantCulture), Plain));
        return [.. items.OfType<BarItem>()];
    }

    /// <summary>An item was clicked: a tomb is saved.</summary>
    public async Task Click(string item, CancellationToken cancel)
    {
        if (!item.StartsWith("tomb:", StringComparison.Ordinal))
            return;
        try
        {
            await tombs.Save(item["tomb:".Length..], cancel);
        }
        catch (Exception failure) when (failure is TombException or IOException or UnauthorizedAccessException)
        {
            // The item says it, as long as it is so.
        }
    }

    private BarItem Seal() => SealStatus.Of(arguments) switch
    {
        { IsSealed: true } => new BarItem("seal", "sealed", Good),
        { CommandLineAsks: false, FilesVerified: false } => new BarItem("seal", "not sealed", Plain),
        { FilesVerified: true } => new BarItem("seal", "half sealed", Busy),
        _ => new BarItem("seal", "seal broken", Bad, IsUrgent: true),
    };

    private BarItem? Ghost()
    {
        if (!RootConfig.IsGhost(arguments))
            return null;
        try
        {
            using Dir var = Dir.Open("/var"); // an overlay tells of the layer that takes its changes, and so do others than root see it
            DiskSpace space = DiskSpace.Of(var);
            bool fills = space.FreeBytes < space.TotalBytes / 5;
            return new BarItem("ghost", $"ghost {Amount.OfBytes(space.TotalBytes - space.FreeBytes)}", fills ? Bad : Forgets, fills);
        }
        catch (IOException)
        {
            return new BarItem("ghost", "ghost", Forgets);
        }
    }

    private static BarItem? Update()
    {
        try
        {
            using OstreeSysroot sysroot = OstreeSysroot.Open("/sysroot");
            return sysroot.BootedName is { } booted && sysroot.Deployments is [var first, ..] && first.Name.Commit != booted.Commit ? new BarItem("update", "restart for the new version", Busy) : null;
        }
        catch (Exception unseen) when (unseen is SysrootException or IOException or UnauthorizedAccessException)
        {
            return null; // no box, or one of which this user may not see it
        }
    }

    private async Task<BarItem?> Tomb(string name, CancellationToken cancel)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        limit.CancelAfter(Patience);
        try
        {
            return Of(await tombs.Status(name, limit.Token));
        }
        catch (UnauthorizedAccessException)
        {
            return null; // somebody else's
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            return new BarItem($"tomb:{name}", "tomb does not answer", Bad);
        }
        catch (Exception failure) when (failure is TombException or IOException)
        {
            return new BarItem($"tomb:{name}", "tomb has ended", Bad, IsUrgent: true);
        }
    }

    /// <summary>An open tomb's item.</summary>
    internal static BarItem Of(SessionStatus status) => status switch
    {
        { Damage: not null } => new BarItem($"tomb:{status.Name}", "tomb damaged", Bad, IsUrgent: true),
        { OfflineSince: { } since } => new BarItem($"tomb:{status.Name}", $"tomb offline since {since.ToLocalTime():HH:mm}", Bad),
        { SaveFailure: not null } => new BarItem($"tomb:{status.Name}", "tomb not saved", Bad, IsUrgent: true),
        { Conflict: not null } => new BarItem($"tomb:{status.Name}", "tomb: another box saved too", Busy),
        { Changed: true } => new BarItem($"tomb:{status.Name}", status.UnsavedBytes == 0 ? "tomb: changes here" : $"tomb: {Amount.OfBytes(status.UnsavedBytes)} not offsite", Busy),
        _ => new BarItem($"tomb:{status.Name}", "tomb offsite", Good),
    };

    private BarItem? Alarm()
    {
        DateTime written = File.GetLastWriteTimeUtc(Alarms);
        if (written != alarm.Written)
            alarm = TimeProvider.System.GetUtcNow() - written < AlarmLasts ? LastAlarm(written) : (written, null, DateTimeOffset.MinValue);
        return TimeProvider.System.GetUtcNow() < alarm.Until ? alarm.Item : null;
    }

    private static (DateTime, BarItem?, DateTimeOffset) LastAlarm(DateTime written)
    {
        try
        {
            foreach (string line in File.ReadLines(Alarms).Reverse().Take(50))
            {
                using JsonDocument entry = JsonDocument.Parse(line);
                JsonElement root = entry.RootElement;
                if (root.GetProperty("severity").GetString() is "alarm" or "critical")
                    return (written, new BarItem("alarm", $"ALARM {root.GetProperty("path").GetString()}", Bad, IsUrgent: true), root.GetProperty("time").GetDateTimeOffset() + AlarmLasts);
            }
        }
        catch (Exception unread) when (unread is IOException or UnauthorizedAccessException or JsonException or KeyNotFoundException)
        {
            return (written, new BarItem("alarm", "the sentinel's history cannot be read", Bad), DateTimeOffset.MaxValue);
        }

        return (written, null, DateTimeOffset.MinValue);
    }
}
