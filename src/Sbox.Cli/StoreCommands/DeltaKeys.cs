using System.CommandLine;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>The keys by which a delta is believed, as options of the commands that ask.</summary>
internal sealed class DeltaTrustOptions
{
    private readonly Option<string> type = new("--sign-type") { Description = "How it is signed: ed25519, spki or (for tests) dummy", HelpName = "NAME", DefaultValueFactory = static _ => "ed25519" };
    private readonly Option<string?> file = new("--keys-file") { Description = "Public keys, one a line or PEM", HelpName = "NAME" };
    private readonly Option<string?> directory = new("--keys-dir") { Description = "Trusted and revoked keys in this directory, in place of /etc/ostree and /usr/share/ostree", HelpName = "NAME" };

    /// <summary>The options, for a command.</summary>
    public Option[] All => [type, file, directory];

    /// <summary>Refuses a delta that is not signed by a key that was asked for, where one was, or the config wants it.</summary>
    /// <remarks>As <c>ostree</c> one that nobody signed passes, as it does there.</remarks>
    /// <exception cref="SignatureException">It is not believed.</exception>
    /// <exception cref="Finding">No key was given, and one must be.</exception>
    public void RequireTrust(ParseResult parsed, Repository repository, SignedDelta? signed, string[] given)
    {
        bool wanted = repository.Config.GetBoolean("core", "sign-verify-deltas");
        if (signed is null)
        {
            bool asked = wanted || given.Length > 0 || parsed.GetValue(file) is not null || parsed.GetValue(directory) is not null;
            if (asked && parsed.RootCommandResult.Command.Name != "ostree")
                throw new SignatureException(null, wanted ? "nobody signed the delta, and core.sign-verify-deltas asks for it" : "nobody signed the delta, and keys were given");
            return;
        }

        if (Keys(parsed, given, required: false) is { } keys)
            Verify(signed, keys);
        else if (wanted)
            throw new Finding("Key is mandatory to check delta signature", "static-delta apply-offline PATH KEY-ID, or --keys-file=NAME");
    }

    /// <summary>Checks who signed a delta.</summary>
    /// <exception cref="SignatureException">None of the keys did.</exception>
    public void Verify(ParseResult parsed, byte[] superblock, string[] given) => Verify(DeltaSuperblock.Signed(superblock), Keys(parsed, given, required: true)!);

    private static void Verify(SignedDelta? signed, TrustedKeys keys)
    {
        if (signed is null)
            throw new SignatureException(null, "no signatures in static-delta");
        IReadOnlyList<byte[]> signatures = CommitSignatures.Of(signed.Signatures, keys.Engine.MetadataKey);
        if (signatures.Count == 0)
            throw new SignatureException(null, $"no signature for '{keys.Engine.MetadataKey}' in static-delta superblock");
        try
        {
            keys.Verify(signed.Content, signatures);
        }
        catch (SignatureException wrong)
        {
            // What libostree says of a delta, where it says more of a commit.
            throw new SignatureException(null, keys.Engine.Name == "dummy" ? $"signature: dummy: incorrect signatures found: {signatures.Count}" : wrong.Message, wrong);
        }
    }

    // Null where nothing was asked for and the machine believes nobody.
    private TrustedKeys? Keys(ParseResult parsed, string[] given, bool required)
    {
        var keys = new TrustedKeys(SignatureEngine.Of(parsed.GetValue(type)!));
        foreach (string key in given)
            keys.Add(key);
        if (parsed.GetValue(file) is { } path)
            keys.AddFile(path);
        if (!keys.IsEmpty && parsed.GetValue(directory) is null)
            return keys;
        try
        {
            keys.AddDirectories(parsed.GetValue(directory) is { } named ? [named] : TrustedKeys.SystemDirectories);
        }
        catch (SignatureException) when (!required && parsed.GetValue(directory) is null)
        {
            return null;
        }

        return keys;
    }
}

/// <summary>The options by which <c>static-delta generate</c> signs what it makes.</summary>
internal sealed class DeltaSignOptions
{
    private readonly Option<string[]> keys = new("--sign") { Description = "Sign the delta with this private key, in base64", HelpName = "KEY_ID" };
    private readonly Option<string> type = new("--sign-type") { Description = "How: ed25519, spki or (for tests) dummy", HelpName = "NAME", DefaultValueFactory = static _ => "ed25519" };
    private readonly Option<string?> file = new("--keys-file") { Description = "Private keys, one a line or PEM", HelpName = "NAME" };

    /// <summary>The options, for the command.</summary>
    public Option[] All => [keys, type, file];

    /// <summary>What signs a superblock; null where nothing was asked to.</summary>
    /// <exception cref="SignatureException">A key could not sign; nothing was made yet.</exception>
    public Func<byte[], VariantDictionary>? Signer(ParseResult parsed)
    {
        if (parsed.GetValue(keys) is not { Length: > 0 } && parsed.GetValue(file) is null)
            return null;
        SignatureEngine engine = SignatureEngine.Of(parsed.GetValue(type)!);
        string[] all = [.. parsed.GetValue(keys) ?? [], .. parsed.GetValue(file) is { } path ? SigningCommands.KeysIn(engine, path) : []];
        foreach (string key in all)
            engine.Sign([], key);
        return bytes => VariantDictionary.Empty.With(
            engine.MetadataKey, GVariant.Array(GVariantType.Parse("ay"), [.. all.Select(key => GVariant.Of(engine.Sign(bytes, key)))]));
    }
}
