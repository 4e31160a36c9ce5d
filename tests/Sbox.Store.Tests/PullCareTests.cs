using System.Security.Cryptography;
using System.Text;
using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Store.Tests;

/// <summary>What a server says of refs, addresses and hosts is a claim: these hold what it may not bring about.</summary>
public sealed class PullCareTests
{
    private const string Collection = "org.example.Os";

    [Theory, InlineData(null), InlineData(Collection)]
    public async Task A_server_sets_no_ref_of_another_remote_and_ostree_lets_it_set_none_either(string? collection)
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, collection);
        source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["other_main"] });
        source.WriteSummary();
        Rewrite($"{source.Path}/summary", "other_main", "other:main");
        using var server = new StaticServer(source.Path);
        using Repository ours = Target(scratch, server.Url);
        await Assert.ThrowsAsync<InvalidRefException>(() => ours.Pull(new PullOptions { Remote = "origin", Mirror = true, Collection = collection, VerifyBindings = false }));
        Assert.Empty(ours.Refs());
        Assert.Empty(ours.CollectionRefs());
        Assert.Empty(ours.EnumerateObjects());
        Assert.NotEqual(0, Judge.HostOstree.Ask("pull", $"--repo={ours.Path}", "--mirror", "--disable-verify-bindings", "origin").ExitCode);
    }

    [Fact]
    public void A_ref_of_a_collection_has_no_remote_in_its_name()
    {
        using var scratch = new Scratch();
        using Repository ours = Source(scratch, Collection);
        Checksum commit = ours.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        foreach (string collection in new[] { Collection, "org.example.Other" })
            Assert.Throws<InvalidRefException>(() => ours.SetCollectionRef(new CollectionRef(collection, "other:main"), commit));
    }

    [Fact]
    public async Task A_mirror_of_a_collection_takes_no_older_commit_where_it_was_told_so()
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, Collection);
        string tree = scratch.Tree();
        Checksum commit = source.CommitDirectory(tree, new CommitOptions { Branches = ["main"], Timestamp = Scratch.Time });
        using var server = new StaticServer(source.Path);
        using Repository ours = Target(scratch, server.Url);
        var options = new PullOptions { Remote = "origin", Refs = ["main"], Mirror = true, Collection = Collection, NoOlder = true };
        await ours.Pull(options);
        var name = new CollectionRef(Collection, "main");
        Assert.Equal(commit, ours.CollectionRefs()[name]);
        source.CommitDirectory(tree, new CommitOptions { Branches = ["main"], Timestamp = Scratch.Time.AddYears(-4) });
        Assert.Contains("chronologically older", (await Assert.ThrowsAsync<PullException>(() => ours.Pull(options))).Words);
        Assert.Equal(commit, ours.CollectionRefs()[name]);
    }

    [Fact]
    public async Task Only_cookies_for_the_connection_that_have_not_ended_are_sent()
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, null);
        source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        using var server = new StaticServer(source.Path);
        using Repository ours = Target(scratch, server.Url);
        File.WriteAllText(
            $"{ours.Path}/origin.cookies.txt",
            "# mine\n127.0.0.1\tFALSE\t/\tTRUE\t9999999999\tsecure\ts\n127.0.0.1\tFALSE\t/\tFALSE\t1000\tended\te\n#HttpOnly_127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tt\n");
        ours.AddCookie("origin", "127.0.0.1", "/", "added", "a");
        await ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] });
        string sent = Assert.Single(server.Headers.Where(static line => line.StartsWith("Cookie:", StringComparison.Ordinal)).Distinct());
        Assert.Equal(["added=a", "session=t"], sent["Cookie: ".Length..].Split("; ").Order());
    }

    [Fact]
    public void A_changed_cookie_leaves_all_other_lines_as_they_are_and_the_file_is_its_owners()
    {
        using var scratch = new Scratch();
        using Repository ours = Target(scratch, "http://localhost");
        string path = $"{ours.Path}/origin.cookies.txt";
        const string others = "# mine\n.example.org\tTRUE\t/\tTRUE\t9999999999\tkept\tk\n#HttpOnly_example.org\tFALSE\t/\tTRUE\t0\talso\tx\n";
        File.WriteAllText(path, others);
        ours.AddCookie("origin", "localhost", "/", "mine", "1");
        Assert.StartsWith(others, File.ReadAllText(path), StringComparison.Ordinal);
        Assert.Equal([true, true, false], ours.Cookies("origin").Select(static each => each.Secure));
        Assert.Equal(0x180u /* 0600 */, ours.Dir.Stat("origin.cookies.txt").Permissions);
        Assert.True(ours.DeleteCookie("origin", "localhost", "/", "mine"));
        Assert.Equal(others, File.ReadAllText(path));
    }

    [Fact]
    public async Task A_password_and_own_headers_go_to_the_named_host_and_after_no_redirect_to_another()
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, null);
        Checksum commit = source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        using var other = new StaticServer(source.Path);
        using var server = new StaticServer(source.Path);
        server.Redirect = path => path.StartsWith("objects/", StringComparison.Ordinal) ? $"{other.Url}/{path}" : path == "config" ? "/./config-2" : null;
        File.Copy($"{source.Path}/config", $"{source.Path}/config-2");
        using Repository ours = Target(scratch, server.Url.Replace("//", "//alice:s3cret@", StringComparison.Ordinal));
        await ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"], Headers = [("X-Key", "k")] });
        Assert.Equal(commit, ours.Resolve("origin:main"));
        Assert.Contains("config-2", server.Requests);
        Assert.Equal(server.Requests.Count, server.Headers.Count(static line => line == "X-Key: k"));
        Assert.Equal(server.Requests.Count, server.Headers.Count(static line => line.StartsWith("Authorization: Basic", StringComparison.Ordinal)));
        Assert.NotEmpty(other.Requests);
        Assert.DoesNotContain(other.Headers, static line => line.StartsWith("X-Key", StringComparison.Ordinal) || line.StartsWith("Authorization", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_redirect_that_leads_in_a_circle_ends()
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, null);
        using var server = new StaticServer(source.Path);
        server.Redirect = static path => $"/{path}";
        using Repository ours = Target(scratch, server.Url);
        Assert.Contains("302", (await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] }))).Found);
    }

    [Theory]
    [InlineData("http://alice:s3cret@host/x", "http://host/x")]
    [InlineData("mirrorlist=http://alice:s3cret@host/x", "mirrorlist=http://host/x")]
    [InlineData("http://al%69ce:s3%20cret@HOST:81/a@b", "http://HOST:81/a@b")]
    [InlineData("http://alice:s3/cret@host/", "http://host/")]
    [InlineData("http://host/a@b", "http://host/a@b")]
    [InlineData("/srv/a@b", "/srv/a@b")]
    public void An_error_shows_no_password(string url, string shown)
    {
        var error = new PullException(url, "a", "b");
        Assert.Equal(shown, error.Url);
        Assert.StartsWith($"{shown}: ", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_list_of_mirrors_that_cannot_be_had_is_named_without_its_password()
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, null);
        using var server = new StaticServer(source.Path);
        string secret = server.Url.Replace("//", "//alice:s3cret@", StringComparison.Ordinal);
        File.WriteAllText($"{source.Path}/list", $"ftp{secret[4..]}\n");
        foreach (string url in new[] { $"mirrorlist={secret}/none", $"mirrorlist={secret}/list", $"metalink={secret}/none", $"ftp{secret[4..]}" })
        {
            using Repository ours = Repository.Create(scratch[Guid.NewGuid().ToString("N")], RepositoryMode.Archive);
            PullException failure = await Assert.ThrowsAsync<PullException>(() => ours.Pull(new PullOptions { Url = url, Refs = ["main"] }));
            Assert.DoesNotContain("s3cret", failure.ToString() + failure.Words);
        }
    }

    [Fact]
    public async Task An_address_in_a_metalink_that_is_none_is_passed_over()
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, null);
        Checksum commit = source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        source.WriteSummary();
        using var server = new StaticServer(source.Path);
        byte[] summary = File.ReadAllBytes($"{source.Path}/summary");
        string[] addresses = ["not a url/summary", "file:///etc/summary", "http://", $"{server.Url}/summary"];
        File.WriteAllText($"{source.Path}/link", $"""
            <metalink version="3.0"><files><file name="summary"><size>{summary.Length}</size>
            <verification><hash type="sha256">{Convert.ToHexStringLower(SHA256.HashData(summary))}</hash></verification>
            <resources>{string.Concat(addresses.Select(static each => $"<url protocol=\"http\">{each}</url>"))}</resources></file></files></metalink>
            """);
        using Repository ours = Target(scratch, $"metalink={server.Url}/link");
        await ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] });
        Assert.Equal(commit, ours.Resolve("origin:main"));
    }

    [Fact]
    public async Task Where_one_mirror_has_wrong_bytes_the_next_one_is_asked()
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, null);
        Checksum commit = source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        using var bad = new StaticServer(source.Path) { Misbehave = static path => path.StartsWith("objects/", StringComparison.Ordinal) && !path.EndsWith(".commitmeta", StringComparison.Ordinal) ? Fault.Corrupt : null };
        using var good = new StaticServer(source.Path);
        File.WriteAllText($"{source.Path}/list", $"{bad.Url}\n{good.Url}\n");
        using Repository ours = Target(scratch, $"mirrorlist={good.Url}/list");
        await ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] });
        Assert.Equal(commit, ours.Resolve("origin:main"));
        Assert.True(ours.Fsck().IsWhole);
    }

    [Theory, InlineData(false), InlineData(true)]
    public async Task What_lies_behind_the_end_of_an_objects_content_does_not_come_along(bool http)
    {
        using var scratch = new Scratch();
        using Repository source = Source(scratch, null);
        Checksum commit = source.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        string[] files = ["/hello", "/big", "/link", "/empty"];
        string[] paths = [.. files.Select(file => "objects/" + new ObjectName(source.Find(commit, file).Content!.Value, ObjectType.File).LoosePath(RepositoryMode.Archive))];
        foreach ((string path, int more) in paths.Zip([1, 100, 7, 1 << 20]))
        {
            using FileStream file = File.Open($"{source.Path}/{path}", FileMode.Append);
            file.Write(new byte[more]);
        }

        using var server = new StaticServer(source.Path);
        using Repository ours = Target(scratch, server.Url);
        if (http)
            await ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] });
        else
            ours.PullLocal(source, new PullLocalOptions { Untrusted = true });
        foreach (string path in paths)
            Assert.True(new FileInfo($"{ours.Path}/{path}").Length < new FileInfo($"{source.Path}/{path}").Length);
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={ours.Path}"));
    }

    private static Repository Source(Scratch scratch, string? collection)
    {
        Repository source = Repository.Create(scratch["served"], RepositoryMode.Archive);
        if (collection is not null)
            source.WriteConfig(source.Config.With("core", "collection-id", collection));
        return source;
    }

    private static Repository Target(Scratch scratch, string url)
    {
        Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Archive);
        ours.WriteConfig(ours.Config.With("remote \"origin\"", "url", url).With("remote \"origin\"", "gpg-verify", "false"));
        return ours;
    }

    private static void Rewrite(string path, string from, string to)
    {
        byte[] bytes = File.ReadAllBytes(path);
        int at = bytes.AsSpan().IndexOf(Encoding.ASCII.GetBytes(from));
        Encoding.ASCII.GetBytes(to).CopyTo(bytes, at);
        File.WriteAllBytes(path, bytes);
    }
}
