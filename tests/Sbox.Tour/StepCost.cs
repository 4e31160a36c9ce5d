using System.Diagnostics;
using System.Globalization;

namespace Sbox.Tour;

/// <summary>What a step of the story cost.</summary>
/// <param name="Step">What was done.</param>
/// <param name="Seconds">How long it took.</param>
/// <param name="MiB">What it left on disk or sent, in MiB; the step says which.</param>
public sealed record StepCost(string Step, double Seconds, double MiB)
{
    /// <summary>Runs a step. The bytes are asked for after it.</summary>
    public static StepCost Measure(string step, Action run, Func<long> bytes)
    {
        long before = Stopwatch.GetTimestamp();
        run();
        return new StepCost(step, Stopwatch.GetElapsedTime(before).TotalSeconds, bytes() / 1048576.0);
    }

    /// <summary>Bytes that a file or directory really takes, holes not counted.</summary>
    public static long DiskUsage(string path)
    {
        using Process du = Process.Start(new ProcessStartInfo("du", ["-sk", path]) { RedirectStandardOutput = true })!;
        string output = du.StandardOutput.ReadToEnd();
        du.WaitForExit();
        return long.Parse(output.Split('\t')[0], CultureInfo.InvariantCulture) * 1024;
    }

    /// <summary>A row of the table.</summary>
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"| {Step} | {Seconds:0.0} | {MiB:0.0} |");
}
