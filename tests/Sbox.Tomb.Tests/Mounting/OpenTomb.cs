using Sbox.Linux;
using Sbox.Tomb.Sessions;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>A place's tomb, open at <c>mounted</c>.</summary>
internal sealed class OpenTomb : IAsyncDisposable
{
    private OpenTomb(Place place, TombSession session) => (Place, Session) = (place, session);

    public Place Place { get; }

    public TombSession Session { get; }

    public string Path => Place["mounted"];

    public static async Task<OpenTomb> Of(Place place, Func<SessionOptions, SessionOptions>? change = null, IBackend? backend = null)
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        Directory.CreateDirectory(place["mounted"]);
        var options = new SessionOptions { Name = "home", MountPoint = place["mounted"], RunDirectory = place["run"], MemoryLimit = "512m", Hostname = "testbox" };
        TombRepository tomb = await TombRepository.Open(backend ?? place.Backend(), Place.Secret(), cancel);
        return new OpenTomb(place, await TombSession.Open(tomb, change?.Invoke(options) ?? options, cancel));
    }

    public IReadOnlyList<string> Sh(string script) => Listing.Sh(Path, script);

    public Task<SessionSave> Save() => Session.Save(TestContext.Current.CancellationToken);

    public Task<SessionSave> Close() => Session.Close(TestContext.Current.CancellationToken);

    /// <summary>What real restic restores of the newest snapshot, as text; <paramref name="below"/> is where the home is in it.</summary>
    public static string Restored(Place place, string below)
    {
        string name = $"restored-{Guid.NewGuid():N}", to = place[name];
        place.Restic("restore", "latest", "--target", to);
        string listing = Listing.Of(to + below);
        using Dir parent = Dir.Open(place.Path);
        parent.RemoveAll(name); // the class library cannot delete names that are no UTF-8
        return listing;
    }

    public async ValueTask DisposeAsync()
    {
        await Session.DisposeAsync();
        string scratch = Place["run/home/scratch"];
        if (MountTable.At(scratch) is not null)
            Mounts.Detach(scratch);
    }
}
