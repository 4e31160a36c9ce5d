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
    public void Systemd_finds_nothing_wrong_with_the_units()
    {
        string[] units = [.. Directory.GetFiles(SourceTree.Of("packaging", "box"), "sbox-*").Order(StringComparer.Ordinal)];
        Assert.Contains(units, static unit => unit.EndsWith("/sbox-next-root.service", StringComparison.Ordinal));
        Verdict verdict = Judge.OnPath("systemd-analyze").Ask(["verify", "--man=no", "--recursive-errors=no", .. units]);
        // The program that they start is not on the machine that tests.
        string[] said = [.. (verdict.Output + verdict.Error).Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(static line => line.Contains("sbox-", StringComparison.Ordinal) && !line.Contains("/usr/bin/sbox", StringComparison.Ordinal))];
        Assert.Empty(said);
    }
}
