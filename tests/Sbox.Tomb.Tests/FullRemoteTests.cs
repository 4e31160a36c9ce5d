using Sbox.Judges;
using Sbox.Linux;
using Sbox.Tomb.Tests.Mounting;
using Sbox.Tomb.Sessions;

namespace Sbox.Tomb.Tests;

/// <summary>Places that have no more room: on file systems and servers that are full.</summary>
public sealed class FullRemoteTests
{
    private const int Room = 40 << 20, More = 60 << 20;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public void A_full_disk_is_said_to_be_full_what_is_old_can_be_dropped_there_and_the_save_goes_on()
    {
        using var place = new Place();
        using var disk = new SmallDisk(place["disk"]);
        string[] tomb = ["tomb", "--tomb", place["disk/tomb"], "--password-file", place.PasswordFile];
        Assert.Equal(0, SboxProgram.Run(place, [.. tomb, "create"]).ExitCode);
        Fill(place, "old", 12 << 20);
        Assert.Equal(0, SboxProgram.Run(place, [.. tomb, "save", place["home"]]).ExitCode);
        File.Delete(place["home/old"]);
        Fill(place, "kept", 4 << 20);
        Assert.Equal(0, SboxProgram.Run(place, [.. tomb, "save", place["home"]]).ExitCode);

        Fill(place, "more", 28 << 20);
        (int code, _, string error) = SboxProgram.Run(place, [.. tomb, "save", place["home"]]);
        Assert.Equal(1, code);
        Assert.Contains("No space left on device", error, StringComparison.Ordinal);
        Assert.Contains("Nothing that was whole is lost", error, StringComparison.Ordinal);
        Whole(place, snapshots: 2);

        Assert.Equal("", SboxProgram.Run(place, [.. tomb, "forget", "--keep-last", "1", "--prune"]).Error);
        Assert.Equal("", SboxProgram.Run(place, [.. tomb, "save", place["home"]]).Error);
        Whole(place, snapshots: 2);
    }

    [Fact]
    public async Task An_open_tomb_whose_place_is_full_stays_a_home_and_is_saved_when_there_is_room()
    {
        using var place = new Place();
        using var disk = new SmallDisk(place["disk"]);
        var backend = new DirectoryBackend(place["disk/tomb"]);
        await (await Place.Create(backend)).DisposeAsync();
        await using OpenTomb open = await OpenTomb.Of(place, backend: backend);
        open.Sh("echo first > note");
        await open.Save();
        open.Sh($"head -c {More} /dev/urandom > much && sha256sum much > sum");
        var full = await Assert.ThrowsAsync<LinuxException>(open.Save);
        Assert.Equal(Errno.ENOSPC, full.Errno);
        Assert.Contains("No space left", open.Session.Status(Cancel).SaveFailure, StringComparison.Ordinal);
        Assert.True(open.Session.Status(Cancel).Changed);
        Assert.Equal(["first", "much: OK"], open.Sh("cat note; sha256sum -c sum"));
        Whole(place, snapshots: 1);

        disk.Grow();
        await open.Save();
        Assert.Null(open.Session.Status(Cancel).SaveFailure);
        Assert.False(open.Session.Status(Cancel).Changed);
        Whole(place, snapshots: 2);
        await open.Close();
    }

    [Fact]
    public async Task A_server_that_has_no_room_for_a_pack_says_so_before_it_is_sent_and_is_not_asked_again_and_again()
    {
        using var place = new Place();
        Directory.CreateDirectory(place["served"]);
        using Server server = await Server.Rest(place, room: Room);
        string url = $"rest:http://127.0.0.1:{server.Port}/me/";
        await Refused(place, url, new BackendSettings());
        place.ResticOn(url, "check", "--read-data");
    }

    [Fact]
    public async Task Over_sftp_a_full_disk_is_told_by_what_is_free_there_and_half_files_do_not_stay()
    {
        using var place = new Place();
        using var disk = new SmallDisk(place["disk"]);
        Script.Write(place["ssh"], "exec /usr/lib/openssh/sftp-server");
        await Refused(place, $"sftp:host:{place["disk/tomb"]}", new BackendSettings { SshCommand = [place["ssh"]] });
        Assert.DoesNotContain(Directory.GetFiles(place["disk"], "*", SearchOption.AllDirectories), static path => path.Contains("-tmp-", StringComparison.Ordinal));
        Whole(place, snapshots: 1);
        disk.Grow();
        await using IBackend backend = TombUrl.Parse($"sftp:host:{place["disk/tomb"]}").Open(new BackendSettings { SshCommand = [place["ssh"]] }, TimeProvider.System);
        await using TombRepository tomb = await TombRepository.Open(backend, Place.Secret(), Cancel);
        await Saving.Save(tomb, place["home"]);
        Whole(place, snapshots: 2);
    }

    private static async Task Refused(Place place, string url, BackendSettings settings)
    {
        await using IBackend backend = TombUrl.Parse(url).Open(settings, TimeProvider.System);
        await using TombRepository tomb = await Place.Create(backend);
        Fill(place, "first", 4 << 20);
        await Saving.Save(tomb, place["home"]);
        Fill(place, "more", More);
        var full = await Assert.ThrowsAsync<PlaceFullException>(() => Saving.Save(tomb, place["home"]));
        Assert.Contains("data/", full.Message, StringComparison.Ordinal);
    }

    private static void Fill(Place place, string name, int bytes)
    {
        Directory.CreateDirectory(place["home"]);
        var content = new byte[bytes];
        Random.Shared.NextBytes(content);
        File.WriteAllBytes(place[$"home/{name}"], content);
    }

    private static void Whole(Place place, int snapshots)
    {
        place.ResticOn(place["disk/tomb"], "check", "--read-data", "--no-lock");
        Assert.Equal(snapshots, System.Text.Json.JsonDocument.Parse(place.ResticOn(place["disk/tomb"], "snapshots", "--json", "--no-lock")).RootElement.GetArrayLength());
    }

    /// <summary>A file system with little room, which can become more.</summary>
    private sealed class SmallDisk : IDisposable
    {
        private readonly string path;

        public SmallDisk(string path)
        {
            this.path = path;
            Directory.CreateDirectory(path);
            Sbox.Judges.Judge.OnPath("mount").Run("-t", "tmpfs", "-o", $"size={Room}", "sbox-test", path);
        }

        public void Grow() => Sbox.Judges.Judge.OnPath("mount").Run("-o", $"remount,size={10L * Room}", path);

        public void Dispose() => Mounts.Detach(path);
    }
}
