using System.Text.Json;
using Sbox.Linux;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>Two boxes have one home open, and both write the same files; then somebody types <c>sbox tomb conflicts</c>.</summary>
public sealed class ConflictsCommandTests : IDisposable
{
    private readonly Place place = new();

    public void Dispose()
    {
        foreach (string box in (string[])["attic", "cellar"])
        {
            if (MountTable.At(place[$"{box}/at"]) is not null)
                On(box, 0, "slam --all", tomb: false);
        }

        place.Dispose();
    }

    private string Home => place["home"];

    [Fact]
    public void Conflicts_are_listed_with_their_files_and_brought_together_as_is_said_for_each_file()
    {
        BothWrote();
        string listed = On("attic", 1, "conflicts");
        foreach (string expected in (string[])["  attic\n", "  cellar\n", $"  changed on both: {Home}/plan\n", $"  changed on both: {Home}/music/song\n", $"  deleted on one, changed on the other: {Home}/gone\n"])
            Assert.Contains(expected, listed, StringComparison.Ordinal);
        Assert.DoesNotContain("only-", listed, StringComparison.Ordinal);
        Assert.Contains($"{Home}/gone deleted-and-changed", On("attic", 1, "conflicts --json").Split('\n').Where(static line => line.StartsWith('{')).Select(static line => JsonDocument.Parse(line).RootElement)
            .Where(static json => json.TryGetProperty("path", out _)).Select(static json => $"{json.GetProperty("path")} {json.GetProperty("finding")}"));

        JsonElement done = JsonDocument.Parse(On("attic", 0, $"conflicts --merge --mine {Home}/plan --mine {Home}/gone --theirs {Home}/music --json").Split('\n').Single(static line => line.StartsWith('{'))).RootElement;
        Assert.Equal([$"{Home}/notes"], done.GetProperty("twice").EnumerateArray().Select(static each => each.GetString()!));
        Assert.Equal(
            [$"{Home}/gone attic", $"{Home}/music/song cellar", $"{Home}/plan attic"],
            done.GetProperty("chosen").EnumerateArray().Select(static each => $"{each.GetProperty("path")} {each.GetProperty("hostname")}").Order(StringComparer.Ordinal));
        Assert.Contains("Nothing has parted.", On("cellar", 0, "conflicts"), StringComparison.Ordinal);
        place.Restic("check", "--read-data");
        Assert.Equal(
            ["./music/song of cellar", "./notes of cellar", "./notes (attic) of attic", "./only-attic of attic", "./only-cellar of cellar", "./plan of attic"],
            Restored());
    }

    [Fact]
    public void On_the_other_box_mine_is_the_other_and_without_a_choice_nothing_is_left_out()
    {
        BothWrote();
        string said = On("cellar", 0, $"conflicts --merge --mine {Home}/plan --theirs {Home}/gone");
        Assert.Contains($"\n  as it is on cellar: {Home}/plan", said, StringComparison.Ordinal);
        Assert.Contains($"\n  changed on both, there twice: {Home}/notes", said, StringComparison.Ordinal);
        Assert.Equal(
            ["./music/song of cellar", "./music/song (attic) of attic", "./notes of cellar", "./notes (attic) of attic", "./only-attic of attic", "./only-cellar of cellar", "./plan of cellar"],
            Restored());
    }

    [Fact]
    public void A_choice_that_says_nothing_is_refused_before_anything_is_written()
    {
        BothWrote();
        Assert.Contains("Add --merge", On("attic", 1, $"conflicts --mine {Home}/plan"), StringComparison.Ordinal);
        Assert.Contains($"{Home}/only-attic: nothing there was changed on both sides", On("attic", 1, $"conflicts --merge --mine {Home}/plan --theirs {Home}/only-attic"), StringComparison.Ordinal);
        Assert.Contains("both --mine and --theirs", On("attic", 1, $"conflicts --merge --mine {Home}/plan --theirs {Home}/plan"), StringComparison.Ordinal);
        Assert.Contains("this machine is garage", On("garage", 1, $"conflicts --merge --mine {Home}/plan"), StringComparison.Ordinal);
        Assert.Contains("changed on both: ", On("attic", 1, "conflicts"), StringComparison.Ordinal);
    }

    [Fact]
    public void Where_two_of_those_that_parted_are_of_this_machine_no_choice_is_taken()
    {
        BothWrote(meanwhile: () =>
        {
            string first = place.Restic("snapshots", "--json").Split("\"id\":\"")[1][..64];
            Listing.Sh(Home, "echo of attic, and not of its tomb > plan");
            place.Restic("backup", "--host", "attic", "--parent", first, Home);
        });
        string refused = On("attic", 1, $"conflicts --merge --mine {Home}/plan");
        Assert.Contains("more than one of the snapshots that parted is of this machine, attic", refused, StringComparison.Ordinal);
        Assert.Contains("without --mine and --theirs", refused, StringComparison.Ordinal);
        On("attic", 0, "conflicts --merge");
    }

    // attic saves first; what cellar saves is the newest, and has the names.
    private void BothWrote(Action? meanwhile = null)
    {
        Directory.CreateDirectory(Home);
        Listing.Sh(Home, "mkdir music; for f in plan notes music/song gone; do echo of both > $f; done");
        place.Restic("init");
        place.Restic("backup", Home);
        foreach (string box in (string[])["attic", "cellar"])
        {
            Directory.CreateDirectory(place[$"{box}/at"]);
            On(box, 0, $"open --at {place[$"{box}/at"]}");
        }

        meanwhile?.Invoke();
        Listing.Sh(place["attic/at"], "for f in plan notes music/song only-attic; do echo of attic > $f; done; rm gone");
        Listing.Sh(place["cellar/at"], "for f in plan notes music/song only-cellar gone; do echo of cellar > $f; done");
        On("attic", 0, "close", tomb: false);
        Assert.Contains("Another box has saved too", On("cellar", 0, "close", tomb: false), StringComparison.Ordinal);
    }

    private IReadOnlyList<string> Restored()
    {
        place.Restic("restore", "latest", "--target", place["restored"]);
        return Listing.Sh(place["restored"] + Home, "find . -type f | LC_ALL=C sort | while read -r f; do echo \"$f $(cat \"$f\")\"; done");
    }

    // A box is a machine's name, and what that machine keeps of tombs.
    private string On(string box, int expected, string words, bool tomb = true)
    {
        string program = Path.Combine(AppContext.BaseDirectory, "sbox.dll"), which = tomb ? $"--tomb {place.TombPath} --password-file {place.PasswordFile}" : "";
        string run = words.StartsWith("conflicts", StringComparison.Ordinal) ? "" : $"--run-directory {place[$"{box}/run"]}";
        IReadOnlyList<string> said = Listing.Sh(
            place.Path, $"unshare --uts sh -c 'hostname {box}; XDG_STATE_HOME={place[$"{box}/state"]} XDG_CACHE_HOME={place[$"{box}/cache"]} exec dotnet {program} tomb {which} {words} {run}' 2>&1 < /dev/null; echo \"exit status $?\"");
        string text = string.Join('\n', said.SkipLast(1)) + "\n";
        Assert.True(said[^1] == $"exit status {expected}", text + said[^1]);
        return text;
    }
}
