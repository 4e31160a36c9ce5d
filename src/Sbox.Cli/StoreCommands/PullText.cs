using System.Text.Json;
using Sbox.Cli.Terminal;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>How far a pull is, for people and for programs.</summary>
internal static class PullText
{
    /// <summary>Shows it as one line.</summary>
    public static Reporter<PullProgress> Reporter(ProgressLine line, string indent = "") => new(at => line.Update(indent + Describe(at), writer => Write(writer, at)));

    /// <summary>
    /// Bytes, rate, time left and objects, as far as they are known: <c>4.0 MiB, 9.5 MiB to come; 1.2 MiB/s, 8 s left; 66 to go; 12 metadata, 340 content objects</c>.
    /// What people wait for comes first: a narrow terminal shows no more.
    /// </summary>
    public static string Describe(PullProgress at)
    {
        string coming = at.BytesToCome is { } left ? $", {Amount.OfBytes(left)} to come" : "";
        string rate = at.BytesPerSecond is { } bytes ? $"; {Amount.OfBytes(bytes)}/s" : "";
        string time = at is { TimeLeft: { } span, BytesToCome: > 0 } ? $", {Time(span)} left" : "";
        return $"{Amount.OfBytes(at.BytesTransferred)}{coming}{rate}{time}; {at.Outstanding} to go; {at.MetadataFetched} metadata, {at.ContentFetched} content objects";
    }

    private static string Time(TimeSpan span) => span switch
    {
        { TotalSeconds: < 100 } => $"{Math.Ceiling(span.TotalSeconds):0} s",
        { TotalMinutes: < 100 } => $"{span.TotalMinutes:0} min",
        { TotalHours: < 100 } => $"{span.TotalHours:0} h",
        _ => "days",
    };

    // What is not known is null, and not left out: whoever reads it shall not take it for 0.
    private static void Write(Utf8JsonWriter writer, PullProgress at)
    {
        writer.WriteString("progress", "fetch");
        writer.WriteNumber("metadata", at.MetadataFetched);
        writer.WriteNumber("content", at.ContentFetched);
        writer.WriteNumber("outstanding", at.Outstanding);
        writer.WriteNumber("bytes", at.BytesTransferred);
        Write(writer, "bytes-to-come", at.BytesToCome);
        Write(writer, "bytes-per-second", at.BytesPerSecond);
        Write(writer, "seconds-left", at.TimeLeft is { } left ? (long)Math.Ceiling(Math.Min(left.TotalSeconds, long.MaxValue / 2)) : null);
    }

    private static void Write(Utf8JsonWriter writer, string name, long? number)
    {
        if (number is { } known)
            writer.WriteNumber(name, known);
        else
            writer.WriteNull(name);
    }
}
