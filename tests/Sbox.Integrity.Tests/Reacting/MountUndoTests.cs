using System.Diagnostics;
using Sbox.Linux;

namespace Sbox.Integrity.Tests;

/// <summary>What is undone is undone to the mount that was found, whatever is mounted at its place since. Needs root.</summary>
public sealed class MountUndoTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-undo-").FullName;
    private readonly Process system;
    private readonly List<Process> servers = [];

    public MountUndoTests()
    {
        system = Process.Start(new ProcessStartInfo("unshare", ["-m", "--propagation", "private", "sh", "-ec", $"""
            cd {directory}
            mkdir -p over/place evil
            mount -t tmpfs rightful over/place
            echo ready
            exec sleep 1000
            """]) { RedirectStandardOutput = true })!;
        Assert.Equal("ready", system.StandardOutput.ReadLine());
    }

    private string Place => $"{directory}/over/place";

    public void Dispose()
    {
        servers.ForEach(End);
        system.Kill();
        system.WaitForExit();
        system.Dispose();
        Directory.Delete(directory, recursive: true);
    }

    [Theory]
    [InlineData("")]
    [InlineData("mount --bind -o ro evil over/place")]
    [InlineData("mount --bind evil over/place; mount -t tmpfs evil over/place")]
    [InlineData("mount --bind evil over/place; mount --make-unbindable over/place")]
    public void A_mount_is_read_only_again_also_under_what_was_mounted_over_it_since(string cover)
    {
        MountEntry found = Assert.Single(Mounts());
        InSystem(cover);
        string[] above = Above(found);
        Assert.Equal("undone: read-only again", Undo(FindingKind.Writable, found));
        Assert.Single(Mounts(), each => each.Id == found.Id && each.IsMarkedReadOnly);
        // What lay above has alarms of its own: it is there as it was.
        Assert.Equal(above, Above(found));
    }

    [Theory]
    [InlineData("mkdir -p evil/place; mount --bind evil over")]
    [InlineData("mkdir -p evil/place; mount --bind evil over; mount -t tmpfs within over/place; mount -t tmpfs evil over; mkdir over/place; mount -t tmpfs evil over/place")]
    public void A_mount_is_reached_under_what_covers_a_directory_above_it_and_that_is_put_back(string cover)
    {
        MountEntry found = Assert.Single(Mounts());
        InSystem("mount --bind evil over/place");
        MountEntry below = Mounts()[^1];
        InSystem(cover);
        string[] all = Types();
        Assert.Equal("undone: unmounted", Undo(FindingKind.Covered, below));
        string[] rest = Types();
        Assert.Equal(all.Length - 1, rest.Length);
        Assert.DoesNotContain(Mounts(), each => each.Id == below.Id);
        Assert.Equal("undone: read-only again", Undo(FindingKind.Writable, found));
        Assert.Equal(rest, Types());
        Assert.Single(Mounts(), each => each.Id == found.Id && each.IsMarkedReadOnly);
    }

    [Fact]
    public void A_mount_that_no_path_leads_to_is_not_called_undone()
    {
        MountEntry found = Assert.Single(Mounts());
        InSystem("mount --rbind / /"); // whoever comes in stands in the copy, and is shown no other mounts
        Assert.Equal("not undone: the mount is not seen there any more", Undo(FindingKind.Writable, found));
    }

    [Fact]
    public void A_mount_that_is_gone_needs_no_undoing()
    {
        MountEntry found = Assert.Single(Mounts());
        InSystem("umount over/place");
        Assert.Equal("not undone: the mount is not seen there any more", Undo(FindingKind.Writable, found));
    }

    [Fact]
    public void A_cover_that_is_gone_already_is_left_alone_with_what_it_covered()
    {
        InSystem("mount --bind evil over/place");
        MountEntry cover = Mounts()[^1];
        InSystem("umount over/place");
        Assert.Equal("nothing to undo: the mount is not seen there any more", Undo(FindingKind.Covered, cover));
        Assert.Single(Mounts());
        InSystem("mount --bind evil over/place");
        Assert.Equal("undone: unmounted", Undo(FindingKind.Covered, Mounts()[^1]));
        Assert.Single(Mounts());
    }

    [Fact]
    public void What_hangs_in_a_namespace_is_not_waited_for()
    {
        using var gate = new ManualResetEventSlim();
        using MountNamespace place = Namespace();
        HangingException hangs = Assert.Throws<HangingException>(() => place.Run(_ => gate.Wait(TimeSpan.FromMinutes(10)), TimeSpan.FromMilliseconds(100)));
        Assert.Contains($"it hangs in mount namespace {place.Number}, after 0.1 s", hangs.Message, StringComparison.Ordinal);
        gate.Set();
    }

    [Theory, InlineData(FindingKind.Covered, "undone: unmounted"), InlineData(FindingKind.Writable, "undone: read-only again")]
    public void A_file_system_that_answers_nobody_holds_up_no_undo(FindingKind kind, string says)
    {
        Silent("over/place");
        IReadOnlyList<MountEntry> mounts = Mounts();
        Assert.Equal(says, Undo(kind, kind == FindingKind.Covered ? mounts[^1] : mounts[0]));
    }

    [Fact]
    public void An_undo_that_hangs_is_told_and_holds_back_nothing_after_it()
    {
        Process server = Silenced("deep"); // whatever goes by a path through it waits
        MountEntry found = All().Single(each => each.MountPoint == $"{directory}/deep/place");
        uint number = Namespaces.MountNamespaceOf(system.Id)!.Value;
        var reactor = new Reactor(
            BoxTable.Policy with { Reactions = new Dictionary<Severity, ReactionPlan> { [Severity.Critical] = new ReactionPlan([Reaction.Undo], null) } },
            BoxTable.Facts with { Namespace = number, Process = system.Id }, "/nowhere", new History($"{directory}/history"), new Metrics($"{directory}/metrics"), static _ => { });
        Assert.Equal($"not undone: it hangs in mount namespace {number}, after 10 s", React());
        const string still = "not undone: what was begun in its namespace before still hangs";
        Assert.Equal(still, React());
        End(server);
        // The kernel fails what waits for a server that is gone, and the next undo has its turn.
        Assert.True(SpinWait.SpinUntil(() => React() != still, TimeSpan.FromMinutes(1)));

        string React() => Assert.Single(reactor.React(
            new Alarm(new Finding(FindingKind.Writable, found.MountPoint, "") { Mount = found }, Severity.Critical, null, DateTimeOffset.UtcNow, number, null), null).Done);
    }

    // FUSE with nobody behind it: whatever asks it anything waits until the descriptor is closed.
    private Process Silent(string place)
    {
        Process server = Process.Start(new ProcessStartInfo("nsenter", ["-t", $"{system.Id}", "-m", "bash", "-ec", $"""
            exec 3<>/dev/fuse
            mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 silent {directory}/{place}
            echo ready
            exec sleep 1000
            """]) { RedirectStandardOutput = true })!;
        servers.Add(server);
        Assert.Equal("ready", server.StandardOutput.ReadLine());
        return server;
    }

    // FUSE that answers until something is mounted in it, and then is stopped. LOOKUP is 1, GETATTR 3, INIT 26; linux/fuse.h.
    private Process Silenced(string place)
    {
        Process server = Process.Start(new ProcessStartInfo("nsenter", ["-t", $"{system.Id}", "-m", "bash", "-ec", $$"""
            cd {{directory}}
            mkdir {{place}}
            exec 3<>/dev/fuse
            mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 served {{place}}
            (mount -t tmpfs deep {{place}}/place; echo ready) &
            exec perl -e '
                open(my $fuse, "+<&=", 3) or die $!;
                while (sysread($fuse, my $request, 1 << 18)) {
                    my ($size, $kind, $number, $node) = unpack("L2 Q2", $request);
                    my $attributes = pack("Q6 L3 L7", $node, 0, 0, 0, 0, 0, 0, 0, 0, 040755, 2, 0, 0, 0, 4096, 0);
                    my $answer = $kind == 26 ? pack("L4 S2 L2 S2 L2 x24", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0, 0)
                        : $kind == 3 ? pack("Q L2", 0, 0, 0) . $attributes : $kind == 1 ? pack("Q4 L2", 2, 0, 0, 0, 0, 0) . $attributes : "";
                    my $error = $answer eq "" ? -38 : 0;
                    syswrite($fuse, pack("L l Q", 16 + length($answer), $error, $number) . $answer);
                }'
            """]) { RedirectStandardOutput = true })!;
        servers.Add(server);
        Assert.Equal("ready", server.StandardOutput.ReadLine());
        using Process stop = Process.Start("kill", ["-STOP", $"{server.Id}"]);
        stop.WaitForExit();
        return server;
    }

    private static void End(Process server)
    {
        server.Kill();
        server.WaitForExit();
    }

    private MountNamespace Namespace() => MountNamespace.Find(Namespaces.MountNamespaceOf(system.Id)!.Value, [system.Id])!;

    private IReadOnlyList<MountEntry> All()
    {
        using MountInfoFile table = MountInfoFile.TryOpen(system.Id)!;
        return table.Read();
    }

    private IReadOnlyList<MountEntry> Mounts() => [.. All().Where(each => each.MountPoint == Place)];

    private string[] Types() => [.. All().Where(each => each.MountPoint.StartsWith(directory, StringComparison.Ordinal)).Select(static each => $"{each.MountPoint} {each.Type} {each.Source}").Order()];

    // From below to the top; the table itself is in the order of the mounts' numbers.
    private string[] Above(MountEntry mount)
    {
        IReadOnlyList<MountEntry> all = Mounts();
        var types = new List<string>();
        for (MountEntry? at = mount; at is not null; at = all.FirstOrDefault(each => each.ParentId == at.Id))
            types.Add(at.Type);
        Assert.Equal(all.Count, types.Count);
        return [.. types];
    }

    private string Undo(FindingKind kind, MountEntry mount)
    {
        string says = "";
        using MountNamespace place = Namespace();
        place.Run(table => says = MountUndo.Of(new Finding(kind, Place, "") { Mount = mount })!.Do(table), TimeSpan.FromSeconds(20));
        return says;
    }

    private void InSystem(string script)
    {
        using Process process = Process.Start("nsenter", ["-t", $"{system.Id}", "-m", "sh", "-ec", $"cd {directory}\n{script}"]);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }
}
