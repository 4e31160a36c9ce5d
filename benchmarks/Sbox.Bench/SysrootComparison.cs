using System.Globalization;
using System.Text;
using Sbox.Judges;

namespace Sbox.Bench;

/// <summary>
/// <c>ostree admin</c> on a sysroot of each program's own, with a real Debian: another deployment of the same version each time, or of the other one, which lets the oldest go. The
/// repository is bare and not sealed, so the kernel tells nobody a digest.
/// </summary>
internal sealed class SysrootComparison(string programs, IReadOnlyList<string> theirs, string repository, string branch, string other, string work, int rounds)
{
    private const string Os = "debian", Other = "the/other/version", Changing = "admin deploy of the other version";

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
                    [$"--repo={sysroot}/ostree/repo", "pull-local", repository, branch, other], [$"--repo={sysroot}/ostree/repo", "refs", $"--create={Other}", other]])
                    Timed.Run([.. who, .. words]);
            }

            Row[] rows =
            [
                Pair("admin deploy", (sysroot, _) => Deploy(sysroot, branch)),
                Pair(Changing, (sysroot, round) => Deploy(sysroot, round % 2 == 0 ? Other : branch)),
                Pair("admin status, ten times", static (sysroot, _) => ["admin", $"--sysroot={sysroot}", "status"], times: 10),
                new Row("sbox status, ten times (theirs: admin status)", Often(10, [sbox, "status", "--sysroot", Sysroot("ours")]), Often(10, [.. theirs, "admin", $"--sysroot={Sysroot("theirs")}", "status"])),
            ];
            var text = new StringBuilder();
            text.Append(CultureInfo.InvariantCulture, $"# The sysroot beside real ostree ({Judge.Ostree.Run("--version").Split('\n').First(static line => line.Contains("Version", StringComparison.Ordinal)).Trim()})\n\n");
            text.Append(CultureInfo.InvariantCulture, $"Made by `./bench sysroot` on {DateTime.UtcNow:yyyy-MM-dd}: another deployment of {branch} each time, and the oldest goes; medians of interleaved runs. The file system has no fs-verity:\n");
            text.Append("ours takes from the composefs image of the version before what it says of files, and holds the outcome to the digest that the commit names, theirs writes the image without any. A ratio above 1 means that ours needs less.\n\n");
            text.Append(Table.Rows(rows));
            Row change = rows.First(static row => row.Work == Changing);
            text.Append(CultureInfo.InvariantCulture, $"\nFrom the commit that is here to the finished deployment of the other version, ours writes {change.Ours.WrittenMB:0.0} MB and theirs {change.Theirs.WrittenMB:0.0} MB, as the kernel counts them for the process.\n");
            text.Append(CultureInfo.InvariantCulture, $"\n{Table.Conditions()}\n");
            return text.ToString();
        }
        finally
        {
            // Deployments are marked immutable, by both.
            MountComparison.Shell("for each in */ostree/deploy/*/deploy/*/; do chattr -i \"$each\" 2>/dev/null || :; done", work);
        }

        string[] Deploy(string sysroot, string what) => ["admin", $"--sysroot={sysroot}", "deploy", $"--os={Os}", "--karg=root=LABEL=box", what];

        Row Pair(string name, Func<string, int, string[]> words, int times = 1)
        {
            Console.Error.WriteLine(name);
            List<Cost> ourCosts = [], theirCosts = [];
            for (int round = 0; round < rounds; round++)
            {
                foreach ((string[] who, string sysroot) in Both())
                    (who.Length == 1 ? ourCosts : theirCosts).Add(Often(times, [.. who, .. words(sysroot, round)]));
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
