using Sbox.Judges;

namespace Sbox.Sysroot.Tests;

/// <summary>Which boots the project's units count and end, judged by systemd from the units as they are shipped.</summary>
public sealed class BootUnitsTests
{
    [Theory, InlineData("sbox-health-deadline.timer"), InlineData("sbox-health-deadline.service")]
    public void Every_entry_but_the_rescue_one_is_restarted_when_its_time_is_over(string unit)
    {
        string[] conditions = Lines(SourceTree.Of("packaging", "box", unit), "Condition");
        Assert.Equal(["main", "ghost", "ghost-in-memory", "factory-reset"], BootProfiles.Standard.Where(profile => Holds(conditions, profile.MoreArguments)).Select(static profile => profile.Id));
    }

    [Fact]
    public void Every_entry_that_comes_up_is_judged()
    {
        string[] conditions = Lines(SourceTree.Of("packaging", "box", "sbox-health.service"), "Condition");
        Assert.All(BootProfiles.Standard, profile => Assert.True(conditions.Length == 0 || Holds(conditions, profile.MoreArguments), profile.Id));
    }

    [Fact]
    public void A_sealed_boot_that_failed_in_dracuts_initrd_ends_with_a_restart_and_no_other_does()
    {
        string unit = SourceTree.Of("packaging", "dracut", "90sbox", "sbox-sealed.service");
        string[] conditions = Lines(unit, "Condition");
        Assert.True(Holds(conditions, "sbox.verity=required") && Holds(conditions, "sbox.verity"));
        Assert.False(Holds(conditions, ""));
        Assert.Equal(["SuccessAction=reboot-force"], Lines(unit, "SuccessAction="));
        Assert.Empty(Lines(unit, "RemainAfterExit=")); // its success would never come
        Assert.Contains(Lines(unit, "ExecStart="), static line => line.Contains("sleep 60", StringComparison.Ordinal));
        Assert.Contains(Lines(SourceTree.Of("packaging", "dracut", "90sbox", "module-setup.sh"), "    inst_multiple "), static line => line.Split(' ').Contains("sleep") && !line.Contains(" -o ", StringComparison.Ordinal));
        Verdict verdict = Judge.OnPath("systemd-analyze").Ask(["verify", "--man=no", "--recursive-errors=no", unit]);
        // The program that it starts is not on the machine that tests.
        Assert.DoesNotContain((verdict.Output + verdict.Error).Split('\n'), static line => line.Contains("sbox-sealed", StringComparison.Ordinal) && !line.Contains("/usr/lib/sbox", StringComparison.Ordinal));
    }

    private static string[] Lines(string file, string beginning) => [.. File.ReadAllLines(file).Where(line => line.StartsWith(beginning, StringComparison.Ordinal))];

    private static bool Holds(string[] conditions, string moreArguments) =>
        Judge.OnPath("env").Ask([$"SYSTEMD_PROC_CMDLINE=root=LABEL=sbox-root quiet {moreArguments}", "systemd-analyze", "condition", .. conditions]).ExitCode == 0;
}
