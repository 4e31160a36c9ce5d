using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Judges;
using Sbox.Tour;

namespace Sbox.Integrity.Tests;

/// <summary>A day of normal life and every way of tests/red-team/ways on a real box, in one boot: the first raises no alarm, each of the others one.</summary>
public sealed class RedTeamTests(ITestOutputHelper output)
{
    private const double MebibytesAtMost = 16;
    private static readonly TimeSpan UpgradeLimit = TimeSpan.FromMinutes(15);
    private static readonly string[] Nothing = [];

    [Fact]
    public void There_are_at_least_forty_ways_and_each_says_what_is_expected()
    {
        IReadOnlyList<Way> ways = Way.ReadAll(WaysFile);
        Assert.True(ways.Count(static way => way.Expected.Count > 0) >= 40);
        Assert.Subset(PolicyReader.FindingNames.Keys.ToHashSet(), ways.SelectMany(static way => way.Expected.Concat(way.Besides)).ToHashSet());
    }

    [Fact, Trait("Category", "Slow")]
    public Task Whatever_root_tries_on_a_running_box_is_told_and_normal_life_is_not() => Live(whole: false);

    // Asked for by name (-explicit only) until all of it was seen in one run: docs/testing.md.
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public Task More_that_root_tries_is_told_desktops_and_hooks_hear_of_it_and_a_day_of_normal_life_is_silent() => Live(whole: true);

    private async Task Live(bool whole)
    {
        using var box = new WatchedBox();
        await using FileServer server = await FileServer.Start(box.Builds, port: 0);
        output.WriteLine(box.Words("systemctl is-system-running --wait; systemctl --no-pager status sbox-watch; journalctl -b -u sbox-watch --no-pager | tail -n 30; cat /run/sbox/sentinel/metrics.prom; systemctl show -P CPUUsageNSec -P MemoryCurrent sbox-watch; cut -d' ' -f1 /proc/uptime"));
        var failed = new StringBuilder();
        Check("a boot", [], box.Since(0, Nothing), "");
        Service(box);
        Day(box);
        if (whole)
            Told(box);
        Ways(box);
        double memory = box.QuietMebibytes();
        output.WriteLine($"VmRSS after all of it: {memory:0.0} MiB");
        Assert.InRange(memory, 1, MebibytesAtMost);
        Assert.True(failed.Length == 0, failed.ToString());

        void Day(WatchedBox day)
        {
            day.Run("mkdir -p /run/day /run/scripts /run/evil /run/evil/p; mount -t 9p -o trans=virtio,ro day /run/day; mount -t 9p -o trans=virtio,ro scripts /run/scripts; cd /");
            foreach ((string name, Action<WatchedBox> live) in whole ? Life(server.Port) : [])
                Lived(name, live);
        }

        void Lived(string name, Action<WatchedBox> live)
        {
            int before = box.Count();
            string words = "";
            try
            {
                live(box);
            }
            catch (Vm.VmException trouble)
            {
                words = trouble.Message;
                failed.Append(CultureInfo.InvariantCulture, $"{name}: {words}\n");
            }

            Check(name, [], box.Since(before, Nothing), words);
        }

        void Ways(WatchedBox attacked)
        {
            var latencies = new List<long>();
            foreach (Way way in whole ? Way.ReadAll(WaysFile).Concat(Way.ReadAll(MoreWaysFile)) : Way.ReadAll(WaysFile))
            {
                int before = attacked.Count();
                string words = attacked.Words($"( {way.Attack}\n)");
                List<JsonElement> alarms = attacked.Since(before, way.Expected);
                attacked.Words($"{(way.Cleanup.Length > 0 ? $"( {way.Cleanup}\n); " : "")}systemctl is-active --quiet sbox-watch || systemctl start sbox-watch; sleep 0.5");
                Check(way.Name, way.Expected, alarms, words, way.Besides);
                latencies.AddRange(alarms.Where(static alarm => alarm.TryGetProperty("latency-us", out _)).Select(static alarm => alarm.GetProperty("latency-us").GetInt64()));
            }

            latencies.Sort();
            if (latencies.Count > 0)
                output.WriteLine($"latency of {latencies.Count} alarms under emulation: median {latencies[latencies.Count / 2]} us, worst {latencies[^1]} us");
        }

        void Check(string name, IReadOnlyList<string> expected, List<JsonElement> alarms, string words, IReadOnlyList<string>? besides = null)
        {
            // On a busy machine a second eye may have more to tell of the same deed, and that is no failure where nobody asked for the whole of it.
            string[] found = [.. alarms.Select(static alarm => alarm.GetProperty("finding").GetString()!)];
            bool right = expected.Count == 0 ? found.Length == 0 : found.Intersect(expected).Any() && (!whole || !found.Except(expected).Except(besides ?? []).Any());
            output.WriteLine($"{DateTime.Now:HH:mm:ss} {(right ? "ok  " : "FAIL")} {name}: {(found.Length == 0 ? "nothing" : string.Join(' ', found))}{(words.Length > 0 ? $"   ({words.ReplaceLineEndings(" ")})" : "")}");
            foreach (JsonElement alarm in alarms)
                output.WriteLine($"       {alarm}");
            if (!right)
                failed.Append(CultureInfo.InvariantCulture, $"{name}: expected {(expected.Count == 0 ? "nothing" : string.Join(" or ", expected))}, found {string.Join(' ', found)} {words}\n");
        }
    }

    private static string MoreWaysFile => SourceTree.Of("tests", "red-team", "more-ways");

    private static string WaysFile => SourceTree.Of("tests", "red-team", "ways");

    // What systemd says of the unit, what the program says of itself, and that an alarm comes through at all.
    private void Service(WatchedBox box)
    {
        string exposure = box.Run("systemd-analyze security sbox-watch.service --no-pager | tail -n 1");
        output.WriteLine(exposure);
        Assert.InRange(double.Parse(exposure.Split("sbox-watch.service:")[1].Trim().Split(' ')[0], CultureInfo.InvariantCulture), 0, 3.2);
        double memory = box.QuietMebibytes();
        output.WriteLine($"VmRSS after the boot: {memory:0.0} MiB; {box.Words("grep -E '^(Pss|Anonymous):' /proc/$(systemctl show -P MainPID sbox-watch)/smaps_rollup | tr -s ' \\n' ' '")}");
        Assert.InRange(memory, 1, MebibytesAtMost);
        Assert.Contains("awake", box.Run("sbox watch test"), StringComparison.Ordinal);
        Assert.Contains("sbox-watch-test", box.Run("sbox watch history"), StringComparison.Ordinal);
        Assert.Equal("test", JsonDocument.Parse(box.Run("sbox watch history --last 1 --json")).RootElement.GetProperty("finding").GetString());
        JsonElement why = JsonDocument.Parse(box.Run("sbox watch --why /usr/bin --json")).RootElement;
        Assert.Equal(("/usr", false), (why.GetProperty("protected-by").GetString(), why.GetProperty("writable").GetBoolean()));
        Assert.Contains("lets it be written", box.Run("sbox watch --why /var/lib"), StringComparison.Ordinal);
    }

    // As far as a machine without a screen has it. The reboots that belong to an upgrade are the tour's, which ends with the sentinel's history.
    private static IEnumerable<(string Name, Action<WatchedBox> Live)> Life(int port)
    {
        yield return ("a user who stays logged in", static box => box.Run("useradd --create-home --shell /bin/bash alice; loginctl enable-linger alice; for i in $(seq 60); do [ -S /run/user/$(id -u alice)/bus ] && break; sleep 1; done"));
        yield return ("a container by podman", static box => Assert.Contains("inside of podman", box.Run("bash /run/scripts/podman /run/day"), StringComparison.Ordinal));
        yield return ("an application by flatpak", static box =>
        {
            box.Run("mkdir -p /var/lib/flatpak; PATH=$PATH:/run/day/usr/bin flatpak --system remotes");
            Assert.Contains("inside of flatpak", box.Run("su - alice -c 'bash /run/scripts/flatpak /run/day'"), StringComparison.Ordinal);
        });
        yield return ("a USB stick", static box =>
        {
            box.PlugInStick();
            box.Run("for i in $(seq 60); do [ -b /dev/disk/by-label/STICK ] && break; sleep 1; done; mkdir -p /run/media/stick; mount -o nosuid,nodev /dev/disk/by-label/STICK /run/media/stick; echo x >/run/media/stick/x; umount /run/media/stick");
            box.PullOutStick();
            box.Run("for i in $(seq 60); do [ -b /dev/disk/by-label/STICK ] || break; sleep 1; done");
        });
        yield return ("a package by apt, over the system's tree", static box => Assert.Contains("inside of a layer, configured", box.Run("bash /run/scripts/apt"), StringComparison.Ordinal));
        yield return ("an upgrade, and staying with this version", box =>
        {
            box.Run($"sbox upgrade --url http://10.0.2.2:{port}", UpgradeLimit);
            Assert.Contains("\"next\":{\"version\":\"2\"", box.Run("sbox status --json"), StringComparison.Ordinal);
            box.Run("sbox rollback", UpgradeLimit);
        });
    }

    // Asked for by name, like the one above.
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public void A_suspend_raises_no_alarm_and_where_the_owner_wants_it_an_alarm_starts_the_machine_anew()
    {
        using var box = new WatchedBox();
        int before = box.Count();
        Suspend(box);
        Assert.DoesNotContain(box.Since(before, Nothing), static alarm => alarm.GetProperty("finding").GetString() != "test");
        box.Run("""mkdir -p /etc/sbox/sentinel.d && printf '[reaction.critical]\ndo = ["journal", "metrics", "wall", "undo", "reboot"]\n' >/etc/sbox/sentinel.d/50-reboot.toml && systemctl restart sbox-watch""");
        before = box.Count();
        box.Reboots("mount -t tmpfs none /usr/share/doc");
        JsonElement last = Assert.Single(box.Since(before, ["covered"]), static alarm => alarm.GetProperty("finding").GetString() == "covered");
        output.WriteLine($"{last}");
        Assert.Contains("the machine reboots", $"{last}", StringComparison.Ordinal);
        box.Run("! findmnt /usr/share/doc");
    }

    // What an emulated machine can do of it: logind, systemd-sleep and the kernel go all the way down to its devices, and the kernel's own test (pm_test) turns
    // round there. A file system of the host's would not come back.
    private void Suspend(WatchedBox box)
    {
        box.Run("modprobe -r 9p 9pnet_virtio; echo devices >/sys/power/pm_test");
        output.WriteLine(box.Run("systemctl suspend; for i in $(seq 60); do journalctl -b -k -o cat | grep -q 'PM: suspend exit' && break; sleep 1; done; journalctl -b -k -o cat | grep PM:; journalctl -b -k -o cat | grep -q 'PM: suspend exit'"));
        Assert.Contains("awake", box.Run("sbox watch test"), StringComparison.Ordinal);
    }

    // Whoever is not in front of a terminal: a desktop's notification daemon (a stand-in), the hook, and what sends what it keeps.
    private void Told(WatchedBox box)
    {
        // In a shell of its own, which ends where a step fails; the session's must not.
        box.Run("""
            (
            set -e
            systemd-run --quiet --uid=alice --setenv=DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$(id -u alice)/bus perl /run/scripts/notification-daemon /var/home/alice/shown
            for i in $(seq 60); do grep -q ready /var/home/alice/shown 2>/dev/null && break; sleep 1; done
            mkdir -p /usr/local/bin /usr/local/sbin /etc/sbox/alarm
            printf '#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in @*) cat "${1#@}";; esac; shift; done >>/run/sbox/sentinel/outbox/web\n' >/usr/local/bin/curl
            printf '#!/bin/sh\ncat >>/run/sbox/sentinel/outbox/mail\n' >/usr/local/sbin/sendmail
            chmod 755 /usr/local/bin/curl /usr/local/sbin/sendmail
            cd /usr/lib/sbox/examples
            cp keep send /etc/sbox/alarm/
            echo WEBHOOK=http://127.0.0.1/alarms MAIL_TO=owner@example.org >/etc/sbox/alarm/conf
            cp sbox-alarm.path sbox-alarm.service /etc/systemd/system/
            cp 50-alarm.toml /etc/sbox/sentinel.d/
            systemctl daemon-reload
            systemctl enable --quiet --now sbox-alarm.path
            systemctl restart sbox-watch
            mount -t tmpfs told /usr/share/misc
            )
            """);
        string shown = box.Words("for i in $(seq 60); do grep -q told /var/home/alice/shown && break; sleep 1; done; grep told /var/home/alice/shown");
        string sent = box.Words("for i in $(seq 90); do grep -q told /run/sbox/sentinel/outbox/web && grep -q told /run/sbox/sentinel/outbox/mail && break; sleep 1; done; cat /run/sbox/sentinel/outbox/web /run/sbox/sentinel/outbox/mail");
        output.WriteLine($"shown: {shown}\nsent: {sent}\n{box.Words("journalctl -b -n 15 --no-pager")}");
        Assert.Contains("tmpfs told", shown, StringComparison.Ordinal);
        Assert.Contains("\"says\":\"tmpfs told", sent, StringComparison.Ordinal);
        Assert.Contains("Subject: sbox: an alarm on", sent, StringComparison.Ordinal);
    }
}
