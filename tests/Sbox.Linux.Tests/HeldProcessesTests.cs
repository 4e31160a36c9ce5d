using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;

namespace Sbox.Linux.Tests;

/// <summary>Programs that are held for a moment stand still, go on afterwards, and know nothing of it.</summary>
public sealed class HeldProcessesTests : IDisposable
{
    private readonly string place = Directory.CreateTempSubdirectory("sbox-held-").FullName;
    private Process? shell;

    public void Dispose()
    {
        if (Counter is { } counter)
            Process.GetProcessById(counter).Kill();
        shell?.WaitForExit(); // it ends with what it waits for
        shell?.Dispose();
        Directory.Delete(place, recursive: true);
    }

    [Fact]
    public async Task What_is_held_stands_still_with_all_its_threads_and_goes_on_and_its_shell_sees_no_stop()
    {
        int counter = await Started();
        using (var held = new HeldProcesses(TimeSpan.FromMinutes(2)))
        {
            Assert.True(held.Hold([counter], TimeSpan.FromMinutes(1)));
            Assert.All(States(counter), static state => Assert.Equal('t', state));
            string before = Counted;
            await Task.Delay(200, TestContext.Current.CancellationToken);
            Assert.Equal(before, Counted);
            Assert.True(held.LetGo());
        }

        await GoesOn();
        Assert.False(File.Exists(Path.Combine(place, "told"))); // the shell waits for its child to stop as well as to end
    }

    [Fact]
    public async Task Whoever_holds_for_too_long_holds_no_more()
    {
        int counter = await Started();
        using var held = new HeldProcesses(TimeSpan.FromSeconds(1));
        held.Hold([counter], TimeSpan.FromMinutes(1));
        await GoesOn();
        Assert.False(held.Hold([counter], TimeSpan.FromMinutes(1)));
        Assert.False(held.LetGo());
    }

    [Fact]
    public async Task What_another_program_traces_is_said_to_go_on()
    {
        int counter = await Started();
        using var first = new HeldProcesses(TimeSpan.FromMinutes(2));
        Assert.True(first.Hold([counter], TimeSpan.FromMinutes(1)));
        using var second = new HeldProcesses(TimeSpan.FromMinutes(2));
        Assert.False(second.Hold([counter], TimeSpan.FromMinutes(1)));
        Assert.True(second.Hold([int.MaxValue], TimeSpan.FromMinutes(1))); // nobody
    }

    [Fact]
    public async Task Who_cannot_be_had_keeps_nobody_behind_from_being_held()
    {
        int counter = await Started();
        using Process own = Process.Start(new ProcessStartInfo("cat") { RedirectStandardInput = true })!;
        using var held = new HeldProcesses(TimeSpan.FromMinutes(2));
        Assert.False(held.Hold([own.Id, counter], TimeSpan.FromMinutes(1)));
        Assert.All(States(counter), static state => Assert.Equal('t', state));
        own.StandardInput.Close();
        await own.WaitForExitAsync(TestContext.Current.CancellationToken);
    }

    private int? Counter => File.Exists(Path.Combine(place, "counter")) && int.TryParse(File.ReadAllText(Path.Combine(place, "counter")), NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : null;

    private string Counted => File.Exists(Path.Combine(place, "count")) ? File.ReadAllText(Path.Combine(place, "count")) : "";

    // A grandchild, with two threads that count, and a parent that asks for stops too.
    private async Task<int> Started()
    {
        const string Program = """
            import os, sys, threading
            pid = os.fork()
            if pid:
                while True:
                    _, status = os.waitpid(pid, os.WUNTRACED)
                    if not os.WIFSTOPPED(status):
                        sys.exit()
                    open("told", "w")
            def count(name):
                file, n = os.open(name, os.O_CREAT | os.O_WRONLY), 0
                while True:
                    n += 1
                    os.pwrite(file, b"%012d" % n, 0)
            threading.Thread(target=count, args=("other",), daemon=True).start()
            with open("new", "w") as own:
                own.write(str(os.getpid()))
            os.rename("new", "counter")
            count("count")
            """;
        shell = Process.Start(new ProcessStartInfo("python3", ["-c", Program]) { WorkingDirectory = place })!;
        await Until(() => Counter is not null && Counted.Length > 0);
        return Counter!.Value;
    }

    private Task GoesOn()
    {
        string before = Counted;
        return Until(() => Counted != before);
    }

    private static async Task Until(Func<bool> isSo, [CallerArgumentExpression(nameof(isSo))] string what = "")
    {
        for (int tries = 0; !isSo(); tries++)
        {
            Assert.True(tries < 6000, what);
            await Task.Delay(10, TestContext.Current.CancellationToken);
        }
    }

    private static char[] States(int process) => [.. Directory.GetDirectories($"/proc/{process}/task").Select(static task => File.ReadAllText($"{task}/stat") is var stat ? stat[stat.LastIndexOf(')') + 2] : ' ')];
}
