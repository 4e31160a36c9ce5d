using System.Text.Json;
using Sbox.Cli.Commands;
using Sbox.Tomb.Sessions;

namespace Sbox.Cli.Tests;

public sealed class BarTests
{
    private static readonly SessionStatus Whole = new() { Name = "ann", MountPoint = "/home/ann", Location = "rest:x", UpperPlace = "memory" };

    [Fact]
    public void A_tombs_item_says_what_its_owner_has_to_know_first()
    {
        Assert.Equal("tomb offsite", BarLook.Of(Whole).Text);
        Assert.Equal("tomb: changes here", BarLook.Of(Whole with { Changed = true }).Text);
        Assert.Equal("tomb: 3.0 MiB not offsite", BarLook.Of(Whole with { Changed = true, UnsavedFiles = 2, UnsavedBytes = 3 << 20 }).Text);
        Assert.StartsWith("tomb offline since", BarLook.Of(Whole with { Changed = true, OfflineSince = DateTimeOffset.UnixEpoch }).Text, StringComparison.Ordinal);
        Assert.True(BarLook.Of(Whole with { Changed = true, SaveFailure = "full" }).IsUrgent);
        Assert.Equal("tomb damaged", BarLook.Of(Whole with { OfflineSince = DateTimeOffset.UnixEpoch, Damage = "x" }).Text);
    }

    [Fact]
    public void A_state_of_the_bar_is_one_line_of_json_whatever_a_path_holds()
    {
        string line = BarCommand.Line([new BarItem("alarm", "ALARM /a\"\nb", "#ff0000", IsUrgent: true), new BarItem("time", "now", "#ffffff")]);
        Assert.DoesNotContain('\n', line);
        using JsonDocument parsed = JsonDocument.Parse(line);
        Assert.Equal(2, parsed.RootElement.GetArrayLength());
        Assert.Equal("ALARM /a\"\nb", parsed.RootElement[0].GetProperty("full_text").GetString());
        Assert.True(parsed.RootElement[0].GetProperty("urgent").GetBoolean());
    }
}
