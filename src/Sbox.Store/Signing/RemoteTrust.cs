using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>What a remote's commits and its summary must be signed with, as its settings and its trust document say, each by itself; and the checking of it.</summary>
/// <remarks>After ostree.repo-config(5): <c>gpg-verify</c>, <c>sign-verify</c>, their <c>-summary</c>, <c>verification-ENGINE-key</c> and <c>-file</c>.</remarks>
internal sealed class RemoteTrust
{
    private readonly Repository repository;
    private readonly string remote;
    private readonly bool gpg, gpgSummary;
    private readonly IReadOnlyList<TrustedKeys>? commitKeys, summaryKeys;

    private RemoteTrust(Repository repository, string remote, bool gpg, bool gpgSummary, IReadOnlyList<TrustedKeys>? commitKeys, IReadOnlyList<TrustedKeys>? summaryKeys) =>
        (this.repository, this.remote, this.gpg, this.gpgSummary, this.commitKeys, this.summaryKeys) = (repository, remote, gpg, gpgSummary, commitKeys, summaryKeys);

    /// <summary>Whether commits are checked.</summary>
    public bool ForCommits => gpg || commitKeys is not null || Document is { ForCommits: true };

    /// <summary>Whether the summary is checked.</summary>
    public bool ForSummary => gpgSummary || summaryKeys is not null || Document is not null;

    /// <summary>The remote's trust document; null where it has none.</summary>
    public TrustedRemote? Document { get; private init; }

    /// <summary>What the settings ask for, and the trust document where there is one.</summary>
    /// <param name="repository">Whose remote.</param>
    /// <param name="settings">The remote's settings.</param>
    /// <param name="clock">Where "now" comes from, for the document; null to ask for what the settings say alone.</param>
    /// <exception cref="SignatureException">They name keys or engines that cannot be used.</exception>
    /// <exception cref="TrustException">The document cannot be read.</exception>
    public static RemoteTrust Of(Repository repository, RemoteSettings settings, TimeProvider? clock = null) => new(
        repository, settings.Name, settings.GpgVerify, settings.GpgVerifySummary,
        Keys(repository, settings, settings.SignVerifyBy), Keys(repository, settings, settings.SignVerifySummaryBy))
    {
        Document = clock is null ? null : TrustedRemote.Of(repository, settings.Name, clock),
    };

    /// <summary>Only what was asked for on the command line: <c>pull-local --gpg-verify</c>.</summary>
    public static RemoteTrust OfGpg(Repository repository, string remote, bool commits, bool summary) => new(repository, remote, commits, summary, null, null);

    /// <summary>Checks a commit before any of it is kept. GPG and the other engines are asked each, where both are.</summary>
    /// <param name="commit">Its name.</param>
    /// <param name="bytes">The commit object.</param>
    /// <param name="detached">What lies beside it; null where there is nothing.</param>
    /// <param name="names">
    /// Branches, or its checksum, as which it was asked for. None for what only follows: the hash in a commit that is believed names it, and those
    /// who signed it then may have left since, so the document asks for nothing more.
    /// </param>
    /// <returns>What was found, for people.</returns>
    /// <exception cref="SignatureException">No signature is by a key that is believed.</exception>
    /// <exception cref="TrustException">Too few signed it of those whom the trust document names.</exception>
    public IReadOnlyList<string> VerifyCommit(Checksum commit, ReadOnlySpan<byte> bytes, VariantDictionary? detached, params IEnumerable<string> names)
    {
        Document?.VerifyCommit(commit, bytes, detached, names);
        var found = new List<string>();
        string subject = $"Commit {commit}";
        if (gpg)
            found.AddRange(VerifyGpg(subject, bytes, detached, "GPG verification enabled, but no signatures found (use gpg-verify=false in remote config to disable)"));
        if (commitKeys is not null)
            found.Add(VerifyKeys(commitKeys, subject, bytes, detached ?? throw new SignatureException(subject, "Can't verify commit without detached metadata")));
        return found;
    }

    /// <summary>Checks a summary before it is believed.</summary>
    /// <param name="subject">Where it came from.</param>
    /// <param name="bytes">The summary; null where there is none.</param>
    /// <param name="signature">The file <c>summary.sig</c>; null where there is none.</param>
    /// <exception cref="SignatureException">One of them is not there, or no signature is by a key that is believed.</exception>
    /// <exception cref="TrustException">The trust document does not believe it.</exception>
    public void VerifySummary(string subject, byte[]? bytes, byte[]? signature)
    {
        Document?.VerifySummary(subject, bytes, signature);
        if (!gpgSummary && summaryKeys is null)
            return;
        string kind = gpgSummary ? "GPG verification" : "Signature verification", setting = gpgSummary ? "gpg-verify-summary" : "sign-verify-summary";
        if (bytes is null)
            throw new SignatureException(subject, $"{kind} enabled, but no summary found (check that the configured URL in remote config is correct)");
        if (signature is null)
            throw new SignatureException(subject, $"{kind} enabled, but no summary.sig found (use {setting}=false in remote config to disable)");
        VariantDictionary signatures = ParseOrEmpty(signature);
        if (gpgSummary)
            VerifyGpg(subject, bytes, signatures, "GPG verification enabled, but no signatures found (use gpg-verify-summary=false in remote config to disable)");
        if (summaryKeys is not null)
            VerifyKeys(summaryKeys, subject, bytes, signatures);
    }

    /// <summary>Goes on to the newest trust document that a repository on this machine has, where the remote has one at all.</summary>
    /// <exception cref="TrustException">What follows there is none.</exception>
    public void FollowFiles(Repository source, CancellationToken cancel) =>
        Document?.Follow(TrustFiles.Of(source), source.Dir.Of, cancel).GetAwaiter().GetResult(); // of files: nothing is waited for

    /// <summary>A dictionary from elsewhere; one that cannot be read holds no signature.</summary>
    public static VariantDictionary ParseOrEmpty(byte[] bytes)
    {
        try
        {
            return VariantDictionary.Parse(bytes);
        }
        catch (MalformedException)
        {
            return VariantDictionary.Empty; // what asks for a signature finds none, and says so
        }
    }

    private List<string> VerifyGpg(string subject, ReadOnlySpan<byte> bytes, VariantDictionary? signed, string none)
    {
        IReadOnlyList<byte[]> signatures = CommitSignatures.Of(signed, CommitSignatures.GpgKey);
        if (signatures.Count == 0)
            throw new SignatureException(subject, none);
        using GpgKeyring keyring = GpgKeyring.Of(repository, remote);
        IReadOnlyList<GpgSignature> found = keyring.Verify(bytes, signatures);
        if (!found.Any(static signature => signature.IsGood))
            throw new SignatureException(subject, string.Concat(found.Reverse().Select(static each => each.Describe("", TimeZoneInfo.Local))).TrimEnd());
        return [.. found.Select(static each => each.Describe("GPG: ", TimeZoneInfo.Local).TrimEnd())];
    }

    private static string VerifyKeys(IReadOnlyList<TrustedKeys> engines, string subject, ReadOnlySpan<byte> bytes, VariantDictionary signed)
    {
        SignatureException? first = null;
        int failed = 0;
        foreach (TrustedKeys keys in engines)
        {
            IReadOnlyList<byte[]> signatures = CommitSignatures.Of(signed, keys.Engine.MetadataKey);
            if (signatures.Count == 0)
                continue;
            try
            {
                return keys.Verify(bytes, signatures);
            }
            catch (SignatureException unbelieved)
            {
                first ??= unbelieved;
                failed++;
            }
        }

        string more = failed > 1 ? $"({failed - 1} other invalid signatures): " : "";
        throw new SignatureException(subject, more + (first?.Message ?? "No signatures found"), first);
    }

    private static List<TrustedKeys>? Keys(Repository repository, RemoteSettings settings, IReadOnlyList<string>? engines)
    {
        if (engines is null)
            return null;
        bool all = engines.Count == 0;
        var keys = new List<TrustedKeys>();
        foreach (SignatureEngine engine in all ? SignatureEngine.All : engines.Select(SignatureEngine.Of))
        {
            var trusted = new TrustedKeys(engine);
            KeyFile config = repository.RemoteConfig(settings.Name) ?? KeyFile.Empty;
            string group = RemoteSettings.Group(settings.Name);
            string? file = config.GetString(group, $"verification-{engine.Name}-file"), inline = config.GetString(group, $"verification-{engine.Name}-key");
            if (file is null && inline is null && !all)
                throw new SignatureException(null, $"No keys found for required signapi type {engine.Name}");
            Load(trusted, file, inline);
            keys.Add(trusted);
        }

        return keys;
    }

    private static void Load(TrustedKeys trusted, string? file, string? inline)
    {
        string name = trusted.Engine.Name;
        try
        {
            if (file is not null)
                trusted.AddFile(file);
        }
        catch (SignatureException unusable)
        {
            throw new SignatureException(null, $"Failed loading '{name}' keys from '{file}': {unusable.Finding}", unusable);
        }

        try
        {
            if (inline is not null)
                trusted.Add(inline);
        }
        catch (SignatureException unusable)
        {
            throw new SignatureException(null, $"Failed loading '{name}' keys from inline `verification-key`: {unusable.Finding}", unusable);
        }
    }
}
