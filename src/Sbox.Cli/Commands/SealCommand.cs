using System.CommandLine;
using System.Security.Cryptography;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Codecs.SecureBoot;
using Sbox.Image;
using Sbox.Store;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox seal</c>: a commit gets its owner's signatures.</summary>
internal static class SealCommand
{
    public static Command Make()
    {
        var branch = new Argument<string>("REF") { Description = "The branch whose commit is sealed, or a checksum" };
        var repo = new Option<string>("--repo") { Description = "The repository that has it", HelpName = "PATH", Required = true };
        var keys = new Option<string>("--keys") { Description = "The owner's keys, as sbox keys init makes them", HelpName = "DIR", Required = true };
        Option<string?> passphrase = PassphraseReader.Option();
        Option<bool> json = SharedOptions.Json();
        Command command = new DocumentedCommand("seal", "Sign a commit and what boots it")
        {
            Details =
            [
                "The boot files are assembled here as every box will assemble them from the same commit: the boot loader, and a unified kernel image whose command line names the commit and "
                + "the fs-verity digest of its composefs image. They are signed with db, the commit with tree, and only the signatures are kept, in the commit's detached metadata "
                + "(sbox.seal, ostree.sign.ed25519). The commit stays the same commit; whoever pulls it again gets the seal.",
                "Where the owner has a pcr key, the UKI also carries that key and signatures of what a TPM will have measured (register 11) for each entry of the menu, so that a disk whose key is "
                + "bound to the owner's pcr key (systemd-cryptenroll --tpm2-public-key=pcr.pub) opens under every sealed version, older or newer, and nothing is asked.",
                "A sealed box deploys sealed commits only, and checks their signatures before anything leads to them. Sealing again with the same keys changes no byte.",
            ],
            Examples = [new Example("Build, seal, and make a disk image", "sbox build recipe.toml --repo R && sbox seal --repo R --keys keys debian/13 && sbox image --repo R --keys keys debian/13 -o disk.img")],
        }.With(branch, repo, keys, passphrase, json);
        command.SetAction((parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            using Repository repository = Repository.Open(parsed.GetValue(repo)!);
            Checksum commit = repository.Resolve(parsed.GetValue(branch)!);
            var owner = OwnerDirectory.At(parsed.GetValue(keys)!);
            Passphrase secret = PassphraseReader.Read(parsed.GetValue(passphrase), twice: false);
            IReadOnlyList<Signer> db = owner.OpenAllDb(secret);
            using Ed25519Key tree = owner.OpenTree(secret);
            using RSA? pcr = owner.OpenPcr(secret);
            using var line = new ProgressLine(speaker);
            SealResult result = new CommitSealer(repository, BuildCache.OfUser()).Seal(commit, db, tree, pcr, BuildSteps.On(line), cancel);
            line.Dispose();
            speaker.Note($"{commit.ToString()[..12]} is sealed by {string.Join(" and ", db.Select(static key => key.Certificate.Subject))}; signed for: UKI {result.UkiDigest}, boot loader {result.LoaderDigest}");
            speaker.Answer($"{commit}", writer =>
            {
                writer.WriteString("commit", $"{commit}");
                writer.WriteString("composefs", $"{result.Seal.Composefs}");
                writer.WriteString("command-line", result.Seal.CommandLine);
                writer.WriteString("uki", $"{result.UkiDigest}");
                writer.WriteString("loader", $"{result.LoaderDigest}");
            });
            return Task.FromResult(0);
        });
        return command;
    }
}
