using Sbox.Judges;

namespace Sbox.Image.Tests;

/// <summary>What every box has of the project's units and settings, as they are in packaging/.</summary>
public sealed class BoxUnitsTests
{
    [Fact]
    public void Automatic_updates_are_in_the_tree_and_off_until_their_owner_says_otherwise()
    {
        using var directory = new TempDirectory();
        string program = directory.Of("program");
        File.WriteAllText(program, "program");
        using var tree = new TreeRoot(Directory.CreateDirectory(directory.Of("tree")).FullName);
        new BoxPrograms(program, program, SourceTree.Of("packaging", "dracut", "90sbox")) { BoxUnits = SourceTree.Of("packaging", "box") }.InstallInto(tree);
        Assert.Contains("enabled = false\n", tree.ReadText("usr/lib/sbox/auto.toml"), StringComparison.Ordinal);
        Assert.Equal("../auto.toml", tree.Dir.ReadLink("usr/lib/sbox/box/auto.toml"));
        Assert.False(tree.Exists("usr/lib/systemd/system/auto.toml"));
        Assert.Equal("../sbox-auto.timer", tree.Dir.ReadLink("usr/lib/systemd/system/timers.target.wants/sbox-auto.timer"));
        // The timer waits for the file that sbox auto on writes, and nothing but the timer starts the service.
        Assert.Contains("ConditionPathExists=/etc/sbox/auto.toml\n", tree.ReadText("usr/lib/systemd/system/sbox-auto.timer"), StringComparison.Ordinal);
        Assert.DoesNotContain("[Install]", tree.ReadText("usr/lib/systemd/system/sbox-auto.service"), StringComparison.Ordinal);
    }

    [Fact]
    public void Shells_find_what_completes_sbox_and_man_finds_the_pages_where_the_recipe_keeps_documentation()
    {
        using var directory = new TempDirectory();
        string program = directory.Of("program");
        File.WriteAllText(program, "program");
        var plain = new BoxPrograms(program, program, SourceTree.Of("packaging", "dracut", "90sbox"));
        using var bare = new TreeRoot(Directory.CreateDirectory(directory.Of("bare")).FullName);
        plain.InstallInto(bare);
        Assert.StartsWith("#compdef sbox\n", bare.ReadText("usr/share/zsh/vendor-completions/_sbox"), StringComparison.Ordinal);
        Assert.Contains("sbox completion bash", bare.ReadText("usr/share/bash-completion/completions/sbox"), StringComparison.Ordinal);
        Assert.Contains("sbox completion fish", bare.ReadText("usr/share/fish/vendor_completions.d/sbox.fish"), StringComparison.Ordinal);
        Assert.False(bare.Exists("usr/share/man"));

        using var documented = new TreeRoot(Directory.CreateDirectory(directory.Of("documented")).FullName);
        (plain with { ManualPages = SourceTree.Of("docs", "man") }).InstallInto(documented);
        Assert.Equal(File.ReadAllText(SourceTree.Of("docs", "man", "sbox-upgrade.1")), documented.ReadText("usr/share/man/man1/sbox-upgrade.1"));
        Assert.True(documented.Exists("usr/share/man/man5/sbox-recipe.5"));

        // A box that builds others has them by section, beside everybody's.
        documented.Write("usr/share/man/man1/ls.1", "of others");
        using var next = new TreeRoot(Directory.CreateDirectory(directory.Of("next")).FullName);
        (plain with { ManualPages = directory.Of("documented/usr/share/man") }).InstallInto(next);
        Assert.Equal(documented.ReadText("usr/share/man/man5/sbox-recipe.5"), next.ReadText("usr/share/man/man5/sbox-recipe.5"));
        Assert.False(next.Exists("usr/share/man/man1/ls.1"));
    }

    [Fact]
    public void A_logout_says_what_a_ghost_forgets_beside_all_that_its_owner_has_bash_do_there()
    {
        using var directory = new TempDirectory();
        string program = directory.Of("program"), line = File.ReadAllText(SourceTree.Of("packaging", "box", "sbox-ghost.logout"));
        File.WriteAllText(program, "program");
        using var tree = new TreeRoot(Directory.CreateDirectory(directory.Of("tree")).FullName);
        tree.Write("etc/bash.bash_logout", "clear_console"); // without an end of line
        tree.Write("etc/pam.d/login", "@include common-session\n");
        var programs = new BoxPrograms(program, program, SourceTree.Of("packaging", "dracut", "90sbox")) { BoxUnits = SourceTree.Of("packaging", "box") };
        programs.InstallInto(tree);
        programs.InstallInto(tree);
        Assert.Equal($"clear_console\n{line}", tree.ReadText("etc/bash.bash_logout"));
        Assert.Equal($"@include common-session\n{LogoutLine.Pam}\n", tree.ReadText("etc/pam.d/login"));
        Assert.Equal(line, tree.ReadText("usr/lib/sbox/box/sbox-ghost.logout"));
        Assert.False(tree.Exists("usr/lib/systemd/system/sbox-ghost.logout"));
        // On a boot that is no ghost it is silent, and no logout fails by it.
        Verdict verdict = Judge.OnPath("sh").Ask("-e", Path.Combine(SourceTree.Of("packaging", "box"), "sbox-ghost.logout"));
        Assert.Equal((0, "", ""), (verdict.ExitCode, verdict.Output, verdict.Error));
    }

    // systemd's own figure, 0 (may do nothing) to 10. The limits are what was reached, so that no later change opens a unit unseen.
    [Theory]
    [InlineData("sentinel/sbox-watch", 3.3)]
    [InlineData("sentinel/examples/sbox-alarm", 2.2)]
    [InlineData("verity/sbox-verity", 5)]
    [InlineData("disk/sbox-disk", 5.6)]
    [InlineData("box/sbox-ledger", 5)]
    [InlineData("box/sbox-ghost-memory", 5.4)]
    [InlineData("box/sbox-farewell", 5.4)]
    [InlineData("box/sbox-keep", 5.4)]
    [InlineData("box/sbox-etc", 5.4)]
    [InlineData("box/sbox-grow", 5.6)]
    [InlineData("box/sbox-next-root", 6.4)]
    [InlineData("tomb/sbox-tomb-sleep", 1.4)]
    public void A_unit_may_do_no_more_than_it_needs_by_systemds_own_count(string unit, double atMost)
    {
        string last = Judge.OnPath("systemd-analyze").Run("security", "--offline=true", "--no-pager", SourceTree.Of("packaging", $"{unit}.service")).TrimEnd().Split('\n')[^1];
        Assert.InRange(double.Parse(last.Split(".service: ")[1].Split(' ')[0], System.Globalization.CultureInfo.InvariantCulture), 0, atMost);
    }

    [Fact]
    public void Every_other_unit_is_one_that_does_what_its_owner_has_it_do_or_runs_in_an_initrd()
    {
        string[] measured = [.. typeof(BoxUnitsTests).GetMethod(nameof(A_unit_may_do_no_more_than_it_needs_by_systemds_own_count))!
            .GetCustomAttributes(typeof(InlineDataAttribute), inherit: false).Select(static row => $"{((InlineDataAttribute)row).Data[0]}.service")];
        string packaging = SourceTree.Of("packaging");
        string[] others = [.. Directory.GetFiles(packaging, "*.service", SearchOption.AllDirectories).Select(file => Path.GetRelativePath(packaging, file)).Except(measured).Order(StringComparer.Ordinal)];
        // Updates run maintainers' scripts, checks are the owner's programs, a tomb is mounted for everybody and runs its hooks, a welcome makes users.
        Assert.Equal(
            ["box/sbox-auto.service", "box/sbox-health-deadline.service", "box/sbox-health.service", "box/sbox-welcome.service", "dracut/90sbox/sbox-root.service", "dracut/90sbox/sbox-sealed.service", "tomb/sbox-tomb-save.service", "tomb/sbox-tomb@.service"],
            others);
    }

    [Fact]
    public void The_first_questions_are_asked_once_a_boot_and_whoever_waits_for_them_goes_on_whatever_fails()
    {
        string[] lines = File.ReadAllLines(SourceTree.Of("packaging", "box", "sbox-welcome.service"));
        string[] after = [.. lines.Where(static line => line.StartsWith("ExecStopPost=", StringComparison.Ordinal))];
        // What waits is started at its end, and with that what multi-user.target wants: itself among it.
        const string over = "/run/sbox-welcome-over";
        Assert.Contains($"ConditionPathExists=!{over}", lines);
        Assert.Equal($"ExecStopPost=-/usr/bin/touch {over}", after[0]);
        Assert.All(after, static line => Assert.StartsWith("ExecStopPost=-", line, StringComparison.Ordinal)); // without, systemd runs none after the one that failed
    }

    [Fact]
    public void Systemd_finds_nothing_wrong_with_the_units()
    {
        string[] units = [.. Directory.GetFiles(SourceTree.Of("packaging", "box"), "sbox-*").Where(static file => !file.EndsWith(".shutdown", StringComparison.Ordinal) && !file.EndsWith(".logout", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
        Assert.Contains(units, static unit => unit.EndsWith("/sbox-next-root.service", StringComparison.Ordinal));
        Verdict verdict = Judge.OnPath("systemd-analyze").Ask(["verify", "--man=no", "--recursive-errors=no", .. units]);
        // The program that they start is not on the machine that tests, and its systemd may be older than a box's (254 knows ImportCredential).
        string[] said = [.. (verdict.Output + verdict.Error).Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(static line => line.Contains("sbox-", StringComparison.Ordinal) && !line.Contains("/usr/bin/sbox", StringComparison.Ordinal) && !line.Contains("'ImportCredential'", StringComparison.Ordinal))];
        Assert.Empty(said);
    }
}
