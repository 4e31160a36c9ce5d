using Sbox.Judges;

namespace Sbox.Sysroot.Tests;

public sealed class GhostSettingsTests : IDisposable
{
    private readonly TempDir temp = new();

    public void Dispose() => temp.Dispose();

    [Fact]
    public void What_a_box_brings_is_what_is_there_without_it_and_the_owners_file_stands_over_it()
    {
        string own = Write("ghost.toml", "farewell-seconds = 0\n");
        Assert.Equal(new GhostSettings(), GhostSettings.Read(SourceTree.Of("packaging", "box", "ghost.toml")));
        Assert.Equal(new GhostSettings() with { Farewell = TimeSpan.Zero }, GhostSettings.Read(SourceTree.Of("packaging", "box", "ghost.toml"), own));
    }

    [Theory]
    [InlineData("farewell = 3\n", "ghost.toml:1: 'farewell' is not known here; expected farewell-seconds or memory-warning")]
    [InlineData("\nfarewell-seconds = 601\n", "ghost.toml:2: farewell-seconds is a number from 0 to 600")]
    [InlineData("memory-warning = \"80\"\n", "ghost.toml:1: memory-warning is a number from 1 to 99")]
    [InlineData("[a]\nb = 1\n", "ghost.toml:1: there are no tables here")]
    public void A_mistake_is_told_with_its_line(string text, string message)
    {
        string file = Write("ghost.toml", text);
        Assert.EndsWith(message, Assert.Throws<GhostSettingsException>(() => GhostSettings.Read(file)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void What_is_kept_without_being_asked_is_said_by_paths_and_presets()
    {
        Write("keep.d/10-a.toml", "presets = [\"network\"]\n");
        Write("keep.d/20-b.toml", "paths = [\"/home/ann\", \"/var/log\"]\n");
        Write("keep.d/notes", "nothing to read\n");
        IReadOnlyList<KeepRule> rules = KeepList.Read(static path => path.Replace("/home", "/var/home", StringComparison.Ordinal), temp.Of("keep.d"));
        Assert.Equal("network", rules.For("/etc/hosts")?.What);
        Assert.Equal(temp.Of("keep.d/20-b.toml"), rules.For("/var/home/ann/letter")?.File);
        Assert.Null(rules.For("/var/home/anna/letter"));
        // Noise is kept where it is asked for by name, and not as part of a home.
        Assert.Null(rules.For("/var/home/ann/.cache/thumbnail"));
        Assert.NotNull(rules.For("/var/log/wtmp"));
        Assert.Empty(KeepList.Read(static path => path, temp.Of("none")));
    }

    [Theory]
    [InlineData("presets = [\"networks\"]\n", "'networks' is no preset; expected one of network, bluetooth, printers, ssh, ")]
    [InlineData("presets = [\"logs\"]\n", "'logs' is no preset")]
    [InlineData("paths = [\"home\"]\n", "'home' is no path: it begins with a slash")]
    [InlineData("paths = \"/home\"\n", "paths is a list of texts in quotes")]
    public void A_list_that_is_not_understood_keeps_nothing_and_says_why(string text, string words)
    {
        Write("keep.d/a.toml", text);
        Assert.Contains(words, Assert.Throws<GhostSettingsException>(() => KeepList.Read(static path => path, temp.Of("keep.d"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void People_are_warned_once_at_each_level_and_again_when_it_was_emptier_meanwhile()
    {
        var alarm = new GhostMemoryAlarm(80);
        Assert.Equal([null, 80, null, null, 90, 97, null, null, 80, null, 97], ((int[])[79, 80, 85, 79, 91, 99, 100, 70, 83, 84, 98]).Select(percent => alarm.Look(percent)));
    }

    [Fact]
    public void The_fuller_of_changes_and_machine_is_what_counts()
    {
        Assert.Equal((10, 90, 90), (new GhostMemory(100, 10, 1000, 100).Percent, new GhostMemory(100, 10, 1000, 100).MachinePercent, new GhostMemory(100, 10, 1000, 100).Fullest));
        Directory.CreateDirectory(temp.Of("run/sbox/ghost"));
        GhostMemory here = GhostMemory.Look(temp.Of("run"));
        Assert.InRange(here.MachinePercent, 1, 100);
        Assert.True(here.Limit > here.Used);
    }

    private string Write(string name, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(temp.Of(name))!);
        File.WriteAllText(temp.Of(name), text);
        return temp.Of(name);
    }
}
