using Sbox.Codecs;

namespace Sbox.Boot.Tests;

public sealed class SealedRootTests
{
    private static readonly Checksum Commit = Checksum.Parse(new string('a', 64));
    private static readonly string Digest = new('d', 64);
    private static readonly string Line = $"root=LABEL=sbox-root sbox.commit={Commit} composefs={Digest} sbox.verity=required";

    [Fact]
    public void A_sealed_root_is_this_image_and_no_other_with_verity_required()
    {
        string plan = RootPlan.Make(Config(Line), Disk(0)).ToString();
        Assert.Contains($"seal ostree/deploy/debian/deploy/{Commit}.0/.ostree.cfs where it is not\n", plan, StringComparison.Ordinal);
        Assert.Contains($"at /run/sbox/image, only with digest {Digest}\n", plan, StringComparison.Ordinal);
        Assert.Contains("objects, verity required\n", plan, StringComparison.Ordinal);
    }

    [Fact]
    public void Of_several_deployments_of_the_commit_the_boot_entries_say_which() =>
        Assert.Equal(1, RootPlan.Make(Config(Line), Disk(0, 1, 2) with { BootOrder = [Name('b', 0), Name('a', 1), Name('a', 0)] }).Deployment.Serial);

    [Fact]
    public void Without_boot_entries_the_newest_that_is_whole_is_taken()
    {
        PhysicalRoot disk = Disk(0, 1, 2);
        disk = disk with { Deployments = [.. disk.Deployments.Select(static each => each.Name.Serial == 2 ? each with { HasEtc = false } : each)] };
        Assert.Equal(1, RootPlan.Make(Config(Line), disk).Deployment.Serial);
    }

    [Fact]
    public void A_boot_entry_to_a_deployment_that_is_not_whole_is_passed_over()
    {
        PhysicalRoot disk = Disk(0, 1);
        disk = disk with { BootOrder = [Name('a', 1), Name('a', 0)], Deployments = [disk.Deployments[0], disk.Deployments[1] with { HasImage = false }] };
        Assert.Equal(0, RootPlan.Make(Config(Line), disk).Deployment.Serial);
    }

    [Fact]
    public void No_deployment_of_the_commit_is_one_clear_line() => Assert.Equal(
        "no whole deployment of commit aaaaaaaaaaaa; root=LABEL=sbox-root has no deployment that can be booted: is it the right disk? Else install again from the image",
        Assert.Throws<NoRootException>(() => RootPlan.Make(Config(Line), Disk())).Message);

    [Theory]
    [InlineData("sbox.verity=off", "'required' is all that it can be")]
    [InlineData("sbox.tpm=off", "'required' is all that it can be")]
    [InlineData("sbox.verity=required", "no composefs=DIGEST")]
    [InlineData("sbox.commit=abc", "is not 64 hexadecimal digits")]
    public void A_demand_that_is_not_understood_never_passes_for_none(string arguments, string words) => Assert.Contains(
        words, Assert.Throws<NoRootException>(() => RootPlan.Make(Config($"sbox.commit={Commit} {arguments}"), Disk(0))).Message, StringComparison.Ordinal);

    [Fact]
    public void The_signed_command_lines_are_taken_however_they_are_spaced()
    {
        string text = SignedCommandLine.Text([Line, $"{Line} systemd.unit=rescue.target"]);
        SignedCommandLine.Check(Line, text);
        SignedCommandLine.Check($"  {Line}   systemd.unit=rescue.target\n", text);
        SignedCommandLine.Check("whatever stands here", null);
    }

    [Theory]
    [InlineData(" evil=1", "'evil=1' is on the kernel command line, and not on the signed one")]
    [InlineData(" systemd.unit=rescue.target systemd.unit=rescue.target", "is not the signed one, though every argument of it is")]
    public void One_argument_more_is_refused_and_named(string more, string words) => Assert.Contains(
        words, Assert.Throws<NoRootException>(() => SignedCommandLine.Check(Line + more, SignedCommandLine.Text([Line, $"{Line} systemd.unit=rescue.target"]))).Message,
        StringComparison.Ordinal);

    [Fact]
    public void An_argument_less_is_refused_too() => Assert.Throws<NoRootException>(
        () => SignedCommandLine.Check(Line.Replace(" sbox.verity=required", "", StringComparison.Ordinal), SignedCommandLine.Text([Line])));

    private static RootConfig Config(string line) => RootConfig.From(KernelArguments.Parse(line));

    private static DeploymentName Name(char commit, int serial) => new("debian", Checksum.Parse(new string(commit, 64)), serial);

    private static PhysicalRoot Disk(params int[] serials) => new(
        "/sysroot", HasObjects: true, HasBootEntries: true,
        [.. serials.Select(serial => new FoundDeployment(Name('a', serial), HasImage: true, HasEtc: true, HasVar: true, HasBootDirectory: true))], OstreeLinkTarget: null);
}
