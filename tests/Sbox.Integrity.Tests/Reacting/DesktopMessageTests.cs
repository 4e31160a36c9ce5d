using System.Diagnostics;
using Sbox.Judges;
using Sbox.Linux;
using Sbox.Sysroot.Tests;

namespace Sbox.Integrity.Tests;

/// <summary>An alarm on a desktop: busctl's call arrives at a notification daemon's stand-in by a real session bus.</summary>
public sealed class DesktopMessageTests : IDisposable
{
    private static readonly Alarm Evil = new(
        new Finding(FindingKind.Covered, "/usr/<b>${HOME}</b> & more", "tmpfs evil is mounted over it"), Severity.Critical, null, DateTimeOffset.UnixEpoch, 1, null);

    private readonly TempDir temp = new();
    private readonly List<Process> running = [];

    public void Dispose()
    {
        foreach (Process each in running)
        {
            each.Kill();
            each.WaitForExit();
            each.Dispose();
        }

        temp.Dispose();
    }

    [Fact]
    public void An_alarm_is_shown_by_the_notification_daemon_of_a_session_and_its_words_are_no_markup()
    {
        string bus = $"unix:path={temp.Of("bus")}", log = temp.Of("log");
        Start(new ProcessStartInfo("dbus-daemon", ["--session", "--nofork", "--nopidfile", $"--address={bus}"]));
        Assert.True(SpinWait.SpinUntil(() => File.Exists(temp.Of("bus")), TimeSpan.FromSeconds(30)));
        var daemon = new ProcessStartInfo(SourceTree.Of("tests", "red-team", "day", "notification-daemon"), [log]);
        daemon.Environment["DBUS_SESSION_BUS_ADDRESS"] = bus;
        Start(daemon);
        Assert.True(SpinWait.SpinUntil(() => File.Exists(log) && File.ReadAllText(log) == "ready\n", TimeSpan.FromSeconds(30)));

        Judge.OnPath("env").Run([$"DBUS_SESSION_BUS_ADDRESS={bus}", .. DesktopMessage.Call(Evil)]);
        Assert.Equal(
            [
                "sbox", "dialog-warning", "critical: /usr/&lt;b&gt;${HOME}&lt;/b&gt; &amp; more",
                "/usr/&lt;b&gt;${HOME}&lt;/b&gt; &amp; more: tmpfs evil is mounted over it; by someone unknown",
            ],
            File.ReadAllLines(log)[1].Split('\t'));
    }

    [Fact]
    public void It_is_started_by_systemd_as_the_user_on_the_users_own_bus_and_systemd_reads_nothing_into_its_words()
    {
        ChildCommand command = DesktopMessage.For(1000, Evil);
        Assert.Equal("systemd-run", command.Program);
        Assert.Contains("--uid=1000", command.Arguments);
        Assert.Contains("--setenv=DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/1000/bus", command.Arguments);
        Assert.Contains("critical: /usr/&lt;b&gt;$${HOME}&lt;/b&gt; &amp; more", command.Arguments);
    }

    [Fact]
    public void Whoever_has_a_session_is_told_and_nothing_in_a_session_is_looked_at()
    {
        foreach (string name in (string[])["1000", "0", "doc", "4294967295000"])
            Directory.CreateDirectory(temp.Of("run/user/" + name));
        Assert.Equal([0u, 1000u], DesktopMessage.Users(temp.Of("")));
        Assert.Empty(DesktopMessage.Users(temp.Of("nowhere")));
    }

    private void Start(ProcessStartInfo program) => running.Add(Process.Start(program)!);
}
