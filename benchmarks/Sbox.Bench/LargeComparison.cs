using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Sbox.Bench;

/// <summary>A tomb of a million files, 50 ms away: how soon it is a home, what listing costs, and how much memory its session takes. Nothing stands beside it: each figure has its limit.</summary>
internal sealed class LargeComparison(string[] ours, string work)
{
    private const int Files = 1_000_000;
    private readonly string password = Path.Combine(work, "password"), home = Path.Combine(work, "at"), run = Path.Combine(work, "run");

    /// <summary>Measures, and says so as a page.</summary>
    public string Run()
    {
        File.WriteAllText(password, "bench\n");
        LargeTomb.Make(Path.Combine(work, "places", "large"), password, home, Files).GetAwaiter().GetResult();
        Directory.CreateDirectory(home);
        using var far = new FarAway(Path.Combine(work, "places"), TimeSpan.FromMilliseconds(50));
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"# A tomb of {Files:N0} files, 50 ms away\n\n");
        text.Append(CultureInfo.InvariantCulture, $"Made by `./bench tomb-large` on {DateTime.UtcNow:yyyy-MM-dd}: a blob of its own for every file, one directory of 100,000 names, on restic's rest-server behind a link of 50 ms. One run.\n");
        text.Append("Wall, CPU of the session's process and its largest resident set until then; requests that passed the link.\n\n");
        text.Append("| work | wall, s | CPU, s | memory, MiB | requests |\n|---|---|---|---|---|\n");
        for (int time = 1; time <= 2; time++)
            Session(far, text, time == 1 ? "the first time" : "again, the index being on this machine");
        return text.ToString();
    }

    private void Session(FarAway far, StringBuilder text, string time)
    {
        Console.Error.WriteLine(time);
        string[] command = [.. ours, "tomb", "--tomb", far.Url("large"), "--password-file", password, "open", "--at", home, "--name", "large", "--save-every", "0", "--run-directory", run, "--foreground"];
        int requests = far.Requests;
        long begun = Stopwatch.GetTimestamp();
        using Process server = Process.Start(new ProcessStartInfo(command[0], command[1..]) { RedirectStandardOutput = true, RedirectStandardInput = true })!;
        try
        {
            if (server.StandardOutput.ReadLine() is null)
                throw new InvalidOperationException($"{string.Join(' ', command)}: it did not open");
            Note($"password to usable home, {time}");
            Step("first byte of a file", "cat part0007/dir0100/file-00175000.txt");
            Step("ls -R of 100,000 entries", "ls -R wide > /dev/null");
            Step("ls -lR of 100,000 entries", "ls -lR wide > /dev/null");
            Step("find of all 1,000,000", "find . -printf '%s' > /dev/null");
            Step("save, one file written", $"touch part0003/dir0100/new && {string.Join(' ', ours)} tomb save --run-directory '{run}' > /dev/null");
            Step("save, unchanged", $"{string.Join(' ', ours)} tomb save --run-directory '{run}' > /dev/null");
        }
        finally
        {
            MountComparison.Shell($"kill -TERM {server.Id}", "/");
            if (!server.WaitForExit(TimeSpan.FromMinutes(2)))
                server.Kill();
            MountComparison.Shell($"umount -l '{home}' 2>/dev/null; true", "/");
        }

        void Step(string name, string script)
        {
            Console.Error.WriteLine(name);
            requests = far.Requests;
            begun = Stopwatch.GetTimestamp();
            MountComparison.Shell(script, home);
            Note(name);
        }

        void Note(string name) => text.Append(
            CultureInfo.InvariantCulture,
            $"| {name} | {Stopwatch.GetElapsedTime(begun).TotalSeconds:0.00} | {MountComparison.Cpu(server.Id).TotalSeconds:0.00} in all | {MountComparison.Memory(server.Id):0} | {far.Requests - requests} |\n");
    }
}
