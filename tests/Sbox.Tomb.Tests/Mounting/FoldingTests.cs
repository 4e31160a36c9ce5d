using System.Text.Json;
using System.Diagnostics;
using Sbox.Linux;
using Sbox.Tomb.Sessions;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>What is saved goes below, and the layer of changes begins anew.</summary>
public sealed class FoldingTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_large_file_that_one_byte_was_written_to_takes_all_of_its_size_and_status_names_it()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["home"]);
        Listing.Sh(place["home"], "mkdir a; head -c 70000000 /dev/urandom > a/film; head -c 1000 /dev/urandom > small");
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using OpenTomb open = await OpenTomb.Of(place);
        Assert.Empty(open.Session.Status(TestContext.Current.CancellationToken).Largest);
        open.Sh("printf x >> a/film; printf x >> small; chmod 600 a/film");
        SessionStatus status = SessionMessage.ReadStatus(JsonDocument.Parse(Told(open)).RootElement);
        LargeFile film = Assert.Single(status.Largest);
        Assert.Equal("a/film", film.Path);
        Assert.InRange(film.Bytes, 70_000_000, 71_000_000);
        Assert.Equal(512L << 20, status.UpperLimit);
        await open.Close();

        static byte[] Told(OpenTomb open)
        {
            using var bytes = new MemoryStream();
            using (var json = new Utf8JsonWriter(bytes))
            {
                json.WriteStartObject();
                open.Session.Status(TestContext.Current.CancellationToken).WriteTo(json);
                json.WriteEndObject();
            }

            return bytes.ToArray();
        }
    }

    [Fact]
    public async Task Folded_the_home_is_as_it_was_and_takes_no_room_here()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using OpenTomb open = await OpenTomb.Of(place);
        for (int round = 0; round < 3; round++)
        {
            Assert.Empty(open.Sh($"head -c 3000000 /dev/urandom > large{round}; ln large{round} link{round}; mv 'a' 'a{round}' && mv 'a{round}' a; echo {round} >> text; rm -f large{round - 1}; sleep 0.2"));
            string before = Listing.Of(open.Path);
            Assert.True(open.Session.Status(default).UpperBytes > 3_000_000);
            Assert.True(await open.Session.Fold(Cancel) > 3_000_000);
            Assert.Equal(before, Listing.Of(open.Path));
            SessionStatus status = open.Session.Status(default);
            Assert.Equal((0, false), (status.UpperBytes, status.Changed));
            Assert.Equal(before, OpenTomb.Restored(place, place["home"]));
            Assert.Single(MountTable.Read(), mount => mount.MountPoint == open.Path);
        }

        Assert.Equal(0, await open.Session.Fold(Cancel)); // nothing is there to fold
        Assert.Empty(open.Sh("echo more > more; rm text; sleep 0.2"));
        string last = Listing.Of(open.Path);
        await open.Close();
        Assert.Equal(last, OpenTomb.Restored(place, place["home"]));
        place.Restic("check", "--read-data");
        Assert.DoesNotContain(MountTable.Read(), mount => mount.MountPoint.StartsWith(place.Path, StringComparison.Ordinal));
    }

    [Fact]
    public async Task While_somebody_uses_the_home_nothing_is_folded()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using OpenTomb open = await OpenTomb.Of(place);
        Assert.Empty(open.Sh("echo new > new"));
        using (Process user = Process.Start(new ProcessStartInfo("sleep", ["300"]) { WorkingDirectory = open.Path })!)
        {
            await Assert.ThrowsAsync<TombInUseException>(() => open.Session.Fold(Cancel));
            Assert.True(open.Session.Status(default).UpperBytes > 0);
            user.Kill();
            await user.WaitForExitAsync(Cancel);
        }

        Assert.Equal(["new"], open.Sh("cat new"));
        await open.Session.Fold(Cancel);
        Assert.Equal(0, open.Session.Status(default).UpperBytes);
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task What_a_dead_session_had_written_above_what_was_folded_is_found_by_the_next(bool onDisk)
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        SessionOptions Change(SessionOptions options) => options with { Scratch = onDisk ? place["scratch"] : null };
        TombSession dead = (await OpenTomb.Of(place, Change)).Session;
        Listing.Sh(place["mounted"], "echo folded > folded; mv a moved; sleep 0.2");
        await dead.Fold(Cancel);
        Listing.Sh(place["mounted"], "echo kept > kept; mv moved/b b; rm folded");
        string seen = Listing.Of(place["mounted"]);
        await dead.DisposeAsync();

        await using OpenTomb open = await OpenTomb.Of(place, Change);
        Assert.True(open.Session.Recovered);
        Assert.Equal(seen, Listing.Of(open.Path));
        await open.Close();
        Assert.Equal(seen, OpenTomb.Restored(place, place["home"]));
    }

    [Fact]
    public async Task Killed_while_it_folds_whichever_layer_is_there_the_next_session_has_all()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        SessionOptions Change(SessionOptions options) => options with { Scratch = place["scratch"] };
        TombSession dead = (await OpenTomb.Of(place, Change)).Session;
        Listing.Sh(place["mounted"], "echo kept > kept; sleep 0.2");
        string seen = Listing.Of(place["mounted"]);
        await dead.Save(Cancel);
        await dead.DisposeAsync();
        // As a kill leaves it between the new layer's mounting and the old one's end.
        Listing.Sh(place["scratch"], "mkdir -p 1/upper 1/work; printf %s nothing > 1/base; printf 1 > folding");
        await using (OpenTomb open = await OpenTomb.Of(place, Change))
            Assert.Equal(seen, Listing.Of(open.Path));
        Assert.False(Directory.Exists(place["scratch/1"]));
    }

    [Fact]
    public async Task A_home_that_nobody_uses_is_folded_by_itself_after_a_save()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        SessionOptions? options = null;
        await using OpenTomb open = await OpenTomb.Of(place, plain => options = plain with { SaveEvery = TimeSpan.FromMilliseconds(300), FoldAbove = 1 << 20 });
        using var server = new SessionServer(open.Session, options!);
        server.Listen();
        using var stop = new CancellationTokenSource();
        Task running = server.Run(stop.Token);
        Assert.Empty(open.Sh("head -c 3000000 /dev/urandom > large"));
        for (int n = 0; n < 600 && open.Session.Status(default).UpperBytes > 0; n++)
            await Task.Delay(100, Cancel);
        Assert.Equal(0, open.Session.Status(default).UpperBytes);
        Assert.Equal(["3000000"], open.Sh("stat -c %s large"));
        await stop.CancelAsync();
        await running;
        Assert.Null(MountTable.At(open.Path));
    }
}
