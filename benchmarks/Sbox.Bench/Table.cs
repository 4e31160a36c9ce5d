using System.Globalization;
using System.Text;

namespace Sbox.Bench;

/// <summary>The results as a page: ratios first, since the machine's own speed falls out of them.</summary>
internal static class Table
{
    public static string Of(IEnumerable<Row> rows, string tree, string judge, (long Ours, long Theirs) deltas)
    {
        int files = Directory.EnumerateFiles(tree, "*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.ReparsePoint }).Count();
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# The store beside real ostree ({judge})\n\n");
        text.Append(CultureInfo.InvariantCulture, $"Made by `./bench` on {DateTime.UtcNow:yyyy-MM-dd}; a real Debian tree of {files} regular files; medians of interleaved runs, both with\n");
        text.Append("their default durability. A ratio above 1 means that ours needs less.\n");
        text.Append(CultureInfo.InvariantCulture, $"{Conditions()}\n\n");
        text.Append(Rows(rows));
        text.Append(CultureInfo.InvariantCulture, $"\nThe delta, from this Debian's versions of the files in forky's tree of the judges to those: ours {deltas.Ours / 1e6:0.0} MB, theirs {deltas.Theirs / 1e6:0.0} MB. Deltas were made and applied once, of {(DeltaTrees.Every == 1 ? "all files" : $"one file in {DeltaTrees.Every}")}, by both with the liblzma that the judge brings.\n");
        return text.ToString();
    }

    // What else the machine did tells how much the wall times are worth.
    public static string Conditions()
    {
        string group = File.Exists("/proc/self/autogroup") ? File.ReadAllText("/proc/self/autogroup").Trim() : "none";
        return $"{Environment.ProcessorCount} processors; load at the end {File.ReadAllText("/proc/loadavg").Split(' ')[0]}; scheduling group {group}.";
    }

    public static string Rows(IEnumerable<Row> rows)
    {
        var text = new StringBuilder();
        text.Append("| work | wall, theirs/ours | CPU, theirs/ours | ours: s, CPU s, MiB | theirs: s, CPU s, MiB |\n|---|---|---|---|---|\n");
        foreach (Row row in rows)
        {
            text.Append(CultureInfo.InvariantCulture,
                $"| {row.Work} | {Ratio(row.Theirs.Wall, row.Ours.Wall)} | {Ratio(row.Theirs.Cpu, row.Ours.Cpu)} | {Show(row.Ours)} | {Show(row.Theirs)} |\n");
        }

        return text.ToString();
    }

    private static string Ratio(double theirs, double ours) => ours < 0.005 ? "too short to tell" : (theirs / ours).ToString("0.0", CultureInfo.InvariantCulture);

    private static string Show(Cost cost) => string.Create(CultureInfo.InvariantCulture, $"{cost.Wall:0.00}, {cost.Cpu:0.00}, {cost.MemoryMiB:0}");
}
