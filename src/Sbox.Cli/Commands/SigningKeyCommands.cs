using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Delivery;
using Sbox.Image;
using Sbox.Store;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox keys create</c> and <c>sbox keys list</c>: keys that sign what is published, and what keys there are.</summary>
internal static class SigningKeyCommands
{
    public static Command Create()
    {
        var file = new Argument<string>("FILE") { Description = "Where the private key goes, as alice.key; alice.pub is made beside it" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("create", "Make a key that signs commits, summaries and trust documents")
        {
            Details =
            [
                "An Ed25519 key, in the files that ostree knows: sbox store sign --keys-file=FILE signs commits with it, sbox publish --sign-from-file FILE the summary, sbox trust sign the trust document. "
                + "Each signer makes their own and hands out nothing but the .pub.",
                "The private key is not encrypted: its file belongs to its owner alone (mode 0600), on a disk that is. Keys that are there already are never written over. The keys of a seal are other ones: sbox keys init.",
            ],
            Examples = [new Example("A key for a person, one for the machine that publishes", "sbox keys create alice.key; sbox keys create press.key")],
        }.With(file, json);
        command.SetAction(parsed =>
        {
            string path = parsed.GetValue(file)!;
            Ed25519PublicKey key = SigningKeyFiles.Create(path);
            new Speaker(parsed.GetValue(json)).Answer($"{path} is the private key, {SigningKeyFiles.PublicOf(path)} the public one:\n  key          {key}\n  fingerprint  {SigningKeyFiles.Fingerprint(key)}", writer =>
            {
                writer.WriteString("private", path);
                writer.WriteString("public", SigningKeyFiles.PublicOf(path));
                writer.WriteString("key", $"{key}");
                writer.WriteString("fingerprint", SigningKeyFiles.Fingerprint(key));
            });
            return 0;
        });
        return command;
    }

    public static Command List()
    {
        var places = new Argument<string[]>("PLACE") { Description = "Files of keys, a directory of trust documents, or the directory of an owner's keys", Arity = ArgumentArity.OneOrMore };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("list", "Show keys with their fingerprints")
        {
            Details = ["Of a private key the public part is shown. An owner's keys (PK, KEK, db, pcr, tree) are shown as sbox keys show does."],
            Examples = [new Example("The keys here, and those that boxes believe", "sbox keys list *.key repo/trust")],
        }.With(places, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            foreach (string place in parsed.GetValue(places)!)
                Show(place, speaker);
            return 0;
        });
        return command;
    }

    private static void Show(string place, Speaker speaker)
    {
        if (Directory.Exists(place))
        {
            if (TrustHistory.TryRead(place) is not { } history)
            {
                KeysCommand.Print(OwnerDirectory.Whole(place), speaker);
                return;
            }

            foreach ((string name, Ed25519PublicKey each) in history.Newest.Document.Keys)
                Say(speaker, name, isPrivate: false, each);
            return;
        }

        Ed25519PublicKey key = SigningKeyFiles.TryReadPublic(place) ?? throw new Finding($"{place}: no Ed25519 key in it", "A file that sbox keys create made, or the .pub beside it");
        Say(speaker, place, SigningKeyFiles.IsPrivate(place), key);
    }

    private static void Say(Speaker speaker, string name, bool isPrivate, Ed25519PublicKey key) =>
        speaker.Answer($"{name,-16} {(isPrivate ? "private" : "public "),-7} {key}  {SigningKeyFiles.Fingerprint(key)}", writer =>
        {
            writer.WriteString("name", name);
            writer.WriteBoolean("private", isPrivate);
            writer.WriteString("key", $"{key}");
            writer.WriteString("fingerprint", SigningKeyFiles.Fingerprint(key));
        });
}
