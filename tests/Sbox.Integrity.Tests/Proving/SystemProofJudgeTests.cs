using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Integrity.Tests;

/// <summary>What is said of root, mounts, modules, /etc and approval, each by its evidence alone.</summary>
public sealed class SystemProofJudgeTests
{
    private const string Verified = "ro,lowerdir+=/run/sbox/image,datadir+=/sysroot/ostree/repo/objects,redirect_dir=on,verity=require,metacopy=on";
    private static readonly Checksum A = Checksum.Parse(new string('a', 64)), B = Checksum.Parse(new string('b', 64));

    [Theory]
    [InlineData(true, "overlay", Verified, 11000, 0, true, Verdict.Ok, "every file is verified as it is read; 11000 names")]
    [InlineData(false, "overlay", Verified, 11000, 0, true, Verdict.Wrong, "the command line says")]
    [InlineData(true, "ext4", "ro", 11000, 0, true, Verdict.Wrong, "no read-only overlay")]
    [InlineData(true, "overlay", "rw,upperdir=/x", 11000, 0, true, Verdict.Wrong, "no read-only overlay")]
    [InlineData(true, "overlay", "ro,lowerdir+=/x", 11000, 0, true, Verdict.Wrong, "asks for verity, and / is mounted without")]
    [InlineData(true, "overlay", "ro,lowerdir+=/x", 11000, 0, false, Verdict.Unchecked, "nothing asks for verity")]
    [InlineData(true, "overlay", Verified, 11000, 2, true, Verdict.Wrong, "2 names below /usr are not as the commit has them")]
    [InlineData(true, "overlay", Verified, null, 0, true, Verdict.Unchecked, "were not compared")]
    public void The_root_is_fine_only_when_everything_agrees(bool image, string type, string options, int? names, int differences, bool asks, Verdict verdict, string says)
    {
        var mount = new MountEntry(30, 1, "0:27", "/", "/", options.StartsWith("rw", StringComparison.Ordinal) ? "rw" : "ro,relatime", type, "composefs", options);
        var evidence = new ImageEvidence(image ? A : B, null, [("the command line", A)]);
        Fact fact = SystemProofJudge.Root(new RootEvidence(mount, evidence, asks, names, [.. Enumerable.Repeat("/usr/x: missing", differences)]));
        Assert.Equal(verdict, fact.Verdict);
        Assert.Contains(says, fact.Says, StringComparison.Ordinal);
    }

    [Fact]
    public void Where_no_deployment_runs_the_root_is_unchecked() => Assert.Equal(Verdict.Unchecked, SystemProofJudge.Root(new RootEvidence(null, null, false, null, [])).Verdict);

    [Fact]
    public void Mounts_are_judged_as_the_sentinel_judges_them()
    {
        IReadOnlyList<Finding> Violations(params string[] more) => MountJudge.Violations(BoxTable.Policy, BoxTable.Facts, new NamespaceView(1, BoxTable.Mounts(more), false));
        Assert.Equal(Verdict.Ok, SystemProofJudge.MountsOf(Violations(), 3, null).Verdict);
        Fact wrong = SystemProofJudge.MountsOf(Violations("90 30 0:99 / /usr/bin rw - tmpfs evil rw"), 3, null);
        Assert.Equal(Verdict.Wrong, wrong.Verdict);
        Assert.StartsWith("covered /usr/bin: tmpfs evil", wrong.List[0], StringComparison.Ordinal);
        Assert.Equal(Verdict.Unchecked, SystemProofJudge.MountsOf(Violations(), 3, "1 more could not be looked at").Verdict);
        Assert.Equal(Verdict.Unchecked, SystemProofJudge.MountsOf(null, 0, "only root").Verdict);
    }

    [Theory]
    [InlineData("ext4 vfat", "", 0ul, Verdict.Ok)]
    [InlineData("ext4 rootkit", "", 0ul, Verdict.Wrong)]
    [InlineData("ext4 vfat", "E", 0ul, Verdict.Wrong)]
    [InlineData("ext4 vfat", "F", 0ul, Verdict.Wrong)]
    [InlineData("ext4 vfat", "C", 0ul, Verdict.Ok)] // from staging, and signed
    [InlineData("ext4 vfat", "", 1ul << 13, Verdict.Wrong)] // an unsigned one was there
    [InlineData("ext4 vfat", "", 1ul << 9, Verdict.Ok)] // a warning of the kernel's own
    [InlineData("", "", 0ul, Verdict.Ok)]
    public void A_module_that_the_tree_has_not_or_that_nobody_signed_is_wrong(string loaded, string taint, ulong kernel, Verdict verdict)
    {
        LoadedModule[] modules = [.. loaded.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(name => new LoadedModule(name, taint))];
        Assert.Equal(verdict, SystemProofJudge.Modules(modules, new HashSet<string> { "ext4", "vfat", "nf_tables" }, kernel).Verdict);
    }

    [Fact]
    public void Modules_that_cannot_be_listed_or_compared_are_unchecked()
    {
        Assert.Equal(Verdict.Unchecked, SystemProofJudge.Modules(null, new HashSet<string>(), 0).Verdict);
        Assert.Equal(Verdict.Unchecked, SystemProofJudge.Modules([], null, 0).Verdict);
    }

    [Fact]
    public void A_disk_that_another_programs_binding_opens_whatever_the_firmware_checks_is_wrong_and_one_that_cannot_be_looked_at_is_unchecked()
    {
        var state = new DiskState(new EncryptedDisk("vda2", "u"), new DiskKeys(2, [new TpmBinding(1, [0, 2], null, null)], []), "07", IsFirst: false);
        Fact wrong = SystemProofJudge.Disk(isEncrypted: true, state, null, null);
        Assert.Equal(Verdict.Wrong, wrong.Verdict);
        Assert.Contains("opens whatever the firmware checks, by what another program bound", wrong.Says, StringComparison.Ordinal);
        Assert.Equal(Verdict.Unchecked, SystemProofJudge.Disk(isEncrypted: true, state with { Keys = new DiskKeys(1, [], []) }, null, null).Verdict);
        Assert.Equal(Verdict.Unchecked, SystemProofJudge.Disk(isEncrypted: true, null, "only root can see", null).Verdict);
        Assert.Equal(Verdict.Ok, SystemProofJudge.Disk(isEncrypted: false, null, null, null).Verdict);
    }

    [Fact]
    public void A_disk_of_a_boot_that_went_on_without_its_TPM_is_unchecked_and_what_is_wrong_stays_wrong()
    {
        const string away = "the TPM did not come";
        Fact plain = SystemProofJudge.Disk(isEncrypted: false, null, null, away);
        Assert.Equal((Verdict.Unchecked, true), (plain.Verdict, plain.Says.EndsWith($"; {away}", StringComparison.Ordinal)));
        var loose = new DiskState(new EncryptedDisk("vda2", "u"), new DiskKeys(2, [new TpmBinding(1, [0, 2], null, null)], []), "07", IsFirst: false);
        Assert.Equal(Verdict.Wrong, SystemProofJudge.Disk(isEncrypted: true, loose, null, away).Verdict);
    }

    [Fact]
    public void Every_change_in_etc_is_told_and_none_is_wrong()
    {
        Fact fact = SystemProofJudge.Etc([new EtcChange(EtcChangeKind.Modified, "fstab"), new EtcChange(EtcChangeKind.Removed, "motd"), new EtcChange(EtcChangeKind.Added, "cron.d/x"), new EtcChange(EtcChangeKind.Added, "y")], null);
        Assert.Equal((Verdict.Ok, "in /etc, 2 names were added, 1 changed, 1 deleted"), (fact.Verdict, fact.Says));
        Assert.Equal(["M    fstab", "D    motd", "A    cron.d/x", "A    y"], fact.List);
        Assert.Equal(Verdict.Unchecked, SystemProofJudge.Etc(null, "no /usr/etc").Verdict);
    }

    [Fact]
    public void Approval_is_enough_too_little_unknown_or_a_policy_that_nobody_can_go_by()
    {
        Assert.Equal(Verdict.Ok, SystemProofJudge.Approved(new Approval(1, ["alice"], ["bob"]), null, false).Verdict);
        Assert.Equal(Verdict.Wrong, SystemProofJudge.Approved(new Approval(2, ["alice"], ["bob"]), null, false).Verdict);
        Assert.Equal(Verdict.Unchecked, SystemProofJudge.Approved(null, null, false).Verdict);
        Assert.Equal(Verdict.Wrong, SystemProofJudge.Approved(null, "usr/lib/sbox/approval.toml: ...", true).Verdict);
    }
}
