using Microsoft.Win32.SafeHandles;

namespace Sbox.Linux.Tests;

public sealed class FilesTests : IDisposable
{
    private readonly Dir dir;

    public FilesTests()
    {
        string path = Path.Combine("/var/tmp", $"sbox-linux-{Guid.NewGuid():N}");
        System.IO.Directory.CreateDirectory(path);
        dir = Dir.Open(path);
    }

    public void Dispose()
    {
        using Dir parent = Dir.Open("/var/tmp");
        parent.RemoveAll(Path.GetFileName(dir.Path));
        dir.Dispose();
    }

    [Theory, InlineData(0), InlineData(1), InlineData(9_999), InlineData(10_000), InlineData(10_001), InlineData(50_000)]
    public void A_file_is_read_whole_whatever_size_it_was_said_to_have(int expected)
    {
        string path = Path.GetTempFileName();
        var content = new byte[10_000];
        new Random(2).NextBytes(content);
        File.WriteAllBytes(path, content);
        using (Dir dir = Dir.Open(Path.GetDirectoryName(path)!))
        using (Microsoft.Win32.SafeHandles.SafeFileHandle file = dir.OpenFile(Path.GetFileName(path)))
            Assert.Equal(content, Linux.Files.ReadAll(file, path, expected));
        File.Delete(path);
    }

    [Fact]
    public void Any_name_the_kernel_has_comes_back_byte_for_byte()
    {
        foreach (byte[] name in new byte[][] { "plain"u8.ToArray(), "日本"u8.ToArray(), [0xff, 0xfe], [0x61, 0xc3], [0xed, 0xb2, 0x80], [.. "\n\t "u8] })
        {
            string text = FileName.FromBytes(name);
            Assert.Equal(name, FileName.ToBytes(text));
            dir.CreateFile(text).Dispose();
            Assert.Contains(dir.Entries(), entry => entry.Name == text);
            dir.Unlink(text);
        }
    }

    [Fact]
    public void A_small_file_that_cannot_seek_is_read_whole()
    {
        // Variables of the firmware are such files; here a pipe stands for them, since the class library refuses both.
        dir.MakeNode("pipe", 0x1000 | 0x180, device: 0);
        using SafeFileHandle reader = dir.OpenFile("pipe");
        using (var writer = new FileStream(dir.Of("pipe"), FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0))
            writer.Write(new byte[10_000]);
        Assert.Equal(new byte[10_000], Files.ReadAll(reader, dir.Of("pipe")));
    }

    [Fact]
    public void Names_are_listed_in_the_order_of_their_bytes()
    {
        foreach (string name in new[] { "b", "B", "a0", "a", "a.b", "é", "\U0001F600", "\uFFFD" })
            dir.CreateFile(name).Dispose();
        string[] names = [.. dir.Entries().Select(static entry => entry.Name)];
        Assert.Equal(names.OrderBy(static name => Convert.ToHexString(FileName.ToBytes(name)), StringComparer.Ordinal), names);
    }

    [Fact]
    public void Only_the_names_that_end_so_are_listed_and_the_directory_itself_never()
    {
        foreach (string name in new[] { "b.commit", "a.commit", "a.commitmeta", "commit", "é.commit", ".commit", "a.commi" })
            dir.CreateFile(name).Dispose();
        Assert.Equal([".commit", "a.commit", "b.commit", "é.commit"], dir.EntriesEnding(".commit").Select(static entry => entry.Name));
        Assert.Equal(["é.commit"], dir.EntriesEnding("é.commit").Select(static entry => entry.Name));
        Assert.Empty(dir.EntriesEnding("."));
        Assert.Equal(7, dir.EntriesEnding("").Count);
    }

    [Fact]
    public void An_unnamed_file_gets_its_name_once_and_what_is_there_stays()
    {
        using (SafeFileHandle file = dir.CreateUnnamed())
        {
            RandomAccess.Write(file, "one"u8, 0);
            Assert.Empty(dir.Entries());
            Assert.True(dir.TryLink(file, "name"));
        }

        using SafeFileHandle second = dir.CreateUnnamed();
        Assert.False(dir.TryLink(second, "name"));
        Assert.Equal("one"u8.ToArray(), dir.ReadAll("name"));
    }

    [Fact]
    public void Renaming_where_a_name_is_taken_is_refused_or_done_as_asked()
    {
        dir.CreateFile("a").Dispose();
        dir.CreateFile("b").Dispose();
        Assert.False(dir.TryRename("a", dir, "b"));
        Assert.True(dir.TryRename("a", dir, "c"));
        dir.Rename("c", dir, "b");
        Assert.Equal(["b"], dir.Entries().Select(static entry => entry.Name));
        Assert.Equal(Errno.ENOENT, Assert.Throws<LinuxException>(() => dir.TryRename("none", dir, "x")).Errno);
    }

    [Fact]
    public void Replacing_leaves_no_other_name_behind()
    {
        Durable.Replace(dir, "config", "old"u8);
        Durable.Replace(dir, "config", "new"u8);
        Assert.Equal("new"u8.ToArray(), dir.ReadAll("config"));
        Assert.Equal(["config"], dir.Entries().Select(static entry => entry.Name));
    }

    [Fact]
    public void Of_many_who_replace_a_file_or_a_link_at_once_each_reader_finds_all_of_what_one_of_them_wrote()
    {
        const int size = 100_000;
        Parallel.For(0, 64, new ParallelOptions { MaxDegreeOfParallelism = 8 }, number =>
        {
            byte[] bytes = new byte[size];
            Array.Fill(bytes, (byte)number);
            Durable.Replace(dir, "config", bytes);
            byte[] found = dir.ReadAll("config");
            Assert.Equal(size, found.Length);
            Assert.DoesNotContain(found, each => each != found[0]);
            dir.ReplaceSymlink($"{number}", "link");
        });
        Assert.Equal(["config", "link"], dir.Entries().Select(static entry => entry.Name).Order());
    }

    [Fact]
    public void A_refusal_names_the_call_the_path_and_the_reason()
    {
        LinuxException refused = Assert.Throws<LinuxException>(() => dir.OpenFile("none"));
        Assert.Equal((Errno.ENOENT, "openat", $"{dir.Path}/none"), (refused.Errno, refused.Call, refused.Path));
        dir.Symlink("none", "link");
        Assert.Equal(Errno.ELOOP, Assert.Throws<LinuxException>(() => dir.OpenFile("link")).Errno);
        Assert.Null(dir.TryOpenFile("none"));
        Assert.Null(dir.TryStat("none/below"));
    }

    [Fact]
    public void Attributes_read_as_they_were_set_of_files_and_links_and_in_order()
    {
        dir.CreateFile("f").Dispose();
        dir.Symlink("nowhere", "l");
        Xattrs.Set(dir, "f", new Xattr("user.b", [1, 0, 2]));
        Xattrs.Set(dir, "f", new Xattr("user.a", []));
        Xattrs.Set(dir, "l", new Xattr("trusted.t", "x"u8.ToArray()));
        using SafeFileHandle file = dir.OpenFile("f");
        Assert.Equal(["user.a", "user.b"], Xattrs.Read(file, "f").Select(static xattr => xattr.Name));
        Assert.Equal([1, 0, 2], Xattrs.Read(dir, "f")[1].Value);
        Assert.Equal("trusted.t", Assert.Single(Xattrs.Read(dir, "l")).Name);
    }

    [Fact]
    public void Attributes_are_read_whole_however_many_and_long_and_those_that_nobody_wants_are_passed_over()
    {
        byte[] value = [.. Enumerable.Range(0, 700).Select(static at => (byte)at)];
        dir.CreateFile("f").Dispose();
        using SafeFileHandle file = dir.OpenFile("f");
        Xattrs.Set(dir, "f", new Xattr("trusted.t", "x"u8.ToArray()));
        Assert.Empty(Xattrs.Read(file, "f", but: "trusted."));
        for (int number = 0; number < 20; number++)
            Xattrs.Set(dir, "f", new Xattr($"user.{number}-{new string('n', 40)}", number == 7 ? value : []));
        Assert.Equal(21, Xattrs.Read(dir, "f").Count);
        Assert.Equal(21, Xattrs.Read(file, "f").Count);
        Assert.Equal(20, Xattrs.Read(file, "f", but: "trusted.").Count);
        Assert.Equal(value, Xattrs.Read(file, "f").Single(static xattr => xattr.Value.Length > 0 && xattr.Name.StartsWith("user.", StringComparison.Ordinal)).Value);
    }

    [Fact]
    public void A_file_that_is_held_stays_in_memory_and_one_that_is_too_large_or_missing_is_not_held()
    {
        var bytes = new byte[300_000];
        using (SafeFileHandle file = dir.CreateFile("program"))
            RandomAccess.Write(file, bytes, 0);
        using (HeldFile held = HeldFile.TryHold(dir.Of("program"), most: bytes.Length)!)
        {
            Assert.Equal(bytes.Length, held.Bytes);
            dir.Unlink("program"); // whoever replaces it takes nothing away
            Assert.InRange(Locked(), 290, 300);
        }

        Assert.Equal(0, Locked());

        dir.CreateFile("empty").Dispose();
        Assert.Null(HeldFile.TryHold(dir.Of("empty"), long.MaxValue));
        Assert.Null(HeldFile.TryHold(dir.Of("program"), long.MaxValue));
        Assert.Null(HeldFile.TryHold("/bin/sh", most: 1000));

        // In kibibytes, of this file alone: other tests lock memory meanwhile.
        long Locked() => File.ReadLines("/proc/self/smaps").SkipWhile(line => !line.Contains(dir.Of("program"), StringComparison.Ordinal)).FirstOrDefault(static line => line.StartsWith("Locked:", StringComparison.Ordinal)) is { } line
            ? long.Parse(line.Split((char[])[' ', '\t'], StringSplitOptions.RemoveEmptyEntries)[1], System.Globalization.CultureInfo.InvariantCulture) : 0;
    }

    [Fact]
    public void Terminals_are_told_without_waiting_for_one_and_those_of_a_machine_are_found()
    {
        foreach (string each in (string[])["dev/pts", "sys/class/tty/console"])
            dir.MakeDirs(each);
        foreach (string each in (string[])["vcs", "vcs1", "vcsa1", "vcs12", "tty1", "tty2", "tty12", "ttyS0", "pts/0", "pts/ptmx", "console"])
            dir.CreateFile($"dev/{each}").Dispose();
        File.WriteAllText(dir.Of("sys/class/tty/console/active"), "tty0 ttyS0\n");
        Assert.Equal(["tty1", "tty12", "pts/0", "ttyS0"], Terminals.All(dir.Of("dev"), dir.Of("sys")).Select(path => path[(dir.Of("dev").Length + 1)..]));
        Assert.True(Terminals.TryTell(dir.Of("dev/ttyS0"), "one\ntwo\n"));
        Assert.Equal("one\r\ntwo\r\n", File.ReadAllText(dir.Of("dev/ttyS0")));
        dir.MakeNode("stopped", 0x1180 /* a FIFO that nobody reads */, 0);
        Assert.False(Terminals.TryTell(dir.Of("stopped"), "x"));
        Assert.False(Terminals.TryTell(dir.Of("gone"), "x"));

        // One that is slow: more than it holds at once, and somebody who reads.
        dir.MakeNode("slow", 0x1180, 0);
        string text = new('x', 200_000), heard = "";
        var reader = new Thread(() => heard = File.ReadAllText(dir.Of("slow")));
        reader.Start();
        for (int tries = 0; !Terminals.TryTell(dir.Of("slow"), text) && tries < 1000; tries++)
            Thread.Sleep(10); // until the reader has it open
        reader.Join();
        Assert.EndsWith(text, heard, StringComparison.Ordinal);
    }

    [Fact]
    public void Times_owners_and_all_twelve_permission_bits_are_set()
    {
        using SafeFileHandle file = dir.CreateFile("f");
        Files.ChangeOwner(file, 5, 6, "f");
        Files.ChangeMode(file, 0xFFF, "f");
        Files.SetModified(file, 0, 0, "f");
        FileStat stat = dir.Stat("f");
        Assert.Equal((5u, 6u, 0xFFFu, 0L), (stat.Uid, stat.Gid, stat.Permissions, stat.ModifiedSeconds));
    }

    [Fact]
    public void Copying_gives_the_same_bytes_also_of_what_says_it_is_empty()
    {
        var bytes = new byte[300_000];
        new Random(3).NextBytes(bytes);
        using (SafeFileHandle source = dir.CreateFile("from"))
        using (SafeFileHandle target = dir.CreateFile("to"))
        {
            RandomAccess.Write(source, bytes, 0);
            Assert.Equal(bytes.Length, Files.Copy(source, target, "to"));
        }

        Assert.Equal(bytes, dir.ReadAll("to"));
        using Dir kernel = Dir.Open("/proc/sys/kernel");
        using SafeFileHandle release = kernel.OpenFile("osrelease"), copy = dir.CreateFile("copy");
        Files.Copy(release, copy, "copy");
        Assert.Equal(kernel.ReadAll("osrelease"), dir.ReadAll("copy"));
    }

    [Fact]
    public void A_lock_is_shared_among_readers_and_kept_from_others_in_this_process_too()
    {
        using (FileLock first = FileLock.TryTake(dir, ".lock", LockKind.Shared)!)
        {
            using FileLock? second = FileLock.TryTake(dir, ".lock", LockKind.Shared);
            Assert.NotNull(second);
            Assert.Null(FileLock.TryTake(dir, ".lock", LockKind.Exclusive));
            Assert.True(first.IsStill(dir, ".lock"));
            dir.Unlink(".lock");
            Assert.False(first.IsStill(dir, ".lock"));
        }

        using FileLock? alone = FileLock.TryTake(dir, ".lock", LockKind.Exclusive);
        Assert.NotNull(alone);
        Assert.Null(FileLock.TryTake(dir, ".lock", LockKind.Shared));
    }

    [Fact]
    public void Removing_all_follows_nothing()
    {
        dir.MakeDirs("keep");
        dir.CreateFile("keep/file").Dispose();
        dir.MakeDirs("gone/a/b");
        dir.Symlink("../../keep", "gone/a/link");
        Assert.True(dir.RemoveAll("gone"));
        Assert.False(dir.RemoveAll("gone"));
        Assert.True(dir.Exists("keep/file"));
    }

    [Fact]
    public void Free_space_is_what_the_class_library_says()
    {
        var drive = new DriveInfo(dir.Path);
        DiskSpace space = DiskSpace.Of(dir);
        Assert.Equal(drive.TotalSize, space.TotalBytes);
        Assert.InRange(space.AvailableBytes, 1, space.FreeBytes);
    }
}
