using System.CommandLine;
using System.Text;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>The keys by which deltas are signed and believed, as options.</summary>
internal static class DeltaKeys
{
    private const string Ed25519 = "ed25519";

    /// <summary>Options of commands that check a signature.</summary>
    public static Options ForVerifying() => new(
        new Option<string>("--sign-type") { Description = "The kind of key", HelpName = "NAME", DefaultValueFactory = static _ => Ed25519 },
        new Option<string?>("--keys-file") { Description = "Public keys, one a line", HelpName = "NAME" },
        new Option<string?>("--keys-dir") { Description = "A directory of public and revoked keys, in place of the system's", HelpName = "NAME" });

    /// <summary>Options of the command that signs.</summary>
    public static SignOptions ForSigning() => new(
        new Option<string[]>("--sign") { Description = "Sign the delta with this private key", HelpName = "KEY_ID" },
        new Option<string>("--sign-type") { Description = "The kind of key", HelpName = "NAME", DefaultValueFactory = static _ => Ed25519 },
        new Option<string?>("--keys-file") { Description = "Private keys, one a line", HelpName = "NAME" });

    /// <summary>Options of commands that check a signature.</summary>
    internal sealed record Options(Option<string> Type, Option<string?> File, Option<string?> Directory)
    {
        public Option[] All => [Type, File, Directory];

        /// <summary>Refuses a delta that is not signed by a key that was asked for, where one was or the config wants it.</summary>
        /// <exception cref="Finding">It is not believed.</exception>
        public void RequireTrust(ParseResult parsed, Repository repository, byte[] superblock, string[] keys)
        {
            if (DeltaSuperblock.Signed(superblock) is null)
                return;
            bool asked = keys.Length > 0 || parsed.GetValue(File) is not null || parsed.GetValue(Directory) is not null;
            if (!asked)
            {
                if (repository.Config.GetBoolean("core", "sign-verify-deltas"))
                    throw new Finding("Key is mandatory to check delta signature", "static-delta apply-offline PATH KEY-ID, or --keys-file=NAME");
                return;
            }

            if (!IsSigned(parsed, superblock, keys))
                throw new Finding("Delta signature verification failed", "static-delta verify tells with which key it can be checked");
        }

        /// <summary>Whether one of the keys signed a superblock.</summary>
        public bool IsSigned(ParseResult parsed, byte[] superblock, string[] keys)
        {
            RequireKnown(parsed.GetValue(Type)!);
            if (DeltaSuperblock.Signed(superblock) is not { } signed)
                throw new Finding("no signatures in static-delta", "static-delta generate --sign=KEY_ID makes a signed one");
            if (signed.Signatures[CommitSignatures.Key] is null)
                throw new Finding($"no signature for '{CommitSignatures.Key}' in static-delta superblock", "--sign-type=NAME");
            return Keys(keys, parsed.GetValue(File)).Any(key => CommitSignatures.Verify(signed.Signatures, signed.Content, new Ed25519PublicKey(Decode(key))));
        }
    }

    /// <summary>Options of the command that signs.</summary>
    internal sealed record SignOptions(Option<string[]> Keys, Option<string> Type, Option<string?> File)
    {
        public Option[] All => [Keys, Type, File];

        /// <summary>What signs; null where nothing was asked to.</summary>
        public Func<byte[], VariantDictionary>? Signer(ParseResult parsed)
        {
            string[] keys = [.. DeltaKeys.Keys(parsed.GetValue(Keys) ?? [], parsed.GetValue(File))];
            if (keys.Length == 0)
                return null;
            RequireKnown(parsed.GetValue(Type)!);
            return bytes => keys.Aggregate(VariantDictionary.Empty, (signatures, text) =>
            {
                // libostree's private keys are the seed and the public key behind it.
                byte[] secret = Decode(text);
                using Ed25519Key key = Ed25519Key.Of(secret.AsSpan(0, Math.Min(32, secret.Length)));
                return CommitSignatures.Sign(signatures, bytes, key);
            });
        }
    }

    private static void RequireKnown(string type)
    {
        if (type != Ed25519)
            throw new Finding($"Signing type {type} is not supported", "--sign-type=ed25519");
    }

    private static IEnumerable<string> Keys(IEnumerable<string> given, string? file) => file is null
        ? given
        : given.Concat(Encoding.ASCII.GetString(RepositoryCommand.ReadFile(file)).Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));

    private static byte[] Decode(string key)
    {
        var bytes = new byte[key.Length];
        return Convert.TryFromBase64String(key, bytes, out int written) ? bytes[..written] : throw new Finding($"Invalid ed25519 key '{key}'", "base64 of 32 bytes (public) or 64 (private)");
    }
}
