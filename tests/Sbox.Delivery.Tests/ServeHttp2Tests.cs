using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;

namespace Sbox.Delivery.Tests;

/// <summary>Our own server by HTTP/2: with TLS as ostree agrees on it, and without for whoever begins with it.</summary>
public sealed class ServeHttp2Tests : IDisposable, IProgress<ServedRequest>
{
    private readonly Workshop shop = new();
    private readonly ConcurrentQueue<ServedRequest> requests = [];
    private readonly Checksum commit;

    public ServeHttp2Tests()
    {
        Directory.CreateDirectory(shop["tree/usr/many"]);
        for (int n = 0; n < 300; n++)
            File.WriteAllBytes(shop[$"tree/usr/many/{n}"], Workshop.Noise(n, 3000));
        commit = shop.Commit();
        shop.Publish().GetAwaiter().GetResult();
        PrivateAuthority.Make(shop.Root);
    }

    void IProgress<ServedRequest>.Report(ServedRequest value) => requests.Enqueue(value);

    public void Dispose() => shop.Dispose();

    [Fact]
    public async Task Without_TLS_one_port_answers_both_and_ranges_and_what_is_known_are_as_with_HTTP_1_1()
    {
        using var http2 = new HttpClient { BaseAddress = new Uri(shop.Serve(requests: this) + "/"), DefaultRequestVersion = HttpVersion.Version20, DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact };
        using var http1 = new HttpClient { BaseAddress = http2.BaseAddress };
        byte[] whole = File.ReadAllBytes(shop["www/summary"]);
        Assert.Equal(whole, await http1.GetByteArrayAsync("summary", TestContext.Current.CancellationToken));
        using HttpResponseMessage all = await http2.GetAsync("summary", TestContext.Current.CancellationToken);
        Assert.Equal(HttpVersion.Version20, all.Version);
        Assert.Equal(whole, await all.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken));

        http2.DefaultRequestHeaders.Range = new RangeHeaderValue(3, 9);
        using HttpResponseMessage part = await http2.GetAsync("summary", TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.PartialContent, part.StatusCode);
        Assert.Equal(whole[3..10], await part.Content.ReadAsByteArrayAsync(TestContext.Current.CancellationToken));
        http2.DefaultRequestHeaders.Range = new RangeHeaderValue(whole.Length, null);
        using HttpResponseMessage beyond = await http2.GetAsync("summary", TestContext.Current.CancellationToken);
        Assert.Equal((HttpStatusCode.RequestedRangeNotSatisfiable, whole.Length), (beyond.StatusCode, beyond.Content.Headers.ContentRange!.Length));
        http2.DefaultRequestHeaders.Range = null;
        http2.DefaultRequestHeaders.IfNoneMatch.Add(all.Headers.ETag!);
        using HttpResponseMessage known = await http2.GetAsync("summary", TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.NotModified, known.StatusCode);
        using HttpResponseMessage none = await http2.GetAsync("secret", TestContext.Current.CancellationToken);
        Assert.Equal(HttpStatusCode.NotFound, none.StatusCode);
        Assert.True(SpinWait.SpinUntil(() => requests.Count == 6, TimeSpan.FromMinutes(1))); // each is told of after its answer
        Assert.Equal(["HTTP/1.1", "HTTP/2", "HTTP/2", "HTTP/2", "HTTP/2", "HTTP/2"], requests.Select(static each => each.Protocol).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task What_it_begins_with_may_come_in_pieces()
    {
        using var server = new RunningServer(shop["www"]);
        using var socket = new TcpClient { NoDelay = true };
        await socket.ConnectAsync(IPAddress.Loopback, server.Port, TestContext.Current.CancellationToken);
        await using NetworkStream stream = socket.GetStream();
        byte[] preface = [.. "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"u8, 0, 0, 0, 4, 0, 0, 0, 0, 0]; // and settings: none
        foreach (byte[] piece in (byte[][])[preface[..1], preface[1..2], preface[2..20], preface[20..]])
        {
            await stream.WriteAsync(piece, TestContext.Current.CancellationToken);
            await Task.Delay(20, TestContext.Current.CancellationToken);
        }

        byte[] frame = new byte[9];
        await stream.ReadExactlyAsync(frame, TestContext.Current.CancellationToken);
        Assert.Equal(4, frame[3]); // its settings: RFC 9113, section 6.5
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_pull_of_ours_takes_all_by_it(bool encrypted)
    {
        string url = encrypted ? Encrypted() : shop.Serve(requests: this);
        using (Repository reader = Repository.Create(shop["reader"], RepositoryMode.BareUser))
            File.AppendAllText(shop["reader/config"], $"\n[remote \"origin\"]\nurl={url}\ngpg-verify=false\n{(encrypted ? $"tls-ca-path={shop["ca.pem"]}" : "sbox-http2-cleartext=true")}\n");
        using (Repository reader = Repository.Open(shop["reader"]))
            await reader.Pull(new PullOptions { Remote = "origin", Refs = [Workshop.Branch], Deltas = DeltaUse.Never }, null, TestContext.Current.CancellationToken);
        Assert.Contains("no errors found", Judge.HostOstree.Run("fsck", $"--repo={shop["reader"]}"), StringComparison.Ordinal);
        AssertAllByHttp2();
    }

    [Fact]
    public void Ostree_itself_takes_all_by_it_over_TLS()
    {
        string reader = shop.NewReader(Encrypted(), "reader");
        File.AppendAllText(Path.Combine(reader, "config"), $"tls-ca-path={shop["ca.pem"]}\n");
        Assert.Equal(commit, Workshop.Pull(reader, "--disable-static-deltas"));
        AssertAllByHttp2();
    }

    [Fact]
    public void With_TLS_nothing_is_said_without()
    {
        var plain = new UriBuilder(Encrypted()) { Scheme = "http" };
        using var client = new HttpClient();
        Assert.Throws<AggregateException>(() => client.GetStringAsync(new Uri(plain.Uri, "config"), TestContext.Current.CancellationToken).Wait(TestContext.Current.CancellationToken));
        Assert.Empty(requests);
    }

    [Fact]
    public async Task Whoever_speaks_no_TLS_keeps_no_place()
    {
        var options = new ServeOptions { Connections = 1, Patience = TimeSpan.FromSeconds(2), Certificates = [X509Certificate2.CreateFromPemFile(shop["server.pem"], shop["server.key"])] };
        using (var encrypted = new RunningServer(shop["www"], this, options))
        {
            for (int n = 0; n < 3; n++)
            {
                using var socket = new TcpClient();
                await socket.ConnectAsync(IPAddress.Loopback, encrypted.Port, TestContext.Current.CancellationToken);
                await socket.GetStream().WriteAsync("GET /config HTTP/1.1\r\n\r\n"u8.ToArray(), TestContext.Current.CancellationToken);
            }

            string reader = shop.NewReader(encrypted.Url, "reader");
            File.AppendAllText(Path.Combine(reader, "config"), $"tls-ca-path={shop["ca.pem"]}\n");
            Assert.Equal(commit, Workshop.Pull(reader, "--disable-static-deltas", "--http-header=Connection=close"));
        }
    }

    [Fact]
    public async Task Whoever_does_not_take_the_end_of_an_answer_keeps_no_place()
    {
        // Somewhere between these sizes the kernel has no room for the end, and nothing but closing the connection waits for it.
        File.WriteAllBytes(shop["www/summary.idx"], Workshop.Noise(1, 8 << 20));
        using var server = new RunningServer(shop["www"], this, new ServeOptions { Connections = 1, Patience = TimeSpan.FromSeconds(1) });
        using var client = new HttpClient { Timeout = TimeSpan.FromMinutes(1) };
        client.DefaultRequestHeaders.ConnectionClose = true;
        var silent = new List<TcpClient>();
        try
        {
            for (int bytes = 64 << 10; bytes <= 8 << 20; bytes *= 2)
            {
                var takesNothing = new TcpClient { ReceiveBufferSize = 4096 };
                silent.Add(takesNothing);
                await takesNothing.ConnectAsync(IPAddress.Loopback, server.Port, TestContext.Current.CancellationToken);
                await takesNothing.GetStream().WriteAsync(System.Text.Encoding.ASCII.GetBytes($"GET /summary.idx HTTP/1.1\r\nHost: x\r\nRange: bytes=0-{bytes - 1}\r\nConnection: close\r\n\r\n"), TestContext.Current.CancellationToken);
                Assert.NotEmpty(await client.GetByteArrayAsync(new Uri($"{server.Url}/config"), TestContext.Current.CancellationToken));
            }
        }
        finally
        {
            silent.ForEach(static each => each.Dispose());
        }
    }

    private string Encrypted() => shop.Serve(requests: this, options: new ServeOptions { Certificates = [X509Certificate2.CreateFromPemFile(shop["server.pem"], shop["server.key"])] });

    private void AssertAllByHttp2()
    {
        Assert.InRange(requests.Count, 300, 1000);
        Assert.All(requests, static each => Assert.Equal("HTTP/2", each.Protocol));
    }
}
