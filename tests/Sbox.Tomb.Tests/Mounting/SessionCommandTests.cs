using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Sbox.Linux;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>The commands as a person types them.</summary>
public sealed class SessionCommandTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    [Fact]
    public void A_tomb_is_opened_used_saved_refused_while_in_use_and_closed()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        Directory.CreateDirectory(place["at"]);
        Assert.Contains("opened t at ", Sbox(place, 0, $"--tomb {place.TombPath} --password-file {place.PasswordFile} open --at {place["at"]} --name t"), StringComparison.Ordinal);
        try
        {
            Assert.Equal(["hello"], Listing.Sh(place["at"], "cat plain; echo written > written; sleep 0.2"));
            Assert.Contains("already", Sbox(place, 1, $"--tomb {place.TombPath} --password-file {place.PasswordFile} open --at {place["at"]} --name t"), StringComparison.Ordinal);
            JsonElement status = JsonDocument.Parse(Sbox(place, 0, "status --json")).RootElement;
            Assert.Equal((1, true, place["at"]), (status.GetProperty("unsaved-files").GetInt32(), status.GetProperty("changed").GetBoolean(), status.GetProperty("at").GetString()));
            Assert.Contains("saved t: ", Sbox(place, 0, "save"), StringComparison.Ordinal);
            Assert.Contains("all is offsite", Sbox(place, 0, "status t"), StringComparison.Ordinal);
            using (Process user = Process.Start(new ProcessStartInfo("sleep", ["300"]) { WorkingDirectory = place["at"] })!)
            {
                Assert.Contains($"sleep ({user.Id}", Sbox(place, 4, "close"), StringComparison.Ordinal);
                user.Kill();
                user.WaitForExit();
            }

            Assert.Contains("closed t", Sbox(place, 0, "close"), StringComparison.Ordinal);
            Assert.Contains("no tomb is open", Sbox(place, 1, "close"), StringComparison.Ordinal);
        }
        finally
        {
            if (MountTable.At(place["at"]) is not null)
                Sbox(place, 0, "slam --all");
        }

        Assert.DoesNotContain(MountTable.Read(), mount => mount.MountPoint.StartsWith(place.Path, StringComparison.Ordinal));
        Assert.Contains("/written", place.Restic("ls", "latest"), StringComparison.Ordinal);
    }

    [Fact]
    public void Two_tombs_are_open_at_once_each_by_its_name_and_at_its_place()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        Listing.Sh(place.Path, "cp -r tomb other; mkdir -p one/home two/home");
        string one = $"--tomb {place.TombPath} --password-file {place.PasswordFile} open", two = $"--tomb {place["other"]} --password-file {place.PasswordFile} open";
        Sbox(place, 0, $"{one} --at {place["one/home"]}");
        try
        {
            string said = Sbox(place, 1, $"{two} --at {place["two/home"]}");
            Assert.Contains($"a tomb of this name is open already, {place.TombPath} at {place["one/home"]}", said, StringComparison.Ordinal);
            Assert.Contains("the tomb home is open there", Sbox(place, 1, $"{two} --at {place["one/home"]} --name two"), StringComparison.Ordinal);
            Assert.Contains($"this tomb is open already, at {place["one/home"]}", Sbox(place, 1, $"{one} --at {place["two/home"]}"), StringComparison.Ordinal);
            Sbox(place, 0, $"{two} --at {place["two/home"]} --name two");
            Listing.Sh(place.Path, "echo in one > one/home/plain; sleep 0.2");
            Assert.Equal(["hello"], Listing.Sh(place.Path, "cat two/home/plain"));
            Assert.Contains("2 tombs are open: home, two", Sbox(place, 1, "save"), StringComparison.Ordinal);
            Assert.Contains("saved home: ", Sbox(place, 0, "save --all"), StringComparison.Ordinal);
            Assert.Contains("closed two: nothing had changed", Sbox(place, 0, "close two"), StringComparison.Ordinal);
            Assert.Contains("closed home", Sbox(place, 0, "close home"), StringComparison.Ordinal);
        }
        finally
        {
            if (MountTable.At(place["one/home"]) is not null || MountTable.At(place["two/home"]) is not null)
                Sbox(place, 0, "slam --all");
        }

        Assert.Contains("in one", place.Restic("dump", "latest", $"{place["home"]}/plain"), StringComparison.Ordinal);
    }

    [Fact]
    public void The_settings_say_where_what_is_not_saved_is_kept_and_it_is_found_there_after_a_crash()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        Directory.CreateDirectory(place["at"]);
        File.WriteAllText(place["tomb.toml"], $"[t]\ntomb = \"{place.TombPath}\"\npassword-file = \"{place.PasswordFile}\"\nscratch = \"{place["scratch"]}\"\n");
        Sbox(place, 0, $"--tomb @t --config {place["tomb.toml"]} open --at {place["at"]} --name t");
        try
        {
            Listing.Sh(place["at"], "echo unsaved > unsaved");
            JsonElement status = JsonDocument.Parse(Sbox(place, 0, "status --json")).RootElement;
            Assert.Equal((place["scratch/t"], false), (status.GetProperty("upper").GetString(), status.TryGetProperty("upper-limit", out _)));
            Sbox(place, 0, "slam --all");
            Assert.Contains("what was not saved the last time is there", Sbox(place, 0, $"--tomb @t --config {place["tomb.toml"]} open --at {place["at"]} --name t"), StringComparison.Ordinal);
            Assert.Equal(["unsaved"], Listing.Sh(place["at"], "cat unsaved"));
        }
        finally
        {
            Sbox(place, 0, MountTable.At(place["at"]) is null ? "status" : "close");
        }
    }

    [Fact]
    public void A_wrong_password_opens_nothing_and_leaves_nothing()
    {
        using var place = new Place();
        place.Restic("init");
        Directory.CreateDirectory(place["at"]);
        File.WriteAllText(place["wrong"], "no\n");
        Assert.Contains("wrong password", Sbox(place, 1, $"--tomb {place.TombPath} --password-file {place["wrong"]} open --at {place["at"]}"), StringComparison.Ordinal);
        Assert.DoesNotContain(MountTable.Read(), mount => mount.MountPoint.StartsWith(place.Path, StringComparison.Ordinal));
        Assert.False(Directory.Exists(place["run"]));
    }

    [Fact]
    public void A_login_does_not_wait_for_a_remote_that_never_answers()
    {
        using var place = new Place();
        using var silent = new TcpListener(IPAddress.Loopback, 0);
        silent.Start(); // it takes connections, and says nothing
        IReadOnlyList<string> said = Pam(place, "auth", $"rest:http://127.0.0.1:{((IPEndPoint)silent.LocalEndpoint).Port}/");
        Assert.Equal("exit status 1", said[^1]);
        Assert.Contains("the tomb of daemon was not open after 20 s; the login goes on without it", said[^2], StringComparison.Ordinal);
        Assert.DoesNotContain(Directory.GetDirectories("/proc").Select(CommandLine), words => words.Contains(place["run"], StringComparison.Ordinal)); // nothing mounts it later
    }

    [Theory, InlineData("auth", "the login goes on without it"), InlineData("close_session", "did not answer within 20 s")]
    public void Neither_a_login_nor_a_logout_waits_for_a_session_that_never_answers(string moment, string finding)
    {
        using var place = new Place();
        Directory.CreateDirectory(place["run/daemon"]);
        using var hanging = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        hanging.Bind(new UnixDomainSocketEndPoint(place["run/daemon/control"]));
        hanging.Listen();
        IReadOnlyList<string> said = Pam(place, moment, place.TombPath);
        Assert.Equal("exit status 1", said[^1]);
        Assert.Contains(finding, said[^2], StringComparison.Ordinal);
    }

    // As pam_exec runs it, for an account that this machine has, with a settings file that nobody else sees.
    private static IReadOnlyList<string> Pam(Place place, string moment, string tomb)
    {
        File.WriteAllText(place["script"], $"""
            mount -t tmpfs none {place["etc"]} && mkdir {place["etc"]}/upper {place["etc"]}/work && mount -t overlay none -o lowerdir=/etc,upperdir={place["etc"]}/upper,workdir={place["etc"]}/work /etc
            mkdir -p /etc/sbox; printf '[daemon]\ntomb = "{tomb}"\n' > /etc/sbox/tomb.toml
            printf secret | PAM_USER=daemon PAM_TYPE={moment} timeout 120 dotnet {Path.Combine(AppContext.BaseDirectory, "sbox.dll")} tomb pam --run-directory {place["run"]} 2>&1; echo "exit status $?"
            """);
        Directory.CreateDirectory(place["etc"]);
        long begun = Stopwatch.GetTimestamp();
        IReadOnlyList<string> said = Listing.Sh(place.Path, $"unshare --mount sh {place["script"]}");
        Assert.InRange(Stopwatch.GetElapsedTime(begun), Limit, Limit + TimeSpan.FromSeconds(60)); // the program has to start, and to end what it started
        return said;
    }

    private static string CommandLine(string process)
    {
        try
        {
            return File.ReadAllText($"{process}/cmdline");
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return "";
        }
    }

    private static string Sbox(Place place, int expected, string words)
    {
        string program = Path.Combine(AppContext.BaseDirectory, "sbox.dll");
        IReadOnlyList<string> said = Listing.Sh(place.Path, $"XDG_STATE_HOME={place["state"]} XDG_CACHE_HOME={place["cache"]} dotnet {program} tomb {words} --run-directory {place["run"]} 2>&1 < /dev/null; echo \"exit status $?\"");
        string text = string.Join('\n', said);
        Assert.True(said[^1] == $"exit status {expected}", text);
        return string.Join('\n', said.SkipLast(1));
    }
}
