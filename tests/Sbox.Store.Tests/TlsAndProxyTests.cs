using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Sbox.Codecs;

namespace Sbox.Store.Tests;

/// <summary>What a remote's settings say of certificates and proxies is done, and nothing less.</summary>
public sealed class TlsAndProxyTests
{
    [Fact]
    public async Task A_server_that_asks_for_a_certificate_is_shown_the_remotes_and_answers_nobody_without_it()
    {
        using var scratch = new Scratch();
        using X509Certificate2 own = Certificate("server"), mine = Certificate("client"), other = Certificate("another");
        Checksum commit = Serve(scratch);
        using var server = new StaticServer(scratch["served"]) { Certificate = own, ClientThumbprint = mine.Thumbprint };
        string authority = Pem(scratch, "server", own.ExportCertificatePem());
        using (Repository without = Target(scratch, server.Url, ("tls-ca-path", authority)))
            await Refused(without, server);
        using (Repository wrong = Target(scratch, server.Url, [("tls-ca-path", authority), .. Shown(scratch, other)]))
            await Refused(wrong, server);
        using Repository ours = Target(scratch, server.Url, [("tls-ca-path", authority), .. Shown(scratch, mine)]);
        await ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] });
        Assert.Equal(commit, ours.Resolve("origin:main"));
    }

    [Fact]
    public async Task A_certificate_that_nobody_vouches_for_is_believed_only_where_the_remote_says_tls_permissive()
    {
        using var scratch = new Scratch();
        using X509Certificate2 own = Certificate("server"), other = Certificate("another");
        Checksum commit = Serve(scratch);
        using var server = new StaticServer(scratch["served"]) { Certificate = own };
        using (Repository strict = Target(scratch, server.Url))
            await Refused(strict, server);
        using (Repository wrong = Target(scratch, server.Url, ("tls-ca-path", Pem(scratch, "another", other.ExportCertificatePem()))))
            await Refused(wrong, server);
        using (Repository said = Target(scratch, server.Url, ("tls-permissive", "false")))
            await Refused(said, server);
        using Repository ours = Target(scratch, server.Url, ("tls-permissive", "true"));
        await ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] });
        Assert.Equal(commit, ours.Resolve("origin:main"));
    }

    [Fact]
    public async Task No_redirect_leads_from_tls_to_plain_http()
    {
        using var scratch = new Scratch();
        using X509Certificate2 own = Certificate("server");
        Serve(scratch);
        using var plain = new StaticServer(scratch["served"]);
        using var server = new StaticServer(scratch["served"]) { Certificate = own, Redirect = path => path.StartsWith("objects/", StringComparison.Ordinal) ? $"{plain.Url}/{path}?token=s3cret" : null };
        using Repository ours = Target(scratch, server.Url, ("tls-permissive", "true"));
        PullException failure = await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] }));
        Assert.StartsWith($"{server.Url}/objects/", failure.Url);
        Assert.Equal("status 200", failure.Expected);
        Assert.Contains($"status 302 X, which leads to {plain.Url}/objects/", failure.Found);
        Assert.DoesNotContain("s3cret", failure.Message);
        Assert.Empty(plain.Requests);
        Assert.Empty(ours.Refs());
        Judges.Judge.HostOstree.Run("fsck", $"--repo={ours.Path}");
    }

    [Fact]
    public async Task A_proxy_with_a_password_is_asked_in_place_of_the_server()
    {
        using var scratch = new Scratch();
        Checksum commit = Serve(scratch);
        using var proxy = new StaticServer(scratch["served"]) { ProxyLogin = "alice:s3 cret" };
        using (Repository stranger = Target(scratch, "http://nowhere.invalid", ("proxy", proxy.Url)))
        {
            PullException failure = await Assert.ThrowsAsync<PullException>(() => stranger.Pull(new PullOptions { Remote = "origin", Refs = ["main"], Retries = 0 }));
            Assert.Contains("407", failure.Found);
        }

        using Repository ours = Target(scratch, "http://nowhere.invalid", ("proxy", proxy.Url.Replace("//", "//alice:s3%20cret@", StringComparison.Ordinal)));
        await ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] });
        Assert.Equal(commit, ours.Resolve("origin:main"));
        Assert.All(proxy.Requests, static asked => Assert.StartsWith("http://nowhere.invalid/", asked));
        Assert.Contains("http://nowhere.invalid/config", proxy.Requests);
    }

    [Fact]
    public void A_proxy_of_the_environment_is_asked_but_not_for_hosts_that_it_leaves_out()
    {
        using var scratch = new Scratch();
        Serve(scratch);
        using var proxy = new StaticServer(scratch["served"]) { ProxyLogin = "a:b" };
        using var server = new StaticServer(scratch["served"]);
        string login = proxy.Url.Replace("//", "//a:b@", StringComparison.Ordinal);
        Pull("through", "http://nowhere.invalid", ("http_proxy", login), ("no_proxy", "127.0.0.1"));
        Assert.NotEmpty(proxy.Requests);
        Assert.Empty(server.Requests);
        int before = proxy.Requests.Count;
        Pull("past", server.Url, ("http_proxy", login), ("no_proxy", "127.0.0.1"));
        Assert.Equal(before, proxy.Requests.Count);
        Assert.NotEmpty(server.Requests);

        void Pull(string name, string url, params (string Name, string Value)[] environment)
        {
            using Repository ours = Repository.Create(scratch[name], RepositoryMode.Archive);
            using Process pull = Victim.Pull(ours, url, environment);
            pull.WaitForExit();
            Assert.True(pull.ExitCode == 0, pull.StandardError.ReadToEnd());
        }
    }

    private static async Task Refused(Repository ours, StaticServer server)
    {
        PullException failure = await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"], Retries = 0 }));
        Assert.Equal($"{server.Url}/config", failure.Url);
        Assert.Empty(server.Requests);
        Assert.Empty(ours.Refs());
    }

    private static Checksum Serve(Scratch scratch)
    {
        using Repository source = Repository.Create(scratch["served"], RepositoryMode.Archive);
        string tree = Directory.CreateDirectory(scratch["tree"]).FullName;
        File.WriteAllText($"{tree}/hello", "hello");
        return source.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
    }

    private static Repository Target(Scratch scratch, string url, params (string Key, string Value)[] settings)
    {
        Repository ours = Repository.Create(scratch[Guid.NewGuid().ToString("N")], RepositoryMode.Archive);
        KeyFile config = ours.Config.With("remote \"origin\"", "url", url).With("remote \"origin\"", "gpg-verify", "false");
        ours.WriteConfig(settings.Aggregate(config, static (all, each) => all.With("remote \"origin\"", each.Key, each.Value)));
        return ours;
    }

    private static (string Key, string Value)[] Shown(Scratch scratch, X509Certificate2 certificate)
    {
        using ECDsa key = certificate.GetECDsaPrivateKey()!;
        return
        [
            ("tls-client-cert-path", Pem(scratch, $"{certificate.Thumbprint}.crt", certificate.ExportCertificatePem())),
            ("tls-client-key-path", Pem(scratch, $"{certificate.Thumbprint}.key", key.ExportPkcs8PrivateKeyPem())),
        ];
    }

    private static string Pem(Scratch scratch, string name, string text)
    {
        File.WriteAllText(scratch[name], text);
        return scratch[name];
    }

    private static X509Certificate2 Certificate(string name)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, false, 0, critical: true));
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(30));
    }
}
