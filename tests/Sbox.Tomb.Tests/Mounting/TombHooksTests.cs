using System.Diagnostics;
using Sbox.Linux;
using Sbox.Tomb.Sessions;

namespace Sbox.Tomb.Tests.Mounting;

public sealed class TombHooksTests
{
    [Fact]
    public void Two_columns_are_read_and_the_rest_is_comment() => Assert.Equal(
        [new BindHook("mail", "Mail"), new BindHook("a/b", ".config/x")],
        TombHooks.Parse("# comment\n\nmail\tMail\n a/b   .config/x  \nlonely\n"));

    [Fact]
    public async Task Binds_are_seen_in_the_home_while_it_is_open_and_the_program_runs_as_the_owner()
    {
        using var place = new Place();
        place.Restic("init");
        // No account has this number: its home is the tomb itself.
        var owner = new HookOwner("", 54321, 54321, place["mounted"]);
        Directory.CreateDirectory(place["mounted"]);
        Listing.Sh(place.Path, "chmod 755 .; chown 54321:54321 mounted");
        await using (OpenTomb first = await OpenTomb.Of(place, options => options with { Hooks = owner }))
        {
            Assert.Empty(first.Sh("""
                set -e
                mkdir -p mail Mail deep/in .config; echo letter > mail/1; echo one > file; : > .config/other; ln -s /etc way
                printf 'mail Mail\nfile .config/other\nabsent Mail\nmail way\nmail ../outside\n' > bind-hooks
                printf '#!/bin/sh\necho "$1 $2 $(id -u) $HOME" >> "$2/said"\n' > exec-hooks; chmod 755 exec-hooks
                chown -hR 54321:54321 .
                """));
            await first.Close();
        }

        await using OpenTomb open = await OpenTomb.Of(place, options => options with { Hooks = owner });
        Assert.Equal(["letter", "one"], open.Sh("cat Mail/1 .config/other"));
        Assert.Equal([$"close {open.Path} 54321 {open.Path}", $"open {open.Path} 54321 {open.Path}"], open.Sh("cat said")); // the closing's own words were saved too
        Assert.Equal(
            [true, true, false, false, false, true],
            open.Session.HookReports.Select(static report => report.Finding is null));
        Assert.DoesNotContain(MountTable.Read(), static mount => mount.MountPoint.StartsWith("/etc", StringComparison.Ordinal));
        await open.Close();
        Assert.DoesNotContain(MountTable.Read(), mount => mount.MountPoint.StartsWith(place.Path, StringComparison.Ordinal));
        await using OpenTomb later = await OpenTomb.Of(place);
        Assert.Equal($"close {open.Path} 54321 {open.Path}", later.Sh("cat said")[^1]);
    }

    [Theory]
    [InlineData(0u, 54321u, "belongs to user 0")] // a snapshot that says its top is root's
    [InlineData(54322u, 54321u, "belongs to user 54322")] // or another user's
    [InlineData(0u, 0u, "not followed for root")]
    public async Task What_the_tomb_says_of_its_owner_lets_nobody_become_another_user(uint top, uint opener, string finding)
    {
        using var place = new Place();
        place.Restic("init");
        Directory.CreateDirectory(place["mounted"]);
        Directory.CreateDirectory(place["root home"]);
        File.WriteAllText(place["root home/keys"], "root's\n");
        Listing.Sh(place.Path, "chmod 755 .");
        await using (OpenTomb first = await OpenTomb.Of(place))
        {
            Assert.Empty(first.Sh($"""
                set -e
                echo forged > file; echo 'file keys' > bind-hooks; chmod 777 .
                printf '#!/bin/sh\nid -u >> {place["ran"]}\n' > exec-hooks; chmod 755 exec-hooks
                chown -hR {top}:{top} .
                """));
            await first.Close();
        }

        await using (OpenTomb open = await OpenTomb.Of(place, options => options with { Hooks = new HookOwner("", opener, opener, place["root home"]) }))
        {
            HookReport report = Assert.Single(open.Session.HookReports);
            Assert.Contains(finding, report.Finding, StringComparison.Ordinal);
            Assert.Equal("root's\n", File.ReadAllText(place["root home/keys"]));
            await open.Close();
        }

        Assert.False(File.Exists(place["ran"]));
        await using OpenTomb unnamed = await OpenTomb.Of(place); // nobody is named: they are left alone
        Assert.Empty(unnamed.Session.HookReports);
        Assert.False(File.Exists(place["ran"]));
    }

    [Fact]
    public async Task Nothing_is_bound_into_a_home_that_is_not_the_hooks_owners()
    {
        using var place = new Place();
        place.Restic("init");
        Directory.CreateDirectory(place["mounted"]);
        Directory.CreateDirectory(place["root home"]);
        File.WriteAllText(place["root home/keys"], "root's\n");
        Listing.Sh(place.Path, "chown 54321:54321 mounted");
        await using (OpenTomb first = await OpenTomb.Of(place))
        {
            Assert.Empty(first.Sh("echo forged > file; echo 'file keys' > bind-hooks; chown -hR 54321:54321 ."));
            await first.Close();
        }

        await using OpenTomb open = await OpenTomb.Of(place, options => options with { Hooks = new HookOwner("", 54321, 54321, place["root home"]) });
        Assert.Contains("belongs to user 0", Assert.Single(open.Session.HookReports).Finding, StringComparison.Ordinal);
        Assert.Equal("root's\n", File.ReadAllText(place["root home/keys"]));
    }

    [Fact]
    public async Task A_program_that_leaves_another_behind_holds_nothing_up()
    {
        using var place = new Place();
        place.Restic("init");
        Directory.CreateDirectory(place["mounted"]);
        Listing.Sh(place.Path, "chmod 755 .; chown 54321:54321 mounted");
        var owner = new HookOwner("", 54321, 54321, place["mounted"]);
        await using (OpenTomb first = await OpenTomb.Of(place))
        {
            // It writes to what it was started with; it works elsewhere, so that nobody uses the tomb.
            Assert.Empty(first.Sh("""
                printf '#!/bin/sh\ncd /; [ "$1" = open ] || exit 0; (exec sleep 300) &\necho $! > "$2/left"\necho said; exit 3\n' > exec-hooks; chmod 755 exec-hooks
                chown -hR 54321:54321 .
                """));
            await first.Close();
        }

        await using OpenTomb open = await OpenTomb.Of(place, options => options with { Hooks = owner });
        int left = int.Parse(open.Sh("cat left")[0], System.Globalization.CultureInfo.InvariantCulture);
        Assert.True(Directory.Exists($"/proc/{left}")); // it still runs, and the tomb is open
        Assert.Contains("ended with 3", Assert.Single(open.Session.HookReports).Finding, StringComparison.Ordinal);
        Assert.True(Signals.TrySend(left, Signals.Kill));
        await open.Close();
    }

    [Fact]
    public async Task A_tomb_that_falls_silent_when_its_hooks_are_looked_for_is_open_all_the_same()
    {
        using var place = new Place();
        place.Restic("init");
        await SaveHooks(place);
        long begun = Stopwatch.GetTimestamp();
        await using OpenTomb open = await OpenTomb.Of(
            place, options => options with { Hooks = new HookOwner("", 54321, 54321, place["mounted"]) },
            new UnsteadyBackend(place.Backend()) { FallsSilent = () => MountTable.At(place["mounted"]) is not null }).WaitAsync(TimeSpan.FromSeconds(90), TestContext.Current.CancellationToken);
        Assert.InRange(Stopwatch.GetElapsedTime(begun), TimeSpan.FromSeconds(10), TimeSpan.FromSeconds(60));
        Assert.Contains("did not end within 10 s", Assert.Single(open.Session.HookReports).Finding, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Hooks_that_are_damaged_keep_no_tomb_closed()
    {
        using var place = new Place();
        place.Restic("init");
        await SaveHooks(place);
        foreach (FileInfo pack in new DirectoryInfo(place["tomb/data"]).GetFiles("*", SearchOption.AllDirectories).Where(static file => file.Length < 250)) // that of the file's content
            pack.Delete();
        await using OpenTomb open = await OpenTomb.Of(place, options => options with { Hooks = new HookOwner("", 54321, 54321, place["mounted"]) });
        Assert.Contains("Input/output error", Assert.Single(open.Session.HookReports).Finding, StringComparison.Ordinal);
        Assert.Equal([TombHooks.BindFile], open.Sh("ls"));
    }

    [Fact]
    public async Task Killed_while_it_looks_for_its_hooks_a_session_ends_and_its_home_answers_with_an_error()
    {
        using var place = new Place();
        place.Restic("init");
        await SaveHooks(place);
        string program = Path.Combine(AppContext.BaseDirectory, "..", "..", "Sbox.Tomb.Victim", "release", "Sbox.Tomb.Victim.dll");
        using Process victim = Process.Start(new ProcessStartInfo("dotnet", [program, place.TombPath, Place.Password, place["mounted"], place["run"], "silent"]) { RedirectStandardOutput = true })!;
        try
        {
            Assert.True(SpinWait.SpinUntil(() => MountTable.At(place["mounted"]) is not null && Listing.Sh("/", $"cat /proc/{victim.Id}/task/*/wchan").Any(static where => where.Contains("request_wait_answer", StringComparison.Ordinal) || where.Contains("folio_wait", StringComparison.Ordinal)), TimeSpan.FromSeconds(60)));
            victim.Kill();
            await victim.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromSeconds(20), TestContext.Current.CancellationToken);
            Assert.Contains("not connected", string.Join('\n', Listing.Sh(place.Path, "timeout -s KILL 20 ls mounted/a 2>&1")), StringComparison.Ordinal);
        }
        finally
        {
            foreach (MountEntry mount in MountTable.Read().Where(mount => mount.MountPoint.StartsWith(place.Path, StringComparison.Ordinal)).Reverse())
                Mounts.DetachByForce(mount.MountPoint);
        }
    }

    private static async Task SaveHooks(Place place)
    {
        Directory.CreateDirectory(place["mounted"]);
        Listing.Sh(place.Path, "chmod 755 .; chown 54321:54321 mounted");
        await using OpenTomb first = await OpenTomb.Of(place);
        Assert.Empty(first.Sh("echo 'mail Mail' > bind-hooks; chown 54321:54321 . bind-hooks"));
        await first.Close();
    }
}
