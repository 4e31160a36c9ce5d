using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Bench;

/// <summary>Reading and hashing all that a deployed box is made of, beside sha256sum of the same files, each from the disk.</summary>
internal sealed class VerifyComparison(string sbox, string work, int rounds)
{
    private string Root => Path.Combine(work, "root");

    private string Objects => Path.Combine(Root, "ostree/repo/objects");

    public string Run(string repository, string branch)
    {
        if (Directory.Exists(work))
            Directory.Delete(work, recursive: true);
        Directory.CreateDirectory(work);
        try
        {
            FreshInstall.Run(new InstallRequest(Root, null, repository, branch, "debian"));
            string[] files = [.. Directory.EnumerateFiles(Objects, "*.file", SearchOption.AllDirectories).Where(static file => new FileInfo(file).LinkTarget is null)];
            long bytes = files.Sum(static file => new FileInfo(file).Length);
            return Page(Measure(files), files.Length, bytes);
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    private List<(string Work, Cost Cost)> Measure(string[] files)
    {
        int cores = Environment.ProcessorCount;
        string sum = $"find {Objects} -name '*.file' -type f -print0 | xargs -0 -n 64 ";
        (string Work, string[] Command)[] works =
        [
            ("sha256sum, one process", ["sh", "-c", $"{sum} sha256sum >/dev/null"]),
            ($"sha256sum, {cores} processes", ["sh", "-c", $"{sum} -P {cores} sha256sum >/dev/null"]),
            ("sbox verify --deep --full-speed", [sbox, "verify", "--deep", "--full-speed", $"--sysroot={Root}"]),
            ($"sha256sum, {cores} processes, idle priority", ["chrt", "--idle", "0", "ionice", "-c", "3", "sh", "-c", $"{sum} -P {cores} sha256sum >/dev/null"]),
            ("sbox verify --deep (idle priority)", [sbox, "verify", "--deep", $"--sysroot={Root}"]),
            // 3: nothing is wrong, and the files' contents were not looked at.
            ("sbox verify (no file is read)", ["sh", "-c", $"{sbox} verify --sysroot={Root} >/dev/null; [ $? -eq 3 ]"]),
        ];
        List<Cost>[] costs = [.. works.Select(static _ => new List<Cost>())];
        for (int round = 0; round < rounds; round++)
        {
            for (int at = 0; at < works.Length; at++)
            {
                Console.Error.WriteLine($"round {round + 1}: {works[at].Work}");
                Forget(files);
                costs[at].Add(Timed.Run(works[at].Command));
            }
        }

        return [.. works.Select((each, at) => (each.Work, Cost.MedianOf(costs[at])))];
    }

    // What memory holds says nothing of a disk.
    private static void Forget(string[] files)
    {
        foreach (string file in files)
        {
            using SafeFileHandle handle = File.OpenHandle(file);
            Files.ForgetCached(handle, file);
        }
    }

    private static string Page(List<(string Work, Cost Cost)> rows, int files, long bytes)
    {
        double mebibytes = bytes / 1048576.0, reference = rows[1].Cost.Wall;
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# sbox verify beside sha256sum of the same bytes\n\nMade by `./bench verify` on {DateTime.UtcNow:yyyy-MM-dd}: a deployed real Debian, {files} files, {mebibytes:0} MiB, on {Environment.ProcessorCount} processors; medians of interleaved runs,\n");
        text.Append("memory emptied of the files before each. sbox also walks the commit, stats and hashes every file's metadata, and, where a file has no fs-verity as here, makes the digest by which\n");
        text.Append("the composefs image knows it: two hashes of each byte where sha256sum makes one.\n\n| work | s | MiB/s | CPU s | MiB of memory | wall, beside sha256sum on all processors |\n|---|---|---|---|---|---|\n");
        foreach ((string work, Cost cost) in rows)
        {
            bool reads = !work.Contains("no file is read", StringComparison.Ordinal);
            text.Append(CultureInfo.InvariantCulture, $"| {work} | {cost.Wall:0.00} | {(reads ? (mebibytes / cost.Wall).ToString("0", CultureInfo.InvariantCulture) : "")} | {cost.Cpu:0.00} | {cost.MemoryMiB:0} | {cost.Wall / reference:0.00} |\n");
        }

        return text.ToString();
    }
}
