using System.Diagnostics;
using System.Text.Json;
using Sbox.Cli.Terminal;
using Sbox.Delivery;

namespace Sbox.Cli.Commands;

/// <summary>What publishing says while it goes on: the step stays on the screen, how far it is passes by, on a terminal, in a log and for programs.</summary>
internal sealed class PublishSteps : IProgress<PublishProgress>, IDisposable
{
    private readonly ProgressLine line;
    private readonly Stopwatch clock = new();
    private readonly Lock reporting = new();
    private readonly Timer ticking;
    private PublishStep? step;
    private PublishProgress last;
    private long before;
    private bool ended;

    /// <param name="line">Where it is said.</param>
    public PublishSteps(ProgressLine line)
    {
        this.line = line;
        // An initrd that is unpacked and compared takes a minute in which the store has nothing to tell; the seconds go on.
        ticking = new Timer(_ => Again(), null, TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(1));
    }

    /// <inheritdoc/>
    public void Report(PublishProgress at)
    {
        lock (reporting)
        {
            if (at.Step != step)
                Begin(at);
            last = at;
            Show();
        }
    }

    /// <summary>Ends the ticking: nothing more is said.</summary>
    public void Dispose()
    {
        lock (reporting)
            ended = true;
        ticking.Dispose();
    }

    private void Again()
    {
        lock (reporting)
            Show();
    }

    private void Begin(PublishProgress at)
    {
        (step, before) = (at.Step, at.Bytes);
        clock.Restart();
        if (at.Total > 0 || at.Step is PublishStep.Summary or PublishStep.Waiting)
            line.Step(at.Step switch { PublishStep.Deltas => "deltas", PublishStep.Objects => "objects", PublishStep.Summary => "summary", _ => "wait for readers" });
    }

    private void Show()
    {
        if (ended || last.Total == 0)
            return;
        PublishProgress at = last;
        double seconds = clock.Elapsed.TotalSeconds;
        line.Update($"  {at.Done}/{at.Total}{(at.Step == PublishStep.Deltas ? Made(at, seconds) : Sent(at, seconds))}", writer => Write(writer, at, seconds));
    }

    private static string Made(PublishProgress at, double seconds)
    {
        string delta = at.Delta is { } now
            ? $"; {now.Done}/{now.Total} objects, {Amount.OfBytes(now.Bytes)} compared{(now.ToPack > 0 ? $", {100 * now.Packed / now.ToPack} % packed" : "")}"
            : "";
        return $" made{delta}; {seconds:0} s";
    }

    private string Sent(PublishProgress at, double seconds)
    {
        string left = at.Done == 0 || at.Done > at.Total ? "" : $"; {seconds / at.Done * (at.Total - at.Done):0} s left";
        return $"; {Amount.OfBytes(at.Bytes)}, {Amount.OfBytes((long)((at.Bytes - before) / Math.Max(seconds, 0.001)))}/s{left}";
    }

    private static void Write(Utf8JsonWriter writer, PublishProgress at, double seconds)
    {
        writer.WriteString("progress", at.Step == PublishStep.Deltas ? "deltas" : "objects");
        writer.WriteNumber("done", at.Done);
        writer.WriteNumber("total", at.Total);
        writer.WriteNumber("seconds", Math.Round(seconds, 1));
        if (at.Step != PublishStep.Deltas)
            writer.WriteNumber("bytes", at.Bytes);
        if (at.Delta is not { } delta)
            return;
        writer.WriteNumber("delta-objects", delta.Done);
        writer.WriteNumber("delta-objects-total", delta.Total);
        writer.WriteNumber("delta-bytes-compared", delta.Bytes);
        writer.WriteNumber("delta-bytes-packed", delta.Packed);
        writer.WriteNumber("delta-bytes-to-pack", delta.ToPack);
    }
}
