using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Sbox.Linux.Tests.Fuse;

public sealed class FuseMountTests
{
    [Theory]
    [InlineData(1 << 20)]
    [InlineData(70_000)]
    [InlineData(1_000)]
    public void However_small_the_pieces_are_that_a_file_comes_in_it_is_read_whole_and_each_is_let_go_of(int piece)
    {
        var tree = new MemoryTree { Piece = piece };
        var content = new byte[3_333_333];
        new Random(7).NextBytes(content);
        tree.AddFile(1, "file", content);
        using var mounted = new MountedTree(tree);
        Assert.Equal([Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(content))], mounted.Sh("sha256sum < file | cut -d' ' -f1"));
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref tree.Lent) == 0, TimeSpan.FromSeconds(60)));
    }

    [Fact]
    public void What_the_tree_holds_is_what_programs_see()
    {
        var tree = new MemoryTree();
        byte[] large = new byte[(5 << 20) + 77];
        new Random(1).NextBytes(large);
        ulong dir = tree.Add(1, "dir", MemoryTree.Plain(0, FileKind.Directory, 0x3C0 /* 1700 */, 0) with { Uid = 7, Gid = 8 });
        ulong file = tree.Add(dir, "a file", MemoryTree.Plain(0, FileKind.Regular, 0x9ED /* 4755 */, 5) with { Modified = new(-5, 250) }, "hello"u8.ToArray());
        tree.AddLink(1, "same", file);
        tree.AddFile(1, "large", large);
        tree.Add(1, "link", MemoryTree.Plain(0, FileKind.Symlink, 0x1FF, 10), Encoding.UTF8.GetBytes("dir/a file"));
        tree.Add(1, "pipe", MemoryTree.Plain(0, FileKind.Fifo, 0x180, 0));
        tree.Add(1, "disk", MemoryTree.Plain(0, FileKind.BlockDevice, 0x1B0, 0) with { RawDevice = (8 << 8) | 3 });
        tree.AddFile(1, FileName.FromBytes([(byte)'b', 0xFF, 0xC3]), []);
        using var mounted = new MountedTree(tree);

        Assert.Equal(["hello", "hello", "hello"], mounted.Sh("for f in 'dir/a file' same link; do cat \"$f\"; echo; done"));
        Assert.Equal(
            ["./dir d 1700 7 8", "./dir/a file f 4755 0 0 2 -5.0000002500", "./same f 4755 0 0 2 -5.0000002500"],
            mounted.Sh("find dir -type d -printf './%p %y %m %U %G\\n'; find ./dir/* ./same -printf '%p %y %m %U %G %n %T@\\n'"));
        Assert.Equal([Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(large))], mounted.Sh("sha256sum < large | cut -d' ' -f1"));
        Assert.Equal(["dir/a file", "fifo", "8 3"], mounted.Sh("readlink link; stat -c %F pipe; stat -c '%Hr %Lr' disk"));
        Assert.Equal(["62ff"], mounted.Sh("ls | od -An -tx1 -v | tr -d ' \\n' | grep -o 62ff"));
        Assert.Equal(["same"], mounted.Sh("[ \"$(stat -c %i same)\" = \"$(stat -c %i 'dir/a file')\" ] && echo same"));
    }

    [Fact]
    public void A_mapped_file_has_the_same_bytes()
    {
        var tree = new MemoryTree();
        byte[] content = new byte[(3 << 20) + 1];
        new Random(2).NextBytes(content);
        tree.AddFile(1, "f", content);
        using var mounted = new MountedTree(tree);
        Assert.Equal(
            [Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(content))],
            mounted.Sh("python3 -c 'import mmap, hashlib; f = open(\"f\"); print(hashlib.sha256(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)).hexdigest())'"));
    }

    [Fact]
    public void What_is_put_into_the_kernels_cache_is_read_without_asking()
    {
        var tree = new MemoryTree();
        byte[] content = new byte[(1 << 20) + 1000];
        new Random(3).NextBytes(content);
        ulong file = tree.AddFile(1, "f", content);
        using var mounted = new MountedTree(tree);
        Assert.False(tree.Pages!.Put(file, 0, content)); // a file that the kernel does not know yet
        mounted.Sh("stat f");
        Assert.True(tree.Pages.Put(file, 0, content));
        Assert.Equal([Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(content))], mounted.Sh("sha256sum < f | cut -d' ' -f1"));
        Assert.Equal(0, tree.Reads);
    }

    [Fact]
    public void Part_of_a_page_in_the_kernels_cache_hides_nothing_of_the_rest()
    {
        var tree = new MemoryTree();
        byte[] content = new byte[20_000];
        new Random(4).NextBytes(content);
        ulong file = tree.AddFile(1, "f", content);
        using var mounted = new MountedTree(tree);
        mounted.Sh("stat f");
        Assert.True(tree.Pages!.Put(file, 5000, content.AsSpan(5000, 7000)));
        Assert.Equal([Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(content))], mounted.Sh("sha256sum < f | cut -d' ' -f1"));
    }

    [Fact]
    public void Extended_attributes_are_listed_and_read_and_absent_ones_are_absent()
    {
        var tree = new MemoryTree();
// Owner rw, user 1000 r, group none, mask r, others none: as acl(5) has it, written as the kernel keeps it.
        byte[] acl = Convert.FromHexString("02000000" + "01000600ffffffff" + "02000400e8030000" + "04000000ffffffff" + "10000400ffffffff" + "20000000ffffffff");
        tree.Add(1, "f", MemoryTree.Plain(0, FileKind.Regular, 0x1A0, 0), xattrs: new()
        {
            ["user.small"] = "value"u8.ToArray(), ["user.big"] = new byte[60_000], ["system.posix_acl_access"] = acl,
        });
        tree.AddFile(1, "none", []);
        using var mounted = new MountedTree(tree);
        Assert.Equal(
            ["user.big 60000", "user.small 5", "[]"],
            mounted.Sh("""python3 -c 'import os; [print(n, len(os.getxattr("f", n))) for n in sorted(os.listxattr("f")) if n[0] == "u"]; print(os.listxattr("none"))'"""));
        Assert.Equal(["may", "exit 1"], mounted.Sh("chmod 711 . 2>/dev/null; for u in 1000 1001; do setpriv --reuid $u --regid $u --clear-groups test -r f && echo may; done"));
    }

    [Fact]
    public void A_hundred_thousand_names_are_listed_without_one_lookup_each()
    {
        var tree = new MemoryTree();
        ulong parent = 1;
        for (int at = 0; at < 100_000; at++)
        {
            if (at % 10_000 == 0)
                parent = tree.Add(1, $"d{at}", MemoryTree.Plain(0, FileKind.Directory, 0x1ED, 0));
            tree.AddFile(parent, $"a name of some length {at}", []);
        }

        using var mounted = new MountedTree(tree);
        Assert.Equal(["100010"], mounted.Sh("ls -R | grep -c '^[ad]'"));
        Assert.Equal(["100000"], mounted.Sh("find -type f -size 0 | wc -l"));
        Assert.InRange(tree.Lookups, 0, 1000);
    }

    [Fact]
    public void What_the_kernel_was_told_it_gives_up_again()
    {
        var tree = new MemoryTree();
        for (int at = 0; at < 500; at++)
            tree.AddFile(1, $"{at}", []);
        using (var mounted = new MountedTree(tree))
        {
            Assert.Equal(["500"], mounted.Sh("ls -l | grep -c root"));
            mounted.Sh("sync; echo 2 > /proc/sys/vm/drop_caches");
            Assert.True(SpinWait.SpinUntil(() => tree.Known.Where(static each => each.Key != 1).All(static each => each.Value == 0), TimeSpan.FromSeconds(30)));
        }
    }

    [Theory]
    [InlineData("echo x > f")]
    [InlineData("touch new")]
    [InlineData("mkdir d")]
    [InlineData("rm f")]
    [InlineData("chmod 600 f")]
    [InlineData("mv f g")]
    [InlineData("ln f g")]
    [InlineData("setfattr -n user.x -v 1 f")]
    [InlineData("mount -i -o remount,rw . && echo x > f")]
    public void Nothing_is_written(string attempt)
    {
        var tree = new MemoryTree();
        tree.AddFile(1, "f", "kept"u8.ToArray());
        using var mounted = new MountedTree(tree);
        string[] said = mounted.Sh($"({attempt}) 2>&1");
        Assert.Contains(said, static line => line.Contains("Read-only", StringComparison.Ordinal) || line.Contains("read-only", StringComparison.Ordinal));
        Assert.Equal(["kept"], mounted.Sh("cat f"));
    }

    [Theory]
    [InlineData("cat absent", "No such file")]
    [InlineData("cat d", "Is a directory")]
    [InlineData("ls f/x", "Not a directory")]
    [InlineData("readlink f", "exit 1")]
    [InlineData("cat $(printf '%0300d' 1)", "File name too long")]
    [InlineData("getfattr -n user.none f", "No such attribute")]
    public void Wrong_questions_get_the_answer_that_any_file_system_gives(string question, string answer)
    {
        var tree = new MemoryTree();
        tree.AddFile(1, "f", [1]);
        tree.Add(1, "d", MemoryTree.Plain(0, FileKind.Directory, 0x1ED, 0));
        using var mounted = new MountedTree(tree);
        Assert.Contains(answer, string.Join('\n', mounted.Sh($"({question}) 2>&1")), StringComparison.Ordinal);
    }

    [Fact]
    public void A_tree_that_fails_is_an_error_to_the_reader_and_the_next_read_may_succeed()
    {
        var tree = new MemoryTree();
        tree.AddFile(1, "f", "there"u8.ToArray());
        int failures = 0;
        tree.BeforeRead = (_, _) => Interlocked.Increment(ref failures) <= 2 ? throw new InvalidOperationException("the remote is gone") : Task.CompletedTask;
        var told = new List<string>();
        using var mounted = new MountedTree(tree, failure => { lock (told) told.Add(failure.Message); });
        Assert.Contains("Input/output error", string.Join('\n', mounted.Sh("cat f 2>&1")), StringComparison.Ordinal);
        string[] later = [];
        Assert.True(SpinWait.SpinUntil(() => (later = mounted.Sh("cat f")) is ["there"], TimeSpan.FromSeconds(30)), string.Join('\n', later));
        Assert.Contains("the remote is gone", told);
    }

    [Fact]
    public void Others_are_served_while_many_readers_wait_and_a_killed_reader_is_gone_at_once()
    {
        var tree = new MemoryTree();
        for (int at = 0; at < 20; at++)
            tree.AddFile(1, $"slow{at}", "late"u8.ToArray());
        ulong quick = tree.AddFile(1, "quick", "now"u8.ToArray());
        int waiting = 0;
        tree.BeforeRead = async (node, cancel) =>
        {
            if (node == quick)
                return;
            Interlocked.Increment(ref waiting);
            await Task.Delay(TimeSpan.FromMinutes(5), cancel);
        };
        using var mounted = new MountedTree(tree);
        var readers = Enumerable.Range(0, 20).Select(at => Process.Start("cat", $"{mounted.Place}/slow{at}")).ToList();
        Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref waiting) == 20, TimeSpan.FromSeconds(60)));
        Assert.Equal(["now"], mounted.Sh("cat quick"));
        readers.ForEach(static reader => reader.Kill());
        Assert.All(readers, static reader => Assert.True(reader.WaitForExit(TimeSpan.FromSeconds(60))));
    }

    [Fact]
    public void Whoever_waits_for_a_name_and_is_killed_is_waited_for_no_more()
    {
        var tree = new MemoryTree();
        tree.AddFile(1, "slow", []);
        using var waiting = new ManualResetEventSlim();
        using var cancelled = new ManualResetEventSlim();
        tree.BeforeLookup = async (name, cancel) =>
        {
            if (name != "slow")
                return;
            waiting.Set();
            using CancellationTokenRegistration _ = cancel.Register(cancelled.Set);
            await Task.Delay(TimeSpan.FromMinutes(5), cancel);
        };
        using var mounted = new MountedTree(tree);
        using Process asking = Process.Start("stat", $"{mounted.Place}/slow");
        Assert.True(waiting.Wait(TimeSpan.FromSeconds(60)));
        asking.Kill();
        Assert.True(asking.WaitForExit(TimeSpan.FromSeconds(60)));
        Assert.True(cancelled.Wait(TimeSpan.FromSeconds(60)));
    }

    // Not our own child is held: of that the class library would take a stop for the end.
    [Fact]
    public async Task Whoever_is_held_while_a_name_is_waited_for_has_it_when_it_is_there_and_no_EINTR()
    {
        var tree = new MemoryTree();
        tree.AddFile(1, "slow", []);
        var asked = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var there = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        tree.BeforeLookup = (name, cancel) =>
        {
            if (name != "slow")
                return Task.CompletedTask;
            asked.TrySetResult();
            return there.Task.WaitAsync(cancel);
        };
        using var mounted = new MountedTree(tree);
        using Process shell = Process.Start(new ProcessStartInfo("sh", ["-c", $"stat -c %n {mounted.Place}/slow & echo $!; wait $!; echo $?"]) { RedirectStandardOutput = true })!;
        int asking = int.Parse((await shell.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken))!, CultureInfo.InvariantCulture);
        await asked.Task.WaitAsync(TimeSpan.FromMinutes(1), TestContext.Current.CancellationToken);
        mounted.Mount.IgnoreInterrupts(TimeSpan.FromMinutes(5));
        using (var held = new HeldProcesses(TimeSpan.FromMinutes(2)))
        {
            Assert.False(held.Hold([asking], TimeSpan.FromMilliseconds(300))); // it waits in the kernel
            there.SetResult();
            Assert.True(held.Hold([asking], TimeSpan.FromMinutes(1)));
        }

        Assert.Equal($"{mounted.Place}/slow\n0\n", await shell.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken));
    }

    [Fact]
    public void It_is_not_unmounted_while_in_use_and_taken_by_force_it_answers_with_an_error_and_never_hangs()
    {
        var tree = new MemoryTree();
        tree.AddFile(1, "f", "x"u8.ToArray());
        int waiting = 0;
        tree.BeforeRead = async (_, cancel) =>
        {
            Interlocked.Increment(ref waiting);
            await Task.Delay(TimeSpan.FromMinutes(5), cancel);
        };
        string[] said;
        using (var mounted = new MountedTree(tree))
        {
            using Process reader = Process.Start(new ProcessStartInfo("sh", ["-c", "cat f; ls"]) { WorkingDirectory = mounted.Place, RedirectStandardError = true, RedirectStandardOutput = true })!;
            Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref waiting) > 0, TimeSpan.FromSeconds(60)));
            Assert.Equal(Errno.EBUSY, Assert.Throws<LinuxException>(mounted.Mount.Unmount).Errno);
            mounted.Mount.Dispose();
            Assert.True(reader.WaitForExit(TimeSpan.FromSeconds(60)));
            said = [.. reader.StandardError.ReadToEnd().Split('\n')];
        }

        Assert.Contains(said, static line => line.StartsWith("cat: f: ", StringComparison.Ordinal));
        Assert.Contains(said, static line => line.Contains("not connected", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Unmounted_it_has_ended()
    {
        using var mounted = new MountedTree(new MemoryTree());
        Assert.Equal(["."], mounted.Sh("find"));
        mounted.Mount.Unmount();
        await mounted.Mount.Ended.WaitAsync(TimeSpan.FromMinutes(5));
        Assert.Null(MountTable.At(mounted.Place));
    }

    [Fact]
    public async Task A_copy_in_another_mount_namespace_is_served_for_as_long_as_it_is_there()
    {
        var tree = new MemoryTree();
        tree.AddFile(1, "f", "there"u8.ToArray());
        using var mounted = new MountedTree(tree);
        using Process other = Process.Start(new ProcessStartInfo("unshare", ["--mount", "--propagation", "private", "sh", "-c", "echo copied; read gone; cat \"$1\"", "sh", $"{mounted.Place}/f"])
        {
            RedirectStandardInput = true, RedirectStandardOutput = true,
        })!;
        Assert.Equal("copied", await other.StandardOutput.ReadLineAsync(TestContext.Current.CancellationToken));
        mounted.Mount.Unmount();
        mounted.Mount.Dispose();
        Assert.False(tree.IsUnmounted);
        await other.StandardInput.WriteLineAsync();
        Assert.Equal("there", await other.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken));
        await mounted.Mount.Ended.WaitAsync(TimeSpan.FromMinutes(5), TestContext.Current.CancellationToken);
        Assert.True(tree.IsUnmounted);
    }

    [Fact]
    public void The_kernel_reads_a_mebibyte_at_a_time()
    {
        var tree = new MemoryTree();
        tree.AddFile(1, "f", new byte[16 << 20]);
        int reads = 0;
        tree.BeforeRead = (_, _) => Task.FromResult(Interlocked.Increment(ref reads));
        using var mounted = new MountedTree(tree);
        Assert.Null(mounted.Mount.ReadAheadFinding);
        Assert.Equal(["16777216"], mounted.Sh("cat f | wc -c"));
        int first = reads;
        Assert.InRange(first, 16, 40); // a busy machine reads ahead in smaller pieces now and then
        mounted.Sh("cat f >/dev/null");
        Assert.InRange(reads, first, first + 8); // the second time the kernel has it
    }

    [Fact]
    public void Overlayfs_writes_above_it_with_metacopy_redirects_and_an_index()
    {
        var tree = new MemoryTree();
        ulong dir = tree.Add(1, "dir", MemoryTree.Plain(0, FileKind.Directory, 0x1ED, 0));
        tree.AddFile(dir, "f", "below\n"u8.ToArray());
        using var mounted = new MountedTree(tree);
        IReadOnlyList<string> said = ChildProcess.Run(ChildProcess.InOwnNamespaces(new ChildCommand("sh",
        [
            "-ec",
            """
            t=$(mktemp -d); mount -t tmpfs t $t; mkdir $t/up $t/work $t/m
            mount -t overlay o -o lowerdir="$1",upperdir=$t/up,workdir=$t/work,redirect_dir=on,metacopy=on,index=on,xino=on $t/m
            mv $t/m/dir $t/m/moved; chmod 600 $t/m/moved/f; stat -c %b $t/up/moved/f; echo above >> $t/m/moved/f; cat $t/m/moved/f
            ls $t/up; grep -c xino=on /proc/self/mounts; umount $t/m; umount $t; rmdir $t
            """,
            "sh", mounted.Place,
        ]))).LastLines;
        Assert.Equal(["0", "below", "above", "dir", "moved", "1"], said); // 0 blocks: of a changed mode only metadata is copied up
    }
}
