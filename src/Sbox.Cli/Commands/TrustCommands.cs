using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Delivery;
using Sbox.Image;
using Sbox.Store;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox trust</c>: the documents that say who is believed for what of a repository, at their publisher's.</summary>
internal static class TrustCommands
{
    public static Command Make()
    {
        var trust = new DocumentedCommand("trust", "Say who is believed for what of a repository that is published")
        {
            Details =
            [
                "A trust document names keys, and says how many of whom sign the next document, summaries, and the commits of which branches. Each version is signed as the one before asks and as it asks itself: so keys are "
                + "changed without going to any box, and no one key that is stolen is enough. sbox publish sends the documents along; a box begins with sbox remote trust.",
                "The documents are files in a directory, 1.toml and 1.sig, 2.toml and so on: those of a repository's own directory trust are found by sbox publish by themselves. Whoever reads them may: they hold no secret.",
            ],
        };
        trust.Subcommands.Add(Create());
        trust.Subcommands.Add(Show());
        trust.Subcommands.Add(Sign());
        trust.Subcommands.Add(TrustChangeCommands.Rotate());
        trust.Subcommands.Add(TrustChangeCommands.Revoke());
        trust.Subcommands.Add(TrustChangeCommands.Renew());
        return trust;
    }

    internal static Argument<string> Place() => new("DIR") { Description = "The directory of the documents; a repository's own is trust in it" };

    private static Command Create()
    {
        Argument<string> place = Place();
        var repository = new Option<string>("--repository") { Description = "What the repository is called, as example.org/boxes; two with the same signers need two names", HelpName = "NAME", Required = true };
        var keys = new Option<string[]>("--key") { Description = "A key, by the name that the rules call it by", HelpName = "NAME=FILE", Required = true };
        var document = new Option<string>("--document") { Description = "How many of whom change the document", HelpName = "N:NAME,...", Required = true };
        var summary = new Option<string>("--summary") { Description = "How many of whom sign summaries", HelpName = "N:NAME,...", Required = true };
        var commits = new Option<string[]>("--commits") { Description = "How many of whom sign commits of a branch, or of all whose names begin so; without it, commits are believed since the summary names them", HelpName = "BRANCH[*]=N:NAME,..." };
        Option<string> expires = TrustArguments.Expires();
        var age = new Option<string>("--summary-age") { Description = "How old a summary may be: publish more often than that", HelpName = "TIME", DefaultValueFactory = static _ => "14d" };
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("create", "Write the first trust document of a repository")
        {
            Details =
            [
                "The document is written, and signed by nobody yet: sbox trust sign adds the signatures. What else it may say is text that can be edited until the first one has signed.",
                "Take care of who changes the document: whoever has so many of those keys has the boxes. People's keys belong there, and not the one of the machine that publishes.",
            ],
            Examples =
            [
                new Example("Two people, and a machine that publishes", "sbox trust create repo/trust --repository example.org/boxes --key alice=alice.pub --key bob=bob.pub --key press=press.pub "
                    + "--document 2:alice,bob --summary 1:press --commits 'debian/*=2:alice,bob,press'"),
            ],
        }.With(place, repository, keys, document, summary, commits, expires, age, json);
        command.SetAction(parsed =>
        {
            var first = new TrustDocument
            {
                Repository = parsed.GetValue(repository)!, Version = 1, Expires = TrustArguments.Until(parsed.GetValue(expires)!), SummaryAge = TrustArguments.Span(parsed.GetValue(age)!, "--summary-age"),
                Keys = TrustArguments.Keys(parsed.GetValue(keys)!), Document = TrustArguments.Rule(parsed.GetValue(document)!), Summary = TrustArguments.Rule(parsed.GetValue(summary)!),
                Commits = TrustArguments.Rules(parsed.GetValue(commits) ?? []),
            };
            var history = TrustHistory.Begin(parsed.GetValue(place)!, first);
            TrustChangeCommands.Say(new Speaker(parsed.GetValue(json)), history, history.Newest);
            return 0;
        });
        return command;
    }

    private static Command Show()
    {
        Argument<string> place = Place();
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("show", "Show the newest trust document and who has signed it")
        {
            ExitCodes = [(1, "It is not signed by enough.")],
        }.With(place, json);
        command.SetAction(parsed =>
        {
            var history = TrustHistory.Read(parsed.GetValue(place)!);
            bool inForce = history.InForce == history.Newest;
            string behind = inForce ? "It is signed by enough: boxes believe it"
                : history.InForce is { } older ? $"Boxes go by document {older.Document.Version} until it is signed by enough" : "No box believes it until it is signed by enough";
            new Speaker(parsed.GetValue(json)).Answer($"{TrustText.Of(history.Newest.Document)}\n{TrustText.Votes(history, history.Newest)}\n{behind}", writer =>
            {
                TrustText.Write(writer, history.Newest.Document);
                TrustChangeCommands.Write(writer, history, history.Newest);
            });
            return inForce ? 0 : 1;
        });
        return command;
    }

    private static Command Sign()
    {
        Argument<string> place = Place();
        var files = new Argument<string[]>("KEYFILE") { Description = "Private keys to sign with, as sbox keys create makes them", Arity = ArgumentArity.ZeroOrMore };
        var keys = new Option<string?>("--keys") { Description = "Sign with the tree key of these keys of the owner's", HelpName = "DIR" };
        Option<string?> passphrase = PassphraseReader.Option();
        var add = new Option<string[]>("--add") { Description = "Take over signatures from another's file N.sig of the same document", HelpName = "SIGFILE" };
        Option<bool> yes = Confirmation.Yes();
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("sign", "Sign the newest trust document")
        {
            Details =
            [
                "The document is shown, and what it changes, before it is signed. Several people sign one after another in the same directory; or each in a copy of their own, whose signatures --add brings together.",
                "A key that neither the document nor the one before asks for is refused: its signature would count nowhere.",
            ],
            Examples = [new Example("Sign what is here, and take over what bob sent", "sbox trust sign repo/trust alice.key --add bobs/2.sig")],
        }.With(place, files, keys, passphrase, add, yes, json);
        command.SetAction(parsed =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            var history = TrustHistory.Read(parsed.GetValue(place)!);
            string[] named = parsed.GetValue(files)!, others = parsed.GetValue(add) ?? [];
            if (named.Length + others.Length == 0 && parsed.GetValue(keys) is null)
                throw new Finding("there is nothing to sign with", "sbox trust sign DIR KEYFILE; --keys=DIR; --add=SIGFILE");
            speaker.Note(TrustChangeCommands.Changes(history));
            if (named.Length > 0 || parsed.GetValue(keys) is not null)
                Confirmation.Ask("sign", parsed.GetValue(yes));
            foreach (string file in named)
                Add(history, SigningKeyFiles.Sign(file, history.Newest.Bytes), file);
            if (parsed.GetValue(keys) is { } directory)
            {
                using Ed25519Key tree = OwnerDirectory.At(directory).OpenTree(PassphraseReader.Read(parsed.GetValue(passphrase), twice: false));
                Add(history, tree.Sign(history.Newest.Bytes), $"{directory}/tree.pub");
            }

            foreach (string file in others)
                Merge(history, file);
            TrustChangeCommands.Say(speaker, history, history.Newest);
            return 0;
        });
        return command;
    }

    private static void Add(TrustHistory history, byte[] signature, string file)
    {
        if (history.Newest.Signatures.Any(there => there.AsSpan().SequenceEqual(signature)) || history.AddSignatures(history.Newest, [signature]) > 0)
            return;
        throw new Finding($"{file}: that key is none of those whose signature {TrustText.Name(history.Newest.Document)} needs", "sbox trust show names them; sbox keys list shows what key a file holds");
    }

    private static void Merge(TrustHistory history, string file)
    {
        IReadOnlyList<byte[]> signatures = TrustDocument.SignaturesIn(RepositoryCommand.ReadFile(file));
        if (history.AddSignatures(history.Newest, signatures) == 0 && !signatures.Any(each => history.Newest.Signatures.Any(there => there.AsSpan().SequenceEqual(each))))
            throw new Finding($"{file}: no signature of {TrustText.Name(history.Newest.Document)} by one whom it needs", "Was another text signed? All must sign the very same file: compare its sha256sum with theirs");
    }
}
