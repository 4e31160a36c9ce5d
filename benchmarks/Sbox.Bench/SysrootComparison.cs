using System.Globalization;
using System.Text;
using Sbox.Judges;

namespace Sbox.Bench;

/// <summary>
/// <c>ostree admin</c> on a sysroot of each program's own, with the same version of a real Debian: another deployment of it each time, which lets the oldest go. The
/// repository is bare and not sealed, so the kernel tells nobody a digest.
/// </summary>
internal sealed class SysrootComparison(string programs, IReadOnlyList<string> theirs, string repository, string branch, string work, int rounds)
{
    private const string Os = "debian";

    private readonly string sbox = Path.Combine(programs, "sbox"), ostree = Path.Combine(programs, "ostree");

    public string Page()
    {
        try
        {
            foreach ((string[] who, string sysroot) in Both())
            {
                Directory.CreateDirectory(sysroot);
                foreach (string[] words in (string[][])[
                    ["admin", "init-fs", sysroot], ["admin", $"--sysroot={sysroot}", "os-init", Os], [$"--repo={sysroot}/ostree/repo", "config", "set", "sysroot.bootloader", "none"],
                    [$"--repo={sysroot}/ostree/repo", "pull-local", repository, branch]])
                    Timed.Run([.. who, .. words]);
            }

            Row[] rows =
            [
                Pair("admin deploy", sysroot => ["admin", $"--sysroot={sysroot}", "deploy", $"--os={Os}", "--karg=root=LABEL=box", branch]),
                Pair("admin status, ten times", static sysroot => ["admin", $"--sysroot={sysroot}", "status"], times: 10),
                new Row("sbox status, ten times (theirs: admin status)", Often(10, [sbox, "status", "--sysroot", Sysroot("ours")]), Often(10, [.. theirs, "admin", $"--sysroot={Sysroot("theirs")}", "status"])),
            ];
            var text = new StringBuilder();
            text.Append(CultureInfo.InvariantCulture, $"# The sysroot beside real ostree ({Judge.Ostree.Run("--version").Split('\n').First(static line => line.Contains("Version", StringComparison.Ordinal)).Trim()})\n\n");
            text.Append(CultureInfo.InvariantCulture, $"Made by `./bench sysroot` on {DateTime.UtcNow:yyyy-MM-dd}: another deployment of {branch} each time, and the oldest goes; medians of interleaved runs. The file system has no fs-verity:\n");
            text.Append("ours takes from the composefs image of the version before what it says of files, and holds the outcome to the digest that the commit names, theirs writes the image without any. A ratio above 1 means that ours needs less.\n\n");
            text.Append(Table.Rows(rows));
            text.Append(CultureInfo.InvariantCulture, $"\n{Table.Conditions()}\n");
            return text.ToString();
        }
        finally
        {
            // Deployments are marked immutable, by both.
            MountComparison.Shell("for each in */ostree/deploy/*/deploy/*/; do chattr -i \"$each\" 2>/dev/null || :; done", work);
        }

        Row Pair(string name, Func<string, string[]> words, int times = 1)
        {
            Console.Error.WriteLine(name);
            List<Cost> ourCosts = [], theirCosts = [];
            for (int round = 0; round < rounds; round++)
            {
                foreach ((string[] who, string sysroot) in Both())
                    (who.Length == 1 ? ourCosts : theirCosts).Add(Often(times, [.. who, .. words(sysroot)]));
            }

            return new Row(name, Cost.MedianOf(ourCosts), Cost.MedianOf(theirCosts));
        }
    }

    private (string[] Who, string Sysroot)[] Both() => [([ostree], Sysroot("ours")), ([.. theirs], Sysroot("theirs"))];

    private string Sysroot(string whose) => Path.Combine(work, whose);

    // What is over in hundredths of a second is done several times.
    private static Cost Often(int times, string[] command) =>
        times == 1 ? Timed.Run(command) : Timed.Run(["sh", "-c", $"for n in $(seq {times}); do \"$@\" > /dev/null || exit; done", "sh", .. command]);
}
