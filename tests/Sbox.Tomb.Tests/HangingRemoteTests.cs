using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Sbox.Buckets;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Tomb.Tests;

/// <summary>A remote that stops in the middle: every request has an end, and what follows goes on.</summary>
public sealed class HangingRemoteTests
{
    private static readonly RequestLimit Short = new(TimeSpan.FromSeconds(15), 4 << 20);
    private static readonly byte[] Pack = new byte[16 << 20];

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_write_to_a_stopped_sshd_fails_in_time_and_the_next_one_after_it_goes_on()
    {
        using var place = new Place();
        using var ssh = new SshServer(place);
        Directory.CreateDirectory(place.TombPath);
        await using var backend = new SftpBackend("sftp:there", new ChildCommand("ssh", [.. ssh.Words.Skip(1), "-s", "--", "127.0.0.1", "sftp"]), place.TombPath) { Limit = Short };
        await backend.Create(Cancel);
        int[] children = ssh.Session();
        Task writing = backend.Save(File, Pack, Cancel);
        Stop(children);
        try
        {
            BackendException failed = await Assert.ThrowsAsync<BackendException>(() => writing.WaitAsync(TimeSpan.FromMinutes(3), Cancel));
            Assert.True(failed.IsTransient, failed.Message);
            await Saved(backend, Cancel); // by a connection of its own: sshd itself listens
        }
        finally
        {
            foreach (int child in children)
                Signals.TrySend(child, Signals.Kill);
        }

        Assert.Equal(Pack.Length, await backend.Size(File, Cancel));
    }

    [Fact]
    public async Task An_ssh_that_says_nothing_at_all_is_given_up()
    {
        using var place = new Place();
        Script.Write(place["ssh"], "exec sleep 600");
        await using var backend = new SftpBackend("sftp:there", new ChildCommand(place["ssh"], []), "/") { Limit = Short };
        for (int again = 0; again < 2; again++)
            Assert.True((await Assert.ThrowsAsync<BackendException>(() => backend.Size(StoredFile.Config, Cancel).WaitAsync(TimeSpan.FromMinutes(2), Cancel))).IsTransient);
    }

    [Fact]
    public async Task A_rest_server_that_is_stopped_in_the_middle_fails_in_time_and_goes_on_when_it_runs_again()
    {
        using var place = new Place();
        using Server server = await Server.Rest(place);
        await using var backend = new RestBackend(new Uri($"http://127.0.0.1:{server.Port}/me/"), null) { Limit = Short };
        await backend.Create(Cancel);
        Signals.Send(server.ProcessId, Signals.Stop);
        foreach (Func<Task> request in (Func<Task>[])[() => backend.Save(File, Pack, Cancel), () => backend.Size(File, Cancel), () => backend.List(StoredFileType.Snapshot, Cancel)])
            Assert.True((await Assert.ThrowsAsync<BackendException>(() => request().WaitAsync(TimeSpan.FromMinutes(3), Cancel))).IsTransient);
        Signals.Send(server.ProcessId, Signals.Continue);
        await Saved(backend, Cancel);
    }

    [Fact]
    public async Task An_S3_store_that_takes_connections_and_says_nothing_fails_in_time()
    {
        using var silent = new TcpListener(IPAddress.Loopback, 0);
        silent.Start();
        await using var backend = new S3Backend(S3Address.Parse($"http://127.0.0.1:{((IPEndPoint)silent.LocalEndpoint).Port}/bucket"), new S3Credentials("key", "secret")) { Limit = Short };
        foreach (Func<Task> request in (Func<Task>[])[() => backend.Save(File, Pack, Cancel), () => backend.LoadRange(File, 0, new byte[10], Cancel), () => backend.List(StoredFileType.Pack, Cancel)])
            Assert.True((await Assert.ThrowsAsync<BackendException>(() => request().WaitAsync(TimeSpan.FromMinutes(3), Cancel))).IsTransient);
    }

    // rest-server looks at the bytes too.
    private static StoredFile File { get; } = new(StoredFileType.Pack, Codecs.Checksum.Of(Pack).ToString());

    // A machine with much else to do may be slower than the limit.
    private static async Task Saved(IBackend backend, CancellationToken cancel)
    {
        await new RetryingBackend(backend, TimeProvider.System).Save(File, Pack, cancel);
    }

    private static void Stop(int[] processes)
    {
        Assert.NotEmpty(processes);
        foreach (int process in processes)
            Signals.Send(process, Signals.Stop);
    }
}

/// <summary>A real sshd on the loopback, for root by a key. It serves files itself: no shell of root's, whose start-up files may do anything, comes between.</summary>
internal sealed class SshServer : IDisposable
{
    private readonly Process sshd;

    public SshServer(Place place)
    {
        int port = Server.FreePort();
        Judges.Judge.OnPath("ssh-keygen").Run("-q", "-t", "ed25519", "-N", "", "-f", place["host key"]);
        Judges.Judge.OnPath("ssh-keygen").Run("-q", "-t", "ed25519", "-N", "", "-f", place["key"]);
        File.Copy(place["key.pub"], place["authorized"]);
        Directory.CreateDirectory("/run/sshd");
        File.WriteAllText(place["sshd_config"], $"""
            Port {port}
            ListenAddress 127.0.0.1
            HostKey "{place["host key"]}"
            AuthorizedKeysFile {place["authorized"]}
            PidFile none
            StrictModes no
            UsePAM no
            PermitRootLogin yes
            Subsystem sftp internal-sftp
            """);
        sshd = Server.Start("/usr/sbin/sshd", ["-D", "-e", "-f", place["sshd_config"]]);
        Words = ["ssh", "-p", $"{port}", "-i", place["key"], "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"];
        for (int n = 0; n < 600 && !Answers(port); n++)
            Thread.Sleep(100);
    }

    public IReadOnlyList<string> Words { get; }

    /// <summary>The processes that serve connections: all that sshd started, and what those started.</summary>
    public int[] Session()
    {
        (int Process, int Parent)[] all = [.. Directory.GetDirectories("/proc").Select(ParentOf).Where(static each => each.Process > 0)];
        var found = new HashSet<int>();
        for (int[] next = [sshd.Id]; next.Length > 0; found.UnionWith(next))
            next = [.. all.Where(each => next.Contains(each.Parent)).Select(static each => each.Process)];
        return [.. found];
    }

    public void Dispose()
    {
        sshd.Kill(entireProcessTree: true);
        sshd.WaitForExit();
        sshd.Dispose();
    }

    private static (int Process, int Parent) ParentOf(string directory)
    {
        try
        {
            string stat = File.ReadAllText($"{directory}/stat");
            string[] rest = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            return (int.Parse(stat[..stat.IndexOf(' ', StringComparison.Ordinal)], CultureInfo.InvariantCulture), int.Parse(rest[1], CultureInfo.InvariantCulture));
        }
        catch (Exception other) when (other is IOException or UnauthorizedAccessException)
        {
            return default; // no process, or none any more
        }
    }

    private static bool Answers(int port)
    {
        try
        {
            using var client = new TcpClient();
            client.Connect(IPAddress.Loopback, port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
