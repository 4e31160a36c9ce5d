using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>A box that is a ghost when nobody chooses stays one: through upgrades, trials, verdicts, fallbacks and rollbacks, and as its owner has it.</summary>
public sealed class GhostDefaultTests : IDisposable
{
    private const string Unit = "usr/lib/systemd/system/sbox-health.service", Ghost = "@ghost", InMemory = "@ghost-in-memory";
    private readonly TestBox box = new(inMemory: true) { RealStub = true };
    private readonly TempDir efivars = new(inMemory: true);
    private readonly Checksum one, two;
    private int boots;

    public GhostDefaultTests()
    {
        (one, two) = (box.PublishWith(1, (Unit, "unit")), box.PublishWith(2, (Unit, "unit")));
        using OstreeSysroot sysroot = OstreeSysroot.Init(box.SysrootPath, new SysrootOptions { CommandLine = "" });
        sysroot.InitStateroot(TestBox.Os);
        using var deployer = new Deployer(sysroot, box.EspPath);
        box.Deploy(deployer, one);
    }

    public void Dispose()
    {
        box.Dispose();
        efivars.Dispose();
    }

    [Theory, InlineData(DefaultBoot.Normal, "", ""), InlineData(DefaultBoot.Ghost, Ghost, Ghost), InlineData(DefaultBoot.GhostInMemory, InMemory, Ghost)]
    public void An_upgrade_starts_the_new_version_as_the_box_starts_and_its_verdict_keeps_that(DefaultBoot boots, string profile, string onTrial)
    {
        Start(boots);
        Assert.Equal(Entry(one, profile), Conf());
        Assert.Equal(boots == DefaultBoot.GhostInMemory, Upgrade().Notes.Any(static note => note.Contains("leave the medium in", StringComparison.Ordinal)));
        Assert.Equal((Entry(one, profile), Entry(two, onTrial)), (Conf(), Once()));
        using InstalledBox trying = BootOnce(two);
        StatusReport status = StatusReport.Of(trying.Sysroot, trying.Deployer);
        Assert.Equal((two, boots, Entry(two, profile)), (status.Next!.Name.Commit, status.BootsAs, status.Choice!.Entry));
        Health(trying).MarkGood();
        Assert.Equal((Entry(two, profile), null), (Conf(), Once()));
        Assert.True(trying.Deployer.IsSettled);
        Assert.Equal(one, trying.Deployer.Rollback().Name.Commit);
        Assert.Equal((Entry(one, profile), null), (Conf(), Once()));
    }

    [Fact]
    public void A_version_that_hangs_or_fails_as_a_ghost_is_tried_again_as_one_and_the_one_before_comes_back_as_one()
    {
        Start(DefaultBoot.Ghost);
        Upgrade();
        using (InstalledBox hung = BootOnce(one)) // the power was cut: what was good runs
        {
            Assert.Equal(two, Health(hung).Look()!.Waiting!.Value.Commit);
            Assert.Equal((Entry(one, Ghost), Entry(two, Ghost)), (Conf(), Once()));
        }

        foreach (string? once in (string?[])[Entry(two, Ghost), null])
        {
            using InstalledBox failing = BootOnce(two);
            Health(failing).MarkFailed("the database is down");
            Assert.Equal((Entry(one, Ghost), once), (Conf(), Once()));
        }

        using InstalledBox back = BootOnce(one);
        BootVerdict verdict = Health(back).Look()!;
        Assert.Equal([two], verdict.FellBackFrom.Select(static name => name.Commit));
        back.Deployer.Rollback(verdict.Running);
        Health(back).NoteFallback(verdict);
        Assert.Equal((Entry(one, Ghost), null), (Conf(), Once()));
        Assert.True(back.Deployer.IsSettled);
    }

    // Else a ghost would write at each boot, or never find anything good.
    [Fact]
    public void A_verdict_is_awaited_while_something_is_on_trial_or_fell_back_unnoticed_and_at_no_other_time()
    {
        using (InstalledBox alone = BootOnce(one))
            Assert.False(IsAwaited(alone));
        Upgrade();
        using (InstalledBox before = Running(one))
            Assert.False(IsAwaited(before)); // it is started with the next boot
        using (InstalledBox hung = BootOnce(one))
        {
            Assert.True(IsAwaited(hung)); // a try to be counted
            Health(hung).Look();
            Assert.False(IsAwaited(hung));
        }

        foreach (int _ in (int[])[1, 2])
        {
            using InstalledBox failing = BootOnce(two);
            Assert.True(IsAwaited(failing));
            Health(failing).MarkFailed("the database is down");
        }

        using (InstalledBox chosen = BootOnce(two)) // it was given up, and somebody chose it in the menu: good ends that, a deadline changes nothing
        {
            Assert.True(IsAwaited(chosen));
            BootVerdict given = Health(chosen).Look()!;
            Assert.Equal((0, true, false), (given.TriesLeft, given.Awaits(good: true), given.Awaits(good: false)));
            Assert.False(BootHealth.IsAwaited(chosen.Sysroot, chosen.Deployer.Esp!, canBeGood: false));
        }

        using InstalledBox back = BootOnce(one);
        Assert.True(IsAwaited(back));
        BootVerdict verdict = Health(back).Look()!;
        back.Deployer.Rollback(verdict.Running);
        Health(back).NoteFallback(verdict);
        Assert.False(IsAwaited(back));
        back.Deployer.Rollback(Name(two));
        using InstalledBox again = BootOnce(two);
        Health(again).MarkGood();
        Assert.False(IsAwaited(again));
    }

    [Theory]
    [InlineData("{one}@ghost", Ghost)]
    [InlineData("*@ghost", Ghost)]
    [InlineData("{one}@ghost-in-memory", InMemory)]
    [InlineData("{one}@rescue", "")] // it was looked into, and is no way to live
    [InlineData("{one}@factory-reset", "")]
    public void What_was_said_with_the_menus_key_is_taken_over_before_the_firmware_forgets_it(string value, string profile)
    {
        Set("LoaderEntryDefault", value.Replace("{one}", Entry(one), StringComparison.Ordinal));
        Upgrade();
        Assert.False(File.Exists(Variable("LoaderEntryDefault")));
        Assert.Equal((Entry(one, profile), Entry(two, profile == InMemory ? Ghost : profile)), (Conf(), Once()));
    }

    [Theory]
    [InlineData("auto-windows", Ghost)] // another system's entry says nothing of ours
    [InlineData("{one}@rescue", Ghost)]
    [InlineData("{one}", "")] // its owner had enough of ghosts
    public void A_ghost_ends_by_what_its_owner_says_and_by_nothing_else(string value, string profile)
    {
        Start(DefaultBoot.Ghost);
        Set("LoaderEntryDefault", value.Replace("{one}", Entry(one), StringComparison.Ordinal));
        Upgrade();
        Assert.Equal((Entry(one, profile), Entry(two, profile)), (Conf(), Once()));
    }

    // sbox upgrade with nothing to fetch clears it too.
    [Fact]
    public void A_default_of_another_versions_ghost_is_cleared_and_the_ghost_stays()
    {
        Upgrade();
        using InstalledBox trying = BootOnce(two);
        Health(trying).MarkGood();
        Set("LoaderEntryDefault", Entry(one, Ghost));
        Assert.Single(trying.Deployer.Overrule());
        Assert.Equal(Entry(two, Ghost), Conf());
        Assert.False(File.Exists(Variable("LoaderEntryDefault")));
    }

    [Fact]
    public void Its_owners_word_counts_for_what_is_on_trial_too_and_over_the_menus_key()
    {
        Upgrade();
        Set("LoaderEntryDefault", Entry(one));
        using InstalledBox installed = Running(one);
        Assert.Contains("LoaderEntryDefault", Assert.Single(installed.Deployer.StartAs(DefaultBoot.Ghost)!), StringComparison.Ordinal);
        Assert.Equal((Entry(one, Ghost), Entry(two, Ghost)), (Conf(), Once()));
        Assert.Empty(installed.Deployer.StartAs(DefaultBoot.Normal)!);
        Assert.Equal((Entry(one), Entry(two)), (Conf(), Once()));
        Assert.Equal(2, installed.Sysroot.Deployments.Count);
    }

    [Fact]
    public void A_kernel_image_without_that_entry_is_named_and_nothing_changes()
    {
        string uki = $"{box.EspPath}/EFI/Linux/{Entry(one)}";
        File.WriteAllText(uki, "one entry alone");
        using InstalledBox installed = Running(one);
        NoSuchProfileException refused = Assert.Throws<NoSuchProfileException>(() => installed.Deployer.StartAs(DefaultBoot.Ghost));
        Assert.Equal(uki, refused.Path);
        Assert.Equal(Entry(one), Conf());
    }

    [Theory, InlineData("ghost", Ghost), InlineData("ghost-in-memory", InMemory), InlineData("nonsense", "")]
    public void A_new_box_starts_as_its_recipe_says_and_an_upgrade_changes_no_old_one(string said, string profile)
    {
        Checksum three = PublishGhost(said);
        Upgrade(three);
        Assert.Equal((Entry(one), Entry(three)), (Conf(), Once()));

        using var fresh = new TempDir(inMemory: true);
        using OstreeSysroot sysroot = OstreeSysroot.Init(fresh.Of("sysroot"), new SysrootOptions { CommandLine = "" });
        sysroot.InitStateroot(TestBox.Os);
        Judge.HostOstree.Run("pull-local", $"--repo={fresh.Of("sysroot")}/ostree/repo", box.Source, three.ToString());
        using var deployer = new Deployer(sysroot, Directory.CreateDirectory(fresh.Of("esp")).FullName);
        deployer.Deploy(TestBox.Request(three));
        Assert.Equal(Entry(three, profile), new LoaderConf(File.ReadAllText(fresh.Of("esp/loader/loader.conf"))).Default);
    }

    // Nothing that the boot loader reads says whether the box is a ghost: the new version's recipe is not asked all the same.
    [Theory, InlineData("auto-windows"), InlineData("{one}@rescue"), InlineData("@saved"), InlineData(null)]
    public void An_upgrade_to_a_recipe_that_says_ghost_makes_none_of_a_box_whose_default_says_nothing(string? value)
    {
        Checksum three = PublishGhost("ghost");
        if (value is null)
            File.Delete($"{box.EspPath}/loader/loader.conf");
        else
            File.WriteAllText($"{box.EspPath}/loader/loader.conf", $"default {value.Replace("{one}", Entry(one), StringComparison.Ordinal)}\n");
        Upgrade(three);
        Assert.Equal((Entry(one), Entry(three)), (Conf(), Once()));
        File.Delete($"{box.EspPath}/loader/loader.conf");
        using InstalledBox trying = BootOnce(three);
        Health(trying).MarkGood();
        Assert.Equal(Entry(three), Conf());
    }

    // Nobody would judge it there, and good or not it would be noted as bad.
    [Fact]
    public void A_version_whose_unit_refuses_ghosts_is_not_tried_as_one_and_that_is_said()
    {
        Checksum three = box.PublishWith(3, (Unit, "[Unit]\nConditionKernelCommandLine=!sbox.ghost\n"));
        Start(DefaultBoot.Ghost);
        Assert.Contains(Upgrade(three).Notes, static note => note.Contains("not tried first", StringComparison.Ordinal));
        Assert.Equal((Entry(three, Ghost), null), (Conf(), Once()));
    }

    [Fact]
    public void On_a_box_that_is_no_ghost_such_a_version_is_tried_as_any_other()
    {
        Upgrade(box.PublishWith(3, (Unit, "[Unit]\nConditionKernelCommandLine=!sbox.ghost\n")));
        Assert.NotNull(Once());
    }

    // It writes, which its owner must hear.
    [Fact]
    public void A_way_back_to_a_version_without_that_entry_is_told()
    {
        Start(DefaultBoot.Ghost);
        Upgrade();
        using InstalledBox trying = BootOnce(two);
        Health(trying).MarkGood();
        File.WriteAllText($"{box.EspPath}/EFI/Linux/{Entry(one)}", "one entry alone");
        Assert.Contains(trying.Deployer.Rollback().Cleanup.Notes, static note => note.Contains("writes to the disk", StringComparison.Ordinal));
        Assert.Equal(Entry(one), Conf());
    }

    private Checksum PublishGhost(string said)
    {
        Checksum three = box.PublishWith(3, (Unit, "unit"));
        return Checksum.Parse(Judge.HostOstree.Run(
            "commit", $"--repo={box.Source}", $"--branch={TestBox.Ref}", $"--tree=ref={three}", "--add-metadata-string=version=3.0", $"--add-metadata-string={DefaultBoots.MetadataKey}={said}").Trim());
    }

    private void Start(DefaultBoot boots)
    {
        using InstalledBox installed = Running(one);
        Assert.Empty(installed.Deployer.StartAs(boots)!);
    }

    private DeployResult Upgrade(Checksum? to = null)
    {
        using InstalledBox installed = Running(one);
        return box.Deploy(installed.Deployer, to ?? two);
    }

    // As systemd-boot does it: the variable is gone before what it names is started.
    private InstalledBox BootOnce(Checksum runs)
    {
        boots++;
        File.Delete(Variable("LoaderEntryOneShot"));
        return Running(runs);
    }

    private InstalledBox Running(Checksum commit)
    {
        var options = new SysrootOptions { CommandLine = $"root=LABEL=sbox-root sbox.deployment={Name(commit)} quiet", EfiVariables = efivars.Path };
        OstreeSysroot sysroot = OstreeSysroot.Open(box.SysrootPath, options);
        return new InstalledBox(sysroot, new Deployer(sysroot, box.EspPath));
    }

    private BootHealth Health(InstalledBox installed) => new(installed.Sysroot, installed.Deployer.Esp!, $"boot-{boots}", TimeSpan.FromSeconds(20));

    private static bool IsAwaited(InstalledBox installed)
    {
        installed.Sysroot.Reload();
        return BootHealth.IsAwaited(installed.Sysroot, installed.Deployer.Esp!);
    }

    private static DeploymentName Name(Checksum commit) => new(TestBox.Os, commit, 0);

    private static string Entry(Checksum commit, string profile = "") => $"debian-{commit.ToString()[..12]}.0.efi{profile}";

    private string Conf() => new LoaderConf(box.LoaderConf).Default!;

    private string? Once() => File.Exists(Variable("LoaderEntryOneShot")) ? System.Text.Encoding.Unicode.GetString(File.ReadAllBytes(Variable("LoaderEntryOneShot")).AsSpan(4)).TrimEnd('\0') : null;

    private void Set(string name, string value) => File.WriteAllBytes(Variable(name), [7, 0, 0, 0, .. System.Text.Encoding.Unicode.GetBytes(value + "\0")]);

    private string Variable(string name) => efivars.Of($"{name}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f");
}
