using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Tomb.Tests;

/// <summary>Tombs that are far away, beside real servers.</summary>
public sealed class RemoteTests
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task On_restics_own_server_everything_works_as_in_a_directory()
    {
        using var place = new Place();
        using Server server = await Server.Rest(place);
        string url = $"rest:http://127.0.0.1:{server.Port}/me/";
        await RoundTrip(place, url, new BackendSettings { CacheDirectory = place["cache"] }, url);
        Assert.NotEmpty(Directory.GetFiles(place["cache"], "*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task A_server_with_passwords_is_answered_from_a_file_and_without_it_refuses()
    {
        using var place = new Place();
        using Server server = await Server.Rest(place, "geheim");
        File.WriteAllText(place["rest password"], "geheim\n");
        string url = $"rest:http://me@127.0.0.1:{server.Port}/";
        await using (IBackend open = TombUrl.Parse(url).Open(new BackendSettings { RestPasswordFile = place["rest password"] }, TimeProvider.System))
            await (await Place.Create(open)).DisposeAsync();
        await using IBackend closed = TombUrl.Parse(url).Open(new BackendSettings(), TimeProvider.System);
        var refused = await Assert.ThrowsAsync<BackendException>(() => TombRepository.Open(closed, Place.Secret(), Cancel));
        Assert.Contains("401", refused.Message, StringComparison.Ordinal);
        Assert.Throws<FormatException>(() => TombUrl.Parse("rest:http://me:geheim@host/"));
    }

    [Fact]
    public async Task Over_OpenSSHs_sftp_everything_works_as_in_a_directory()
    {
        using var place = new Place();
        // sshd's own sftp-server on pipes: what stands between, ssh itself, is not what is tested here; SshTests does that.
        Script.Write(place["ssh"], "exec /usr/lib/openssh/sftp-server");
        string url = $"sftp:host:{place.TombPath}";
        await RoundTrip(place, url, new BackendSettings { SshCommand = [place["ssh"]] }, place.TombPath);
    }

    [Fact]
    public async Task A_server_that_is_gone_is_said_to_be_gone_and_nothing_waits_for_ever()
    {
        int port = Server.FreePort();
        await using var backend = new RestBackend(new Uri($"http://127.0.0.1:{port}/"), null);
        var gone = await Assert.ThrowsAsync<BackendException>(() => TombRepository.Open(backend, Place.Secret(), Cancel));
        Assert.True(gone.IsTransient);
    }

    [Fact]
    public async Task Five_hundred_small_files_of_a_large_tomb_take_fewer_than_thirty_requests()
    {
        using var place = new Place();
        var random = new Random(2);
        for (int n = 0; n < 500; n++)
        {
            Directory.CreateDirectory(place[$"home/small/{n / 100}"]);
            File.WriteAllText(place[$"home/small/{n / 100}/{n}"], $"{n} {new string('x', random.Next(3000))}");
        }

        var large = new byte[42_000_000];
        random.NextBytes(large);
        File.WriteAllBytes(place["home/large"], large);
        await using (TombRepository near = await Place.Create(place.Backend()))
            await Saving.Save(near, place["home"]);

        await using var far = new CountingBackend(place.Backend(), TimeSpan.FromMilliseconds(20));
        await using TombRepository tomb = await TombRepository.Open(far, Place.Secret(), Cancel);
        IReadOnlyList<Snapshot> snapshots = await tomb.Snapshots(Cancel);
        await tomb.LoadIndex(Cancel);
        RestoreReport report = await Restorer.Restore(tomb, snapshots[0], new RestoreOptions { Target = place["out"], Path = place["home/small"] }, null, Cancel);
        Assert.Equal(500, report.Files);
        Assert.True(far.Requests < 30, $"{far.Requests} requests");
    }

    [Fact]
    public void Hosts_that_would_be_options_to_ssh_are_refused() =>
        Assert.Throws<FormatException>(() => TombUrl.Parse("sftp:-oProxyCommand=x:/path").Open(new BackendSettings(), TimeProvider.System));

    // We make it, restic checks it and saves into it; restic restores ours, and we restore restic's.
    internal static async Task RoundTrip(Place place, string url, BackendSettings settings, string forRestic, params (string, string)[] environment)
    {
        HomeTree.Make(place["home"]);
        await using IBackend backend = TombUrl.Parse(url).Open(settings, TimeProvider.System);
        await using TombRepository tomb = await Place.Create(backend);
        await Saving.Save(tomb, place["home"]);
        place.ResticOn(forRestic, "check", "--read-data");
        place.ResticOn(forRestic, "restore", "latest", "--target", place["by restic"]);
        TreeCompare.Same(place["home"], place["by restic"] + place["home"]);

        File.WriteAllText(place["home/more"], "by restic");
        place.ResticOn(forRestic, "backup", place["home"]);
        IReadOnlyList<Snapshot> snapshots = await tomb.Snapshots(Cancel);
        await tomb.LoadIndex(Cancel);
        Assert.Equal(2, snapshots.Count);
        RestoreReport restored = await Restorer.Restore(tomb, snapshots[1], new RestoreOptions { Target = place["by us"], Owners = true }, null, Cancel);
        Assert.Empty(restored.Failed);
        TreeCompare.Same(place["home"], place["by us"] + place["home"]);

        await using (await TombLock.Take(tomb, exclusive: true, TimeProvider.System, Cancel))
        {
            await new ForgetPlan([], [snapshots[0]]).Execute(tomb, Cancel);
            await (await PrunePlan.Make(tomb, null, Cancel)).Execute(tomb, TimeProvider.System, null, Cancel);
        }

        place.ResticOn(forRestic, "check", "--read-data");
        Assert.True((await TombCheck.Run(tomb, new CheckOptions { ReadData = true }, null, Cancel)).IsWhole);
    }
}
