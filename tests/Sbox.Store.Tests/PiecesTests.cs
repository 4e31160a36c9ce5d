using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;
using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Store.Tests;

/// <summary>A large file over slow connections: in pieces, side by side, each byte once, whatever breaks.</summary>
public sealed class PiecesTests : IDisposable
{
    private const int Size = 6 << 20, PerSecond = 600_000, OnItsWay = 128 * 1024;
    private readonly Scratch scratch = new();
    private readonly Checksum commit;
    private readonly string large;

    public PiecesTests()
    {
        Directory.CreateDirectory(scratch["tree/usr"]);
        var noise = new byte[Size];
        new Random(7).NextBytes(noise);
        File.WriteAllBytes(scratch["tree/usr/large"], noise);
        for (int n = 0; n < 30; n++)
            File.WriteAllText(scratch[$"tree/usr/{n}"], $"{n}");
        using Repository source = Repository.Create(scratch["source"], RepositoryMode.Archive);
        commit = source.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"], Timestamp = DateTimeOffset.UnixEpoch });
        large = Directory.EnumerateFiles(scratch["source/objects"], "*.filez", SearchOption.AllDirectories).MaxBy(static file => new FileInfo(file).Length)![(scratch["source"].Length + 1)..];
    }

    public void Dispose() => scratch.Dispose();

    [Fact]
    public async Task What_takes_long_over_one_connection_comes_over_many_and_no_byte_twice()
    {
        using var server = new RangeServer(scratch["source"]) { PerSecond = PerSecond };
        await Pull(server);
        RangeServer.Sent[] sent = server.Of(large);
        Assert.InRange(sent.Length, 4, 40);
        Assert.True(server.MostAtOnce > 3, $"{server.MostAtOnce} at once");
        Assert.InRange(sent.Sum(static each => each.Bytes), Size, Size + (sent.Length * OnItsWay)); // of one that is divided
    }

    [Fact]
    public async Task Pieces_that_break_are_asked_for_again_from_where_they_broke()
    {
        var random = new Random(11);
        int cuts = 0;
        using var server = new RangeServer(scratch["source"])
        {
            PerSecond = PerSecond,
            Cut = (path, length) =>
            {
                lock (random)
                    return path == large && length > 1000 && ++cuts <= 12 ? random.Next(length) : null;
            },
        };
        await Pull(server);
        RangeServer.Sent[] sent = server.Of(large);
        Assert.InRange(sent.Length, 13, 200);
        Assert.InRange(sent.Sum(static each => each.Bytes), Size, Size + (sent.Length * OnItsWay));
    }

    [Fact]
    public async Task A_file_that_becomes_another_one_meanwhile_is_fetched_anew()
    {
        byte[] other = File.ReadAllBytes(Path.Combine(scratch["source"], large));
        other.AsSpan(100_000).Clear();
        int asked = 0;
        using var server = new RangeServer(scratch["source"])
        {
            PerSecond = PerSecond,
            Instead = path => path == large && Interlocked.Increment(ref asked) == 1 ? other : null,
        };
        await Pull(server);
        Assert.Contains(server.Of(large), static each => each is { From: 0, Bytes: >= Size });
    }

    [Fact]
    public async Task A_server_that_gives_no_parts_is_asked_once()
    {
        using var server = new RangeServer(scratch["source"]) { PerSecond = 3_000_000, GivesParts = false };
        await Pull(server);
        Assert.Single(server.Of(large));
    }

    [Fact]
    public async Task A_server_that_says_no_more_of_a_part_than_it_must_gives_parts()
    {
        using var server = new RangeServer(scratch["source"]) { PerSecond = PerSecond, Answer = static (from, to, _) => (206, $"bytes {from}-{to}/*", null), TagsParts = false };
        await Pull(server);
        Assert.InRange(server.Of(large).Length, 4, 40);
    }

    [Fact]
    public async Task A_server_that_never_gives_the_rest_is_given_up()
    {
        int cuts = 0;
        using var server = new RangeServer(scratch["source"])
        {
            PerSecond = 3_000_000,
            Cut = (path, length) => path == large && Interlocked.Increment(ref cuts) > 0 ? Math.Min(length, 1 << 20) : null,
            Answer = static (from, to, total) => (206, $"bytes {from + 1}-{to + 1}/{total}", null),
        };
        await Assert.ThrowsAsync<PullException>(() => Pull(server, retries: 2));
        Assert.InRange(cuts, 3, 30);
    }

    [Fact]
    public async Task A_server_that_bears_few_requests_is_not_asked_again_and_again()
    {
        int refused = 0;
        using var server = new RangeServer(scratch["source"]) { PerSecond = PerSecond, Answer = (from, to, total) => Interlocked.Increment(ref refused) % 2 == 0 ? (429, null, 0) : (206, $"bytes {from}-{to}/{total}", null) };
        await Pull(server);
        Assert.InRange(refused, 2, 40);
    }

    [Fact]
    public async Task Wrong_answers_to_requests_for_parts_do_no_harm()
    {
        int asked = 0;
        using var server = new RangeServer(scratch["source"])
        {
            PerSecond = PerSecond,
            // Another place than was asked for, another total, an error, and a part that is too short by its own word.
            Answer = (from, to, total) => (Interlocked.Increment(ref asked) % 5) switch
            {
                1 => (206, $"bytes {from + 1}-{to + 1}/{total}", null),
                2 => (206, $"bytes {from}-{to}/{total + 1}", null),
                3 => (503, null, 0),
                4 => (206, $"bytes {from}-{(from + to) / 2}/{total}", (int)(((from + to) / 2) - from + 1)),
                _ => (206, $"bytes {from}-{to}/{total}", null),
            },
        };
        await Pull(server);
        Assert.InRange(asked, 5, 40);
    }

    [Fact]
    public async Task Where_there_are_mirrors_too_what_came_of_it_is_not_thrown_away_for_a_moment_without_a_line()
    {
        int asked = 0;
        int? Cut(string path, int length) => path != large ? null : Interlocked.Increment(ref asked) switch { 1 => Size / 2, < 6 => 0, _ => null };
        using RangeServer one = new(scratch["source"]) { Cut = Cut }, other = new(scratch["source"]) { Cut = Cut };
        File.WriteAllText(scratch["source/list"], $"{one.Url}\n{other.Url}\n");
        await Pull(one, url: $"mirrorlist={one.Url}/list");
        Assert.InRange(one.Of(large).Concat(other.Of(large)).Sum(static each => each.Bytes), Size, Size + (asked * OnItsWay));
        Assert.True(asked * OnItsWay < Size / 2);
    }

    private async Task Pull(RangeServer server, int retries = 8, string? url = null)
    {
        using Repository target = Repository.Create(scratch["target"], RepositoryMode.Bare);
        await target.Pull(new PullOptions { Url = url ?? server.Url, Refs = ["main"], Retries = retries }, null, TestContext.Current.CancellationToken).WaitAsync(TimeSpan.FromMinutes(3), TestContext.Current.CancellationToken);
        Judge.Ostree.Run("fsck", "-q", $"--repo={scratch["target"]}");
        Assert.Equal($"{commit}", Judge.Ostree.Run("rev-parse", $"--repo={scratch["target"]}", "main").Trim());
    }
}

/// <summary>Serves a directory with ETags and ranges, at so many bytes a second for each connection, and can be told to misbehave.</summary>
internal sealed partial class RangeServer : IDisposable
{
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly ConcurrentQueue<(string Path, Sent Sent)> log = new();
    private readonly string root;
    private int under;
    private long bytes;

    public RangeServer(string root)
    {
        this.root = root;
        listener.Start();
        _ = Accept();
    }

    public string Url => $"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}";

    public int PerSecond { get; init; } = int.MaxValue;

    public bool GivesParts { get; init; } = true;

    /// <summary>Whether a part has its file's tag.</summary>
    public bool TagsParts { get; init; } = true;

    /// <summary>After how many bytes of an answer the connection is cut.</summary>
    public Func<string, int, int?> Cut { get; init; } = static (_, _) => null;

    /// <summary>Other bytes in a file's place, with another ETag.</summary>
    public Func<string, byte[]?> Instead { get; init; } = static _ => null;

    /// <summary>Status, Content-Range and length of an answer to a request for a part.</summary>
    public Func<long, long, long, (int Status, string? Range, int? Length)> Answer { get; init; } = static (from, to, total) => (206, $"bytes {from}-{to}/{total}", null);

    /// <summary>How many large answers were under way at once.</summary>
    public int MostAtOnce { get; private set; }

    /// <summary>Bytes of files that went out so far.</summary>
    public long Bytes => Interlocked.Read(ref bytes);

    /// <summary>What was sent of a file, request by request.</summary>
    public Sent[] Of(string path) => [.. log.Where(each => each.Path == path).Select(static each => each.Sent)];

    public void Dispose() => listener.Stop();

    private async Task Accept()
    {
        try
        {
            while (true)
                _ = Serve(await listener.AcceptTcpClientAsync());
        }
        catch (Exception over) when (over is SocketException or ObjectDisposedException)
        {
            return;
        }
    }

    private async Task Serve(TcpClient client)
    {
        try
        {
            using (client)
            {
                client.SendBufferSize = 32 * 1024; // what is on its way counts as sent
                NetworkStream stream = client.GetStream();
                using var reader = new StreamReader(stream, Encoding.ASCII);
                while (await reader.ReadLineAsync() is { Length: > 0 } request)
                {
                    var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
                    while (await reader.ReadLineAsync() is { Length: > 0 } line)
                        headers[line.Split(':')[0]] = line[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].Trim();
                    if (!await Reply(stream, request.Split(' ')[1].TrimStart('/'), headers))
                        return;
                }
            }
        }
        catch (IOException)
        {
            return; // hung up
        }
    }

    private async Task<bool> Reply(NetworkStream stream, string path, Dictionary<string, string> headers)
    {
        string file = Path.Combine(root, path);
        if (!File.Exists(file))
        {
            await stream.WriteAsync("HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n"u8.ToArray());
            return true;
        }

        byte[]? instead = Instead(path);
        byte[] content = instead ?? await File.ReadAllBytesAsync(file);
        string tag = instead is null ? "\"right\"" : "\"other\"";
        (int status, long from, long to, string more, int? length) = (200, 0L, content.Length - 1L, GivesParts ? "Accept-Ranges: bytes\r\n" : "", null);
        if (GivesParts && headers.TryGetValue("Range", out string? range) && headers.GetValueOrDefault("If-Range") == tag && Asked().Match(range) is { Success: true } match)
        {
            from = long.Parse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture);
            to = match.Groups[2].Length > 0 ? long.Parse(match.Groups[2].ValueSpan, CultureInfo.InvariantCulture) : to;
            (status, string? said, length) = Answer(from, to, content.Length);
            more = said is null ? "" : $"Content-Range: {said}\r\n";
        }

        int size = length ?? (int)(to - from + 1);
        await stream.WriteAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 {status} X\r\n{(status == 200 || TagsParts ? $"ETag: {tag}\r\n" : "")}{more}Content-Length: {size}\r\n\r\n"));
        return await Send(stream, path, content.AsMemory((int)from, size), from, Cut(path, size));
    }

    private async Task<bool> Send(NetworkStream stream, string path, ReadOnlyMemory<byte> body, long from, int? cut)
    {
        int isLarge = body.Length > 100_000 ? 1 : 0;
        lock (log)
            MostAtOnce = Math.Max(MostAtOnce, under += isLarge);
        int sent = 0, end = cut ?? body.Length;
        try
        {
            const int step = 16 * 1024;
            while (sent < end)
            {
                int now = Math.Min(step, end - sent);
                await stream.WriteAsync(body.Slice(sent, now));
                sent += now;
                Interlocked.Add(ref bytes, now);
                if (body.Length > step)
                    await Task.Delay(TimeSpan.FromSeconds((double)now / PerSecond));
            }
        }
        finally
        {
            lock (log)
                under -= isLarge;
            log.Enqueue((path, new Sent(from, sent)));
        }

        return cut is null;
    }

    [GeneratedRegex(@"^bytes=(\d+)-(\d*)$")]
    private static partial Regex Asked();

    /// <summary>Bytes of a file that went out for one request.</summary>
    internal sealed record Sent(long From, long Bytes);
}
