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
        Directory.CreateDirectory($"{mounted}/loader.1/entries");
        File.WriteAllText($"{mounted}/loader.1/entries/ostree-1.conf", "title A box\n");
        using Dir boot = Dir.Open(mounted);
        using (Dir entries = boot.OpenDir("loader.1/entries"))
            Durable.Sync(entries);
        Assert.DoesNotContain("title A box", Found(), StringComparison.Ordinal); // on the disk, and in the journal alone
        BootJournal.Flush(boot, running: true);
        Assert.Contains("title A box", Found(), StringComparison.Ordinal);
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
    public void One_that_was_let_go_is_left_alone()
    {
        ChildResult watchdog = ChildProcess.Run(new ChildCommand("sh", ["-c", BootJournal.Watchdog, mounted]) { Input = "!" });
        Assert.Empty(watchdog.LastLines);
    }

    private string Found() => Judge.OnPath("debugfs").Ask("-R", "cat /loader.1/entries/ostree-1.conf", image).Output;
}
