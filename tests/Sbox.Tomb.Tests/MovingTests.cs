using Sbox.Judges;

namespace Sbox.Tomb.Tests;

/// <summary>Tombs that move, and what comes into them from elsewhere.</summary>
public sealed class MovingTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_tomb_moved_to_a_server_is_the_same_tomb_and_the_old_place_is_emptied_when_that_was_asked()
    {
        using var place = new Place();
        using Server server = await Server.Rest(place);
        string url = $"rest:http://127.0.0.1:{server.Port}/me/";
        HomeTree.Make(place["home"]);
        SboxProgram.Tomb(place, "create");
        SboxProgram.Tomb(place, "save", place["home"]);
        SboxProgram.Tomb(place, "save", "--force", place["home"]);
        Assert.Contains("copied to", SboxProgram.Tomb(place, "move", url), StringComparison.Ordinal);
        place.Restic("check", "--read-data");
        Assert.Contains("moved to", SboxProgram.Tomb(place, "move", "--delete-old", url), StringComparison.Ordinal);
        Assert.DoesNotContain(Directory.GetFiles(place.TombPath, "*", SearchOption.AllDirectories), static file => !file.Contains("/locks/", StringComparison.Ordinal));
        place.ResticOn(url, "check", "--read-data");
        Assert.Equal(2, place.ResticOn(url, "snapshots", "--json").Split("\"short_id\"").Length - 1);
        place.ResticOn(url, "restore", "latest", "--target", place["out"]);
        TreeCompare.Same(place["home"], place["out"] + place["home"]);
    }

    [Fact]
    public async Task A_move_that_was_cut_short_is_gone_on_with_and_another_tomb_is_never_written_over()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using var to = new DirectoryBackend(place["elsewhere"]);
        using var stop = new CancellationTokenSource();
        var cut = new Progress(stop, after: 2);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => TombMove.Copy(place.Backend(), to, cut, stop.Token));
        Assert.False(File.Exists(place["elsewhere/config"])); // no tomb yet
        await TombMove.Copy(place.Backend(), to, null, Cancel);
        await TombMove.Verify(place.Backend(), to, null, Cancel);
        place.ResticOn(place["elsewhere"], "check", "--read-data");

        place.ResticOn(place["another"], "init");
        await using var another = new DirectoryBackend(place["another"]);
        await Assert.ThrowsAsync<TombExistsException>(() => TombMove.Copy(place.Backend(), another, null, Cancel));
    }

    [Fact]
    public async Task A_file_that_is_damaged_does_not_move()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        string pack = Directory.GetFiles(place["tomb/data"], "*", SearchOption.AllDirectories)[0];
        File.SetAttributes(pack, FileAttributes.Normal);
        byte[] bytes = File.ReadAllBytes(pack);
        bytes[10] ^= 1;
        File.WriteAllBytes(pack, bytes);
        await using var to = new DirectoryBackend(place["elsewhere"]);
        await Assert.ThrowsAsync<TombDamagedException>(() => TombMove.Copy(place.Backend(), to, null, Cancel));
        Assert.False(File.Exists(place["elsewhere/config"]));
    }

    [Fact]
    public void A_plain_home_is_imported_and_verified_and_left_as_it_is()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        string before = TreeCompare.Describe(place["home"]);
        SboxProgram.Tomb(place, "create");
        Assert.Contains("verified", SboxProgram.Tomb(place, "import", place["home"]), StringComparison.Ordinal);
        Assert.Equal(before, TreeCompare.Describe(place["home"]));
        place.Restic("restore", "latest", "--target", place["out"]);
        TreeCompare.Same(place["home"], place["out"] + place["home"]);
    }

    [Fact]
    public void Every_snapshot_of_a_restic_repository_is_imported_once_and_restic_restores_each()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        File.WriteAllText(place["other password"], "theirs\n");
        string Theirs(params string[] words) => Judge.Restic.Run(["-r", place["theirs"], "--password-file", place["other password"], "--no-cache", .. words]);
        Theirs("init");
        Theirs("backup", "--tag", "first", place["home"]);
        File.WriteAllText(place["home/more"], "more");
        Theirs("backup", place["home"]);
        SboxProgram.Tomb(place, "create");
        Assert.Contains("imported 2 snapshots", SboxProgram.Tomb(place, "import", place["theirs"], "--from-password-file", place["other password"]), StringComparison.Ordinal);
        Assert.Contains("imported 0 snapshots", SboxProgram.Tomb(place, "import", place["theirs"], "--from-password-file", place["other password"]), StringComparison.Ordinal);
        place.Restic("check", "--read-data");
        place.Restic("restore", "latest", "--target", place["out"]);
        TreeCompare.Same(place["home"], place["out"] + place["home"]);
        place.Restic("restore", "latest", "--tag", "first", "--target", place["first"]);
        Assert.False(File.Exists(place["first"] + place["home"] + "/more"));
        Theirs("check", "--read-data");
        Assert.Equal(2, Theirs("snapshots", "--json").Split("\"short_id\"").Length - 1);
    }

    private sealed class Progress(CancellationTokenSource stop, int after) : IProgress<MoveProgress>
    {
        private int reports;

        public void Report(MoveProgress value)
        {
            if (Interlocked.Increment(ref reports) >= after)
                stop.Cancel();
        }
    }
}
