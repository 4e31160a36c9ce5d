using System.Text.Json;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>Trust as people type it: two who decide, a machine that publishes, and a box that follows them.</summary>
public sealed class TrustCommandTests : IDisposable
{
    private readonly TestBox box = new() { RealStub = true };
    private readonly TempDir temp = new();

    public TrustCommandTests()
    {
        box.Installed(box.Publish(1)).Dispose();
        foreach (string name in (string[])["alice", "bob", "press"])
            Do("keys", "create", temp.Of($"{name}.key"));
        Directory.CreateDirectory(temp.Of("stick"));
        File.AppendAllText($"{box.SysrootPath}/ostree/repo/config", $"\n[remote \"{TestBox.Remote}\"]\nurl=file://{temp.Of("www")}\ngpg-verify=false\n");
        Do(
        [
            "trust", "create", Documents, "--repository", "boxes", .. ((string[])["alice", "bob", "press"]).SelectMany(name => (string[])["--key", $"{name}={temp.Of(name)}.pub"]),
            "--document", "2:alice,bob", "--summary", "1:press", "--commits", "debian/*=2:alice,bob,press",
        ]);
        Sign("alice");
        Sign("bob");
        Do("remote", "trust", TestBox.Remote, $"{Documents}/1.toml", "--sysroot", box.SysrootPath, "--yes");
    }

    private string Documents => temp.Of("trust");

    public void Dispose()
    {
        temp.Dispose();
        box.Dispose();
    }

    [Fact]
    public void An_upgrade_takes_what_two_signed_by_the_network_or_a_stick_and_goes_on_to_the_next_document()
    {
        Checksum two = Signed(box.Publish(2), "alice", "press");
        Publish(temp.Of("www"), "press");
        Assert.Equal(("deployed", $"{two}"), Upgrade());
        JsonElement trust = Assert.Single(JsonDocument.Parse(Sbox("status", "--json", $"--sysroot={box.SysrootPath}")).RootElement.GetProperty("trust").EnumerateArray());
        Assert.Equal((TestBox.Remote, "boxes", 1), (trust.GetProperty("remote").GetString(), trust.GetProperty("repository").GetString(), trust.GetProperty("version").GetInt32()));
        Assert.Contains("Trust: origin is believed by document 1 of 'boxes' until ", Sbox("status", $"--sysroot={box.SysrootPath}"), StringComparison.Ordinal);

        // The machine's key was stolen. Two people put another in its place, sign what is newest, and a stick carries it.
        Do("keys", "create", temp.Of("press2.key"));
        Do("trust", "rotate", Documents, "press", temp.Of("press2.pub"));
        Sign("alice");
        Sign("bob");
        Checksum three = Signed(box.Publish(3), "bob", "press2");
        Publish($"usb:{temp.Of("stick")}", "press2");
        Verdict said = Ask("upgrade", "--from", temp.Of("stick"), $"--sysroot={box.SysrootPath}", $"--esp={box.EspPath}");
        Assert.Contains("Trust: document 2 of 'boxes' is believed now, after 1", said.Error, StringComparison.Ordinal);
        Assert.Equal(three, Deployed());
        Assert.Contains("\"version\":2", Sbox("remote", "show", TestBox.Remote, "--json", "--sysroot", box.SysrootPath), StringComparison.Ordinal);

        // What the thief publishes is of no use any more, and says how it stands.
        Directory.Delete(temp.Of("www"), recursive: true);
        Signed(box.Publish(4), "press");
        Publish(temp.Of("www"), "press", "--trust", Old());
        Verdict refused = Ask("upgrade", $"--sysroot={box.SysrootPath}", $"--esp={box.EspPath}", "--json");
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains("document 2 of 'boxes' asks for 1 of press; none of them signed", refused.Error, StringComparison.Ordinal);
        Assert.Equal(three, Deployed());
    }

    [Fact]
    public void An_older_version_is_refused_until_it_is_asked_for()
    {
        Checksum two = Signed(box.Publish(2), "alice", "bob"), three = Signed(box.Publish(3), "alice", "bob");
        Publish(temp.Of("www"), "press");
        Upgrade();
        using (Repository source = Repository.Open(box.Source))
            source.SetRef(TestBox.Ref, two);
        Publish(temp.Of("www"), "press");
        Verdict refused = Ask("upgrade", $"--sysroot={box.SysrootPath}", $"--esp={box.EspPath}");
        Assert.Equal((1, three), (refused.ExitCode, Deployed()));
        Assert.Contains("sbox upgrade --allow-downgrade", refused.Error, StringComparison.Ordinal);
        Assert.Equal(("deployed", $"{two}"), Upgrade("--allow-downgrade"));
    }

    [Fact]
    public void A_document_that_the_tree_brought_counts_for_the_machines_own_repository_until_one_is_kept_there()
    {
        Do("remote", "trust", TestBox.Remote, "--forget", "--sysroot", box.SysrootPath, "--yes");
        Do("store", "init", $"--repo={temp.Of("other")}", "--mode=archive");
        Do("store", "remote", "add", $"--repo={temp.Of("other")}", "origin", "http://127.0.0.1:1");
        using OstreeSysroot sysroot = box.Open();
        using var machine = new RunningBox(box, sysroot.Deployments[0]);
        string said = machine.Run($"""
            ln -s sysroot/ostree /ostree
            mkdir -p /run/upper /run/work
            mount -t overlay overlay -o lowerdir=/usr,upperdir=/run/upper,workdir=/run/work /usr
            mkdir -p /usr/lib/sbox/trust
            cp {Documents}/1.toml /usr/lib/sbox/trust/origin.toml
            sbox remote show origin --json
            sbox remote list --json --repo={temp.Of("other")}
            sbox remote trust origin {Documents}/1.toml --yes --json 2>/run/said
            sbox remote show origin --json
            """);
        JsonElement[] answers = [.. said.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => JsonDocument.Parse(line).RootElement)];
        Assert.Equal("/usr/lib/sbox/trust/origin.toml", answers[0].GetProperty("path").GetString());
        Assert.Equal(JsonValueKind.Null, answers[1].GetProperty("trust").ValueKind);
        Assert.EndsWith("/state/trust/origin.toml", answers[3].GetProperty("path").GetString(), StringComparison.Ordinal);
        Assert.True(File.Exists($"{box.SysrootPath}/ostree/repo/state/trust/origin.toml"));
    }

    [Fact]
    public void What_is_mistyped_changes_nothing_and_says_the_way_out()
    {
        Refused("there is no terminal to ask at", "trust", "sign", Documents, temp.Of("alice.key"));
        Refused("that key is none of those whose signature document 1 of 'boxes' needs", "trust", "sign", Documents, temp.Of("press.key"), "--yes");
        Refused("no Ed25519 private key", "trust", "sign", Documents, temp.Of("alice.pub"), "--yes");
        Refused("1 of nobody would have to sign summaries", "trust", "revoke", Documents, "press");
        Refused("has no key 'carol'", "trust", "revoke", Documents, "carol");
        Refused("it is the same key as alice", "trust", "rotate", Documents, "press", temp.Of("alice.pub"));
        Refused("is no length of time", "trust", "renew", Documents, "--expires", "soon");
        Refused("sbox trust rotate", "keys", "rotate", Documents);
        Refused("there is a file already", "keys", "create", temp.Of("alice.key"));
        Refused("Remote \"orgin\" not found", "remote", "trust", "orgin", $"{Documents}/1.toml", "--sysroot", box.SysrootPath, "--yes");
        Refused("there is document 1 already", "trust", "create", Documents, "--repository", "x", "--key", $"a={temp.Of("alice.pub")}", "--document", "1:a", "--summary", "1:a");
        Assert.Equal(["1.sig", "1.toml"], Directory.GetFiles(Documents).Select(Path.GetFileName).Order());
        using Linux.Dir dir = Linux.Dir.Open(temp.Path);
        Assert.Equal(0x180u /* 0600 */, dir.Stat("alice.key").Permissions);
    }

    [Fact]
    public void Two_who_sign_copies_bring_their_signatures_together_and_an_older_document_is_not_begun_with()
    {
        Do("trust", "renew", Documents, "--expires", "2y");
        Assert.Contains("document 1 asks for 2 of alice, bob: nobody signed yet; 2 missing", Ask("trust", "show", Documents).Output, StringComparison.Ordinal);
        Directory.CreateDirectory(temp.Of("bobs"));
        foreach (string file in Directory.GetFiles(Documents))
            File.Copy(file, temp.Of($"bobs/{Path.GetFileName(file)}"));
        Do("trust", "sign", temp.Of("bobs"), temp.Of("bob.key"), "--yes");
        Assert.Contains("signed by enough", Sbox("trust", "sign", Documents, temp.Of("alice.key"), "--add", temp.Of("bobs/2.sig"), "--yes"), StringComparison.Ordinal);
        Do("remote", "trust", TestBox.Remote, $"{Documents}/2.toml", "--sysroot", box.SysrootPath, "--yes");
        Refused("that is an older one", "remote", "trust", TestBox.Remote, $"{Documents}/1.toml", "--sysroot", box.SysrootPath, "--yes");
        File.WriteAllBytes($"{Documents}/2.sig", TrustDocument.ToFile([]));
        Refused("none of them signed", "remote", "trust", TestBox.Remote, $"{Documents}/2.toml", "--sysroot", box.SysrootPath, "--yes");
        Do("remote", "trust", TestBox.Remote, "--forget", "--sysroot", box.SysrootPath, "--yes");
        Assert.Contains("no trust document", Sbox("remote", "list", "--sysroot", box.SysrootPath), StringComparison.Ordinal);
    }

    [Fact]
    public void A_commit_that_is_named_needs_the_signatures_of_the_branch_that_it_is_deployed_for()
    {
        Do(
        [
            "trust", "create", temp.Of("loose"), "--repository", "loose", .. ((string[])["alice", "bob", "press"]).SelectMany(name => (string[])["--key", $"{name}={temp.Of(name)}.pub"]),
            "--document", "1:alice", "--summary", "1:press", "--commits", "debian/*=2:alice,bob,press", "--commits", "debian/try=1:press",
        ]);
        Do("trust", "sign", temp.Of("loose"), temp.Of("alice.key"), "--yes");
        Do("remote", "trust", TestBox.Remote, temp.Of("loose/1.toml"), "--sysroot", box.SysrootPath, "--yes");
        Signed(box.Publish(2), "alice", "press");
        Checksum tried = Signed(Other("debian/try", 9, $"--bind-ref={TestBox.Ref}"), "press"); // as much as that branch asks for
        PublishLoose();
        Sbox("store", "pull", $"--repo={box.SysrootPath}/ostree/repo", TestBox.Remote, "debian/try");
        Checksum before = Deployed();
        Assert.Equal(1, Upgrade());
        Assert.Equal(before, Deployed());
        Signed(tried, "alice"); // as much as the branch that is deployed asks for: nothing else was in the way
        PublishLoose();
        Assert.Equal(0, Upgrade());
        Assert.Equal(tried, Deployed());

        void PublishLoose() => Sbox("publish", "--repo", box.Source, "--to", temp.Of("www"), "--sign-from-file", temp.Of("press.key"), "--no-delta-from-nothing", "--trust", temp.Of("loose"), TestBox.Ref, "debian/try");
        int Upgrade() => Ostree("admin", "upgrade", $"--sysroot={box.SysrootPath}", $"--os={TestBox.Os}", $"--override-commit={tried}");
    }

    [Fact]
    public void A_branch_that_was_here_before_comes_no_older_by_a_switch_back_or_a_pull_until_that_is_asked_for()
    {
        string repo = $"--repo={box.SysrootPath}/ostree/repo";
        Checksum two = Signed(box.Publish(2), "alice", "bob"), three = Signed(box.Publish(3), "alice", "bob"), other = Signed(Other("debian/forky", 1), "alice", "bob");
        PublishBoth();
        Assert.Equal(("deployed", $"{three}"), Upgrade());
        Sbox("switch", "debian/forky", $"--sysroot={box.SysrootPath}", $"--esp={box.EspPath}"); // older than what is left, and nobody asks
        Assert.Equal(other, Deployed());
        using (Repository source = Repository.Open(box.Source))
            source.SetRef(TestBox.Ref, two);
        PublishBoth();
        Refused("sbox switch too", "switch", TestBox.Ref, $"--sysroot={box.SysrootPath}", $"--esp={box.EspPath}");
        Refused("sbox store pull --allow-older", "store", "pull", repo, TestBox.Remote, TestBox.Ref);
        Assert.Equal(1, Ostree("admin", "switch", $"--sysroot={box.SysrootPath}", $"--os={TestBox.Os}", TestBox.Ref));
        Assert.Equal(other, Deployed());
        Sbox("store", "pull", repo, "--allow-older", "--commit-metadata-only", TestBox.Remote, TestBox.Ref);
        Assert.Equal($"{two}", Sbox("store", "rev-parse", repo, $"{TestBox.Remote}:{TestBox.Ref}").Trim());
        Sbox("store", "refs", repo, $"--create={TestBox.Remote}:{TestBox.Ref}", "--force", $"{three}");
        Sbox("switch", "--allow-downgrade", TestBox.Ref, $"--sysroot={box.SysrootPath}", $"--esp={box.EspPath}");
        Assert.Equal(two, Deployed());

        void PublishBoth() => Sbox("publish", "--repo", box.Source, "--to", temp.Of("www"), "--sign-from-file", temp.Of("press.key"), "--deltas", "0", "--no-delta-from-nothing", "--trust", Documents);
    }

    [Fact]
    public void A_first_document_that_waits_for_signatures_stops_a_publication_only_where_it_was_asked_for()
    {
        Signed(box.Publish(2), "alice", "bob");
        string own = $"{box.Source}/trust";
        Directory.CreateDirectory(own);
        File.Copy($"{Documents}/1.toml", $"{own}/1.toml");
        string[] publish = ["publish", "--repo", box.Source, "--to", temp.Of("www"), "--sign-from-file", temp.Of("press.key"), "--no-delta-from-nothing", TestBox.Ref];
        Verdict said = Ask(publish);
        Assert.Equal(0, said.ExitCode);
        Assert.Contains($"Trust document 1 is not signed by enough yet, and stays here. sbox trust show {own}", said.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(temp.Of("www/trust")));
        Refused("document 1 is not signed by enough yet", [.. publish, "--trust", own]);
    }

    [Fact]
    public void What_is_kept_of_one_remotes_trust_and_cannot_be_read_hides_nothing_else_and_is_mended_by_the_owners_word()
    {
        string kept = $"{box.SysrootPath}/ostree/repo/state/trust/{TestBox.Remote}.toml";
        Do("store", "remote", "add", $"--repo={box.SysrootPath}/ostree/repo", "zebra", "http://127.0.0.1:1");
        foreach (Action damage in (Action[])[() => File.WriteAllText(kept, "version = "), () => Directory.CreateDirectory(kept)])
        {
            File.Delete(kept);
            damage();
            Verdict status = Ask("status", $"--sysroot={box.SysrootPath}"), list = Ask("remote", "list", "--sysroot", box.SysrootPath);
            Assert.Equal((0, 0), (status.ExitCode, list.ExitCode));
            Assert.Contains("1.0", status.Output, StringComparison.Ordinal);
            Assert.Contains(kept, status.Output, StringComparison.Ordinal);
            Assert.Contains($"nothing is taken from there: {kept}", list.Output, StringComparison.Ordinal);
            Assert.Contains("zebra", list.Output, StringComparison.Ordinal);
            if (Directory.Exists(kept))
                Directory.Delete(kept);
            Do("remote", "trust", TestBox.Remote, $"{Documents}/1.toml", "--sysroot", box.SysrootPath, "--yes");
            Assert.Contains("document 1 of 'boxes'", Ask("status", $"--sysroot={box.SysrootPath}").Output, StringComparison.Ordinal);
        }
    }

    private Checksum Other(string branch, int day, params string[] more) => Checksum.Parse(Judge.HostOstree.Run([
        "commit", $"--repo={box.Source}", $"--branch={branch}", $"--tree=ref={TestBox.Ref}", $"--add-metadata-string=version={branch}", "--add-metadata=sbox.kargs=['quiet']",
        $"--timestamp={TestBox.Start.AddDays(day):yyyy-MM-dd HH:mm:ss} +0000", .. more]).Trim());

    private static int Ostree(params string[] arguments) => Invocation.Run(Programs.Ostree(), arguments, CancellationToken.None).GetAwaiter().GetResult();

    private string Old()
    {
        Directory.CreateDirectory(temp.Of("old"));
        foreach (string name in (string[])["1.toml", "1.sig"])
            File.Copy($"{Documents}/{name}", temp.Of($"old/{name}"));
        // The thief's own place: alice and press have signed there, as far as the old document goes.
        using Repository source = Repository.Open(box.Source);
        source.SignCommit(source.Resolve(TestBox.Ref), SignatureEngine.Of("ed25519"), File.ReadAllText(temp.Of("alice.key")).Trim());
        return temp.Of("old");
    }

    private void Sign(string name) => Do("trust", "sign", Documents, temp.Of($"{name}.key"), "--yes");

    private Checksum Signed(Checksum commit, params string[] names)
    {
        foreach (string name in names)
            Do("store", "sign", $"--repo={box.Source}", $"{commit}", $"--keys-file={temp.Of($"{name}.key")}");
        return commit;
    }

    private void Publish(string to, string key, params string[] more) => Sbox(
        ["publish", "--repo", box.Source, "--to", to, "--sign-from-file", temp.Of($"{key}.key"), "--deltas", "0", "--no-delta-from-nothing", .. more is [] ? ["--trust", Documents] : more, TestBox.Ref]);

    private (string? State, string? Commit) Upgrade(params string[] more)
    {
        JsonElement answer = JsonDocument.Parse(Sbox(["upgrade", $"--sysroot={box.SysrootPath}", $"--esp={box.EspPath}", "--json", .. more])).RootElement;
        return (answer.GetProperty("state").GetString(), answer.GetProperty("checksum").GetString());
    }

    private Checksum Deployed()
    {
        using OstreeSysroot sysroot = box.Open();
        return sysroot.Deployments[0].Name.Commit;
    }

    private static void Refused(string words, params string[] arguments)
    {
        Verdict refused = Ask(arguments);
        Assert.Equal(1, refused.ExitCode);
        Assert.Contains(words, refused.Error, StringComparison.OrdinalIgnoreCase);
    }

    // Here, and not as a program of its own: what only prepares.
    private static void Do(params string[] arguments) => Assert.Equal(0, Invocation.Run(Programs.Sbox(), arguments, CancellationToken.None).GetAwaiter().GetResult());

    private static Verdict Ask(params string[] arguments) => Judge.OnPath($"{RunningBox.Program}/sbox").Ask(arguments);

    private static string Sbox(params string[] arguments) => Judge.OnPath($"{RunningBox.Program}/sbox").Run(arguments);
}
