using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Text;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;

namespace Sbox.Delivery.Tests;

/// <summary>Our own server, asked by curl's and .NET's clients, by real ostree, and by those who mean no good.</summary>
public sealed class ServeTests
{
    [Fact]
    public async Task Ranges_and_conditional_requests_are_answered_as_RFC_9110_has_them()
    {
        using var shop = await Published();
        using var client = new HttpClient { BaseAddress = new Uri(shop.Serve() + "/") };
        byte[] whole = File.ReadAllBytes(shop["www/summary"]);
        using HttpResponseMessage all = await client.GetAsync("summary");
        Assert.Equal(whole, await all.Content.ReadAsByteArrayAsync());
        Assert.Equal("no-cache", $"{all.Headers.CacheControl}");
        Assert.NotNull(all.Headers.Date);

        foreach ((RangeHeaderValue asked, Range stretch) in ((RangeHeaderValue, Range)[])[(new(3, 9), 3..10), (new(5, null), 5..), (new(null, 4), ^4..), (new(0, 999_999), ..)])
        {
            using HttpResponseMessage part = await client.SendAsync(Get("summary", request => request.Headers.Range = asked));
            Assert.Equal(HttpStatusCode.PartialContent, part.StatusCode);
            Assert.Equal(whole[stretch], await part.Content.ReadAsByteArrayAsync());
            Assert.Equal(whole.Length, part.Content.Headers.ContentRange!.Length);
        }

        using HttpResponseMessage beyond = await client.SendAsync(Get("summary", request => request.Headers.Range = new RangeHeaderValue(whole.Length, null)));
        Assert.Equal((HttpStatusCode.RequestedRangeNotSatisfiable, whole.Length), (beyond.StatusCode, beyond.Content.Headers.ContentRange!.Length));
        using HttpResponseMessage known = await client.SendAsync(Get("summary", request => request.Headers.IfNoneMatch.Add(all.Headers.ETag!)));
        Assert.Equal(HttpStatusCode.NotModified, known.StatusCode);
        using HttpResponseMessage unchanged = await client.SendAsync(Get("summary", request => request.Headers.IfModifiedSince = all.Content.Headers.LastModified));
        Assert.Equal(HttpStatusCode.NotModified, unchanged.StatusCode);
        using HttpResponseMessage other = await client.SendAsync(Get("summary", request =>
        {
            request.Headers.Range = new RangeHeaderValue(3, 9);
            request.Headers.IfRange = new RangeConditionHeaderValue(new EntityTagHeaderValue("\"another\""));
        }));
        Assert.Equal((HttpStatusCode.OK, whole.Length), (other.StatusCode, (await other.Content.ReadAsByteArrayAsync()).Length));
    }

    [Fact]
    public async Task A_file_that_was_replaced_has_another_tag_and_objects_are_kept_for_a_year()
    {
        using var shop = await Published();
        using var client = new HttpClient { BaseAddress = new Uri(shop.Serve() + "/") };
        using HttpResponseMessage before = await client.GetAsync("summary");
        shop.Commit();
        await shop.Publish();
        using HttpResponseMessage after = await client.SendAsync(Get("summary", request => request.Headers.IfNoneMatch.Add(before.Headers.ETag!)));
        Assert.Equal(HttpStatusCode.OK, after.StatusCode);
        string commit = Directory.GetFiles(shop["www/objects"], "*.commit", SearchOption.AllDirectories)[0];
        using HttpResponseMessage immutable = await client.GetAsync(Path.GetRelativePath(shop["www"], commit));
        Assert.Contains("immutable", $"{immutable.Headers.CacheControl}", StringComparison.Ordinal);
    }

    [Fact]
    public async Task One_connection_carries_many_requests_and_several_at_once_are_answered_in_order()
    {
        using var shop = await Published();
        using var server = new RunningServer(shop["www"]);
        using var socket = new TcpClient();
        await socket.ConnectAsync(IPAddress.Loopback, server.Port);
        await using NetworkStream stream = socket.GetStream();
        await stream.WriteAsync("GET /config HTTP/1.1\r\nHost: x\r\n\r\nHEAD /summary HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\nGET /config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"u8.ToArray());
        using var reader = new StreamReader(stream);
        string[] statuses = [.. (await reader.ReadToEndAsync()).Split("\r\n").Where(static line => line.StartsWith("HTTP/1.1 ", StringComparison.Ordinal) || line.Contains("\nHTTP/1.1 ", StringComparison.Ordinal)).Select(static line => line[(line.LastIndexOf("HTTP/1.1 ", StringComparison.Ordinal) + 9)..])];
        Assert.Equal(["200 OK", "200 OK", "404 Not Found", "200 OK"], statuses);
    }

    [Theory]
    [InlineData("GET /../../etc/passwd HTTP/1.1")]
    [InlineData("GET /objects/../../secret HTTP/1.1")]
    [InlineData("GET /objects/%2e%2e/%2e%2e/secret HTTP/1.1")]
    [InlineData("GET /secret HTTP/1.1")]
    [InlineData("GET /objects/link HTTP/1.1")]
    [InlineData("GET /objects/outside/passwd HTTP/1.1")]
    [InlineData("GET /objects HTTP/1.1")]
    [InlineData("GET /tmp/x HTTP/1.1")]
    [InlineData("GET /.publish-lock HTTP/1.1")]
    [InlineData("GET /config%00 HTTP/1.1")]
    [InlineData("GET /config/ HTTP/1.1")]
    [InlineData("GET // HTTP/1.1")]
    public async Task Nothing_but_a_repositorys_own_files_is_given_away(string request)
    {
        using var shop = await Published();
        File.WriteAllText(shop["secret"], "secret");
        File.WriteAllText(shop["www/secret"], "secret");
        File.WriteAllText(shop["www/tmp/x"], "secret");
        File.CreateSymbolicLink(shop["www/objects/link"], shop["secret"]);
        File.CreateSymbolicLink(shop["www/objects/outside"], "/etc");
        using var server = new RunningServer(shop["www"]);
        string answer = await Ask(server, $"{request}\r\nHost: x\r\nConnection: close\r\n\r\n");
        Assert.StartsWith($"HTTP/1.1 {(request.Contains("%00", StringComparison.Ordinal) ? 400 : 404)} ", answer, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", answer, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("PUT /config HTTP/1.1\r\nHost: x\r\n\r\n", 405)]
    [InlineData("GET /config HTTP/2.0\r\nHost: x\r\n\r\n", 505)]
    [InlineData("GET /config HTTP/1.1\r\n\r\n", 400)]
    [InlineData("GET /config\r\n\r\n", 400)]
    [InlineData("GET /config HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", 413)]
    [InlineData("GET /config HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 413)]
    [InlineData("GET /config HTTP/1.1\r\nHost: x\r\n folded: line\r\n\r\n", 400)]
    [InlineData("GET /config HTTP/1.1\r\nHost: x\r\nname : value\r\n\r\n", 400)]
    [InlineData("\0\u0001\u0002\r\n\r\n", 400)]
    public async Task A_request_that_is_none_is_refused_and_the_connection_closed(string request, int status)
    {
        using var shop = await Published();
        using var server = new RunningServer(shop["www"]);
        string answer = await Ask(server, request + "GET /config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        Assert.StartsWith($"HTTP/1.1 {status} ", answer, StringComparison.Ordinal);
        Assert.Equal(1, answer.Split("HTTP/1.1 ").Length - 1);
    }

    [Fact]
    public async Task A_head_without_an_end_and_one_that_comes_byte_by_byte_are_given_up()
    {
        using var shop = await Published();
        using var server = new RunningServer(shop["www"], options: new ServeOptions { Patience = TimeSpan.FromSeconds(1), Idle = TimeSpan.FromSeconds(1) });
        Assert.StartsWith("HTTP/1.1 431 ", await Ask(server, $"GET /config HTTP/1.1\r\nHost: x\r\nX: {new string('x', 20_000)}"), StringComparison.Ordinal);

        using var slow = new TcpClient();
        await slow.ConnectAsync(IPAddress.Loopback, server.Port);
        await using NetworkStream stream = slow.GetStream();
        var clock = Stopwatch.StartNew();
        try
        {
            for (int at = 0; clock.Elapsed < TimeSpan.FromSeconds(30); at++)
            {
                await stream.WriteAsync("x"u8.ToArray());
                await Task.Delay(100);
                if (slow.Client.Poll(0, SelectMode.SelectRead) && slow.Client.Available == 0)
                    break;
            }
        }
        catch (IOException)
        {
            // hung up while it was written to: as is right
        }

        Assert.InRange(clock.Elapsed.TotalSeconds, 0.5, 20);
    }

    [Fact]
    public async Task One_that_says_nothing_is_given_up_and_its_place_is_free_again()
    {
        using var shop = await Published();
        using var server = new RunningServer(shop["www"], options: new ServeOptions { Connections = 1, Idle = TimeSpan.FromSeconds(1) });
        using var silent = new TcpClient();
        await silent.ConnectAsync(IPAddress.Loopback, server.Port);
        Assert.StartsWith("HTTP/1.1 200 OK", await Ask(server, "GET /config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task More_clients_than_it_has_room_for_wait_and_are_answered()
    {
        using var shop = await Published();
        using var server = new RunningServer(shop["www"], options: new ServeOptions { Connections = 4 });
        string[] answers = await Task.WhenAll(Enumerable.Range(0, 40).Select(_ => Ask(server, "GET /config HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")));
        Assert.All(answers, static answer => Assert.StartsWith("HTTP/1.1 200 OK", answer, StringComparison.Ordinal));
    }

    [Fact]
    public void A_repository_that_no_reader_could_take_is_not_served()
    {
        using var shop = new Workshop(RepositoryMode.Bare);
        shop.Commit();
        Assert.Throws<PlaceUnfitException>(() => new RepositoryServer(shop["repo"], new IPEndPoint(IPAddress.Loopback, 0)));
    }

    [Fact, Trait("Category", "Slow")]
    public async Task Nginx_serves_what_was_published_and_ostree_pulls_it()
    {
        using var shop = new Workshop();
        Checksum commit = shop.Commit();
        await shop.Publish();
        using var nginx = new Nginx(shop.Root);
        string reader = shop.NewReader(nginx.Url, "reader");
        Assert.Equal(commit, Workshop.Pull(reader));
        Checksum next = shop.Commit();
        await shop.Publish();
        Assert.Equal(next, Workshop.Pull(reader, "--require-static-deltas"));
    }

    private static async Task<Workshop> Published()
    {
        var shop = new Workshop();
        shop.Commit();
        await shop.Publish();
        return shop;
    }

    private static HttpRequestMessage Get(string path, Action<HttpRequestMessage> with)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, path);
        with(request);
        return request;
    }

    private static async Task<string> Ask(RunningServer server, string request)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(IPAddress.Loopback, server.Port);
        await using NetworkStream stream = socket.GetStream();
        await stream.WriteAsync(Encoding.Latin1.GetBytes(request));
        using var answer = new MemoryStream();
        try
        {
            await stream.CopyToAsync(answer);
        }
        catch (IOException)
        {
            // What it had not read when it hung up is answered by a reset, after its answer.
        }

        return Encoding.Latin1.GetString(answer.ToArray());
    }
}
