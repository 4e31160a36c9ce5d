using Sbox.Judges;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot.Tests;

/// <summary>What a boot loader finds on an ext4, which it reads without the journal, as debugfs does.</summary>
public sealed class BootJournalTests : IDisposable
{
    private readonly TempDir temp = new();
    private readonly string image, mounted;

    public BootJournalTests()
    {
        (image, mounted) = (temp.Of("boot.img"), temp.Of("boot"));
        Directory.CreateDirectory(mounted);
        using (FileStream made = File.Create(image))
            made.SetLength(64 << 20);
        Judge.OnPath("mkfs.ext4").Run("-q", image);
        Judge.OnPath("mount").Run("-o", "loop", image, mounted);
    }

    public void Dispose()
    {
        Unmounting.Unmount(mounted, image);
        temp.Dispose();
    }

    [Fact]
    public void What_was_flushed_is_found_without_the_journal()
    {
        Directory.CreateDirectory($"{mounted}/entries");
        using Dir boot = Dir.Open(mounted), entries = boot.OpenDir("entries");
        // By chance the kernel, or anybody's sync, may have brought a name beyond the journal just now: then another one is tried.
        string name = Enumerable.Range(1, 20).Select(static n => $"ostree-{n}.conf").First(each =>
        {
            Durable.Replace(entries, each, "title A box\n"u8);
            return !Found(each).Contains("title A box", StringComparison.Ordinal);
        });
        BootJournal.Flush(boot, running: true);
        Assert.Contains("title A box", Found(name), StringComparison.Ordinal);
        File.WriteAllText($"{mounted}/written", "not frozen any more");
    }

    [Fact]
    public void A_file_system_that_was_left_frozen_is_let_go()
    {
        Judge.OnPath("fsfreeze").Run("--freeze", mounted);
        ChildResult watchdog = ChildProcess.Run(new ChildCommand("sh", ["-c", BootJournal.Watchdog, mounted]) { Input = "" });
        Assert.Contains("fifreeze watchdog was run", watchdog.LastLines);
        Judge.OnPath("timeout").Run("30", "touch", $"{mounted}/written");
    }

    [Fact]
    public void Whoever_stands_by_outlives_what_ends_a_unit_and_lets_go_after_it()
    {
        Judge.OnPath("fsfreeze").Run("--freeze", mounted);
        using var ready = new ManualResetEventSlim();
        int session = 0;
        var command = new ChildCommand("setsid", ["sh", "-c", $"echo pid $$; {BootJournal.Watchdog}", mounted])
        {
            WriteInput = _ =>
            {
                Assert.True(ready.Wait(TimeSpan.FromMinutes(1)));
                Judge.OnPath("pkill").Ask("-TERM", "--session", $"{session}");
                Thread.Sleep(500);
                Assert.Equal(0, Judge.OnPath("pgrep").Ask("--session", $"{session}").ExitCode);
            },
        };
        ChildResult watchdog = ChildProcess.Run(command, line =>
        {
            if (line.StartsWith("pid ", StringComparison.Ordinal))
                session = int.Parse(line[4..], System.Globalization.CultureInfo.InvariantCulture);
            else if (line == "ready")
                ready.Set();
        });
        Assert.Contains("fifreeze watchdog was run", watchdog.LastLines);
        Judge.OnPath("timeout").Run("30", "touch", $"{mounted}/written");
    }

    [Fact]
    public void One_that_was_let_go_is_left_alone()
    {
        ChildResult watchdog = ChildProcess.Run(new ChildCommand("sh", ["-c", BootJournal.Watchdog, mounted]) { Input = "!" });
        Assert.Equal(["ready"], watchdog.LastLines);
    }

    private string Found(string name) => Judge.OnPath("debugfs").Ask("-R", $"cat /entries/{name}", image).Output;
}
