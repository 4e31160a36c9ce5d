using System.Diagnostics;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Tomb.Sessions;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>An open tomb as its process serves it.</summary>
public sealed class SessionServerTests
{
    [Fact]
    public async Task Whatever_a_save_ends_with_the_next_one_is_tried_and_status_says_what_it_was()
    {
        using var place = new Place();
        place.Restic("init");
        var backend = new UnsteadyBackend(place.Backend());
        SessionOptions? used = null;
        await using OpenTomb open = await OpenTomb.Of(place, options => used = options with { SaveEvery = TimeSpan.FromMilliseconds(200) }, backend);
        using var stop = new CancellationTokenSource();
        using var server = new SessionServer(open.Session, used!);
        server.Listen();
        open.Sh("echo one > one");
        backend.Strange = new FormatException("a portal's page is no listing");
        Task serving = server.Run(stop.Token);
        Assert.True(SpinWait.SpinUntil(() => open.Session.Status(default).SaveFailure is not null, TimeSpan.FromSeconds(60)));
        Assert.Contains("a portal's page", open.Session.Status(default).SaveFailure, StringComparison.Ordinal);
        TombException told = await Assert.ThrowsAnyAsync<TombException>(() => new SessionClient(place["run"]).Save("home", TestContext.Current.CancellationToken));
        Assert.Contains("a portal's page", told.Message, StringComparison.Ordinal);
        backend.Strange = null;
        Assert.True(SpinWait.SpinUntil(() => open.Session.Latest is not null, TimeSpan.FromSeconds(60)));
        await stop.CancelAsync();
        await serving;
    }

    [Fact]
    public async Task When_nobody_writes_any_more_what_was_written_is_saved_without_waiting_for_its_time()
    {
        var quiet = TimeSpan.FromSeconds(10); // much longer than a busy machine keeps from writing
        CancellationToken cancel = TestContext.Current.CancellationToken;
        using var place = new Place();
        place.Restic("init");
        SessionOptions? used = null;
        await using OpenTomb open = await OpenTomb.Of(place, options => used = options with { SaveWhenQuietFor = quiet });
        using var stop = new CancellationTokenSource();
        using var server = new SessionServer(open.Session, used!);
        server.Listen();
        Task serving = server.Run(stop.Token);
        await Task.Delay(quiet * 1.3, cancel);
        Assert.Null(open.Session.Latest); // nothing was written
        long begun = Stopwatch.GetTimestamp();
        for (int n = 0; Stopwatch.GetElapsedTime(begun) < quiet * 1.3; n++)
        {
            open.Sh($"echo {n} >> busy");
            Assert.Null(open.Session.Latest); // it is being written
            await Task.Delay(100, cancel);
        }

        while (open.Session.Latest is null || open.Session.Status(cancel).Changed)
            await Task.Delay(100, cancel);
        Assert.Equal(open.Sh("cat busy"), place.Restic("dump", "latest", $"{open.Path}/busy").Trim().Split('\n'));
        await stop.CancelAsync();
        await serving;
    }

    // Whoever is logged in keeps what was written from being folded: no reason to save more often.
    [Fact]
    public async Task A_fold_that_is_refused_makes_no_save_come_sooner()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        using var place = new Place();
        place.Restic("init");
        SessionOptions? used = null;
        await using OpenTomb open = await OpenTomb.Of(place, options => used = options with
        {
            SaveEvery = TimeSpan.FromMinutes(10), SaveWhenQuietFor = TimeSpan.Zero, FoldAbove = 1, Clock = new HastyClock(),
        });
        using var stop = new CancellationTokenSource();
        using var server = new SessionServer(open.Session, used!);
        server.Listen();
        Task serving = server.Run(stop.Token);
        var clock = Stopwatch.StartNew();
        using Process user = Process.Start(new ProcessStartInfo("sh", ["-c", "while :; do date >> busy; sleep 0.2; done"]) { WorkingDirectory = open.Path })!;
        await Task.Delay(TimeSpan.FromSeconds(25), cancel); // 25 minutes
        user.Kill();
        await user.WaitForExitAsync(cancel);
        await stop.CancelAsync();
        await serving;
        // Ten minutes are ten seconds here, and twenty-five of them are longer on a busy machine.
        Assert.InRange((await place.Backend().List(StoredFileType.Snapshot, cancel)).Count, 1, 1 + (int)Math.Ceiling(clock.Elapsed.TotalSeconds / 10));
    }

    // A minute of waiting is over in a second.
    private sealed class HastyClock : TimeProvider
    {
        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            System.CreateTimer(callback, state, dueTime > TimeSpan.Zero ? dueTime / 60 : dueTime, period > TimeSpan.Zero ? period / 60 : period);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Pulled_out_the_token_takes_the_tomb_with_it_and_whoever_uses_it_within_two_seconds(bool another)
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        using var place = new Place();
        place.Restic("init");
        string token = place["hidraw0"];
        File.WriteAllText(token, "");
        File.WriteAllText(place["hidraw1"], "");
        SessionOptions? used = null;
        await using OpenTomb open = await OpenTomb.Of(place, options => used = options);
        using var watch = new TokenWatch(token);
        using var server = new SessionServer(open.Session, used!) { Token = watch };
        server.Listen();
        Task serving = server.Run(cancel);
        open.Sh("echo mine > mine");
        using Process user = Process.Start(new ProcessStartInfo("sh", ["-c", "trap '' TERM HUP; while :; do sleep 1; done"]) { WorkingDirectory = open.Path })!;
        await Task.Delay(1000, cancel);
        Assert.Equal(["mine"], open.Sh("cat mine")); // it is plugged in
        long pulled = Stopwatch.GetTimestamp();
        if (another) // by the same name
            File.Move(place["hidraw1"], token, overwrite: true);
        else
            File.Delete(token);
        await serving.WaitAsync(TimeSpan.FromMinutes(2), cancel);
        TestContext.Current.TestOutputHelper?.WriteLine($"slammed {Stopwatch.GetElapsedTime(pulled).TotalMilliseconds:0} ms after it was pulled");
        Assert.True(server.WasPulled);
        Assert.True(user.HasExited);
        Assert.Empty(Directory.GetFileSystemEntries(open.Path));
        Assert.InRange(Stopwatch.GetElapsedTime(pulled).TotalSeconds, 0, 60); // two, where nothing else works
    }

    [Fact]
    public async Task Left_it_is_saved_and_closed_when_the_last_user_has_ended_and_not_while_somebody_came_back()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        using var place = new Place();
        place.Restic("init");
        SessionOptions? used = null;
        await using OpenTomb open = await OpenTomb.Of(place, options => used = options with { SaveEvery = TimeSpan.Zero });
        using var server = new SessionServer(open.Session, used!);
        server.Listen();
        Task serving = server.Run(cancel);
        var client = new SessionClient(place["run"]);
        open.Sh("echo mine > mine");
        using (Process user = Process.Start(new ProcessStartInfo("sleep", ["300"]) { WorkingDirectory = open.Path })!)
        {
            await client.Leave("home", cancel);
            await Task.Delay(2500, cancel);
            Assert.Equal(["mine"], open.Sh("cat mine")); // in use
            await client.Stay("home", cancel);
            user.Kill();
            await user.WaitForExitAsync(cancel);
        }

        await Task.Delay(2500, cancel);
        Assert.Equal(["mine"], open.Sh("cat mine")); // somebody came back
        await client.Leave("home", cancel);
        await serving.WaitAsync(TimeSpan.FromMinutes(2), cancel);
        Assert.Null(MountTable.At(open.Path));
        Assert.Equal("mine\n", place.Restic("dump", "latest", $"{open.Path}/mine"));
    }

    // The policy's close-tombs: sbox-watch.service starts it, with what that unit leaves of root's rights.
    [Fact]
    public async Task The_sentinel_slams_a_users_tomb_with_the_few_rights_that_it_has()
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        using var place = new Place();
        place.Restic("init");
        SessionOptions? used = null;
        await using OpenTomb open = await OpenTomb.Of(place, options => used = options with { SaveEvery = TimeSpan.Zero, Owner = 65534 });
        using var server = new SessionServer(open.Session, used!);
        server.Listen();
        Task serving = server.Run(cancel);
        const string key = "CapabilityBoundingSet=";
        string rights = File.ReadLines(SourceTree.Of("packaging", "sentinel", "sbox-watch.service")).First(static line => line.StartsWith(key, StringComparison.Ordinal))[key.Length..];
        string bounding = string.Join("", rights.Split(' ').Select(static right => $",+{right["CAP_".Length..].ToLowerInvariant()}"));
        string[] command = [$"--bounding-set=-all{bounding}", "--inh-caps=-all", "dotnet", Path.Combine(AppContext.BaseDirectory, "sbox.dll"), "tomb", "slam", "--all", "--run-directory", place["run"]];
        using Process slam = Process.Start(new ProcessStartInfo("setpriv", command) { RedirectStandardError = true })!;
        string said = await slam.StandardError.ReadToEndAsync(cancel);
        await slam.WaitForExitAsync(cancel);
        Assert.True(slam.ExitCode == 0, said);
        await serving.WaitAsync(TimeSpan.FromMinutes(2), cancel);
        Assert.Null(MountTable.At(open.Path));
    }

    [Fact]
    public async Task When_the_machine_goes_down_programs_end_first_and_what_they_write_last_is_saved()
    {
        using var place = new Place();
        place.Restic("init");
        SessionOptions? used = null;
        await using OpenTomb open = await OpenTomb.Of(place, options => used = options with { SaveEvery = TimeSpan.Zero });
        using var stop = new CancellationTokenSource();
        using var server = new SessionServer(open.Session, used!);
        server.Listen();
        Task serving = server.Run(stop.Token);
        using Process editor = Process.Start(new ProcessStartInfo("bash", ["-c", "trap 'echo last words > words; exit' TERM; : > ready; while :; do sleep 0.1; done"]) { WorkingDirectory = open.Path })!;
        Assert.True(SpinWait.SpinUntil(() => File.Exists($"{open.Path}/ready"), TimeSpan.FromSeconds(60)));
        await stop.CancelAsync();
        await serving;
        Assert.True(editor.WaitForExit(TimeSpan.FromSeconds(60)));
        Assert.Equal("last words\n", place.Restic("dump", "latest", $"{open.Path}/words"));
        Assert.DoesNotContain(MountTable.Read(), mount => mount.MountPoint.StartsWith(place.Path, StringComparison.Ordinal));
    }

    [Fact]
    public async Task When_the_machine_goes_down_and_nothing_can_be_saved_it_says_so_and_the_next_opening_finds_it()
    {
        using var place = new Place();
        place.Restic("init");
        SessionOptions? used = null;
        var backend = new UnsteadyBackend(place.Backend());
        SessionOptions Change(SessionOptions options) => used = options with { SaveEvery = TimeSpan.FromMilliseconds(100), Scratch = place["scratch"] };
        await using (OpenTomb open = await OpenTomb.Of(place, Change, backend))
        {
            using var stop = new CancellationTokenSource();
            using var server = new SessionServer(open.Session, used!);
            server.Listen();
            open.Sh("echo one > one");
            backend.Strange = new FormatException("a portal's page is no listing");
            Task serving = server.Run(stop.Token);
            Assert.True(SpinWait.SpinUntil(() => open.Session.Status(default).SaveFailure is not null, TimeSpan.FromSeconds(60)));
            await stop.CancelAsync();
            await Assert.ThrowsAsync<FormatException>(() => serving);
            Assert.Null(MountTable.At(open.Path));
        }

        await using OpenTomb again = await OpenTomb.Of(place, Change);
        Assert.Equal(["one"], again.Sh("cat one"));
    }
}
