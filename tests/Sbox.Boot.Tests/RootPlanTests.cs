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
