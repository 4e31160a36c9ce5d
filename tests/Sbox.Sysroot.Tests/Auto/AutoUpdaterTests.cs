using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;

namespace Sbox.Sysroot.Tests;

/// <summary>Settings as they are written, machines as they look, and a box that updates itself step by step.</summary>
public sealed class AutoUpdaterTests : IDisposable
{
    private readonly TempDir temp = new(inMemory: true);

    public void Dispose() => temp.Dispose();

    [Fact]
    public void The_settings_that_every_box_has_are_those_that_hold_without_them()
    {
        AutoSettings shipped = AutoSettings.Read(SourceTree.Of("packaging", "box", "auto.toml")), none = AutoSettings.Read(temp.Of("none"));
        Assert.Equal((none.Enabled, none.Windows.Count, none.Rollout.Count, none.Reboot, none.BatteryMinimum, none.OnMetered, none.CheckEvery),
            (shipped.Enabled, shipped.Windows.Count, shipped.Rollout.Count, shipped.Reboot, shipped.BatteryMinimum, shipped.OnMetered, shipped.CheckEvery));
        Assert.False(shipped.Enabled);
    }

    [Fact]
    public void The_owners_file_stands_over_the_trees_key_by_key_and_what_they_wrote_in_it_stays()
    {
        string usr = temp.Write("usr.toml", "enabled = true\nbattery-minimum = 20\nreboot = \"idle\"\n"), etc = temp.Write("etc.toml", "# mine\nwindows = [\n  \"02:00-03:00\",\n  \"Sat 04:00-05:00\",\n]\nbattery-minimum = 60 # half\n");
        AutoSettings read = AutoSettings.Read(usr, etc);
        Assert.Equal((true, 60, AutoReboot.Idle, "02:00-03:00, Sat 04:00-05:00"), (read.Enabled, read.BatteryMinimum, read.Reboot, string.Join(", ", read.Windows)));
        AutoSettings.Change(etc, new Dictionary<string, string> { ["enabled"] = "false", ["windows"] = "[\"12:00-13:00\"]" });
        Assert.Equal("# mine\nbattery-minimum = 60 # half\nenabled = false\nwindows = [\"12:00-13:00\"]\n", File.ReadAllText(etc));
        Assert.False(AutoSettings.Read(usr, etc).Enabled);
        Assert.Equal(2, Assert.Throws<AutoSettingsException>(() => AutoSettings.Edit(etc, "# mine\n", new Dictionary<string, string> { ["reboot"] = "\"now\"" })).Message.Split(':').Length - 1);
        Assert.Equal("# mine\nbattery-minimum = 60 # half\nenabled = false\nwindows = [\"12:00-13:00\"]\n", File.ReadAllText(etc));
    }

    [Theory]
    [InlineData("windows = [\"25:00-26:00\"]", "is no window"), InlineData("windows = \"02:00-03:00\"", "is a list"), InlineData("windows = [\"Mon-Foo 02:00-03:00\"]", "is no window"), InlineData("rollout = [\"5% 0h\"]", "the last is 100%")]
    [InlineData("rollout = [\"50% 2d\", \"100% 1d\"]", "grow"), InlineData("rollout = [\"x\"]", "no step"), InlineData("battery-minimum = 101", "from 0 to 100"), InlineData("on-metered = 1", "true or false")]
    [InlineData("no-such = 1", "is not known"), InlineData("enabled = yes", ""), InlineData("[auto]\nenabled = true", "no tables"), InlineData("reboot = \"now\"", "is \"never\"")]
    public void A_setting_that_cannot_be_heeded_is_refused_with_its_line(string text, string finding)
    {
        string file = temp.Write("auto.toml", $"# first\n{text}\n");
        string said = Assert.Throws<AutoSettingsException>(() => AutoSettings.Read(file)).Message;
        Assert.StartsWith($"{file}:2: ", said);
        Assert.Contains(finding, said);
    }

    [Fact]
    public void The_battery_counts_while_it_feeds_the_machine()
    {
        Assert.Null(Probe().Battery());
        Supply("BAT0", ("type", "Battery"), ("status", "Discharging"), ("capacity", "30"));
        Supply("BAT1", ("type", "Battery"), ("status", "Not charging"), ("capacity", "50"));
        Supply("mouse", ("type", "Battery"), ("status", "Discharging"), ("capacity", "1"), ("scope", "Device"));
        Supply("AC", ("type", "Mains"), ("online", "0"));
        Assert.Equal(40, Probe().Battery());
        Supply("AC", ("type", "Mains"), ("online", "1"));
        Assert.Null(Probe().Battery());
    }

    [Fact]
    public void A_link_costs_where_NetworkManager_a_telephone_or_its_name_says_so()
    {
        const string Head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n", Default = "\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n";
        temp.Write("proc/net/route", Head + "eth0\t0002A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n");
        Assert.Equal(NetworkCost.Offline, Probe().Network());
        temp.Write("proc/net/route", Head + "eth0" + Default);
        Assert.Equal(NetworkCost.Free, Probe().Network());
        Assert.Equal([NetworkCost.Free, NetworkCost.Metered, NetworkCost.Free, NetworkCost.Metered, NetworkCost.Free], Enumerable.Range(0, 5).Select(answer => Probe(answer).Network()));
        temp.Write("sys/class/net/eth0/ifindex", "3\n");
        temp.Write("run/systemd/netif/leases/3", "ADDRESS=192.168.43.7\nVENDOR_SPECIFIC=414e44524f49445f4d455445524544\n");
        Assert.Equal(NetworkCost.Metered, Probe().Network());
        Assert.Equal(NetworkCost.Free, Probe(2).Network());
        temp.Write("proc/net/route", Head);
        temp.Write("proc/net/ipv6_route", "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000005 00000000 00000003  wwan0\n");
        Assert.Equal(NetworkCost.Metered, Probe().Network());
        temp.Write("proc/net/ipv6_route", "00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n");
        Assert.Equal(NetworkCost.Offline, Probe().Network());
    }

    [Fact]
    public void Whoever_is_logged_in_is_a_person_and_no_service_and_not_just_leaving()
    {
        Assert.Null(Probe().Users());
        Directory.CreateDirectory(temp.Of("run/systemd/sessions"));
        Assert.Empty(Probe().Users()!);
        temp.Write("run/systemd/sessions/1", "UID=1000\nUSER=ann\nACTIVE=1\nSTATE=active\nCLASS=user\n");
        temp.Write("run/systemd/sessions/2", "UID=1001\nUSER=bob\nSTATE=closing\nCLASS=user\n");
        temp.Write("run/systemd/sessions/c1", "UID=110\nUSER=gdm\nSTATE=active\nCLASS=greeter\n");
        temp.Write("run/systemd/sessions/3", "UID=1000\nUSER=ann\nSTATE=online\nCLASS=manager\n");
        temp.Write("run/systemd/sessions/4", "UID=0\nUSER=root\nSTATE=online\nCLASS=user-early\n");
        temp.Write("run/systemd/sessions/5", "UID=1002\nUSER=cem\nSTATE=online\nCLASS=user-light\n");
        temp.Write("run/systemd/sessions/6", "UID=1003\nUSER=dag\nSTATE=online\nCLASS=user-early-light\n");
        temp.Write("run/systemd/sessions/7", "UID=1004\nUSER=eve\nSTATE=online\nCLASS=background\n");
        temp.Write("run/systemd/sessions/1.ref", "");
        Assert.Equal(["ann", "cem", "dag", "root"], Probe().Users());
    }

    [Fact]
    public void Who_forbids_a_shutdown_is_read_from_what_logind_answers_and_who_only_delays_it_or_forbids_sleep_is_not()
    {
        // As busctl --json=short writes what org.freedesktop.login1(5) says of ListInhibitors.
        const string answer = """
            {"type":"a(ssssuu)","data":[[["shutdown:sleep","backup","a tomb is saved","block",0,412],["sleep","NetworkManager","it turns off","delay",0,7],["shutdown","unattended","it ends","delay",0,8],["handle-power-key","desktop","it asks","block",1000,9]]]}
            """;
        Assert.Equal(["backup: a tomb is saved"], MachineProbe.Inhibitors(answer));
        Assert.All((string[])["", "{}", "{\"data\":[]}", "{\"data\":[[[]]]}", "[1]"], static other => Assert.Null(MachineProbe.Inhibitors(other)));
    }

    [Fact]
    public void Where_logind_runs_and_does_not_say_who_forbids_a_shutdown_it_is_not_known_and_where_nobody_can_ask_it_is_nobody()
    {
        MachineProbe silent = Probe() with { AskInhibitors = static () => null };
        Assert.Empty(silent.Inhibitors()!);
        Directory.CreateDirectory(temp.Of("run/systemd/sessions"));
        Assert.Empty(silent.Inhibitors()!); // no D-Bus
        temp.Write("run/dbus/system_bus_socket", "");
        Assert.Null(silent.Inhibitors());
        Assert.Empty(Probe().Inhibitors()!);
    }

    [Fact]
    public async Task Looking_takes_nothing_from_beside_the_version_that_runs()
    {
        using var box = new TestBox(inMemory: true);
        Checksum one = box.Publish(1);
        box.Installed(one).Dispose();
        using var files = new FileServer(box.Source);
        Judge.HostOstree.Run("remote", "add", $"--repo={box.SysrootPath}/ostree/repo", "--no-gpg-verify", TestBox.Remote, files.Url);
        using OstreeSysroot sysroot = box.Open();
        using var deployer = new Deployer(sysroot, box.EspPath);
        Repository here = sysroot.Repository;
        here.WriteDetachedMetadata(one, VariantDictionary.Empty.With("note", "ours"));
        using (Repository source = Repository.Open(box.Source))
            source.WriteDetachedMetadata(one, VariantDictionary.Empty.With("other", "theirs"));

        await new AutoUpdater(sysroot, deployer, Probe()).Check(TestContext.Current.CancellationToken);
        Assert.Equal(["note", "other"], here.LoadDetachedMetadata(one)!.Keys.Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task A_box_looks_deploys_and_restarts_by_itself_and_does_not_bring_back_what_was_declined()
    {
        using var box = new TestBox(inMemory: true);
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2));
        box.Installed(one).Dispose();
        using var files = new FileServer(box.Source);
        Judge.HostOstree.Run("remote", "add", $"--repo={box.SysrootPath}/ostree/repo", "--no-gpg-verify", TestBox.Remote, files.Url);
        temp.Write("proc/net/route", "Iface\neth0\t00000000\t0102A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n");
        Directory.CreateDirectory(temp.Of("run/systemd/sessions"));
        var settings = new AutoSettings { Enabled = true, Reboot = AutoReboot.Idle };

        Deployment first;
        using (OstreeSysroot look = box.Open())
            first = look.Deployments[0];
        using (OstreeSysroot sysroot = box.OpenBooted(first, Clock))
        {
            using var deployer = new Deployer(sysroot, box.EspPath);
            var updater = new AutoUpdater(sysroot, deployer, Probe());
            Assert.Equal(AutoAction.Check, AutoDecision.Of(settings, updater.Facts()).Action);
            await updater.Check(TestContext.Current.CancellationToken);
            Assert.False(sysroot.Repository.Refs().TryGetValue($"{TestBox.Remote}:{TestBox.Ref}", out Checksum branch) && branch == two);
            AutoFacts offered = updater.Facts();
            Assert.Equal((two, "2.0"), (offered.Offer!.Commit, offered.Offer.Version));
            Assert.Equal(AutoAction.Deploy, AutoDecision.Of(settings, offered).Action);

            UpgradeOffer offer = await new Upgrader(sysroot, deployer).Fetch(new UpgradeOptions(), null, TestContext.Current.CancellationToken);
            deployer.Deploy(offer.Request);
            // Deployed by a person: the restart is left to them.
            Assert.Equal(AutoAction.Nothing, AutoDecision.Of(settings, updater.Facts()).Wanted);
            updater.NoteUpgrade(two);
            Assert.Equal(AutoAction.Reboot, AutoDecision.Of(settings, updater.Facts()).Action);

            // A person who goes back, and forth again, chose it themselves.
            Deployment second = sysroot.Deployments[0];
            deployer.Rollback(first.Name);
            deployer.Rollback(second.Name);
            AutoDecision theirs = AutoDecision.Of(settings, updater.Facts());
            Assert.Equal((AutoAction.Nothing, "version 2.0 was made the next to boot by a person: it runs after a restart, which is left to them"), (theirs.Wanted, theirs.What));

            deployer.Rollback(first.Name);
            AutoDecision declined = AutoDecision.Of(settings, updater.Facts());
            Assert.Equal((AutoAction.Deploy, AutoAction.Nothing, "declined"), (declined.Wanted, declined.Action, Assert.Single(declined.Obstacles).Name));
            Assert.Equal(two, AutoState.Read(sysroot, TestBox.Os).Offer!.Commit);
            updater.NoteFailure("it rained");
            Assert.Equal(["failure", "declined"], AutoDecision.Of(settings, updater.Facts()).Obstacles.Select(static each => each.Name));
            Assert.Equal("it rained", AutoState.Read(sysroot, TestBox.Os).Failure!.Value.Why);

            // Its successor comes by itself.
            Checksum three = box.Publish(3);
            await updater.Check(TestContext.Current.CancellationToken);
            AutoDecision next = AutoDecision.Of(settings, updater.Facts());
            Assert.Equal((AutoAction.Deploy, three), (next.Action, updater.Facts().Offer!.Commit));

            // An upgrade that deployed nothing, or something that is not there first: a person was quicker.
            foreach (Checksum? nothing in (Checksum?[])[null, three])
            {
                await updater.Check(TestContext.Current.CancellationToken);
                updater.NoteUpgrade(nothing);
                Assert.Equal((null, two), (AutoState.Read(sysroot, TestBox.Os).Offer, AutoState.Read(sysroot, TestBox.Os).Deployed));
                Assert.Equal(AutoAction.Nothing, AutoDecision.Of(settings, updater.Facts()).Wanted);
            }
        }
    }

    [Fact]
    public void A_version_that_hung_is_not_restarted_into_again_while_another_boot_runs_in_its_place()
    {
        using var box = new TestBox(inMemory: true);
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2));
        box.Installed(one).Dispose();
        Deployment first;
        using (OstreeSysroot look = box.Open())
            first = look.Deployments[0];
        using OstreeSysroot sysroot = box.OpenBooted(first, Clock);
        using var deployer = new Deployer(sysroot, box.EspPath);
        box.Deploy(deployer, two);
        var updater = new AutoUpdater(sysroot, deployer, Probe());
        updater.NoteDeployed(two);
        new AutoState { Checked = sysroot.Options.Clock.GetUtcNow(), Deployed = two, DeployedAs = AutoState.Read(sysroot, TestBox.Os).DeployedAs }.Write(sysroot, TestBox.Os);
        var settings = new AutoSettings { Enabled = true, Reboot = AutoReboot.Always };
        Trials.Set(sysroot, sysroot.Deployments[0].Name, new Trial(3, null));
        Assert.Equal(AutoAction.Reboot, AutoDecision.Of(settings, updater.Facts()).Action);
        Trials.Set(sysroot, sysroot.Deployments[0].Name, new Trial(2, "boot-2"));
        AutoDecision hung = AutoDecision.Of(settings, updater.Facts());
        Assert.Equal((AutoAction.Nothing, "failed-once"), (hung.Action, Assert.Single(hung.Obstacles).Name));
    }

    [Theory, InlineData(true), InlineData(false)]
    public void A_version_that_ran_is_not_restarted_into_once_a_person_chose_another_in_the_boot_menu(bool inHealth)
    {
        using var box = new TestBox(inMemory: true);
        (Checksum one, Checksum two) = (box.Publish(1), box.Publish(2));
        using InstalledBox installed = box.Installed(one, two);
        Deployment[] deployed = [.. installed.Sysroot.Deployments];
        new AutoUpdater(installed.Sysroot, installed.Deployer, Probe()).NoteDeployed(two);
        Assert.Equal(AutoAction.Reboot, Decision(deployed[1], static _ => { }).Action);
        Decision(deployed[0], ran =>
        {
            Assert.True(new AutoUpdater(ran.Sysroot, ran.Deployer, Probe()).Facts().RunsUnnoted);
            if (inHealth)
                new BootHealth(ran.Sysroot, ran.Deployer.Esp!, "boot-2").MarkGood();
            else
                new AutoUpdater(ran.Sysroot, ran.Deployer, Probe()).NoteRunning();
            Assert.False(new AutoUpdater(ran.Sysroot, ran.Deployer, Probe()).Facts().RunsUnnoted);
        });
        AutoDecision chosen = Decision(deployed[1], static _ => { });
        Assert.Equal((AutoAction.Nothing, "version 2.0 ran before, and a person chose what runs now: a restart is left to them"), (chosen.Wanted, chosen.What));

        AutoDecision Decision(Deployment running, Action<InstalledBox> first)
        {
            OstreeSysroot booted = box.OpenBooted(running, Clock);
            using var open = new InstalledBox(booted, new Deployer(booted, box.EspPath));
            first(open);
            AutoFacts facts = new AutoUpdater(open.Sysroot, open.Deployer, Probe()).Facts();
            return AutoDecision.Of(new AutoSettings { Enabled = true, Reboot = AutoReboot.Always }, facts);
        }
    }

    [Fact]
    public void What_is_remembered_reads_back_and_what_is_damaged_is_as_if_it_had_never_been()
    {
        var state = new AutoState
        {
            Checked = DateTimeOffset.FromUnixTimeSeconds(1_790_000_000), Offer = new AutoOffer(Checksum.Of("x"u8), "1 \\ \"two\"", DateTimeOffset.FromUnixTimeSeconds(1_780_000_000)), Deployed = Checksum.Of("y"u8),
            DeployedAs = "1790000000.000000001",
            Failure = (DateTimeOffset.FromUnixTimeSeconds(1_790_000_001), "no way"),
        };
        Assert.Equal(state, AutoState.Parse(state.ToString()));
        Assert.Equal(new AutoState(), AutoState.Parse("[auto]\nchecked=-1\noffer=zz\nfailed=99999999999999999\n"));
    }

    private static SysrootOptions Clock(SysrootOptions options) => options with { Clock = new SlowClock() };

    private MachineProbe Probe(int? manager = null) => new(temp.Path, () => manager);

    private void Supply(string name, params (string Name, string Value)[] files)
    {
        foreach ((string file, string value) in files)
            temp.Write($"sys/class/power_supply/{name}/{file}", value + "\n");
    }

    private sealed class SlowClock : TimeProvider
    {
        private long ticks;

        // No two moments are one.
        public override DateTimeOffset GetUtcNow() => TestBox.Start.AddDays(30).AddTicks(Interlocked.Increment(ref ticks));

        public override TimeZoneInfo LocalTimeZone => TimeZoneInfo.Utc;
    }
}
