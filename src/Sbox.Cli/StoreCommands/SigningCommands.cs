using System.CommandLine;
using System.Text;
using Sbox.Cli.Help;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>Commands that sign and verify: sign and gpg-sign; and the options by which others sign what they make.</summary>
internal static class SigningCommands
{
    private const string DefaultEngine = "ed25519";

    /// <summary><c>--gpg-homedir</c>.</summary>
    public static Option<string?> GpgHome() => new("--gpg-homedir") { Description = "gpg's home directory, with the keys to look in", HelpName = "HOMEDIR" };

    public static Command Sign()
    {
        var commit = new Argument<string?>("COMMIT") { Description = "What to sign or verify", Arity = ArgumentArity.ZeroOrOne };
        var keys = new Argument<string[]>("KEY-ID") { Description = "Private keys to sign with, or public keys to verify by, in base64", Arity = ArgumentArity.ZeroOrMore };
        var delete = new Option<bool>("--delete", "-d") { Description = "Delete signatures (refused: such a signature does not say whose it is)" };
        var verify = new Option<bool>("--verify") { Description = "Verify, in place of signing" };
        var type = new Option<string>("--sign-type", "-s") { Description = "How: ed25519, spki or (for tests) dummy", HelpName = "NAME", DefaultValueFactory = static _ => DefaultEngine };
        var file = new Option<string?>("--keys-file") { Description = "Read keys from a file, one a line or PEM", HelpName = "NAME" };
        var directory = new Option<string?>("--keys-dir") { Description = "Verify by the trusted and revoked keys in this directory, in place of /etc/ostree and /usr/share/ostree", HelpName = "NAME" };
        return new DocumentedCommand("sign", "Sign a commit, or verify that one is signed")
        {
            Examples =
            [
                new Example("Sign by a key in a file", "ostree --repo=repo sign --keys-file=secret.key main"),
                new Example("Verify by the machine's keys", "ostree --repo=repo sign --verify main"),
            ],
        }.With(commit, keys, delete, verify, type, file, directory).OnRepository((parsed, repository, _) =>
        {
            bool verifies = parsed.GetValue(verify);
            string revision = parsed.GetValue(commit) ?? throw new Finding("Need a COMMIT to sign or verify", "sign COMMIT KEY-ID");
            string[] given = parsed.GetValue(keys)!;
            if (parsed.GetValue(delete))
                throw new Finding("--delete is not handled: a signature does not say which key made it", "gpg-sign --delete deletes GPG's; signing again replaces nothing");
            if (!verifies && given.Length == 0 && parsed.GetValue(file) is null)
                throw new Finding("Need at least one KEY-ID to sign with", "sign COMMIT KEY-ID, or --keys-file=NAME");
            Checksum checksum = repository.Resolve(revision);
            SignatureEngine engine = SignatureEngine.Of(parsed.GetValue(type)!);
            if (verifies)
            {
                Console.Out.WriteLine(Verify(repository, checksum, engine, given, parsed.GetValue(file), parsed.GetValue(directory)));
                return 0;
            }

            foreach (string key in given.Concat(parsed.GetValue(file) is { } path ? KeysIn(engine, path) : []))
                repository.SignCommit(checksum, engine, key);
            return 0;
        });
    }

    public static Command GpgSign()
    {
        var commit = new Argument<string?>("COMMIT") { Description = "What to sign", Arity = ArgumentArity.ZeroOrOne };
        var keys = new Argument<string[]>("KEY-ID") { Description = "Keys to sign with", Arity = ArgumentArity.ZeroOrMore };
        var delete = new Option<bool>("--delete", "-d") { Description = "Delete the signatures of these keys" };
        Option<string?> home = GpgHome();
        return new DocumentedCommand("gpg-sign", "Sign a commit by GPG") { Examples = [new Example("Sign the commit that a branch leads to", "ostree --repo=repo gpg-sign main 7FCA23D8472CDAFA")] }
            .With(commit, keys, delete, home).OnRepository((parsed, repository, _) =>
            {
                string revision = parsed.GetValue(commit) ?? throw new Finding("Need a COMMIT to sign", "gpg-sign COMMIT KEY-ID");
                string[] given = parsed.GetValue(keys)!;
                if (given.Length == 0)
                    throw new Finding("Need at least one GPG KEY-ID to sign with", "gpg-sign COMMIT KEY-ID");
                Checksum checksum = repository.Resolve(revision);
                if (parsed.GetValue(delete))
                {
                    Console.Out.WriteLine($"Signatures deleted: {repository.GpgDeleteSignatures(checksum, given, parsed.GetValue(home))}");
                    return 0;
                }

                foreach (string key in given)
                    repository.GpgSignCommit(checksum, key, parsed.GetValue(home));
                return 0;
            });
    }

    /// <summary>GPG's signatures as <c>show</c> prints them; empty where there are none.</summary>
    public static string Describe(IReadOnlyList<GpgSignature> signatures, string where = "")
    {
        if (signatures.Count == 0)
            return "";
        var text = new StringBuilder($"Found {signatures.Count} signature{(signatures.Count == 1 ? "" : "s")}{where}:\n");
        foreach (GpgSignature signature in signatures)
            text.Append('\n').Append(signature.Describe("  ", TimeZoneInfo.Local));
        return text.ToString();
    }

    // A failure of one way is not the end: another key may be the right one. What the last one said is why none was.
    private static string Verify(Repository repository, Checksum commit, SignatureEngine engine, string[] given, string? file, string? directory)
    {
        SignatureException? last = null;
        foreach (TrustedKeys keys in Trusted(engine, given, file, directory))
        {
            try
            {
                return repository.VerifyCommit(commit, keys);
            }
            catch (SignatureException unbelieved)
            {
                last = unbelieved;
            }
        }

        throw new Finding($"No valid signatures found: {last?.Message}", "sign COMMIT KEY-ID makes one");
    }

    private static IEnumerable<TrustedKeys> Trusted(SignatureEngine engine, string[] given, string? file, string? directory)
    {
        if (given.Length > 0)
        {
            var named = new TrustedKeys(engine);
            foreach (string key in given)
                named.Add(key);
            yield return named;
        }

        if (file is not null)
        {
            var filed = new TrustedKeys(engine);
            filed.AddFile(file);
            yield return filed;
        }

        if (directory is null && (given.Length > 0 || file is not null))
            yield break;
        var machine = new TrustedKeys(engine);
        machine.AddDirectories(directory is null ? TrustedKeys.SystemDirectories : [directory]);
        yield return machine;
    }

    /// <summary>The keys in a file.</summary>
    internal static IEnumerable<string> KeysIn(SignatureEngine engine, string path) => engine.ReadKeys(Encoding.UTF8.GetString(RepositoryCommand.ReadFile(path)));
}

/// <summary>The options by which <c>commit</c> and <c>summary</c> sign what they write.</summary>
internal sealed class SigningOptions
{
    private readonly Option<string[]> gpg = new("--gpg-sign") { Description = "A key of GPG to sign with", HelpName = "KEY-ID" };
    private readonly Option<string?> home = SigningCommands.GpgHome();
    private readonly Option<string[]> keys = new("--sign") { Description = "A private key to sign with, in base64", HelpName = "KEY-ID" };
    private readonly Option<string[]> files = new("--sign-from-file") { Description = "A file with the private key to sign with", HelpName = "PATH" };
    private readonly Option<string> type = new("--sign-type") { Description = "How: ed25519, spki or (for tests) dummy", HelpName = "NAME", DefaultValueFactory = static _ => "ed25519" };

    /// <summary>The options, for a command.</summary>
    public Option[] All => [gpg, home, keys, files, type];

    /// <summary>Refuses keys that could not sign, before there is anything to sign.</summary>
    public void Check(ParseResult parsed)
    {
        foreach (string path in parsed.GetValue(files) ?? [])
            RequirePrivate(path, parsed.GetValue(type)!);
        foreach ((SignatureEngine engine, string key) in Keys(parsed))
            engine.Sign([], key);
    }

    // The two lie side by side and differ by three letters; the engine, which sees the key alone, cannot name the file.
    private static void RequirePrivate(string path, string type)
    {
        if (type == "ed25519" && SigningCommands.KeysIn(SignatureEngine.Of(type), path).Any(IsPublic))
            throw new Finding($"{path}: it is a public key, and signs nothing", "Name the private key: the file that sbox keys create made, and not the .pub beside it");

        static bool IsPublic(string key) => Convert.TryFromBase64String(key, new byte[key.Length], out int length) && length == 32;
    }

    /// <summary>What signs any bytes with these keys, by the name of the kind of key; null where none was given.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="more">A key that was given otherwise; null for none.</param>
    public Func<byte[], VariantDictionary>? Signer(ParseResult parsed, Ed25519Key? more = null)
    {
        Check(parsed);
        (SignatureEngine Engine, string Key)[] own = [.. Keys(parsed)];
        string[] ofGpg = parsed.GetValue(gpg) ?? [];
        string? where = parsed.GetValue(home);
        if (own.Length + ofGpg.Length == 0 && more is null)
            return null;
        return bytes =>
        {
            IEnumerable<(string Kind, byte[] Signature)> all = own.Select(each => (each.Engine.MetadataKey, each.Engine.Sign(bytes, each.Key)))
                .Concat(ofGpg.Select(key => (CommitSignatures.GpgKey, Repository.GpgSign(bytes, key, where))))
                .Concat(more is null ? [] : [(CommitSignatures.Key, more.Sign(bytes))]);
            VariantDictionary signed = VariantDictionary.Empty;
            foreach (IGrouping<string, byte[]> kind in all.GroupBy(static each => each.Kind, static each => each.Signature))
                signed = signed.With(kind.Key, GVariant.Array(GVariantType.Parse("ay"), [.. kind.Select(GVariant.Of)]));
            return signed;
        };
    }

    private IEnumerable<(SignatureEngine Engine, string Key)> Keys(ParseResult parsed)
    {
        string[] given = parsed.GetValue(keys) ?? [], paths = parsed.GetValue(files) ?? [];
        if (given.Length == 0 && paths.Length == 0)
            yield break;
        SignatureEngine engine = SignatureEngine.Of(parsed.GetValue(type)!);
        foreach (string key in given.Concat(paths.SelectMany(path => SigningCommands.KeysIn(engine, path))))
            yield return (engine, key);
    }
}
