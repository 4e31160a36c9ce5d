using System.Diagnostics;

namespace Sbox.Linux.Tests;

public sealed class ChildProcessTests
{
    [Fact]
    public void The_exit_code_and_what_was_written_come_back() =>
        Assert.Equal((3, "out|err"), Shell("echo out; sleep 0.1; echo err >&2; exit 3") is var result ? (result.ExitCode, string.Join('|', result.LastLines)) : default);

    [Fact]
    public void Only_the_last_twenty_lines_are_kept_and_all_are_told()
    {
        var told = new List<string>();
        ChildResult result = ChildProcess.Run(new ChildCommand("seq", ["1", "100"]), told.Add);
        Assert.Equal(Enumerable.Range(81, 20).Select(n => $"{n}"), result.LastLines);
        Assert.Equal(100, told.Count);
    }

    [Fact]
    public void Arguments_are_passed_as_they_are() =>
        Assert.Equal(["$HOME *", "a'b"], ChildProcess.Run(new ChildCommand("printf", ["%s\n", "$HOME *", "a'b"])).LastLines);

    [Fact]
    public void Input_is_read_to_its_end_and_none_is_none()
    {
        Assert.Equal(["fed"], ChildProcess.Run(new ChildCommand("cat", []) { Input = "fed\n" }).LastLines);
        Assert.Empty(ChildProcess.Run(new ChildCommand("cat", [])).LastLines);
    }

    [Fact]
    public void A_program_that_never_reads_its_input_is_no_error() =>
        Assert.Equal(0, ChildProcess.Run(new ChildCommand("true", []) { Input = new string('x', 1 << 20) }).ExitCode);

    [Fact]
    public void What_it_leaves_running_with_its_output_open_is_not_waited_for()
    {
        var since = Stopwatch.StartNew();
        ChildResult result = Shell("echo said; sleep 300 & echo $!; exit 3");
        Assert.Equal((3, "said"), (result.ExitCode, result.LastLines[0]));
        Assert.InRange(since.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(120));
        Process.GetProcessById(int.Parse(result.LastLines[1], System.Globalization.CultureInfo.InvariantCulture)).Kill();
    }

    [Fact]
    public void The_environment_is_the_same_on_every_machine()
    {
        Environment.SetEnvironmentVariable("SBOX_TEST_LEAK", "leak");
        ChildResult result = ChildProcess.Run(new ChildCommand("env", []) { Environment = new Dictionary<string, string> { ["OWN"] = "1" } });
        Assert.Contains("LC_ALL=C.UTF-8", result.LastLines);
        Assert.Contains("TZ=UTC", result.LastLines);
        Assert.Contains("OWN=1", result.LastLines);
        Assert.DoesNotContain(result.LastLines, line => line.StartsWith("SBOX_TEST_LEAK", StringComparison.Ordinal));
    }

    [Fact]
    public void A_program_that_is_not_installed_is_named_with_127()
    {
        var failed = Assert.Throws<ChildFailedException>(() => ChildProcess.Run(new ChildCommand("no-such-program", [])));
        Assert.Equal((127, "no-such-program"), (failed.ExitCode, failed.Command.Title));
    }

    [Fact]
    public void A_failure_says_the_program_its_code_and_its_last_line() => Assert.Equal(
        "sh ended with 5: the disk is full",
        Assert.Throws<ChildFailedException>(() => ChildProcess.Check(new ChildCommand("sh", ["-c", "echo begin; echo the disk is full; exit 5"]))).Message);

    [Fact]
    public void Cancelling_kills_the_program_and_what_it_started()
    {
        using var cancel = new CancellationTokenSource();
        int child = 0;
        var command = new ChildCommand("sh", ["-c", "sleep 300 & echo $!; wait"]);
        Assert.ThrowsAny<OperationCanceledException>(() => ChildProcess.Run(
            command,
            line =>
            {
                child = int.Parse(line, System.Globalization.CultureInfo.InvariantCulture);
                cancel.Cancel();
            },
            cancel.Token));
        Assert.True(Gone(child));
    }

    [Fact]
    public void Mounts_in_namespaces_of_its_own_are_seen_by_nobody_and_leave_with_it()
    {
        string place = Directory.CreateTempSubdirectory("sbox-mount-").FullName;
        ChildCommand command = ChildProcess.InOwnNamespaces(new ChildCommand("sh", ["-c", "mount -t tmpfs x \"$1\" && touch \"$1/inside\" && ls \"$1\"", "sh", place]));
        Assert.Equal(["inside"], ChildProcess.Run(command).LastLines);
        Assert.Empty(Directory.GetFileSystemEntries(place));
        Directory.Delete(place);
    }

    [Fact]
    public void When_whoever_runs_it_is_killed_everything_in_its_namespaces_dies()
    {
        // The shell stands for a build that gets SIGKILL. The inner one leaves its parent (setsid), as daemons do, and still goes.
        string marker = $"{Random.Shared.Next(100_000, 999_999)}.25";
        ChildCommand command = ChildProcess.InOwnNamespaces(new ChildCommand("sh", ["-c", $"setsid sleep {marker} & echo up; wait"]));
        using Process build = Process.Start(new ProcessStartInfo("sh", ["-c", $"{command}; :"]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        Assert.Equal("up", build.StandardOutput.ReadLine());
        Assert.True(SpinWait.SpinUntil(() => Runs(marker), TimeSpan.FromSeconds(20)));
        build.Kill();
        build.WaitForExit();
        Assert.True(SpinWait.SpinUntil(() => !Runs(marker), TimeSpan.FromSeconds(20)));
    }

    private static ChildResult Shell(string script) => ChildProcess.Run(new ChildCommand("sh", ["-c", script]));

    private static bool Runs(string marker) => Directory.GetDirectories("/proc").Any(process =>
        int.TryParse(Path.GetFileName(process), out _) && CommandLine(process).StartsWith($"sleep\0{marker}", StringComparison.Ordinal));

    private static string CommandLine(string process)
    {
        try
        {
            return File.ReadAllText($"{process}/cmdline");
        }
        catch (IOException)
        {
            return ""; // it ended meanwhile
        }
    }

    // A killed process stays as a zombie until its parent reads its end.
    private static bool Gone(int pid) => SpinWait.SpinUntil(
        () => !File.Exists($"/proc/{pid}/stat") || CommandLine($"/proc/{pid}").Length == 0, TimeSpan.FromSeconds(20));
}
