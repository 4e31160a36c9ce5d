using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;

namespace Sbox.Delivery.Tests;

/// <summary>A pull that speaks HTTP/2 with nginx, which says in its log what was spoken.</summary>
public sealed class Http2Tests : IDisposable
{
    private const int Files = 700, PerConnection = 300; // a server lets a connection have so many requests, and then ends it while others are under way
    private readonly Workshop shop = new();
    private readonly Checksum commit;

    public Http2Tests()
    {
        Directory.CreateDirectory(shop["tree/usr/many"]);
        for (int n = 0; n < Files; n++)
            File.WriteAllBytes(shop[$"tree/usr/many/{n}"], Workshop.Noise(n, 3000));
        commit = shop.Commit();
        Directory.CreateSymbolicLink(shop["www"], shop["repo"]); // as it is: neither a summary nor deltas
        PrivateAuthority.Make(shop.Root);
    }

    public void Dispose() => shop.Dispose();

    [Fact, Trait("Category", "Slow")]
    public async Task Over_TLS_one_connection_after_the_other_carries_many_requests_at_once()
    {
        using var nginx = new Nginx(shop.Root, "ssl http2", Tls + $"keepalive_requests {PerConnection};");
        await Pull(nginx, Https(nginx));
        Nginx.Request[] requests = nginx.Requests;
        Assert.True(requests.Length > Files, $"{requests.Length} requests");
        Assert.All(requests, static each => Assert.Equal("HTTP/2.0", each.Protocol));
        // Where nginx ends a connection that many wait for, two may take its place.
        Assert.InRange(requests.DistinctBy(static each => each.Connection).Count(), 1 + (Files / PerConnection), 3 + (2 * Files / PerConnection));
        Assert.DoesNotContain(requests, static each => each.Status is not (200 or 404));
        Assert.Equal(requests.Length, requests.DistinctBy(static each => each.Path).Count()); // also of what was under way when a connection ended, nothing came twice
    }

    [Fact, Trait("Category", "Slow")]
    public async Task A_remote_that_wants_none_has_many_connections_of_HTTP_1_1()
    {
        using var nginx = new Nginx(shop.Root, "ssl http2", Tls);
        await Pull(nginx, Https(nginx), "http2=false");
        Assert.All(nginx.Requests, static each => Assert.Equal("HTTP/1.1", each.Protocol));
        Assert.InRange(nginx.Requests.DistinctBy(static each => each.Connection).Count(), 4, 200);
    }

    [Fact, Trait("Category", "Slow")]
    public async Task Without_TLS_it_is_spoken_where_the_remote_says_that_its_server_knows_it()
    {
        using var nginx = new Nginx(shop.Root, "http2");
        await Pull(nginx, nginx.Url, "sbox-http2-cleartext=true");
        Assert.All(nginx.Requests, static each => Assert.Equal("HTTP/2.0", each.Protocol));
        Assert.InRange(nginx.Requests.DistinctBy(static each => each.Connection).Count(), 1, 4);
    }

    [Fact, Trait("Category", "Slow")]
    public async Task A_server_that_does_not_know_what_the_remote_says_it_does_is_told_apart_from_a_broken_one()
    {
        using var nginx = new Nginx(shop.Root);
        PullException failure = await Assert.ThrowsAsync<PullException>(() => Pull(nginx, nginx.Url, "sbox-http2-cleartext=true"));
        Assert.Contains("sbox-http2-cleartext of [remote \"origin\"]", failure.Message, StringComparison.Ordinal);
    }

    private string Tls => $"ssl_certificate {shop["server.pem"]}; ssl_certificate_key {shop["server.key"]};";

    private string Https(Nginx nginx) => $"https://localhost:{nginx.Port}";

    private async Task Pull(Nginx nginx, string url, string setting = "")
    {
        using (Repository reader = Repository.Create(shop["reader"], RepositoryMode.BareUser))
        {
            File.AppendAllText(shop["reader/config"], $"\n[remote \"origin\"]\nurl={url}\ngpg-verify=false\ntls-ca-path={shop["ca.pem"]}\n{setting}\n");
        }

        using (Repository reader = Repository.Open(shop["reader"]))
            await reader.Pull(new PullOptions { Remote = "origin", Refs = [Workshop.Branch] }, null, TestContext.Current.CancellationToken);
        nginx.Dispose();
        Assert.Contains("no errors found", Judge.HostOstree.Run("fsck", $"--repo={shop["reader"]}"), StringComparison.Ordinal);
        Assert.Equal($"{commit}", Judge.HostOstree.Run("rev-parse", $"--repo={shop["reader"]}", $"origin:{Workshop.Branch}").Trim());
    }
}
