using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

public sealed partial class Repository
{
    /// <summary>Signs a commit; the signature lies beside it and changes no checksum. One that is there already is not added again.</summary>
    /// <param name="commit">The commit.</param>
    /// <param name="engine">How.</param>
    /// <param name="secretKey">The private key, as the engine writes it.</param>
    /// <exception cref="SignatureException">It is no private key.</exception>
    public void SignCommit(Checksum commit, SignatureEngine engine, string secretKey) =>
        AddSignature(commit, engine.MetadataKey, engine.Sign(LoadMetadata(new ObjectName(commit, ObjectType.Commit)), secretKey));

    /// <summary>Whether a commit is signed by one of some keys.</summary>
    /// <returns>By which, in libostree's words.</returns>
    /// <exception cref="SignatureException">It is not.</exception>
    public string VerifyCommit(Checksum commit, TrustedKeys keys)
    {
        byte[] bytes = LoadMetadata(new ObjectName(commit, ObjectType.Commit));
        VariantDictionary detached = LoadDetachedMetadata(commit) ?? throw new SignatureException(null, $"Can't verify commit without detached metadata: {commit}");
        IReadOnlyList<byte[]> signatures = CommitSignatures.Of(detached, keys.Engine.MetadataKey);
        return signatures.Count > 0
            ? keys.Verify(bytes, signatures)
            : throw new SignatureException(null, $"{keys.Engine.Name}: commit have no signatures of my type");
    }

    /// <summary>Whether a commit is signed as a remote's settings ask for, by the keys that they name.</summary>
    /// <returns>What was found, for people; empty where the settings ask for nothing.</returns>
    /// <exception cref="SignatureException">It is not, or the keys cannot be used.</exception>
    /// <exception cref="RemoteNotFoundException">There is no such remote.</exception>
    public IReadOnlyList<string> VerifyCommit(Checksum commit, string remote)
    {
        RemoteSettings settings = Remote(remote) ?? throw new RemoteNotFoundException(Path, remote);
        byte[] bytes = LoadMetadata(new ObjectName(commit, ObjectType.Commit));
        return RemoteTrust.Of(this, settings).VerifyCommit(commit, bytes, LoadDetachedMetadata(commit));
    }

    /// <summary>Signs a commit with a key of GPG.</summary>
    /// <param name="commit">The commit.</param>
    /// <param name="keyId">The key, as gpg takes it.</param>
    /// <param name="home">gpg's home directory; null for the user's.</param>
    /// <exception cref="SignatureException">There is no such key, or it signed already.</exception>
    public void GpgSignCommit(Checksum commit, string keyId, string? home)
    {
        byte[] bytes = LoadMetadata(new ObjectName(commit, ObjectType.Commit));
        IReadOnlyList<byte[]> signatures = CommitSignatures.Of(LoadDetachedMetadata(commit), CommitSignatures.GpgKey);
        if (signatures.Count > 0)
        {
            using GpgKeyring keyring = GpgKeyring.Of(this, remote: null, home);
            IReadOnlyList<string> own = keyring.Fingerprints(keyId);
            if (keyring.Verify(bytes, signatures).Any(each => own.Contains(each.Fingerprint)))
                throw new SignatureException(null, $"Commit is already signed with GPG key {keyId}");
        }

        AddSignature(commit, CommitSignatures.GpgKey, Gpg.Sign(home, keyId, bytes));
    }

    /// <summary>Takes the GPG signatures of some keys off a commit.</summary>
    /// <returns>How many went.</returns>
    public int GpgDeleteSignatures(Checksum commit, IReadOnlyList<string> keyIds, string? home)
    {
        VariantDictionary? detached = LoadDetachedMetadata(commit);
        IReadOnlyList<byte[]> signatures = CommitSignatures.Of(detached, CommitSignatures.GpgKey);
        if (signatures.Count == 0)
            return 0;
        using GpgKeyring keyring = GpgKeyring.Of(this, remote: null, home);
        HashSet<string> gone = [.. keyIds.SelectMany(keyring.Fingerprints)];
        IReadOnlyList<GpgSignature> found = keyring.Verify(LoadMetadata(new ObjectName(commit, ObjectType.Commit)), signatures);
        List<byte[]> left = [.. signatures.Where((_, at) => !gone.Contains(found[at].Fingerprint))];
        if (left.Count < signatures.Count)
            WriteDetachedMetadata(commit, CommitSignatures.With(detached!, CommitSignatures.GpgKey, left));
        return signatures.Count - left.Count;
    }

    /// <summary>What GPG says of a commit's signatures; none where there are none.</summary>
    /// <param name="commit">The commit.</param>
    /// <param name="remote">By whose keys; null for those of all remotes and of the machine.</param>
    /// <param name="home">A home directory of gpg whose keys are believed too; null for none.</param>
    public IReadOnlyList<GpgSignature> GpgSignatures(Checksum commit, string? remote = null, string? home = null)
    {
        IReadOnlyList<byte[]> signatures = CommitSignatures.Of(LoadDetachedMetadata(commit), CommitSignatures.GpgKey);
        return signatures.Count == 0 ? [] : GpgSignatures(LoadMetadata(new ObjectName(commit, ObjectType.Commit)), signatures, remote, home);
    }

    /// <summary>What GPG says of the signatures on the file <c>summary</c>; none where there are none.</summary>
    public IReadOnlyList<GpgSignature> GpgSummarySignatures()
    {
        byte[]? summary = Dir.TryReadAll("summary"), signed = Dir.TryReadAll("summary.sig");
        IReadOnlyList<byte[]> signatures = signed is null ? [] : CommitSignatures.Of(RemoteTrust.ParseOrEmpty(signed), CommitSignatures.GpgKey);
        return summary is null || signatures.Count == 0 ? [] : GpgSignatures(summary, signatures, remote: null, home: null);
    }

    /// <summary>Signs the file <c>summary</c> as it lies there: adds to <c>summary.sig</c>.</summary>
    public void SignSummary(SignatureEngine engine, string secretKey) => AddSummarySignature(engine.MetadataKey, bytes => engine.Sign(bytes, secretKey));

    /// <summary>As <see cref="SignSummary"/>, with a key of GPG.</summary>
    public void GpgSignSummary(string keyId, string? home) => AddSummarySignature(CommitSignatures.GpgKey, bytes => Gpg.Sign(home, keyId, bytes));

    /// <summary>Adds keys to those that a remote's GPG signatures are believed by.</summary>
    /// <param name="remote">The remote.</param>
    /// <param name="files">Files of keys, armored or not.</param>
    /// <param name="keyIds">Only these keys of them; all where none is named.</param>
    /// <returns>How many keys the remote did not have before.</returns>
    /// <exception cref="RemoteNotFoundException">There is no such remote.</exception>
    /// <exception cref="SignatureException">The files hold no key, or none by such an id.</exception>
    public int GpgImport(string remote, IReadOnlyList<string> files, IReadOnlyList<string> keyIds)
    {
        if (RemoteConfig(remote) is null)
            throw new RemoteNotFoundException(Path, remote);
        string path = System.IO.Path.Combine(Path, $"{remote}.trustedkeys.gpg");
        using var source = GpgKeyring.Empty();
        foreach (string file in files)
            source.AddFile(file);
        List<string> wanted = [.. (keyIds.Count == 0 ? GpgKey.List(source.Home) : keyIds.SelectMany(id => GpgKey.List(source.Home, id) is { Count: > 0 } found
            ? found
            : throw new SignatureException(null, $"Unable to export keys: no key '{id}' among those that were given"))).Select(static key => key.Fingerprint).Distinct()];
        if (wanted.Count == 0)
            throw new SignatureException(null, $"Unable to export keys: no key in {(files.Count == 0 ? "what was given" : string.Join(", ", files))}");
        using GpgKeyring before = GpgKeyring.OfFile(path);
        HashSet<string> had = [.. GpgKey.List(before.Home).Select(static key => key.Fingerprint)];
        before.Import(source.Export(wanted));
        Durable.Replace(Dir, $"{remote}.trustedkeys.gpg", before.Export([]));
        return wanted.Count(key => !had.Contains(key));
    }

    /// <summary>Public keys of the user's own keyring, all or by their ids.</summary>
    public static byte[] GpgExport(IReadOnlyList<string> keyIds)
    {
        using var scratch = new GpgScratch();
        Gpg.Run(home: null, ["--yes", "--output", scratch["keys"], "--export", "--", .. keyIds]);
        return File.Exists(scratch["keys"]) ? File.ReadAllBytes(scratch["keys"]) : [];
    }

    /// <summary>The keys of GPG that a remote has of its own; the machine's where none is named.</summary>
    /// <exception cref="RemoteNotFoundException">There is no such remote.</exception>
    public IReadOnlyList<GpgKey> GpgKeys(string? remote)
    {
        if (remote is not null && RemoteConfig(remote) is null)
            throw new RemoteNotFoundException(Path, remote);
        using GpgKeyring keyring = GpgKeyring.OfOnly(this, remote);
        return GpgKey.List(keyring.Home);
    }

    /// <summary>Puts other metadata beside a commit, in place of what lies there.</summary>
    public void WriteDetachedMetadata(Checksum commit, VariantDictionary metadata)
    {
        using Transaction transaction = Begin();
        transaction.WriteDetachedMetadata(commit, metadata);
        transaction.Commit();
    }

    private List<GpgSignature> GpgSignatures(byte[] bytes, IReadOnlyList<byte[]> signatures, string? remote, string? home)
    {
        using GpgKeyring keyring = GpgKeyring.Of(this, remote, home);
        return [.. keyring.Verify(bytes, signatures)];
    }

    private void AddSignature(Checksum commit, string key, byte[] signature)
    {
        VariantDictionary detached = LoadDetachedMetadata(commit) ?? VariantDictionary.Empty;
        WriteDetachedMetadata(commit, CommitSignatures.Add(detached, key, signature));
    }

    private void AddSummarySignature(string key, Func<byte[], byte[]> sign)
    {
        byte[] summary = Dir.TryReadAll("summary") ?? throw new NotARepositoryException(Path, "no file 'summary' to sign");
        VariantDictionary signatures = Dir.TryReadAll("summary.sig") is { } there ? RemoteTrust.ParseOrEmpty(there) : VariantDictionary.Empty;
        WriteSummarySignatures(CommitSignatures.Add(signatures, key, sign(summary)));
    }

    /// <summary>Replaces the file <c>summary.sig</c>.</summary>
    internal void WriteSummarySignatures(VariantDictionary signatures)
    {
        Durable.Replace(Dir, "summary.sig", signatures.ToBytes());
        // As libostree: mirrors that go by times see that they belong together.
        FileStat stat = Dir.Stat("summary");
        Dir.SetTimes("summary.sig", stat.ModifiedSeconds, stat.ModifiedNanoseconds);
    }
}
