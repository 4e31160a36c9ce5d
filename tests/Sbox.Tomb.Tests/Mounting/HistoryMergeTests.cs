using Sbox.Tomb.Sessions;

namespace Sbox.Tomb.Tests.Mounting;

public sealed class HistoryMergeTests
{
    [Fact]
    public async Task What_two_boxes_changed_is_brought_together_and_nothing_is_left_out()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        Listing.Sh(place["home"], "mkdir -p d/e only; for f in a b c gone1 gone2 d/x d/y d/e/z only/f; do echo old > $f; done");
        place.Restic("init");
        place.Restic("backup", "--host", "first", place["home"]);
        string first = await Changed(place, "one", "echo 1 > a; echo 1 > b; echo 1 > d/x; rm gone1; echo 1 > gone2; echo 1 > new1; chmod 700 only; echo same > both; echo same > tagged; setfattr -n trusted.tag -v 1 tagged; touch -d @5 both tagged");
        string second = await Changed(place, "two", "echo 2 > b; echo 2 > c; echo 2 > d/y; echo 2 > gone1; rm gone2; echo 2 > new2; echo 2 > only/f; mkdir -p d/n; echo 2 > d/n/f; echo same > both; echo same > tagged; setfattr -n trusted.tag -v 2 tagged; touch -d @5 both tagged");

        CancellationToken cancel = TestContext.Current.CancellationToken;
        await using TombRepository tomb = await place.Open();
        await tomb.LoadIndex(cancel);
        var history = new SnapshotHistory(await tomb.Snapshots(cancel));
        Assert.Equal(2, history.Heads.Count());
        Snapshot left = history.Snapshots.Single(each => each.Id.ToString() == first), right = history.Snapshots.Single(each => each.Id.ToString() == second);
        Assert.Equal(right.Id, Assert.Single(history.Diverged(left)).Id);
        HistoryMerged done = await HistoryMerge.Run(tomb, history, left, right, static _ => MergeSide.Both, "sbox test", TimeProvider.System, cancel);
        Assert.Equal([$"{place["home"]}/b", $"{place["home"]}/tagged"], done.Twice);
        Assert.Equal([$"{place["home"]}/gone1", $"{place["home"]}/gone2"], done.Kept.Order());

        place.Restic("check", "--read-data");
        place.Restic("restore", "latest", "--target", place["restored"]);
        Assert.Equal(
            ["./a 1", "./b 1", "./b (two) 2", "./both same", "./c 2", "./d/e/z old", "./d/n/f 2", "./d/x 1", "./d/y 2", "./gone1 2", "./gone2 1", "./new1 1", "./new2 2", "./only/f 2", "./tagged same", "./tagged (two) same", "700"],
            Listing.Sh(place["restored"] + place["home"], "find . -type f | sort | while read -r f; do echo \"$f $(cat \"$f\")\"; done; stat -c %a only"));
        history = new SnapshotHistory(await tomb.Snapshots(cancel));
        Assert.Equal(done.Snapshot!.Id, Assert.Single(history.Heads).Id);
        Assert.Empty(history.Diverged(history.Newest!));
    }

    // A box that opened the first snapshot, changed something, and saved.
    private static async Task<string> Changed(Place place, string host, string script)
    {
        string first = place.Restic("snapshots", "--json", "--host", "first").Split("\"id\":\"")[1][..64];
        await using OpenTomb open = await OpenTomb.Of(place, options => options with { Hostname = host, Snapshot = first });
        Assert.Empty(open.Sh(script));
        return (await open.Close()).Snapshot!;
    }
}
