using System.Diagnostics;
using System.Globalization;

namespace Sbox.Bench;

/// <summary>What one run of a program cost, by the kernel's own accounting.</summary>
/// <param name="Wall">Seconds.</param>
/// <param name="Cpu">User and system seconds.</param>
/// <param name="MemoryMiB">The largest resident set.</param>
internal readonly record struct Cost(double Wall, double Cpu, double MemoryMiB)
{
    /// <summary>Megabytes that it had the file system write, where that was asked for.</summary>
    public double WrittenMB { get; init; }

    /// <summary>The median of each figure by itself; of memory the most.</summary>
    public static Cost MedianOf(IReadOnlyCollection<Cost> costs) => new(
        Median(costs.Select(static cost => cost.Wall)), Median(costs.Select(static cost => cost.Cpu)), costs.Max(static cost => cost.MemoryMiB))
    {
        WrittenMB = Median(costs.Select(static cost => cost.WrittenMB)),
    };

    private static double Median(IEnumerable<double> values)
    {
        double[] sorted = [.. values.Order()];
        return sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[sorted.Length / 2 - 1] + sorted[sorted.Length / 2]) / 2;
    }
}

/// <summary>Runs programs under time(1), which asks wait4(2).</summary>
internal static class Timed
{
    /// <summary>Runs a command to its end.</summary>
    /// <exception cref="InvalidOperationException">It failed: a figure of a failed run means nothing.</exception>
    public static Cost Run(params string[] command)
    {
        string figures = Path.GetTempFileName();
        try
        {
            var start = new ProcessStartInfo("/usr/bin/time") { RedirectStandardOutput = true, RedirectStandardError = true };
            foreach (string word in (string[])["-f", "%e %U %S %M %O", "-o", figures, .. command])
                start.ArgumentList.Add(word);
            using Process process = Process.Start(start)!;
            Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
            process.WaitForExit();
            if (process.ExitCode != 0)
                throw new InvalidOperationException($"{string.Join(' ', command)}: exit status {process.ExitCode}\n{output.Result}{error.Result}");
            return Read(figures);
        }
        finally
        {
            File.Delete(figures);
        }
    }

    /// <summary>What a command prints.</summary>
    public static string Output(params string[] command)
    {
        using Process process = Process.Start(new ProcessStartInfo(command[0], command[1..]) { RedirectStandardOutput = true })!;
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return output;
    }

    /// <summary>What time(1) wrote, told to write <c>%e %U %S %M</c>, and <c>%O</c> where what is written is asked for: pieces of 512 bytes.</summary>
    public static Cost Read(string figures)
    {
        double[] words = [.. File.ReadAllText(figures).Split(' ').Select(static word => double.Parse(word, CultureInfo.InvariantCulture))];
        return new Cost(words[0], words[1] + words[2], words[3] / 1024) { WrittenMB = words.Length > 4 ? words[4] * 512 / 1e6 : 0 };
    }
}
