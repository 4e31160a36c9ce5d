using Sbox.Linux;
using Sbox.Tomb.Sessions;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>What is pinned is there while the remote is away.</summary>
public sealed class PinTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task What_is_pinned_opens_and_is_read_without_the_remote_and_what_is_written_then_is_saved_when_it_is_back()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        File.WriteAllBytes(place["home/far"], Random(9_000_000, 1));
        Server server = await Server.Rest(place);
        int port = server.Port;
        try
        {
            IBackend Far() => TombUrl.Parse($"rest:http://127.0.0.1:{port}/").Open(new BackendSettings { CacheDirectory = place["cache"], Limit = new RequestLimit(TimeSpan.FromSeconds(20), 1 << 20) }, TimeProvider.System);
            await using (TombRepository made = await Place.Create(Far()))
                await Saving.Save(made, place["home"]);
            await using (OpenTomb first = await OpenTomb.Of(place, backend: Far()))
            {
                first.Sh("mkdir letters; echo pinned > letters/one");
                Assert.Equal(["a", "letters"], (await first.Session.Pin(["letters", "a"], remove: false, Cancel)).Paths);
                await Assert.ThrowsAsync<CannotPinException>(() => first.Session.Pin(["nowhere"], remove: false, Cancel));
                first.Sh("echo later > letters/two; sleep 0.2");
                await first.Save();
                Assert.Equal(["a", "letters"], first.Session.Pins.Paths);
                await first.Close();
            }

            string kept = string.Concat(Directory.GetFiles(place["cache"], "*", SearchOption.AllDirectories).Select(static file => System.Text.Encoding.Latin1.GetString(File.ReadAllBytes(file))));
            Assert.DoesNotContain("letters", kept, StringComparison.Ordinal); // neither a name nor a word of it
            server.Dispose();

            await using (OpenTomb away = await OpenTomb.Of(place, backend: Far()))
            {
                Assert.Equal(["pinned", "later"], away.Sh("cat letters/one letters/two; find a -type f -exec cat {} + > /dev/null"));
                away.Sh("echo offline > letters/three");
                await Assert.ThrowsAsync<BackendException>(away.Save);
                Assert.NotNull(away.Session.Status(Cancel).SaveFailure);
                server = await Server.Rest(place, port: port);
                Assert.NotNull((await away.Save()).Snapshot);
                Assert.Null(away.Session.Status(Cancel).SaveFailure);
                Assert.Empty((await away.Session.Pin(["letters", "a"], remove: true, Cancel)).Paths);
                Assert.Equal(0, away.Session.Pins.Bytes);
                await away.Close();
            }

            string url = $"rest:http://127.0.0.1:{port}/";
            place.ResticOn(url, "check", "--read-data");
            Assert.Equal("offline\n", place.ResticOn(url, "dump", "latest", $"{place["home"]}/letters/three"));
        }
        finally
        {
            server.Dispose();
        }
    }

    [Fact]
    public async Task A_tomb_on_this_machine_has_nothing_to_pin()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        await using OpenTomb open = await OpenTomb.Of(place);
        await Assert.ThrowsAsync<CannotPinException>(() => open.Session.Pin(["a"], remove: false, Cancel));
    }

    private static byte[] Random(int length, int seed)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }
}
