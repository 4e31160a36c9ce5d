using System.Diagnostics;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>What a ghost tells that it will forget, and what it keeps, on the real kernel's overlay.</summary>
public sealed class LedgerTests(ITestOutputHelper output) : IDisposable
{
    private readonly GhostDirectory ghost = new();

    public void Dispose() => ghost.Dispose();

    [Fact]
    public void A_session_that_changed_nothing_loses_nothing()
    {
        ghost.Disk("etc/hosts", "localhost");
        ghost.Begin();
        Assert.Equal("localhost", File.ReadAllText(ghost.Of("etc/hosts")));
        Assert.Empty(ghost.Ledger());
    }

    [Fact]
    public void What_is_new_changed_and_deleted_is_listed_by_path_and_nothing_else_is()
    {
        Busy();
        Assert.Equal(["Deleted gone", "Deleted gone-dir", "Changed hosts", "Changed mode", "New new/deep/file", "New new/empty", "New socket-less-link"], ghost.Ledger());
    }

    [Fact]
    public void A_file_that_was_written_anew_with_the_same_bytes_or_only_opened_is_no_change()
    {
        ghost.Disk("a", "same");
        ghost.Disk("b", "same");
        ghost.Begin();
        File.WriteAllText(ghost.Of("a"), "same");
        using (File.OpenWrite(ghost.Of("b")))
            Assert.True(File.Exists($"{ghost.Layer.Upper}/b"), "opening for writing copies up; else this judges nothing");
        Assert.Empty(ghost.Ledger());
    }

    [Fact]
    public void What_the_version_makes_at_every_boot_is_noise_until_somebody_changes_it()
    {
        string at = ghost.Layer.At, factory = $"usr/share/factory{at}";
        ghost.Version("usr/lib/tmpfiles.d/a.conf", $"# d {at}/comment 0755 root root\nd {at}/made 0755 root root - -\nL {at}/link - - - - ../there\nf {at}/stamp 0644\nz {at}/watched\n");
        ghost.Version("usr/lib/tmpfiles.d/b.conf", $"C {at}/profile 0644 root root - /{factory}/profile\nC+ {at}/whole\nC {at}/kept\nC {at}/emptied\n");
        ghost.Version($"{factory}/emptied", "something");
        ghost.Version($"{factory}/profile", "as it comes");
        ghost.Version($"{factory}/whole/deep/file", "as it comes");
        ghost.Version($"{factory}/whole/deep/other", "as it comes");
        ghost.Version($"{factory}/stray", "no line copies it");
        ghost.Version($"{factory}/kept/default", "as it comes");
        ghost.Disk("kept/mine", "so tmpfiles copies nothing into it");
        ghost.Version("usr/lib/tmpfiles.d/masked.conf", $"d {at}/masked\n");
        ghost.Version("etc/tmpfiles.d/masked.conf", "");
        ghost.Begin();
        ghost.Session("kept/default", "as it comes");
        ghost.Session("emptied", "");
        foreach (string each in (string[])["comment", "made", "masked", "watched"])
            Directory.CreateDirectory(ghost.Of(each));
        File.CreateSymbolicLink(ghost.Of("link"), "../there");
        ghost.Session("stamp", "");
        ghost.Session("stray", "no line copies it");
        foreach (string each in (string[])["profile", "whole/deep/file", "whole/deep/other"])
            ghost.Session(each, "as it comes");
        Assert.Equal(["comment", "emptied", "kept/default", "masked", "stray", "watched"], Missed());

        ghost.Session("profile", "by me");
        ghost.Session("whole/deep/other", "as it came"); // as long
        ghost.Session("stamp", "written");
        File.Delete(ghost.Of("link"));
        File.CreateSymbolicLink(ghost.Of("link"), "elsewhere");
        ghost.Session("made/in", "it");
        Assert.Equal(["comment", "emptied", "kept/default", "link", "made/in", "masked", "profile", "stamp", "stray", "watched", "whole/deep/other"], Missed());

        string[] Missed() => [.. LedgerScan.Of(ghost.Layer).Where(static entry => LedgerGroup.Of(entry).Id != "made").Select(entry => ghost.Layer.Relative(entry.Path))];
    }

    [Fact]
    public void What_has_another_owner_or_mode_than_the_version_gives_it_is_no_noise()
    {
        string at = ghost.Layer.At, factory = $"usr/share/factory{at}";
        ghost.Version("etc/passwd", "root:x:0:0::/root:/bin/sh\nprinter:x:7:70::/:/bin/false\n");
        ghost.Version("etc/group", "root:x:0:\nprint:x:70:\n");
        ghost.Version("usr/lib/tmpfiles.d/a.conf", $"d {at}/plain\nd {at}/shut 0700 - -\nd {at}/printer ~2750 printer print\nd {at}/adjusted\nz {at}/adjusted 0711 - print\nd {at}/unknown 0755 who who\nf {at}/stamp\nC {at}/copied\nL {at}/link - - - - there\n");
        ghost.Version($"{factory}/copied/secret", "s");
        using (Dir secrets = Dir.Open($"{ghost.Layer.Tree}/{factory}/copied"))
            secrets.ChangeMode("secret", 0x180 /* 0600 */);
        ghost.Begin();
        string[] directories = ["plain", "shut", "printer", "adjusted", "unknown"];
        foreach (string each in directories)
            Directory.CreateDirectory(ghost.Of(each));
        ghost.Session("stamp", "");
        ghost.Session("copied/secret", "s");
        File.CreateSymbolicLink(ghost.Of("link"), "there");
        using Dir session = Dir.Open(at), copied = session.OpenDir("copied");
        Assert.Equal(["adjusted", "copied/secret", "printer", "shut", "unknown"], Missed());

        session.ChangeMode("shut", 0x1C0 /* 0700 */);
        session.ChangeOwner("printer", 7, 70);
        session.ChangeMode("printer", 0x5E8 /* 2750 */);
        session.ChangeOwner("adjusted", 0, 70);
        session.ChangeMode("adjusted", 0x1C9 /* 0711 */);
        copied.ChangeMode("secret", 0x180 /* 0600 */);
        Assert.Equal(["unknown"], Missed());

        session.ChangeMode("plain", 0x1C0 /* 0700 */);
        session.ChangeMode("stamp", 0x180 /* 0600 */);
        session.ChangeOwner("shut", 7, 0);
        session.ChangeOwner("link", 7, 0);
        copied.ChangeOwner("secret", 7, 0);
        Assert.Equal(["copied/secret", "link", "plain", "shut", "stamp", "unknown"], Missed());

        string[] Missed() => [.. LedgerScan.Of(ghost.Layer).Where(static entry => LedgerGroup.Of(entry).Id != "made").Select(entry => ghost.Layer.Relative(entry.Path))];
    }

    [Fact]
    public void A_directory_that_was_made_again_lists_what_the_old_one_held()
    {
        ghost.Disk("d/old", "old");
        ghost.Disk("d/both", "one");
        ghost.Begin();
        Directory.Delete(ghost.Of("d"), recursive: true);
        ghost.Session("d/both", "two");
        ghost.Session("d/fresh", "fresh");
        Assert.Equal(["Deleted d/old", "Changed d/both", "New d/fresh"], ghost.Ledger());
        Everything();
        ghost.End();
        Assert.Equal("two", ghost.OnDisk("d/both"));
        Assert.True(ghost.IsOnDisk("d/fresh"));
        Assert.False(ghost.IsOnDisk("d/old"));
    }

    [Fact]
    public void A_renamed_directory_is_told_with_its_old_name_and_kept_whole()
    {
        ghost.Disk("before/kept", "kept");
        ghost.Disk("before/sub/edited", "one");
        ghost.Begin();
        Directory.Move(ghost.Of("before"), ghost.Of("after"));
        ghost.Session("after/sub/edited", "two");
        LedgerEntry moved = Assert.Single(LedgerScan.Of(ghost.Layer), static entry => entry.From is not null);
        Assert.Equal((ghost.Of("after"), ghost.Of("before")), (moved.Path, moved.From));
        ghost.Keep("after", "before");
        // The session goes on, and reads from the old name: to keep it twice must not keep what the first time left of it.
        Assert.Equal("kept", File.ReadAllText(ghost.Of("after/kept")));
        ghost.Keep("after", "before");
        ghost.End();
        Assert.Equal("kept", ghost.OnDisk("after/kept"));
        Assert.Equal("two", ghost.OnDisk("after/sub/edited"));
        Assert.Equal("one", ghost.OnDisk("before/sub/edited"));
    }

    [Fact]
    public void A_directory_renamed_within_a_renamed_one_is_found_where_the_disk_has_it()
    {
        ghost.Disk("a/b/file", "one");
        ghost.Begin();
        Directory.Move(ghost.Of("a"), ghost.Of("c"));
        Directory.Move(ghost.Of("c/b"), ghost.Of("c/d"));
        Assert.Equal([(ghost.Of("c"), ghost.Of("a")), (ghost.Of("c/d"), ghost.Of("a/b"))],
            LedgerScan.Of(ghost.Layer).Where(static entry => entry.From is not null).Select(static entry => (entry.Path, entry.From!)));
        Assert.DoesNotContain(ghost.Ledger(), static line => line.Contains("file", StringComparison.Ordinal));
    }

    [Fact]
    public void Other_bytes_with_the_old_time_and_other_attributes_alone_are_changes()
    {
        ghost.Disk("bytes", "one");
        ghost.Disk("attribute", "same");
        ghost.Begin();
        DateTime time = File.GetLastWriteTimeUtc(ghost.Of("bytes"));
        ghost.Session("bytes", "two");
        File.SetLastWriteTimeUtc(ghost.Of("bytes"), time);
        using (Dir root = Dir.Open(ghost.Layer.At))
            Xattrs.Set(root, "attribute", new Xattr("trusted.note", "x"u8.ToArray()));
        Assert.Equal(["Changed attribute", "Changed bytes"], ghost.Ledger());
    }

    [Fact]
    public void A_symbolic_link_on_the_way_leads_nowhere()
    {
        ghost.Disk("secret/shadow", "root's");
        ghost.Disk("home/dir/shadow", "mine");
        ghost.Begin();
        ghost.Session("home/dir/shadow", "changed");
        IReadOnlyList<LedgerEntry> asked = LedgerScan.Of(ghost.Layer);
        // The user exchanges the directory for a link while root reads the ledger.
        Directory.Move(ghost.Of("home/dir"), ghost.Of("home/aside"));
        File.CreateSymbolicLink(ghost.Of("home/dir"), ghost.Of("secret"));
        using (LedgerKeeper keeper = LedgerKeeper.Open(ghost.Layer))
        {
            Assert.Empty(keeper.Keep(asked));
            foreach (LedgerEntry entry in asked)
                keeper.Forget(entry);
        }

        Assert.Equal("root's", File.ReadAllText(ghost.Of("secret/shadow")));
        ghost.End();
        Assert.Equal("mine", ghost.OnDisk("home/dir/shadow"));
        Assert.Equal("root's", ghost.OnDisk("secret/shadow"));
    }

    [Fact]
    public void A_directory_too_deep_to_look_into_is_told_as_such_and_not_as_kept()
    {
        ghost.Begin();
        Directory.CreateDirectory(ghost.Of(string.Join('/', Enumerable.Repeat("d", 300))));
        LedgerEntry deep = Assert.Single(LedgerScan.Of(ghost.Layer));
        Assert.NotNull(deep.Obstacle);
        using LedgerKeeper keeper = LedgerKeeper.Open(ghost.Layer);
        Assert.Empty(keeper.Keep([deep]));
    }

    [Fact]
    public void What_is_kept_is_on_the_disk_with_its_owner_mode_and_attributes_and_in_the_ledger_no_more()
    {
        Busy();
        using (Dir root = Dir.Open(ghost.Layer.At))
        {
            root.ChangeOwner("hosts", 1000, 1001);
            root.ChangeMode("hosts", 0x1A0);
            Xattrs.Set(root, "hosts", new Xattr("trusted.note", "x"u8.ToArray()));
        }

        Everything();
        Assert.Empty(ghost.Ledger());
        ghost.End();
        Assert.Equal("changed", ghost.OnDisk("hosts"));
        Assert.Equal("file", ghost.OnDisk("new/deep/file"));
        Assert.False(ghost.IsOnDisk("gone"));
        Assert.False(ghost.IsOnDisk("gone-dir"));
        using Dir disk = Dir.Open(ghost.Layer.Lower);
        FileStat hosts = disk.Stat("hosts");
        Assert.Equal((1000u, 1001u, 0x1A0u), (hosts.Uid, hosts.Gid, hosts.Permissions));
        Assert.Equal(0x1C0u, disk.Stat("mode").Permissions);
        Assert.Equal(["trusted.note"], Xattrs.Read(disk, "hosts").Select(static attribute => attribute.Name));
        Assert.Equal("/nowhere", disk.ReadLink("socket-less-link"));
    }

    [Fact]
    public void What_is_not_asked_for_stays_off_the_disk()
    {
        Busy();
        Assert.Equal([ghost.Of("new/deep/file")], ghost.Keep("new/deep").Select(static entry => entry.Path));
        ghost.End();
        Assert.True(ghost.IsOnDisk("new/deep/file"));
        Assert.False(ghost.IsOnDisk("new/empty"));
        Assert.Equal("localhost", ghost.OnDisk("hosts"));
        Assert.True(ghost.IsOnDisk("gone"));
        Assert.Empty(Directory.EnumerateFileSystemEntries(Path.GetDirectoryName(ghost.Layer.Staging)!));
    }

    [Fact]
    public void What_is_forgotten_is_as_the_disk_has_it()
    {
        Busy();
        ghost.Forget("hosts", "gone", "gone-dir", "new", "mode", "socket-less-link");
        Assert.Empty(ghost.Ledger());
        Assert.Equal("localhost", File.ReadAllText(ghost.Of("hosts")));
        Assert.Equal("inner", File.ReadAllText(ghost.Of("gone-dir/inner")));
        Assert.False(Path.Exists(ghost.Of("new/deep/file")));
    }

    [Fact]
    public void A_file_where_the_disk_has_a_directory_and_the_other_way_round_are_kept_and_forgotten()
    {
        ghost.Disk("was-dir/inner", "inner");
        ghost.Disk("was-file", "file");
        ghost.Begin();
        Directory.Delete(ghost.Of("was-dir"), recursive: true);
        ghost.Session("was-dir", "a file now");
        File.Delete(ghost.Of("was-file"));
        ghost.Session("was-file/inner", "a directory now");
        ghost.Keep("was-dir", "was-file");
        Assert.Empty(ghost.Ledger());
        ghost.End();
        Assert.Equal("a file now", ghost.OnDisk("was-dir"));
        Assert.Equal("a directory now", ghost.OnDisk("was-file/inner"));
    }

    [Fact]
    public void A_socket_is_told_and_cannot_be_kept()
    {
        ghost.Begin();
        using (Dir root = Dir.Open(ghost.Layer.At))
            root.MakeNode("fifo", 0x1180, 0);
        LedgerEntry fifo = Assert.Single(LedgerScan.Of(ghost.Layer));
        Assert.NotNull(fifo.Obstacle);
        Assert.Empty(ghost.Keep("fifo"));
    }

    [Fact]
    public void The_cost_is_what_was_changed_and_not_what_the_disk_holds()
    {
        for (int number = 0; number < 20_000; number++)
            ghost.Disk($"d{number / 500}/f{number}", "");
        ghost.Begin();
        ghost.Session("d7/f3700", "changed");
        long before = GC.GetAllocatedBytesForCurrentThread();
        Assert.Equal(["Changed d7/f3700"], ghost.Ledger());
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 200_000);
    }

    [Fact]
    public void A_hundred_thousand_changed_files_are_listed_at_a_fixed_cost_each()
    {
        const int files = 100_000;
        ghost.Begin();
        for (int directory = 0; directory < files / 500; directory++)
        {
            string at = Directory.CreateDirectory(ghost.Of($"d{directory}")).FullName;
            for (int number = 0; number < 500; number++)
                File.WriteAllBytes($"{at}/f{number}", "x"u8);
        }

        long started = Stopwatch.GetTimestamp(), before = GC.GetAllocatedBytesForCurrentThread();
        IReadOnlyList<LedgerEntry> entries = LedgerScan.Of(ghost.Layer);
        long each = (GC.GetAllocatedBytesForCurrentThread() - before) / files;
        output.WriteLine($"{files} changed files in {Stopwatch.GetElapsedTime(started).TotalSeconds:0.00} s, {each} bytes each");
        Assert.Equal(files, entries.Count);
        // The name, the path (of 80 letters here) and the entry; it was 880 when the question what a version makes at boot took each path apart.
        Assert.InRange(each, 1, 420);

        before = GC.GetAllocatedBytesForCurrentThread();
        foreach (LedgerEntry entry in entries)
        {
            LedgerGroup.Of(entry);
            LedgerMeaning.Of([], entry);
        }

        Assert.InRange((GC.GetAllocatedBytesForCurrentThread() - before) / files, 0, 40); // an enumerator, and nothing for the hundred patterns
    }

    [Theory]
    [InlineData("/etc/NetworkManager/system-connections/cafe.nmconnection", "network")]
    [InlineData("/etc/passwd", "users")]
    [InlineData("/etc/passwd-", "leftovers")]
    [InlineData("/etc/passwd.mine", "etc")]
    [InlineData("/var/home/ann/.ssh/known_hosts", "ssh")]
    [InlineData("/var/home/ann/.cache/x/y", "caches")]
    [InlineData("/var/home/ann/letter", "home")]
    [InlineData("/var/home", "home")]
    [InlineData("/etc/nftables.conf", "firewall")]
    [InlineData("/var/log/journal/x", "logs")]
    [InlineData("/var/lib/postgresql/data", "var")]
    [InlineData("/usr/bin/x", "var")]
    public void A_path_belongs_to_the_group_that_a_person_would_look_in(string path, string group) => Assert.Equal(group, LedgerGroup.Of(path).Group.Id);

    private void Everything()
    {
        using LedgerKeeper keeper = LedgerKeeper.Open(ghost.Layer);
        IReadOnlyList<LedgerEntry> entries = LedgerScan.Of(ghost.Layer);
        Assert.Equal(entries, keeper.Keep(entries));
    }

    private void Busy()
    {
        ghost.Disk("hosts", "localhost");
        ghost.Disk("gone", "gone");
        ghost.Disk("gone-dir/inner", "inner");
        ghost.Disk("mode/inner", "inner");
        ghost.Disk("untouched", "untouched");
        ghost.Begin();
        ghost.Session("hosts", "changed");
        File.Delete(ghost.Of("gone"));
        Directory.Delete(ghost.Of("gone-dir"), recursive: true);
        using (Dir root = Dir.Open(ghost.Layer.At))
            root.ChangeMode("mode", 0x1C0);
        ghost.Session("new/deep/file", "file");
        Directory.CreateDirectory(ghost.Of("new/empty"));
        File.CreateSymbolicLink(ghost.Of("socket-less-link"), "/nowhere");
    }
}
