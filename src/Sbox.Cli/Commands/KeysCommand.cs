using System.CommandLine;
using System.Globalization;
using System.Text;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Image;
using Sbox.Linux;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox keys</c>: the owner's keys.</summary>
internal static class KeysCommand
{
    public static Command Make()
    {
        var keys = new DocumentedCommand("keys", "Make and show the keys of a box's owner, and keys that sign what is published");
        keys.Subcommands.Add(Init());
        keys.Subcommands.Add(Show());
        keys.Subcommands.Add(SigningKeyCommands.Create());
        keys.Subcommands.Add(SigningKeyCommands.List());
        keys.Subcommands.Add(KeyChangeCommands.Rotate());
        keys.Subcommands.Add(KeyChangeCommands.Revoke());
        keys.Subcommands.Add(KeyChangeCommands.Apply());
        return keys;
    }

    internal const string TokenWords =
        "With --db-token, the key that signs what boots is an RSA key of 2048 bits on a PKCS#11 token (a smart card, an HSM), made there beforehand, which signs there and never leaves it. The token's PIN is the passphrase, "
        + "unless the URI has pin-source=FILE. OpenSSL opens it by its provider pkcs11 (Debian: pkcs11-provider), else by the engine of that name (libengine-pkcs11-openssl).";

    internal static Option<string?> Token() => new("--db-token") { Description = "The key on a PKCS#11 token that signs what boots, as RFC 7512 names it", HelpName = "URI" };

    private static Command Init()
    {
        var directory = new Argument<string>("DIR") { Description = "Where the keys go; made if missing" };
        var owner = new Option<string>("--owner") { Description = "The name in the certificates", HelpName = "NAME", DefaultValueFactory = static _ => "sbox" };
        Option<string?> token = Token();
        var tree = new Option<string?>("--tree-token") { Description = "The key on a PKCS#11 token that signs commits, as RFC 7512 names it", HelpName = "URI" };
        Option<string?> passphrase = PassphraseReader.Option();
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("init", "Make an owner's keys")
        {
            Details =
            [
                "PK, KEK and db are what a machine's firmware knows its owner by; db signs what boots. tree signs commits; pcr signs what a TPM has measured when it may give out a disk's key. Each is made here, and none is anyone else's.",
                "Private keys (*.key) are PEM files encrypted with the passphrase; what a box needs of them (*.auth, *.crt, tree.pub, pcr.pub) is public. Keep the directory off the box: "
                + "nobody needs it there. Keys that are there already are never written over.",
                TokenWords,
                "With --tree-token, the key that signs commits is an Ed25519 key on a token; openssl(1) asks it, by the provider. Both may be on one token, or on two with one PIN.",
            ],
            Examples = [new Example("Keys in ~/box-keys", "sbox keys init ~/box-keys --owner 'Ada'"),
                new Example("With what signs on a token", "sbox keys init ~/box-keys --db-token 'pkcs11:token=ada;object=db' --tree-token 'pkcs11:token=ada;object=tree'")],
        }.With(directory, owner, token, tree, passphrase, json);
        command.SetAction(parsed =>
        {
            OwnerKeys keys;
            try
            {
                keys = OwnerKeys.Create(
                    parsed.GetValue(directory)!, parsed.GetValue(owner)!, PassphraseReader.Read(parsed.GetValue(passphrase), twice: true), TimeProvider.System, parsed.GetValue(token), parsed.GetValue(tree));
            }
            catch (LinuxException taken) when (taken.Errno == Errno.EEXIST)
            {
                throw new Finding($"{taken.Path}: there are keys already", "They are not written over: whoever lost them could not sign for their boxes any more. Name another directory");
            }

            Print(keys, new Speaker(parsed.GetValue(json)));
            return 0;
        });
        return command;
    }

    private static Command Show()
    {
        var directory = new Argument<string>("DIR") { Description = "Where the keys are" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("show", "Show an owner's keys, without opening them")
        {
            Details = ["Certificates are shown by their SHA-256, commit keys as libostree's files have them: the line for /etc/ostree/trusted.ed25519."],
            Examples = [new Example("Let another machine's ostree believe these commits", "sbox keys show keys --json | jq -r 'select(.key==\"tree\").id' >/etc/ostree/trusted.ed25519")],
        }.With(directory, json);
        command.SetAction(parsed =>
        {
            Print(OwnerDirectory.Whole(parsed.GetValue(directory)!), new Speaker(parsed.GetValue(json)));
            return 0;
        });
        return command;
    }

    internal static void Print(OwnerKeys keys, Speaker speaker)
    {
        IReadOnlyList<OwnerKey> all = keys.List();
        if (speaker.Json)
        {
            foreach (OwnerKey key in all)
            {
                speaker.Answer("", writer =>
                {
                    writer.WriteString("key", key.Name);
                    writer.WriteString("id", key.Id);
                    if (key.Until is { } until)
                        writer.WriteString("until", until.UtcDateTime);
                });
            }

            return;
        }

        var text = new StringBuilder();
        foreach (OwnerKey key in all)
            text.Append(CultureInfo.InvariantCulture, $"{key.Name,-5} {key.Purpose,-27} {key.Id}\n");
        speaker.Answer(text.ToString().TrimEnd(), static _ => { });
    }
}
