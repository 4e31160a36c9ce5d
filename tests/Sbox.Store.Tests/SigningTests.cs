using System.Text;
using Sbox.Codecs;
using Sbox.Judges;

namespace Sbox.Store.Tests;

/// <summary>Signatures of commits and summaries: made by us and judged by openssl, gpg and ostree, made by those and judged by us, and asked for by pulls.</summary>
public sealed class SigningTests
{
    private static readonly Judge OpenSsl = Judge.OnPath("openssl");

    public static TheoryData<string> Algorithms => ["ED25519", "ED448", "RSA", "EC"];

    [Fact]
    public void Openssl_finds_our_ed25519_signature_good_and_we_find_its()
    {
        using var scratch = new Scratch();
        using Repository repository = Committed(scratch, out Checksum commit);
        var keys = new KeyPair(scratch, "ED25519");
        repository.SignCommit(commit, SignatureEngine.Of("ed25519"), keys.Ed25519Secret);
        byte[] ours = Assert.Single(CommitSignatures.Of(repository.LoadDetachedMetadata(commit)));
        Assert.True(keys.Verifies(repository.LoadMetadata(new ObjectName(commit, ObjectType.Commit)), ours));
        Assert.Equal(ours, keys.Sign(repository.LoadMetadata(new ObjectName(commit, ObjectType.Commit))));
        Assert.StartsWith("ed25519: Signature verified successfully with key '", repository.VerifyCommit(commit, Trusting("ed25519", keys.Ed25519Public)));
        repository.SignCommit(commit, SignatureEngine.Of("ed25519"), keys.Ed25519Secret);
        Assert.Single(CommitSignatures.Of(repository.LoadDetachedMetadata(commit)));
    }

    [Theory, MemberData(nameof(Algorithms))]
    public void Spki_signatures_of_every_kind_are_openssls_and_its_are_ours(string algorithm)
    {
        using var scratch = new Scratch();
        var keys = new KeyPair(scratch, algorithm);
        SignatureEngine spki = SignatureEngine.Of("spki");
        byte[] data = "what is signed"u8.ToArray(), other = "what is not"u8.ToArray();
        byte[] key = spki.ReadPublicKey(Assert.Single(spki.ReadKeys(File.ReadAllText(keys.PublicPem))));
        foreach (string secret in new[] { File.ReadAllText(keys.SecretPem), Convert.ToBase64String(keys.SecretDer) })
            Assert.True(keys.Verifies(data, spki.Sign(data, secret)));
        byte[] theirs = keys.Sign(data);
        Assert.True(spki.Verify(data, theirs, key));
        Assert.False(spki.Verify(other, theirs, key));
        for (int at = 0; at < theirs.Length; at += 7)
            Assert.False(spki.Verify(data, [.. theirs.Select((b, i) => i == at ? (byte)(b ^ 1) : b)], key));
    }

    [Fact]
    public void Bytes_from_anywhere_are_neither_keys_nor_signatures_and_say_so()
    {
        var random = new Random(7);
        foreach (SignatureEngine engine in new[] { SignatureEngine.Of("ed25519"), SignatureEngine.Of("spki") })
        {
            for (int i = 0; i < 300; i++)
            {
                var bytes = new byte[random.Next(0, 140)];
                random.NextBytes(bytes);
                if (bytes.Length == 32 && engine.Name == "ed25519")
                    continue;
                Assert.Throws<SignatureException>(() => engine.ReadPublicKey(Convert.ToBase64String(bytes)));
                Assert.Throws<SignatureException>(() => engine.Sign([], Convert.ToBase64String(bytes)));
            }

            Assert.Throws<SignatureException>(() => engine.ReadPublicKey("no base64!"));
        }

        using var scratch = new Scratch();
        SignatureEngine spki = SignatureEngine.Of("spki");
        foreach (string algorithm in Algorithms.Select(static row => row.Data))
        {
            byte[] key = Convert.FromBase64String(spki.ReadKeys(File.ReadAllText(new KeyPair(scratch, algorithm).PublicPem)).Single().ReplaceLineEndings(""));
            for (int i = 0; i < 100; i++)
            {
                var bytes = new byte[random.Next(0, 300)];
                random.NextBytes(bytes);
                Assert.False(spki.Verify("data"u8, bytes, key));
            }
        }
    }

    [Fact]
    public void A_revoked_key_is_no_longer_believed_and_revocations_that_cannot_be_read_are_not_passed_over()
    {
        using var scratch = new Scratch();
        using Repository repository = Committed(scratch, out Checksum commit);
        var keys = new KeyPair(scratch, "ED25519");
        repository.SignCommit(commit, SignatureEngine.Of("ed25519"), keys.Ed25519Secret);
        Directory.CreateDirectory(scratch["keys/trusted.ed25519.d"]);
        File.WriteAllText(scratch["keys/trusted.ed25519.d/README"], "keys of ours");
        Assert.Contains("no keys loaded", Assert.Throws<SignatureException>(() => repository.VerifyCommit(commit, FromDirectory())).Message);
        File.WriteAllText(scratch["keys/trusted.ed25519.d/ours"], keys.Ed25519Public + "\n");
        repository.VerifyCommit(commit, FromDirectory());

        File.WriteAllText(scratch["keys/revoked.ed25519"], "what is this?\n");
        Assert.Contains("revoked.ed25519", Assert.Throws<SignatureException>(() => repository.VerifyCommit(commit, FromDirectory())).Message);
        File.WriteAllText(scratch["keys/revoked.ed25519"], keys.Ed25519Public + "\n");
        Assert.Throws<SignatureException>(() => repository.VerifyCommit(commit, FromDirectory()));

        TrustedKeys FromDirectory()
        {
            var trusted = new TrustedKeys(SignatureEngine.Of("ed25519"));
            trusted.AddDirectories([scratch["keys"]]);
            return trusted;
        }
    }

    [Theory, InlineData("ed25519"), InlineData("spki")]
    public async Task A_pull_takes_only_what_is_signed_by_a_key_of_the_remote_and_keeps_nothing_else(string engine)
    {
        using var scratch = new Scratch();
        using Repository source = Committed(scratch, out Checksum commit);
        using var server = new StaticServer(source.Path);
        KeyPair right = new(scratch, "ED25519"), wrong = new(scratch, "ED25519");
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        Ask(ours, server.Url, engine, wrong);
        await Refused("Can't verify commit without detached metadata");
        source.SignCommit(commit, SignatureEngine.Of(engine), engine == "spki" ? Convert.ToBase64String(right.SecretDer) : right.Ed25519Secret);
        await Refused($"{engine}: Signature couldn't be verified with: key '");

        Ask(ours, server.Url, engine, right);
        await ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] });
        Assert.Equal(commit, ours.Resolve("origin:main"));
        Assert.Single(ours.VerifyCommit(commit, "origin"));
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={ours.Path}"));

        // Also what is there already, from a time when nothing was asked for.
        Ask(ours, server.Url, engine, wrong);
        await Assert.ThrowsAsync<SignatureException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] }));
        Ask(ours, "file://" + source.Path, engine, wrong);
        await Assert.ThrowsAsync<SignatureException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] }));

        async Task Refused(string words)
        {
            SignatureException refused = await Assert.ThrowsAsync<SignatureException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] }));
            Assert.StartsWith($"Commit {commit}: {words}", refused.Message);
            Assert.Empty(ours.EnumerateObjects());
            Assert.Empty(ours.Refs());
            Assert.False(ours.IsPartial(commit));
        }
    }

    [Fact]
    public async Task A_delta_of_a_commit_that_nobody_signed_leaves_nothing_behind_for_the_next_transaction()
    {
        using var scratch = new Scratch();
        using Repository source = Committed(scratch, out Checksum commit);
        var name = new DeltaName(null, commit);
        source.MakeDelta(name, new DeltaOptions { MinimumFallback = 0 });
        source.WriteSummary();
        using var server = new StaticServer(source.Path);
        var keys = new KeyPair(scratch, "ED25519");
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        foreach ((string url, DeltaUse use) in ((string, DeltaUse)[])[(server.Url, DeltaUse.WherePossible), ("file://" + source.Path, DeltaUse.Required)])
        {
            Ask(ours, url, "ed25519", keys);
            await Assert.ThrowsAsync<SignatureException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"], Deltas = use }));
            ours.CommitDirectory(scratch.Tree($"unrelated-{use}"), new CommitOptions { Subject = $"{use}" });
            Assert.False(ours.Has(new ObjectName(commit, ObjectType.Commit)));
            Assert.True(ours.Fsck().IsWhole);
        }

        // The signature that the delta itself brings does as well as one that lies beside the commit.
        Ask(ours, server.Url, "ed25519", keys);
        source.SignCommit(commit, SignatureEngine.Of("ed25519"), keys.Ed25519Secret);
        source.MakeDelta(name, new DeltaOptions { MinimumFallback = 0 });
        source.WriteSummary();
        source.Dir.Unlink("objects/" + new ObjectName(commit, ObjectType.CommitMeta).LoosePath(RepositoryMode.Archive));
        Assert.True((await ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"], Deltas = DeltaUse.Required })).Deltas.TotalParts > 0);
        Assert.Single(ours.VerifyCommit(commit, "origin"));
        Assert.False(ours.IsPartial(commit));
    }

    [Fact]
    public async Task Bytes_that_are_signed_and_lie_under_another_commits_name_are_refused_with_their_signature()
    {
        using var scratch = new Scratch();
        using Repository source = Committed(scratch, out Checksum signed);
        var keys = new KeyPair(scratch, "ED25519");
        source.SignCommit(signed, SignatureEngine.Of("ed25519"), keys.Ed25519Secret);
        Checksum other = source.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"], Subject = "unsigned" });
        foreach (ObjectType type in (ObjectType[])[ObjectType.Commit, ObjectType.CommitMeta])
            File.Copy(At(signed, type), At(other, type), overwrite: true);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Bare);
        Ask(ours, "file://" + source.Path, "ed25519", keys);
        await Assert.ThrowsAsync<ObjectCorruptException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] }));
        ours.CommitDirectory(scratch.Tree("unrelated"), new CommitOptions());
        Assert.False(ours.Has(new ObjectName(other, ObjectType.Commit)));
        Assert.Null(ours.LoadDetachedMetadata(other));

        string At(Checksum commit, ObjectType type) => source.Dir.Of("objects/" + new ObjectName(commit, type).LoosePath(RepositoryMode.Archive));
    }

    [Fact]
    public async Task A_remote_that_asks_for_keys_it_does_not_name_is_refused_before_anything_is_fetched()
    {
        using var scratch = new Scratch();
        using Repository source = Committed(scratch, out _);
        using var server = new StaticServer(source.Path);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Archive);
        foreach ((string setting, string words) in new[] { ("ed25519", "No keys found for required signapi type ed25519"), ("nosuch", "Requested signature type is not implemented") })
        {
            ours.WriteConfig(ours.Config.With("remote \"origin\"", "url", server.Url).With("remote \"origin\"", "gpg-verify", "false").With("remote \"origin\"", "sign-verify", setting));
            Assert.StartsWith(words, (await Assert.ThrowsAsync<SignatureException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] }))).Message);
        }

        Assert.Empty(server.Requests);
    }

    [Theory, InlineData("http"), InlineData("file")]
    public async Task A_summary_that_must_be_signed_alone_says_what_a_branch_leads_to(string transport)
    {
        using var scratch = new Scratch();
        using Repository source = Committed(scratch, out Checksum commit);
        var keys = new KeyPair(scratch, "ED25519");
        source.WriteSummary(TimeProvider.System);
        using var server = new StaticServer(source.Path);
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Archive);
        ours.WriteConfig(ours.Config.With("remote \"origin\"", "url", transport == "http" ? server.Url : $"file://{source.Path}").With("remote \"origin\"", "gpg-verify", "false")
            .With("remote \"origin\"", "sign-verify-summary", "true").With("remote \"origin\"", "verification-ed25519-key", keys.Ed25519Public));
        Assert.Contains("no summary.sig found", (await Refused()).Message);
        File.WriteAllText(Path.Combine(source.Path, "summary.sig"), "invalid");
        Assert.Contains("No signatures found", (await Refused()).Message);
        File.Delete(Path.Combine(source.Path, "summary.sig"));
        source.SignSummary(SignatureEngine.Of("ed25519"), keys.Ed25519Secret);

        // Someone moves the branch and cannot sign: the summary still leads to the commit that was signed.
        Checksum other = source.CommitDirectory(scratch["tree"], new CommitOptions { Branches = ["main"], Subject = "not announced" });
        await ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] });
        Assert.Equal(commit, ours.Resolve("origin:main"));
        Assert.False(ours.Has(new ObjectName(other, ObjectType.Commit)));
        source.WriteSummary(TimeProvider.System);
        Assert.Contains("no summary.sig found", (await Refused()).Message);

        Task<SignatureException> Refused() => Assert.ThrowsAsync<SignatureException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] }));
    }

    [Fact]
    public async Task Gpg_signatures_are_ostrees_and_ostrees_are_ours()
    {
        using var scratch = new Scratch();
        using var home = new GpgHome(scratch);
        using Repository source = Committed(scratch, out Checksum commit);
        source.GpgSignCommit(commit, home.Key, home.Path);
        string remote = home.Export();
        source.WriteConfig(source.Config.With("remote \"r\"", "url", "http://localhost/"));
        Assert.Equal(1, source.GpgImport("r", [remote], []));
        Assert.Equal(0, source.GpgImport("r", [remote], []));
        foreach (Judge ostree in new[] { Judge.HostOstree })
            Assert.Contains("Good signature from \"Tester <tester@example.org>\"", ostree.Run("show", $"--repo={source.Path}", "--gpg-verify-remote=r", "main"));
        GpgSignature good = Assert.Single(source.GpgSignatures(commit, "r"));
        Assert.True(good.IsGood);
        Assert.Equal(home.Key, good.Fingerprint);
        Assert.Equal("already signed", Assert.Throws<SignatureException>(() => source.GpgSignCommit(commit, home.Key, home.Path)).Message[10..24]);

        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Archive);
        ours.WriteConfig(ours.Config.With("remote \"origin\"", "url", "file://" + source.Path));
        SignatureException unknown = await Assert.ThrowsAsync<SignatureException>(() => ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] }));
        Assert.Contains("public key not found", unknown.Message);
        Assert.Empty(ours.EnumerateObjects());
        ours.GpgImport("origin", [remote], []);
        await ours.Pull(new PullOptions { Remote = "origin", Refs = ["main"] });
        Assert.Equal(commit, ours.Resolve("origin:main"));

        Assert.Equal(1, source.GpgDeleteSignatures(commit, [home.Key], home.Path));
        Assert.DoesNotContain("signature", Judge.HostOstree.Run("show", $"--repo={source.Path}", "main"));
        Judge.HostOstree.Run("gpg-sign", $"--repo={source.Path}", $"--gpg-homedir={home.Path}", "main", home.Key);
        Assert.True(Assert.Single(source.GpgSignatures(commit, "r")).IsGood);
    }

    [Fact]
    public void What_gpg_signed_is_bad_for_other_bytes_and_unknown_to_other_keys()
    {
        using var scratch = new Scratch();
        using var home = new GpgHome(scratch);
        byte[] signature = Gpg.Sign(home.Path, home.Key, "these bytes"u8);
        using var keyring = GpgKeyring.OfFile(home.Export());
        Assert.Equal([GpgFinding.Good], keyring.Verify("these bytes"u8, [signature]).Select(static each => each.Finding));
        Assert.Equal([GpgFinding.Bad], keyring.Verify("other bytes"u8, [signature]).Select(static each => each.Finding));
        Assert.Equal([GpgFinding.Bad, GpgFinding.Good], keyring.Verify("these bytes"u8, ["no signature"u8.ToArray(), signature]).Select(static each => each.Finding));
        using GpgKeyring empty = GpgKeyring.Empty();
        Assert.Equal([GpgFinding.KeyMissing], empty.Verify("these bytes"u8, [signature]).Select(static each => each.Finding));
    }

    [Fact]
    public void A_parent_repository_has_what_this_one_lacks()
    {
        using var scratch = new Scratch();
        using Repository parent = Committed(scratch, out Checksum commit);
        using (Repository made = Repository.Create(scratch["child"], RepositoryMode.Bare))
            made.WriteConfig(made.Config.With("core", "parent", parent.Path));
        using Repository child = Repository.Open(scratch["child"]);
        Assert.Equal(commit, child.Resolve("main"));
        Assert.Equal(parent.LoadCommit(commit), child.LoadCommit(commit));
        Assert.True(child.Fsck().IsWhole);
        Assert.Empty(child.EnumerateObjects());
        using Sbox.Linux.Dir root = Sbox.Linux.Dir.Open(scratch.Root);
        child.Checkout(commit, root, "out");
        Assert.Equal("hello\n", File.ReadAllText(scratch["out/hello"]));
        child.WriteConfig(child.Config.With("core", "parent", child.Path));
        Assert.Throws<NotARepositoryException>(() => Repository.Open(child.Path));
    }

    private static Repository Committed(Scratch scratch, out Checksum commit)
    {
        Repository repository = Repository.Create(scratch["served"], RepositoryMode.Archive);
        commit = repository.CommitDirectory(scratch.Tree(), new CommitOptions { Branches = ["main"] });
        return repository;
    }

    private static TrustedKeys Trusting(string engine, string key)
    {
        var keys = new TrustedKeys(SignatureEngine.Of(engine));
        keys.Add(key);
        return keys;
    }

    private static void Ask(Repository repository, string url, string engine, KeyPair keys) => repository.WriteConfig(repository.Config
        .With("remote \"origin\"", "url", url).With("remote \"origin\"", "gpg-verify", "false").With("remote \"origin\"", "sign-verify", engine)
        .With("remote \"origin\"", $"verification-{engine}-key", engine == "spki" ? string.Concat(File.ReadAllLines(keys.PublicPem)[1..^1]) : keys.Ed25519Public));

    /// <summary>A key pair that openssl made.</summary>
    private sealed class KeyPair
    {
        private static int made;
        private readonly Scratch scratch;
        private readonly string algorithm;

        public KeyPair(Scratch scratch, string algorithm)
        {
            (this.scratch, this.algorithm) = (scratch, algorithm);
            string name = scratch[$"key-{Interlocked.Increment(ref made)}"];
            (SecretPem, PublicPem) = (name + ".pem", name + ".pub");
            string[] more = algorithm == "EC" ? ["-pkeyopt", "ec_paramgen_curve:P-256"] : [];
            OpenSsl.Run(["genpkey", "-algorithm", algorithm, .. more, "-out", SecretPem]);
            OpenSsl.Run("pkey", "-in", SecretPem, "-pubout", "-out", PublicPem);
            OpenSsl.Run("pkey", "-in", SecretPem, "-outform", "DER", "-out", name + ".der");
            SecretDer = File.ReadAllBytes(name + ".der");
        }

        public string SecretPem { get; }

        public string PublicPem { get; }

        public byte[] SecretDer { get; }

        public string Ed25519Public => Convert.ToBase64String(Convert.FromBase64String(string.Concat(File.ReadAllLines(PublicPem)[1..^1]))[^32..]);

        public string Ed25519Secret => Convert.ToBase64String([.. SecretDer[^32..], .. Convert.FromBase64String(Ed25519Public)]);

        public byte[] Sign(byte[] data)
        {
            File.WriteAllBytes(scratch["data"], data);
            OpenSsl.Run(["pkeyutl", "-sign", "-rawin", .. Digest, "-inkey", SecretPem, "-in", scratch["data"], "-out", scratch["sig"]]);
            return File.ReadAllBytes(scratch["sig"]);
        }

        public bool Verifies(byte[] data, byte[] signature)
        {
            File.WriteAllBytes(scratch["data"], data);
            File.WriteAllBytes(scratch["sig"], signature);
            return OpenSsl.Ask(["pkeyutl", "-verify", "-rawin", .. Digest, "-pubin", "-inkey", PublicPem, "-in", scratch["data"], "-sigfile", scratch["sig"]]).ExitCode == 0;
        }

        private string[] Digest => algorithm.StartsWith("ED", StringComparison.Ordinal) ? [] : ["-digest", "sha256"];
    }

    /// <summary>A home directory of gpg with one key; its agent ends with it.</summary>
    private sealed class GpgHome : IDisposable
    {
        private readonly Scratch scratch;

        public GpgHome(Scratch scratch)
        {
            this.scratch = scratch;
            using (Linux.Dir root = Linux.Dir.Open(scratch.Root))
                root.MakeDir("gpg", 0x1C0 /* 0700 */);
            Judge.OnPath("gpg").Run("--homedir", Path, "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "Tester <tester@example.org>", "ed25519", "sign", "never");
            Key = Judge.OnPath("gpg").Run("--homedir", Path, "--batch", "--with-colons", "--list-keys").Split('\n').First(static line => line.StartsWith("fpr:", StringComparison.Ordinal)).Split(':')[9];
        }

        public string Path => scratch["gpg"];

        public string Key { get; }

        public string Export()
        {
            File.WriteAllText(scratch["key.asc"], Judge.OnPath("gpg").Run("--homedir", Path, "--batch", "--armor", "--export"), Encoding.ASCII);
            return scratch["key.asc"];
        }

        public void Dispose() => Judge.OnPath("gpgconf").Ask("--homedir", Path, "--kill", "gpg-agent");
    }
}
