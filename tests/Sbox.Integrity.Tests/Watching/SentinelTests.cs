using Sbox.Judges;

namespace Sbox.Integrity.Tests;

/// <summary>Real mounts, the real kernel, the real sentinel.</summary>
[Collection("sentinel")]
public sealed class SentinelTests(ITestOutputHelper output)
{
    [Theory]
    [InlineData("mount -t tmpfs evil protected", FindingKind.Test)] // this world's test directory
    [InlineData("mkdir -p /run/sbox-evil && mount --bind /run/sbox-evil protected", FindingKind.Covered)]
    [InlineData("mount -o remount,bind,rw protected", FindingKind.Writable)]
    [InlineData("mount -o remount,bind,rw storage", FindingKind.PhysicalWritable)]
    [InlineData("mkdir -p /run/sbox-evil && mount --bind storage /run/sbox-evil && mount -o remount,bind,rw /run/sbox-evil && umount /run/sbox-evil", FindingKind.PhysicalWritable)]
    public void What_becomes_writable_in_the_system_is_told_with_who_did_it(string attack, FindingKind kind)
    {
        using var world = new WatchedWorld();
        world.InSystem($"{attack}\nsleep 0.3");
        Alarm alarm = world.Next(kind);
        output.WriteLine(alarm.ToJson());
        Assert.Equal("mount", alarm.Culprit!.Name);
        Assert.EndsWith("bin/mount", alarm.Culprit.Program, StringComparison.Ordinal);
        Assert.InRange(alarm.Latency!.Value, TimeSpan.Zero, TimeSpan.FromSeconds(10)); // the first pays for the compiling; a benchmark measures it
        Assert.Contains(alarm.ToJson(), File.ReadLines($"{world.Directory}/state/history.jsonl"));
    }

    [Theory]
    [InlineData("mkdir -p /run/sbox-evil && mount --bind /run/sbox-evil protected; sleep 0.3", FindingKind.Covered)]
    [InlineData("mount -o remount,bind,rw protected; sleep 0.3", FindingKind.Writable)]
    [InlineData("mount -o remount,bind,rw storage; sleep 0.3", FindingKind.PhysicalWritable)]
    public void What_becomes_writable_in_a_namespace_that_was_made_for_it_is_told_too(string attack, FindingKind kind)
    {
        using var world = new WatchedWorld();
        world.InOwnNamespace(attack);
        Alarm alarm = world.Next(kind);
        output.WriteLine(alarm.ToJson());
        Assert.NotEqual(0u, alarm.Namespace);
        // Where the mount was there before the new namespace was looked at, its maker is named first.
        Assert.Contains(alarm.Culprit!.Name, new[] { "mount", "unshare" });
    }

    [Fact]
    public void A_mount_that_is_gone_with_its_namespace_at_once_is_known_by_what_was_asked_for()
    {
        using var world = new WatchedWorld();
        world.InOwnNamespace($"exec mount --bind /tmp {world.Directory}/protected");
        Alarm alarm = world.Next();
        output.WriteLine(alarm.ToJson());
        Assert.True(alarm.Finding.Kind is FindingKind.Covered or FindingKind.Test);
        Assert.Equal("mount", alarm.Culprit!.Name);
    }

    // As mount(8) does it from util-linux 2.39 on: open_tree, and mount_setattr with an empty path.
    [Fact]
    public void A_mount_that_is_made_writable_by_a_descriptor_in_a_namespace_that_ends_at_once_is_known_by_what_the_descriptor_led_to()
    {
        using var world = new WatchedWorld();
        const string writable = """perl -e 'sub c { my ($n, @a) = @_; syscall($n, @a) } my $n=""; my $fd=c(428,-100,$ARGV[0],0); c(442,$fd,$n,0x1000,pack("Q4",0,1,0,0),32)==0 or die $!'""";
        world.InOwnNamespace($"exec {writable} {world.Directory}/free"); // which may be written
        world.InOwnNamespace($"exec {writable} {world.Directory}/storage");
        // That a writable mount without a place was made may be told before it.
        Alarm alarm = world.Next(FindingKind.PhysicalWritable);
        output.WriteLine(alarm.ToJson());
        Assert.Equal(($"{world.Directory}/storage", "perl"), (alarm.Finding.Path, alarm.Culprit!.Name));
    }

    // On a busy machine the alarm itself may take its time; undone it must be in the end.
    private const string UntilReadOnly = "for i in $(seq 100); do touch protected/x 2>/dev/null || exit 0; sleep 0.2; done; exit 1";

    [Fact]
    public void What_the_policy_wants_undone_is_undone()
    {
        using var world = new WatchedWorld("[reaction.critical]\ndo = [\"undo\"]");
        world.InSystem("mount -o remount,bind,rw protected; " + UntilReadOnly);
        Assert.Contains("undone: read-only again", world.Next(FindingKind.Writable).Done);
        world.InOwnNamespace("mkdir -p /run/sbox-evil; mount --bind /run/sbox-evil protected; " + UntilReadOnly);
        Assert.Contains("undone: unmounted", world.Next(FindingKind.Covered).Done);
    }

    // A sentinel that was started anew in the middle of an upgrade would have ended that by undoing its mount.
    [Theory]
    [InlineData("cp /bin/sleep sbox; mount -o remount,bind,rw storage; echo ready; exec ./sbox 1000", "not undone: sbox was at work there when the sentinel started")]
    [InlineData("cp /bin/sleep sbox; mount -o remount,bind,rw storage; echo ready; exec sleep 1000", "undone: read-only again")]
    [InlineData("cp /bin/sleep sbox; mount -o remount,bind,rw storage; echo ready; export LD_BIND_NOW=1; exec ./sbox 1000", "undone: read-only again")] // told to load what others say
    public void Where_sbox_was_writing_when_the_sentinel_started_that_is_told_and_not_undone_under_its_hands(string before, string done)
    {
        using var world = new WatchedWorld("[reaction.critical]\ndo = [\"undo\"]", before);
        Assert.Contains(done, world.Next(FindingKind.PhysicalWritable).Done);
    }

    [Fact]
    public void What_others_do_in_such_a_namespace_is_undone()
    {
        using var world = new WatchedWorld("[reaction.critical]\ndo = [\"undo\"]", "cp /bin/sleep sbox; mount -o remount,bind,rw storage; (while [ ! -e go ]; do sleep 0.1; done; mount -o remount,bind,rw protected) & echo ready; exec ./sbox 1000");
        Assert.Contains("not undone: sbox was at work there when the sentinel started", world.Next(FindingKind.PhysicalWritable).Done);
        File.WriteAllText($"{world.Directory}/go", "");
        Assert.Contains("undone: read-only again", world.Next(FindingKind.Writable).Done);
    }

    [Fact]
    public void Open_tombs_are_slammed_when_the_policy_says_so()
    {
        using var world = new WatchedWorld("[reaction.critical]\ndo = [\"close-tombs\"]");
        Script.Write($"{world.Directory}/sbox", $"echo \"$@\" > {world.Directory}/called.new && mv {world.Directory}/called.new {world.Directory}/called");
        world.InSystem("mount -o remount,bind,rw protected; sleep 0.3");
        Assert.Contains("open tombs are slammed", world.Next(FindingKind.Writable).Done);
        Assert.True(SpinWait.SpinUntil(() => File.Exists($"{world.Directory}/called"), TimeSpan.FromSeconds(60)));
        Assert.Equal("tomb slam --all\n", File.ReadAllText($"{world.Directory}/called"));
    }

    // open_tree(2) clones, move_mount(2) with MOVE_MOUNT_BENEATH (0x200) puts it under what is there; perl writes through its arguments.
    private const string Beneath = """
        mkdir -p /run/sbox-evil
        perl -e 'sub c { my ($n, @a) = @_; syscall($n, @a) } my $n=""; my $fd=c(428,-100,"/run/sbox-evil",1); c(429,$fd,$n,-100,$ARGV[0],4|0x200)==0 or die $!' $PWD/protected
        """;

    [Fact]
    public void What_was_put_beneath_the_rightful_mount_is_taken_out_and_the_rightful_one_stays()
    {
        using var world = new WatchedWorld("[reaction.critical]\ndo = [\"undo\"]");
        world.InSystem(Beneath);
        Assert.Contains("undone: unmounted", world.Next(FindingKind.Covered).Done);
        world.InSystem("set -e; test \"$(findmnt -n -o TARGET | grep -c /protected)\" = 1; findmnt -n -o FSROOT,VFS-OPTIONS protected | grep -q '^/usr *ro'; ! touch protected/x");
        Assert.Empty(world.Rest());
    }

    [Fact]
    public void Whoever_does_it_is_killed_where_the_policy_says_so()
    {
        using var world = new WatchedWorld("[reaction.critical]\ndo = [\"kill\"]");
        // One process mounts and would go on: it is the one that is killed.
        Assert.ThrowsAny<Exception>(() => world.InSystem(
            "exec python3 -c 'import ctypes, time; c = ctypes.CDLL(None); c.mount(None, b\"" + world.Directory + "/protected\", None, 4096 | 32, None); time.sleep(60); print(1)'"));
        // Which of the two eyes that see it is first, and kills, is chance; the other finds one who ended or is about to.
        List<Alarm> alarms = [];
        while (!(alarms.Exists(static alarm => alarm.Finding.Kind == FindingKind.Writable) && alarms.Exists(static alarm => alarm.Done.Any(static step => step.StartsWith("killed ", StringComparison.Ordinal)))))
            alarms.Add(world.Next()); // which fails when none comes any more
        alarms.AddRange(world.Rest());
        Assert.All(alarms, static alarm => Assert.DoesNotContain(alarm.Done, static step => step.Contains("failed", StringComparison.Ordinal)));
    }

    [Fact]
    public void What_belongs_to_normal_life_raises_no_alarm()
    {
        using var world = new WatchedWorld();
        world.InSystem("mkdir -p /run/sbox-stick && mount -t tmpfs stick /run/sbox-stick && umount /run/sbox-stick; touch free/x; mount -o remount,bind,ro free; mount -o remount,bind,rw free");
        world.InOwnNamespace("mount -t tmpfs x /mnt; mkdir /mnt/old /mnt/proc; mount --rbind / /mnt/old; umount -l /mnt");
        world.InOwnNamespace("mount --make-rslave /; mount --bind protected protected; mount -o remount,bind,ro protected; sleep 0.2");
        Assert.Empty(world.Rest());
    }

    [Fact]
    public void A_sentinel_that_was_killed_says_so_when_it_is_back()
    {
        using var world = new WatchedWorld();
        Assert.True(File.Exists($"{world.Directory}/state/running")); // the mark of one that runs; the next one finds it
        var again = new List<Alarm>();
        using var stop = new CancellationTokenSource();
        using var second = new Sentinel(
            new SentinelOptions
            {
                TreePolicy = $"{world.Directory}/policy", OwnerPolicy = "/nowhere", StateDirectory = $"{world.Directory}/state",
                RuntimeDirectory = $"{world.Directory}/state", SystemProcess = world.SystemProcess, GuardedDirectories = [],
            },
            again.Add, static _ => { });
        stop.Cancel();
        second.Run(static () => { }, stop.Token);
        Assert.Equal(FindingKind.SentinelAttacked, Assert.Single(again).Finding.Kind);
        Assert.False(File.Exists($"{world.Directory}/state/running")); // this one ended as it was told to
    }

    [Fact]
    public void A_change_of_the_owners_policy_is_told_with_who_changed_it()
    {
        string directory = Directory.CreateTempSubdirectory("sbox-guarded-").FullName;
        using var watch = Sbox.Linux.FileWatch.Open(directory);
        using (var child = System.Diagnostics.Process.Start("sh", ["-c", $"echo x > {directory}/90-mine.toml"]))
        {
            child.WaitForExit();
            Assert.Contains(watch.Take(), change => change.Name == "90-mine.toml" && change.Process == child.Id);
        }

        Directory.Delete(directory, recursive: true);
    }
}
