using Sbox.Codecs;

namespace Sbox.Boot.Tests;

public sealed class RootPlanTests
{
    private static readonly DeploymentName First = Name('a', 0), Second = Name('b', 1);

    [Fact]
    public void The_plan_of_a_whole_deployment_is_this()
    {
        RootPlan plan = RootPlan.Make(Config($"root=LABEL=sbox-root sbox.deployment={First}"), Disk(Whole(First), Whole(Second)));
        string checkout = $"/sysroot/ostree/deploy/debian/deploy/{First.Commit}.0";
        Assert.Equal(
            $"""
            root of {First}:
              make all mounts private
              make the file system of /sysroot writable
              mount erofs {checkout}/.ostree.cfs at /run/sbox/image
              mount overlay at /run/sbox/root, read-only: names of /run/sbox/image, bytes of /sysroot/ostree/repo/objects
              detach /run/sbox/image
              bind {checkout}/etc at /run/sbox/root/etc, writable
              bind /sysroot/ostree/deploy/debian/var at /run/sbox/root/var, writable
              bind /sysroot/boot at /run/sbox/root/boot, read-only
              write /run/ostree-booted, naming {checkout}
              bind /sysroot at /run/sbox/root/sysroot, read-only
              detach /sysroot
              move /run/sbox/root to /sysroot

            """, plan.ToString());
    }

    [Fact]
    public void A_ghosts_plan_writes_nothing_to_the_disk_and_shadows_etc_and_var_in_memory()
    {
        string plan = RootPlan.Make(Config($"sbox.deployment={First} sbox.ghost"), Disk(Whole(First)) with { Leftovers = ["debian"] }).ToString();
        string checkout = $"/sysroot/ostree/deploy/debian/deploy/{First.Commit}.0";
        Assert.Contains(
            $"""
              mount tmpfs at /run/sbox/ghost: what changes lives there, never swapped, until power-off
              mount overlay at /run/sbox/root/etc: {checkout}/etc as it is, changes to /run/sbox/ghost/etc
              mount overlay at /run/sbox/root/var: /sysroot/ostree/deploy/debian/var as it is, changes to /run/sbox/ghost/var
              make up a machine-id and a host name in /run/sbox/root/etc, and have network cards make up their addresses

            """, plan, StringComparison.Ordinal);
        foreach (string change in (string[])["writable", "delete", "seal "])
            Assert.DoesNotContain(change, plan, StringComparison.Ordinal);
    }

    [Fact]
    public void A_factory_reset_counts_down_makes_the_new_whole_exchanges_and_deletes_the_old_before_etc_and_var_are_mounted()
    {
        string plan = RootPlan.Make(Config($"sbox.deployment={First} sbox.factory-reset"), Disk(Whole(First), Whole(Second), Whole(First with { Os = "other" }))).ToString();
        const string deploy = "/run/sbox/disk/ostree/deploy/debian", bin = $"{deploy}/.sbox-reset";
        string other = $"{deploy}/deploy/{Second.Commit}.1";
        Assert.Contains(
            $"""
              detach /run/sbox/image
              count down 30 s on the console: switched off until then, the machine keeps all it has
              bind /sysroot at /run/sbox/disk, writable, for the next steps
              make an empty {deploy}/var in {bin}, and copies of /run/sbox/root/usr/etc, {other}/usr/etc
              exchange them with {deploy}/var, {deploy}/deploy/{First.Commit}.0/etc, {other}/etc
              delete {bin} and all in it
              detach /run/sbox/disk
              bind /sysroot/

            """.TrimEnd('\n', '\r'), plan, StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_reset_that_was_cut_left_aside_is_deleted_by_the_next_boot_and_by_the_next_reset_first()
    {
        PhysicalRoot disk = Disk(Whole(First)) with { Leftovers = ["debian"] };
        const string delete = "  bind /sysroot at /run/sbox/disk, writable, for the next steps\n  delete /run/sbox/disk/ostree/deploy/debian/.sbox-reset and all in it\n";
        Assert.Contains($"{delete}  detach /run/sbox/disk\n", RootPlan.Make(Config($"sbox.deployment={First}"), disk).ToString(), StringComparison.Ordinal);
        Assert.Contains($"{delete}  make an empty ", RootPlan.Make(Config($"sbox.deployment={First} sbox.factory-reset"), disk).ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("delete", RootPlan.Make(Config($"sbox.deployment={First}"), disk with { Leftovers = ["other"] }).ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("sbox.ghost sbox.factory-reset", "so it cannot empty it")]
    [InlineData("sbox.ghost=no", "sbox.ghost=no on the kernel command line: it takes no value")]
    [InlineData("sbox.factory-reset=yes", "it takes no value")]
    public void A_ghost_or_reset_that_is_not_understood_is_neither_guessed_nor_ignored(string arguments, string words) =>
        Assert.Contains(words, Refusal($"sbox.deployment={First} {arguments}", Disk(Whole(First))), StringComparison.Ordinal);

    [Fact]
    public void The_deployments_own_argument_goes_before_the_ostree_link()
    {
        PhysicalRoot disk = Disk(Whole(First), Whole(Second)) with { OstreeLinkTarget = Second };
        Assert.Equal(First, RootPlan.Make(Config($"sbox.deployment={First} ostree=/ostree/boot.0/debian/cc/0"), disk).Deployment);
        Assert.Equal(Second, RootPlan.Make(Config("ostree=/ostree/boot.0/debian/cc/0"), disk).Deployment);
    }

    [Theory]
    [InlineData(true, false)] // a tree without /boot
    [InlineData(false, true)] // a disk without libostree's entries
    public void Boot_is_only_mounted_where_both_ends_are(bool entries, bool directory)
    {
        PhysicalRoot disk = Disk(Whole(First) with { HasBootDirectory = directory }) with { HasBootEntries = entries };
        Assert.DoesNotContain("/boot", RootPlan.Make(Config($"sbox.deployment={First}"), disk).ToString().Replace("ostree-booted", "", StringComparison.Ordinal), StringComparison.Ordinal);
    }

    [Fact]
    public void A_missing_deployment_is_named_with_those_that_are_there_and_what_to_do() => Assert.Equal(
        "deployment debian/aaaaaaaaaaaa.0 is missing; root=LABEL=sbox-root has debian/bbbbbbbbbbbb.1: reboot and choose it in the boot menu",
        Refusal($"root=LABEL=sbox-root sbox.deployment={First}", Disk(Whole(Second))));

    [Fact]
    public void A_disk_without_any_deployment_says_so() => Assert.Equal(
        "deployment debian/aaaaaaaaaaaa.0 is missing; root=/dev/vda2 has no deployment that can be booted: is it the right disk? Else install again from the image",
        Refusal($"root=/dev/vda2 sbox.deployment={First}", Disk()));

    [Theory]
    [InlineData(false, true, true, ".ostree.cfs")]
    [InlineData(true, false, true, "etc")]
    [InlineData(true, true, false, "its /ostree/deploy/debian/var")]
    public void A_deployment_that_lacks_a_part_says_which(bool image, bool etc, bool var, string missing) => Assert.Contains(
        $"deployment debian/aaaaaaaaaaaa.0 is not whole ({missing} is missing)",
        Refusal($"sbox.deployment={First}", Disk(new FoundDeployment(First, image, etc, var, true))), StringComparison.Ordinal);

    [Fact]
    public void A_disk_without_objects_says_so() => Assert.Contains(
        "(/ostree/repo/objects is missing)",
        Refusal($"sbox.deployment={First}", Disk(Whole(First)) with { HasObjects = false }), StringComparison.Ordinal);

    [Theory]
    [InlineData("quiet", "names no deployment")]
    [InlineData("sbox.deployment=debian", "is not OS/CHECKSUM.SERIAL")]
    [InlineData("sbox.deployment=../x", "is not OS/CHECKSUM.SERIAL")]
    [InlineData("ostree=/ostree/boot.0/debian/cc/0", "leads to no deployment")]
    [InlineData("composefs=12 ostree=/x", "is not 64 hexadecimal digits")]
    public void A_command_line_that_names_no_deployment_is_refused_with_what_it_lacks(string line, string words) =>
        Assert.Contains(words, Refusal(line, Disk(Whole(First))), StringComparison.Ordinal);

    [Fact]
    public void A_proof_that_cannot_be_given_is_refused_not_ignored() =>
        Assert.Contains("says which image", Refusal($"sbox.deployment={First} sbox.verity", Disk(Whole(First))), StringComparison.Ordinal);

    [Fact]
    public void Every_refusal_is_one_line() =>
        Assert.DoesNotContain('\n', Refusal($"sbox.deployment={First}", Disk(Whole(Second), Whole(Name('c', 0)))));

    [Theory]
    [InlineData("debian/")]
    [InlineData("/aa.0")]
    [InlineData("debian/zz.0")]
    public void What_is_no_deployments_name_is_not_taken_for_one(string text) => Assert.False(DeploymentName.TryParse(text, out _));

    [Fact]
    public void A_deployments_name_reads_back_as_printed() =>
        Assert.True(DeploymentName.TryParse(Second.ToString(), out DeploymentName read) && read == Second);

    private static string Refusal(string line, PhysicalRoot disk) =>
        Assert.Throws<NoRootException>(() => RootPlan.Make(Config(line), disk)).Message;

    private static RootConfig Config(string line) => RootConfig.From(KernelArguments.Parse(line));

    private static PhysicalRoot Disk(params FoundDeployment[] deployments) => new("/sysroot", true, true, deployments, null);

    private static FoundDeployment Whole(DeploymentName name) => new(name, true, true, true, true);

    private static DeploymentName Name(char digit, int serial) => new("debian", Checksum.Parse(new string(digit, 64)), serial);
}
