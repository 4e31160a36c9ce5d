using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>What the doctor finds, and that what it mends is whole to real ostree, and nothing is lost.</summary>
public sealed class DoctorTests : IDisposable
{
    private static readonly DateTimeOffset Now = TestBox.Start.AddDays(30);
    private readonly TestBox box = new(inMemory: true) { RealStub = true };
    private readonly Checksum one, two;

    public DoctorTests()
    {
        (one, two) = (box.Publish(1), box.Publish(2));
        using OstreeSysroot sysroot = OstreeSysroot.Init(box.SysrootPath, Options());
        sysroot.InitStateroot(TestBox.Os);
        Judge.HostOstree.Run("remote", "add", $"--repo={box.SysrootPath}/ostree/repo", "--no-gpg-verify", TestBox.Remote, "http://127.0.0.1:1");
        using var deployer = new Deployer(sysroot, box.EspPath);
        box.Deploy(deployer, one);
        box.Deploy(deployer, two);
    }

    public void Dispose() => box.Dispose();

    [Fact]
    public void A_box_that_was_upgraded_has_nothing_to_be_done()
    {
        DoctorReport report = Look();
        Assert.All(report.Findings, static finding => Assert.Equal(FindingGrade.Note, finding.Grade));
        Assert.True(report.IsHealthy);
        Assert.Empty(report.Plan.Steps);
    }

    /// <summary>What is done to a box, what is found, and what else is found beside it; each is mended, and real ostree is content.</summary>
    public static TheoryData<string, string> Damages => new()
    {
        { "rm boot/loader", "loader-link" },
        { "ln -sfn loader.7 boot/loader", "loader-link" },
        { "rm boot/loader && cp -a boot/loader.? boot/loader", "loader-link" },
        { "rm ostree/boot.?", "boot-link" },
        { "for l in ostree/boot.?; do ln -sfn boot.9.9 $l; done", "boot-link" },
        { "rm -r ostree/boot.*", "boot-link" },
        { "for d in ostree/boot.?.?/*/*; do rm $d/0; done", "entry-dangling" },
        { "echo broken > boot/loader/entries/ostree-1-debian.conf", "entry-dangling" },
        { ": > boot/loader/entries/ostree-2-debian.conf", "entry-dangling" },
        { "rm -r boot/loader/entries", "deployment-unlisted" },
        { "rm boot/ostree/*/vmlinuz-*", "kernel-missing" },
        { "rm -r boot/ostree", "kernel-missing" },
        { "rm $TWO/usr/bin/version", "deployment-incomplete" },
        { "rm -r $TWO/usr/lib/modules $ONE/usr/etc", "deployment-incomplete" },
        { "cp --remove-destination /dev/null $TWO/usr/bin/version", "deployment-incomplete" },
        { "rm -r $ONE/etc", "etc-missing" },
        { "mv ostree/deploy/debian/var ostree/deploy/debian/var.old", "var-missing" },
        { "cp -a boot/loader.? boot/loader.new; v=$(readlink boot/loader); mv boot/loader.new boot/loader.$((1-${v#loader.}))", "boot-leftover" },
        { "ln -s loader.0 boot/loader.tmp", "boot-leftover" },
        { "mkdir boot/ostree/debian-$(printf %064d 7)", "kernel-leftover" },
        { "cp -al $ONE ostree/deploy/debian/deploy/$ONECSUM.5", "deployment-unlisted" },
        { "mkdir -p ostree/deploy/debian/deploy/$ONECSUM.6/usr", "deployment-half" },
        { "cp $ONE.origin ostree/deploy/debian/deploy/$ONECSUM.7.origin", "deployment-leftover" },
        { "mkdir -p ostree/deploy/debian/backing/$ONECSUM.8", "deployment-leftover" },
        { "rm -r ostree/repo/refs/heads/ostree", "ref-missing" },
        { "mkdir -p ostree/repo/refs/heads/ostree/0/0; echo $ONECSUM > ostree/repo/refs/heads/ostree/0/0/9", "ref-leftover" },
        { "mkdir ostree/repo/tmp/staging-00000000-0000-0000-0000-000000000000-abcdef; touch ostree/repo/tmp/staging-00000000-0000-0000-0000-000000000000-abcdef-lock", "download-leftover" },
        { "touch ../esp/EFI/Linux/.half.efi.tmp", "esp-leftover" },
        { "cp ../esp/EFI/Linux/debian-${ONECSUM:0:12}.0.efi ../esp/EFI/Linux/debian-000000000000.0.efi", "uki-orphan" },
        { "rm ../esp/EFI/Linux/debian-${ONECSUM:0:12}.0.efi", "uki-missing" },
        { "rm ../esp/EFI/Linux/*", "uki-missing" },
        { "truncate -s 20000 ../esp/EFI/Linux/debian-${TWOCSUM:0:12}.0.efi", "uki-damaged" },
        { "cp ../esp/EFI/Linux/debian-${ONECSUM:0:12}.0.efi ../esp/EFI/Linux/debian-${TWOCSUM:0:12}.0.efi", "uki-damaged" },
        { "rm $TWO/.ostree.cfs", "image-missing" },
        { "echo x >> $TWO/.ostree.cfs", "image-damaged" },
        { "rm ../esp/loader/loader.conf", "default-missing" },
        { "echo default gone.efi > ../esp/loader/loader.conf", "default-dangling" },
        { "echo default debian-${ONECSUM:0:12}.0.efi > ../esp/loader/loader.conf", "default-behind" },
        { "rm ../esp/EFI/BOOT/BOOTX64.EFI", "loader-missing" },
        { "rm -r ../esp/*", "loader-missing" },
        { "mkdir $TWO/etc.sbox-new", "etc-leftover" },
        { "mkdir -p ostree/deploy/debian/backing/$TWOCSUM.0/etc-merge.new", "etc-leftover" },
        { "echo x > ostree/deploy/debian/backing/$TWOCSUM.0/etc-merge/record", "etc-record" },
        { "echo it was full > boot/ostree/finalize-failure.stamp", "finalize-failed" },
    };

    [Theory, MemberData(nameof(Damages))]
    public void What_is_damaged_is_named_and_mended_and_nothing_is_lost(string damage, string name)
    {
        File.WriteAllText(Etc(one, "mine"), "mine\n");
        Shell(damage);
        HashSet<string> before = Contents();
        DoctorReport report = Look();
        Assert.Contains(name, report.Findings.Where(static finding => finding.CanBeFixed).Select(static finding => finding.Name));
        Assert.False(report.IsHealthy);
        Assert.All(report.Findings, static finding => Assert.All((string[])[finding.Name, finding.Path, finding.Found, finding.Means, finding.Mend], Assert.NotEmpty));
        RepairReport done = Repair();
        Assert.Empty(done.Failed);
        AssertWhole();
        // But for half-written files of ours, every content that was there still is.
        if (name is not ("esp-leftover" or "download-leftover" or "ref-leftover" or "ref-missing"))
            Assert.Subset(Contents(), before);
        if (name != "etc-missing")
            Assert.Equal("mine\n", File.ReadAllText(Etc(one, "mine")));
        Assert.Empty(Look().Plan.Steps);
    }

    [Fact]
    public void An_origin_that_cannot_be_read_is_set_aside_and_what_it_said_is_left_to_the_owner()
    {
        Shell("echo x > $TWO.origin");
        Assert.Contains(Look().Findings, static finding => finding.Name == "origin-unreadable");
        Assert.Empty(Repair().Failed);
        Assert.Equal(["origin-missing"], Look().Findings.Where(static finding => finding.Grade != FindingGrade.Note).Select(static finding => finding.Name));
        using OstreeSysroot sysroot = OstreeSysroot.Open(box.SysrootPath, Options());
        Assert.Equal([two, one], sysroot.Deployments.Select(static each => each.Name.Commit));
    }

    [Fact]
    public void The_plan_is_shown_first_and_nothing_else_is_done()
    {
        Shell("rm boot/loader; mkdir $TWO/etc.sbox-new");
        RepairPlan shown = Look().Plan;
        string[] lines = shown.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(shown.Steps.Count, lines.Length);
        Assert.Contains("make the boot entries anew, for the versions that are there", lines);
        Shell("rm ../esp/EFI/Linux/*");
        using OstreeSysroot sysroot = Open();
        using var deployer = new Deployer(sysroot, box.EspPath);
        Assert.Throws<RepairChangedException>(() => new BoxDoctor(sysroot, deployer, new DoctorOptions()).Repair(shown));
        Assert.False(File.Exists($"{box.SysrootPath}/boot/loader"));
    }

    [Fact]
    public void A_repair_cut_before_any_step_can_be_done_again_and_loses_nothing()
    {
        const string damage = "rm boot/loader ../esp/EFI/Linux/debian-${TWOCSUM:0:12}.0.efi $TWO/usr/bin/version $ONE/.ostree.cfs; cp -al $ONE ostree/deploy/debian/deploy/$ONECSUM.5; "
            + "cp ../esp/EFI/Linux/debian-${ONECSUM:0:12}.0.efi ../esp/EFI/Linux/debian-000000000000.0.efi; rm -r ostree/repo/refs/heads/ostree; mkdir $TWO/etc.sbox-new; echo kept > $TWO/etc.sbox-new/kept";
        Shell(damage);
        using var pristine = new TempDir(inMemory: true);
        Judge.OnPath("cp").Run("-a", box.SysrootPath, box.EspPath, pristine.Path);
        var steps = new List<string>();
        while (true)
        {
            Shell($"rm -rf ../esp/* ../sysroot/* && cp -a {pristine.Path}/sysroot/. ../sysroot/ && cp -a {pristine.Path}/esp/. ../esp/");
            HashSet<string> before = Contents();
            int step = 0;
            string? cut = null;
            try
            {
                Repair(each => cut = ++step > steps.Count ? throw new PowerCutException(cut = each) : null);
            }
            catch (PowerCutException at)
            {
                cut = at.Message;
            }

            // What the firmware offered and was whole it still offers.
            if (step <= steps.Count && cut is null)
                break;
            steps.Add(cut!);
            Assert.True(File.Exists($"{box.EspPath}/EFI/Linux/debian-{one.ToString()[..12]}.0.efi"), cut);
            Assert.True(Directory.Exists($"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/deploy/{one}.0/etc"), cut);
            Assert.Empty(Repair().Failed);
            AssertWhole();
            Assert.Subset(Contents(), before);
        }

        Assert.True(steps.Count > 15, string.Join('\n', steps));
    }

    [Fact]
    public void What_may_still_boot_is_not_set_aside_where_what_takes_its_place_could_not_be_made()
    {
        // What an upgrade left: the new version's UKI is not there, and the firmware starts one that no boot entry knows.
        const string orphan = "EFI/Linux/debian-000000000000.0.efi";
        Shell($"mv ../esp/EFI/Linux/debian-${{TWOCSUM:0:12}}.0.efi ../esp/{orphan}; rm ../esp/EFI/Linux/debian-${{ONECSUM:0:12}}.0.efi; mkdir -p ostree/deploy/debian/deploy/$ONECSUM.6/usr");
        RepairReport full = Repair(options: Options() with { FreeBytes = static _ => 1000 });
        Assert.Equal([RepairKind.PublishEsp, RepairKind.SetAsideLast, RepairKind.SetAsideLast], full.Failed.Select(static each => each.Step.Kind));
        Assert.Contains("MiB are needed, 0.0 MiB are free; removing debian-000000000000.0.efi frees ", full.Failed[0].Reason);
        Assert.All(full.Failed.Skip(1), each => Assert.Equal($"not done, because this was not: {full.Failed[0].Step.What}. Until then it may be what boots", each.Reason));
        Assert.Equal([orphan], Directory.GetFiles($"{box.EspPath}/EFI/Linux").Select(file => Path.GetRelativePath(box.EspPath, file)));
        Assert.True(Directory.Exists($"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/deploy/{one}.6/usr"));

        RepairReport cut = Repair(before: static step => _ = step.Contains("EFI/Linux/.debian-", StringComparison.Ordinal) ? throw new IOException("the stick was pulled out") : 0);
        Assert.Equal([RepairKind.PublishEsp, RepairKind.SetAsideLast, RepairKind.SetAsideLast], cut.Failed.Select(static each => each.Step.Kind));
        Assert.True(File.Exists($"{box.EspPath}/{orphan}"));

        Assert.Empty(Repair().Failed);
        AssertWhole();
        Assert.False(File.Exists($"{box.EspPath}/{orphan}"));
    }

    [Fact]
    public void A_damaged_UKI_is_not_made_anew_where_there_is_no_room_beside_it()
    {
        Shell("truncate -s 20000 ../esp/EFI/Linux/debian-${TWOCSUM:0:12}.0.efi");
        RepairReport full = Repair(options: Options() with { FreeBytes = static _ => 1000 });
        string said = Assert.Single(full.Failed, static each => each.Step.Kind == RepairKind.RewriteUki).Reason;
        Assert.Contains($"MiB are free; removing debian-{two.ToString()[..12]}.0.efi frees 0.0 MiB", said);
        Assert.DoesNotContain(one.ToString()[..12], said); // the one that boots is nothing to be removed
        Assert.Equal(20000, new FileInfo($"{box.EspPath}/EFI/Linux/debian-{two.ToString()[..12]}.0.efi").Length);
    }

    [Fact]
    public void An_upgrade_cut_anywhere_is_finished_or_taken_back_and_the_firmware_always_starts_something_whole()
    {
        Checksum three = box.Publish(3, kernel: "third");
        Judge.OnPath("cp").Run($"{box.Path}/trees/2/usr/lib/modules/6.12.1/vmlinuz", $"{box.Path}/trees/3/usr/lib/modules/6.12.1/vmlinuz");
        box.Fetch(three);
        using var pristine = new TempDir(inMemory: true);
        Judge.OnPath("cp").Run("-a", box.SysrootPath, box.EspPath, pristine.Path);
        for (int steps = 0; ; steps++)
        {
            Shell($"rm -rf ../esp/* ../sysroot/* && cp -a {pristine.Path}/sysroot/. ../sysroot/ && cp -a {pristine.Path}/esp/. ../esp/");
            int step = 0;
            bool cut = false;
            try
            {
                using OstreeSysroot sysroot = OstreeSysroot.Open(box.SysrootPath, Options() with
                {
                    CommandLine = $"sbox.deployment={TestBox.Os}/{two}.0", BeforeStep = _ => cut = ++step > steps ? throw new PowerCutException("cut") : false,
                });
                using var deployer = new Deployer(sysroot, box.EspPath);
                deployer.Deploy(TestBox.Request(three));
            }
            catch (PowerCutException)
            {
                cut = true;
            }

            Repair(running: new DeploymentName(TestBox.Os, two, 0));
            AssertWhole(alsoOne: false);
            using OstreeSysroot after = Open();
            Assert.Contains(after.Deployments, each => each.Name.Commit == two);
            if (!cut)
            {
                Assert.True(steps > 15);
                break;
            }
        }
    }

    [Theory, InlineData("2022.7"), InlineData("2026.4")]
    public void A_sysroot_that_real_ostree_made_has_nothing_to_be_done_before_and_after_it_changes_it(string version)
    {
        Judge ostree = version == "2026.4" ? Judge.Ostree : Judge.HostOstree;
        using var temp = new TempDir(inMemory: true);
        string path = temp.Of("sysroot"), root = $"--sysroot={path}";
        Directory.CreateDirectory(path);
        ostree.Run("admin", "init-fs", "--modern", path);
        AssertHealthy(path);
        ostree.Run("admin", "os-init", root, TestBox.Os);
        AssertHealthy(path);
        ostree.Run("remote", "add", $"--repo={path}/ostree/repo", "--no-gpg-verify", TestBox.Remote, "http://127.0.0.1:1");
        foreach (Checksum commit in (Checksum[])[one, two, Legacy(), two])
        {
            ostree.Run("pull-local", $"--repo={path}/ostree/repo", $"--remote={TestBox.Remote}", box.Source, commit.ToString());
            ostree.Run("refs", $"--repo={path}/ostree/repo", "--force", $"--create={TestBox.Remote}:{TestBox.Ref}", commit.ToString());
            ostree.Run("admin", "deploy", root, $"--os={TestBox.Os}", "--karg=root=LABEL=x", "--retain", $"{TestBox.Remote}:{TestBox.Ref}");
            AssertHealthy(path);
        }

        foreach (string[] change in (string[][])[["admin", "pin", root, "0"], ["admin", "undeploy", root, "1"], ["admin", "set-default", root, "1"], ["admin", "cleanup", root], ["admin", "deploy", root, $"--os={TestBox.Os}", "--not-as-default", two.ToString()]])
        {
            // The older one has no set-default.
            if (ostree.Ask(change).ExitCode == 0)
                AssertHealthy(path);
        }

        // Broken, mended by us, and theirs again.
        File.Delete($"{path}/boot/loader");
        File.CreateSymbolicLink($"{path}/boot/loader", "loader.7");
        Assert.NotEqual(0, ostree.Ask("admin", "status", root).ExitCode);
        using (OstreeSysroot sysroot = OstreeSysroot.Open(path, Options() with { TolerateDamage = true }))
        {
            using var deployer = new Deployer(sysroot, null);
            var doctor = new BoxDoctor(sysroot, deployer, new DoctorOptions());
            Assert.Empty(doctor.Repair(doctor.Look().Plan).Failed);
        }

        AssertHealthy(path);
        Assert.Contains(two.ToString(), ostree.Run("admin", "status", root));
        ostree.Run("fsck", "--quiet", $"--repo={path}/ostree/repo");
        ostree.Run("admin", "deploy", root, $"--os={TestBox.Os}", two.ToString());
        AssertHealthy(path);
    }

    [Fact]
    public void What_only_its_owner_can_mend_is_named_and_left()
    {
        using (OstreeSysroot sysroot = Open())
        {
            ObjectLost(sysroot);
            BadVersions.Add(sysroot, TestBox.Os, one, "it did not come up");
        }

        File.WriteAllText($"{box.SysrootPath}/ostree/repo/refs/heads/lost", new string('7', 64) + "\n");
        File.Delete($"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/deploy/{one}.0.origin");
        Judge.HostOstree.Run("remote", "delete", $"--repo={box.SysrootPath}/ostree/repo", TestBox.Remote);
        DoctorReport report = Look(Options() with { Clock = new FixedClock(TestBox.Start.AddYears(-3)), FreeBytes = static _ => 1 });
        string[] names = [.. report.Findings.Where(static finding => finding.Grade != FindingGrade.Note).Select(static finding => finding.Name).Order(StringComparer.Ordinal).Distinct()];
        Assert.Equal(["clock", "objects-missing", "origin-missing", "ref-dangling", "remote-missing", "space-root", "version-bad"], names);
        Assert.Empty(report.Plan.Steps);
    }

    [Fact]
    public void What_ostree_staged_is_no_leftover_and_what_it_cannot_finalize_is_named()
    {
        Shell("cp -al $ONE ostree/deploy/debian/deploy/$ONECSUM.5");
        using var run = new TempDir(inMemory: true);
        GVariant target = GVariant.Array(
            GVariantType.Parse("{sv}"), Entry("name", $"{one}.5"), Entry("osname", TestBox.Os), Entry("bootcsum", new string('0', 64)));
        run.Write("ostree/staged-deployment", "");
        File.WriteAllBytes(run.Of("ostree/staged-deployment"), GVariant.Array(
            GVariantType.Parse("{sv}"), GVariant.Entry(GVariant.Of("target"), GVariant.Box(target))).ToBytes());
        DoctorReport report = Look(run: run.Path);
        Assert.True(report.IsHealthy);
        Assert.Contains(report.Findings, static finding => finding.Name == "staged");
        Shell("rm -r ostree/deploy/debian/deploy/$ONECSUM.5");
        Assert.Contains(Look(run: run.Path).Findings, static finding => finding is { Name: "staged-lost", CanBeFixed: false });

        static GVariant Entry(string key, string value) => GVariant.Entry(GVariant.Of(key), GVariant.Box(GVariant.Of(value)));
    }

    [Fact]
    public void Without_the_EFI_partition_nothing_is_taken_away_that_the_firmware_may_start()
    {
        // As after a cut between boot entries and EFI partition.
        Shell("cp -al $ONE ostree/deploy/debian/deploy/$ONECSUM.5");
        using OstreeSysroot sysroot = Open();
        using var deployer = new Deployer(sysroot, null);
        DoctorFinding finding = Assert.Single(new BoxDoctor(sysroot, deployer, new DoctorOptions()).Look().Findings, static finding => finding.Name == "deployment-unlisted");
        Assert.False(finding.CanBeFixed);
    }

    [Fact]
    public void A_variable_of_the_firmware_that_fits_nothing_is_forgotten_and_one_that_does_is_told()
    {
        using var variables = new TempDir(inMemory: true);
        void Set(string name, string value) => File.WriteAllBytes(variables.Of($"{name}-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"), [7, 0, 0, 0, .. System.Text.Encoding.Unicode.GetBytes(value + "\0")]);
        Set("LoaderEntryDefault", "debian-*");
        Set("LoaderEntryOneShot", "gone.efi");
        using OstreeSysroot sysroot = OstreeSysroot.Open(box.SysrootPath, Options() with { TolerateDamage = true, EfiVariables = variables.Path });
        using var deployer = new Deployer(sysroot, box.EspPath);
        var doctor = new BoxDoctor(sysroot, deployer, new DoctorOptions());
        DoctorReport report = doctor.Look();
        Assert.Contains(report.Findings, static finding => finding is { Name: "firmware-default", Grade: FindingGrade.Note });
        Assert.Contains(report.Findings, static finding => finding is { Name: "firmware-dangling", Path: "LoaderEntryOneShot" });
        Assert.Empty(doctor.Repair(report.Plan).Failed);
        Assert.Single(Directory.GetFiles(variables.Path));
        Assert.True(doctor.Look().IsHealthy);
    }

    [Fact]
    public void A_version_on_trial_is_told_of_and_taken_for_no_damage()
    {
        using var variables = new TempDir(inMemory: true);
        Checksum three = box.PublishWith(3, ("usr/lib/systemd/system/sbox-health.service", "unit"), ("usr/lib/systemd/boot/efi/kept", "kept"));
        SysrootOptions options = Options() with { TolerateDamage = true, EfiVariables = variables.Path, CommandLine = $"sbox.deployment={TestBox.Os}/{two}.0" };
        using OstreeSysroot sysroot = OstreeSysroot.Open(box.SysrootPath, options);
        using var deployer = new Deployer(sysroot, box.EspPath);
        box.Deploy(deployer, three);
        Assert.Single(Directory.GetFiles(variables.Path));
        DoctorReport report = new BoxDoctor(sysroot, deployer, new DoctorOptions()).Look();
        Assert.True(report.IsHealthy, string.Join('\n', report.Findings));
        Assert.Contains(report.Findings, static finding => finding.Name == "on-trial");
        Assert.DoesNotContain(report.Findings, static finding => finding.Name == "firmware-oneshot");
        File.Delete(Directory.GetFiles(variables.Path).Single());
        using OstreeSysroot later = OstreeSysroot.Open(box.SysrootPath, options);
        Trials.Set(later, new DeploymentName(TestBox.Os, three, 0), new Trial(0, "boot"));
        Assert.Contains(Look().Findings, static finding => finding is { Name: "trial-failed", CanBeFixed: false });
    }

    [Fact]
    public void What_was_set_aside_is_told_of_and_can_be_deleted()
    {
        Shell("mkdir $TWO/etc.sbox-new; echo kept > $TWO/etc.sbox-new/kept");
        string aside = Repair().Aside!;
        Assert.Equal("kept\n", File.ReadAllText($"{box.SysrootPath}/{aside}/ostree/deploy/{TestBox.Os}/deploy/{two}.0/etc.sbox-new/kept"));
        Assert.Contains($"{two}.0/etc.sbox-new\t", File.ReadAllText($"{box.SysrootPath}/{aside}/what-it-was"));
        DoctorReport report = Look();
        Assert.True(report.IsHealthy);
        Assert.Contains(report.Findings, static finding => finding.Name == "set-aside");
        using OstreeSysroot sysroot = Open();
        using var deployer = new Deployer(sysroot, box.EspPath);
        var doctor = new BoxDoctor(sysroot, deployer, new DoctorOptions());
        Assert.Single(doctor.Aside());
        doctor.DropAside();
        Assert.Empty(doctor.Aside());
    }

    private static SysrootOptions Options() => new() { Clock = new FixedClock(Now) };

    private OstreeSysroot Open(SysrootOptions? options = null) => OstreeSysroot.Open(box.SysrootPath, (options ?? Options()) with { TolerateDamage = true });

    private DoctorReport Look(SysrootOptions? options = null, string? run = null)
    {
        using OstreeSysroot sysroot = Open(options);
        using var deployer = new Deployer(sysroot, box.EspPath);
        return new BoxDoctor(sysroot, deployer, new DoctorOptions { RunDirectory = run }).Look(TestContext.Current.CancellationToken);
    }

    private RepairReport Repair(Action<string>? before = null, DeploymentName? running = null, SysrootOptions? options = null)
    {
        using OstreeSysroot sysroot = Open((options ?? Options()) with { BeforeStep = before, CommandLine = running is null ? null : $"sbox.deployment={running}" });
        using var deployer = new Deployer(sysroot, box.EspPath);
        var doctor = new BoxDoctor(sysroot, deployer, new DoctorOptions());
        return doctor.Repair(doctor.Look().Plan, null, TestContext.Current.CancellationToken);
    }

    // What is deployed boots by firmware and by entries; ostree and sbox read it, and find the repository whole.
    private void AssertWhole(bool alsoOne = true)
    {
        DoctorReport report = Look();
        Assert.True(report.IsHealthy, string.Join('\n', report.Findings));
        using OstreeSysroot sysroot = OstreeSysroot.Open(box.SysrootPath, Options());
        using var deployer = new Deployer(sysroot, box.EspPath);
        Assert.True(deployer.IsSettled);
        Assert.True(!alsoOne || sysroot.Deployments.Any(each => each.Name.Commit == one));
        Assert.Contains($"{TestBox.Os} {two}.0", Judge.HostOstree.Run("admin", "status", $"--sysroot={box.SysrootPath}"));
        Assert.Contains($"{TestBox.Os} {two}.0", Judge.Ostree.Run("admin", "status", $"--sysroot={box.SysrootPath}"));
        Judge.HostOstree.Run("fsck", "--quiet", $"--repo={box.SysrootPath}/ostree/repo");
    }

    private static void AssertHealthy(string path)
    {
        using OstreeSysroot sysroot = OstreeSysroot.Open(path, Options() with { TolerateDamage = true });
        using var deployer = new Deployer(sysroot, null);
        DoctorReport report = new BoxDoctor(sysroot, deployer, new DoctorOptions()).Look();
        Assert.True(report.IsHealthy, string.Join('\n', report.Findings));
        Assert.Empty(report.Plan.Steps);
    }

    // Every content that is anywhere on the box, by its bytes; what of it is where does not count.
    private HashSet<string> Contents()
    {
        string list = Judge.OnPath("sh").Run("-c", $"cd {box.Path} && find sysroot/ostree/deploy sysroot/ostree/sbox-set-aside sysroot/boot esp -type f -size -4096k -print0 2>/dev/null | xargs -0 sha256sum | cut -d' ' -f1");
        return [.. list.Split('\n', StringSplitOptions.RemoveEmptyEntries)];
    }

    private void Shell(string script)
    {
        string Path(Checksum commit) => $"ostree/deploy/{TestBox.Os}/deploy/{commit}.0";
        Judge.OnPath("bash").Run("-ec", $"cd {box.SysrootPath}; ONE={Path(one)} TWO={Path(two)} ONECSUM={one} TWOCSUM={two}; {script}");
    }

    private string Etc(Checksum commit, string path) => $"{box.SysrootPath}/ostree/deploy/{TestBox.Os}/deploy/{commit}.0/etc/{path}";

    private static void ObjectLost(OstreeSysroot sysroot)
    {
        Checksum content = sysroot.Repository.Find(sysroot.Deployments[1].Name.Commit, "/usr/bin/version").Content!.Value;
        sysroot.Repository.Dir.Unlink($"objects/{content.ToString()[..2]}/{content.ToString()[2..]}.file");
    }

    // A tree as they were made before usr/lib/modules held the kernel.
    private Checksum Legacy()
    {
        string tree = $"{box.Path}/trees/legacy", sum = new('1', 64);
        Directory.CreateDirectory($"{tree}/usr/lib/ostree-boot");
        Directory.CreateDirectory($"{tree}/usr/etc");
        File.WriteAllText($"{tree}/usr/lib/ostree-boot/vmlinuz-3.16-{sum}", "kernel");
        File.WriteAllText($"{tree}/usr/lib/ostree-boot/initramfs-3.16-{sum}", "initrd");
        File.WriteAllText($"{tree}/usr/lib/os-release", "PRETTY_NAME=old\n");
        File.WriteAllText($"{tree}/usr/etc/hostname", "old\n");
        return Checksum.Parse(Judge.HostOstree.Run("commit", $"--repo={box.Source}", "--branch=old", $"--tree=dir={tree}", "--timestamp=2026-11-22 10:00:00 +0000").Trim());
    }

    private sealed class FixedClock(DateTimeOffset now) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => now;
    }

    private sealed class PowerCutException(string step) : Exception(step);
}
