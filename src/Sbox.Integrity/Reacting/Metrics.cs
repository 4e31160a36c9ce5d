using System.Globalization;
using System.Text;

namespace Sbox.Integrity;

/// <summary>The sentinel's numbers, as an OpenMetrics text that any collector of text files takes.</summary>
internal sealed class Metrics(string file)
{
    private readonly Dictionary<(FindingKind, Severity), long> alarms = [];
    private TimeSpan? lastLatency;
    private TimeSpan worstLatency;

    /// <summary>Eyes in the kernel that are open, and that are not.</summary>
    public (int Open, int Closed) Eyes { get; set; }

    /// <summary>Events that the kernel could not hand over.</summary>
    public long Lost { get; set; }

    /// <summary>Counts an alarm.</summary>
    public void Count(Alarm alarm)
    {
        (FindingKind, Severity) key = (alarm.Finding.Kind, alarm.Severity);
        alarms[key] = alarms.GetValueOrDefault(key) + 1;
        if (alarm.Latency is { } latency)
            (lastLatency, worstLatency) = (latency, latency > worstLatency ? latency : worstLatency);
    }

    /// <summary>Writes the file; whoever reads it sees the old one or the new one.</summary>
    public void Write()
    {
        string next = $"{file}.new";
        File.WriteAllText(next, Text());
        File.Move(next, file, overwrite: true);
    }

    /// <summary>The text.</summary>
    internal string Text()
    {
        var text = new StringBuilder();
        text.Append("# TYPE sbox_sentinel_alarms counter\n# HELP sbox_sentinel_alarms Findings reported since the sentinel started.\n");
        foreach (((FindingKind kind, Severity severity), long count) in alarms.OrderBy(static pair => pair.Key))
            text.Append(CultureInfo.InvariantCulture, $"sbox_sentinel_alarms_total{{finding=\"{PolicyReader.NameOf(kind)}\",severity=\"{PolicyReader.NameOf(severity)}\"}} {count}\n");
        text.Append(CultureInfo.InvariantCulture, $"# TYPE sbox_sentinel_eyes gauge\nsbox_sentinel_eyes{{state=\"open\"}} {Eyes.Open}\nsbox_sentinel_eyes{{state=\"closed\"}} {Eyes.Closed}\n");
        text.Append(CultureInfo.InvariantCulture, $"# TYPE sbox_sentinel_lost_events counter\nsbox_sentinel_lost_events_total {Lost}\n");
        if (lastLatency is { } last)
        {
            text.Append("# TYPE sbox_sentinel_latency_seconds gauge\n# UNIT sbox_sentinel_latency_seconds seconds\n");
            text.Append(CultureInfo.InvariantCulture, $"sbox_sentinel_latency_seconds{{which=\"last\"}} {last.TotalSeconds:0.000000}\nsbox_sentinel_latency_seconds{{which=\"worst\"}} {worstLatency.TotalSeconds:0.000000}\n");
        }

        return text.Append("# EOF\n").ToString();
    }
}
