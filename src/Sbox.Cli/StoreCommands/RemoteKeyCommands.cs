using System.CommandLine;
using System.Security.Cryptography;
using System.Text;
using Sbox.Cli.Help;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary><c>remote gpg-import</c> and <c>remote gpg-list-keys</c>.</summary>
internal static class RemoteKeyCommands
{
    public static Command Import()
    {
        var name = new Argument<string?>("NAME") { Description = "The remote", Arity = ArgumentArity.ZeroOrOne };
        var ids = new Argument<string[]>("KEY-ID") { Description = "Only these keys; all where none is given", Arity = ArgumentArity.ZeroOrMore };
        var files = new Option<string[]>("--keyring", "-k") { Description = "A file with keys", HelpName = "FILE" };
        var input = new Option<bool>("--stdin") { Description = "Read keys from standard input" };
        return new DocumentedCommand("gpg-import", "Add GPG keys that a remote's signatures are believed by").With(name, ids, files, input).OnRepository((parsed, repository, _) =>
        {
            string remote = parsed.GetValue(name) ?? throw new Finding("NAME must be specified", "remote gpg-import NAME --keyring=FILE");
            string[] rings = parsed.GetValue(files) ?? [];
            if (parsed.GetValue(input) && rings.Length > 0)
                throw new Finding("--keyring and --stdin are mutually exclusive", "one of them");
            Report(Import(repository, remote, rings, parsed.GetValue(ids)!, parsed.GetValue(input)), remote);
            return 0;
        });
    }

    public static Command List()
    {
        var name = new Argument<string?>("NAME") { Description = "The remote; the machine's own keys where none is given", Arity = ArgumentArity.ZeroOrOne };
        return new DocumentedCommand("gpg-list-keys", "Show the GPG keys that a remote's signatures are believed by").With(name).OnRepository((parsed, repository, _) =>
        {
            foreach (GpgKey key in repository.GpgKeys(parsed.GetValue(name)))
                Console.Out.Write(Describe(key));
            return 0;
        });
    }

    /// <summary>Imports keys from files, or from standard input where there is none; the user's own keyring where neither is named.</summary>
    public static int Import(Repository repository, string remote, string[] files, string[] ids, bool fromInput)
    {
        if (files.Length > 0)
            return repository.GpgImport(remote, files, ids);
        string kept = Path.Combine(Path.GetTempPath(), $"sbox-keys-{Guid.NewGuid():N}");
        try
        {
            if (fromInput)
            {
                using Stream keys = Console.OpenStandardInput();
                using FileStream file = File.Create(kept);
                keys.CopyTo(file);
            }
            else
            {
                File.WriteAllBytes(kept, Repository.GpgExport(ids));
            }

            return repository.GpgImport(remote, [kept], ids);
        }
        finally
        {
            File.Delete(kept);
        }
    }

    /// <summary>Says how many keys were new, as libostree does.</summary>
    public static void Report(int count, string remote) => Console.Out.WriteLine($"Imported {count} GPG key{(count == 1 ? "" : "s")} to remote \"{remote}\"");

    private static string Describe(GpgKey key)
    {
        var text = new StringBuilder();
        Line("", "Key", Revocable(key));
        Times(key, "  ");
        foreach ((string user, char validity) in key.Users)
        {
            Line("  ", "UID", validity == 'r' ? $"{user} (revoked)" : user);
            if (Address(user) is not { } address)
                continue;
            (string local, string domain) = address;
            string hash = ZBase32(SHA1.HashData(Encoding.UTF8.GetBytes(local.ToLowerInvariant())));
            Line("  ", "Advanced update URL", $"https://openpgpkey.{domain}/.well-known/openpgpkey/{domain}/hu/{hash}?l={Uri.EscapeDataString(local)}");
            Line("  ", "Direct update URL", $"https://{domain}/.well-known/openpgpkey/hu/{hash}?l={Uri.EscapeDataString(local)}");
        }

        foreach (GpgKey subkey in key.Subkeys)
        {
            Line("  ", "Subkey", Revocable(subkey));
            Times(subkey, "    ");
        }

        return text.ToString();

        static string Revocable(GpgKey of) => of.Validity == 'r' ? $"{of.Fingerprint} (revoked)" : of.Fingerprint;

        void Line(string indent, string what, string value) => text.Append(indent).Append(what).Append(": ").Append(value).Append('\n');

        void Times(GpgKey of, string indent)
        {
            Line(indent, "Created", GpgSignature.Time(of.Created, TimeZoneInfo.Local));
            if (of.Expires > 0)
                Line(indent, of.Validity == 'e' ? "Expired" : "Expires", GpgSignature.Time(of.Expires, TimeZoneInfo.Local));
        }
    }

    private static (string Local, string Domain)? Address(string user)
    {
        int open = user.LastIndexOf('<'), at = user.LastIndexOf('@');
        return open >= 0 && at > open && user.EndsWith('>') ? (user[(open + 1)..at], user[(at + 1)..^1].ToLowerInvariant()) : null;
    }

    // As OpenPGP's Web Key Directory names keys: five bits a letter, of an alphabet for people.
    private static string ZBase32(byte[] bytes)
    {
        var text = new StringBuilder();
        for (int bit = 0; bit < bytes.Length * 8; bit += 5)
        {
            int value = 0;
            for (int at = bit; at < bit + 5; at++)
                value = (value << 1) | (at / 8 < bytes.Length ? (bytes[at / 8] >> (7 - (at % 8))) & 1 : 0);
            text.Append("ybndrfg8ejkmcpqxot1uwisza345h769"[value]);
        }

        return text.ToString();
    }
}
