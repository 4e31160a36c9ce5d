using System.CommandLine;
using System.Globalization;
using System.Text;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Integrity;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Cli.Commands;

/// <summary><c>sbox prove</c>: what runs on this machine, fact by fact, also for others to read.</summary>
internal static class ProveCommand
{
    public static Command Make()
    {
        Option<string?> esp = SharedOptions.Esp();
        esp.Description = "A directory to look at as the EFI system partition; else the machine's own";
        var receipt = new Option<string?>("--receipt") { Description = "Also write all of it to a file, signed by the machine's key and, where there is one, by its TPM", HelpName = "FILE" };
        var nonce = new Option<string?>("--nonce") { Description = "Bytes that whoever reads the receipt wants in it, so that it cannot be an old one; or, with --check, those that must be in it", HelpName = "HEX" };
        var check = new Option<string?>("--check") { Description = "Look at nothing here: read a receipt that a machine made", HelpName = "FILE" };
        var key = new Option<string?>("--key") { Description = "With --check: the key that the machine is known by, in base64", HelpName = "KEY" };
        Option<bool> json = SharedOptions.Json();
        var full = new Option<bool>("--full") { Description = "Print whole lists, such as every change in /etc" };
        Option<string> keyFile = Hidden("--machine-key", MachineKey.DefaultPath), tree = Hidden("--tree-policy", LoadedPolicy.TreeDirectory);
        var tcti = new Option<string?>("--tcti") { Hidden = true };
        var sysroot = new Option<string>("--sysroot") { Hidden = true, DefaultValueFactory = static _ => "/sysroot" };
        var process = new Option<int>("--system-process") { Hidden = true, DefaultValueFactory = static _ => 1 };
        Command command = new DocumentedCommand("prove", "Tell what runs on this machine, with the evidence")
        {
            Details = Details,
            ExitCodes =
            [
                (0, "Every fact is as it should be."), (1, "A fact is wrong, or the command itself failed."), (3, "Nothing is wrong, but something could not be checked."),
            ],
            Examples =
            [
                new Example("What is wrong, for a script", "sbox prove --json | jq -r '.facts[] | select(.verdict != \"ok\") | .name + \": \" + .says'"),
                new Example("A receipt for somebody who sent a nonce", "sbox prove --receipt=receipt.json --nonce=$NONCE"),
                new Example("On their side", "sbox prove --check=receipt.json --key=$KEY --nonce=$NONCE"),
            ],
        }.With(esp, receipt, nonce, check, key, full, json, keyFile, tree, tcti, sysroot, process);
        command.SetAction((parsed, cancel) =>
        {
            var speaker = new Speaker(parsed.GetValue(json));
            string? hex = Nonce(parsed.GetValue(nonce));
            if (parsed.GetValue(check) is { } file)
                return Task.FromResult(Check(file, Key(parsed.GetValue(key)), hex, speaker, parsed.GetValue(full)));
            using Box box = Box.ToLook(parsed, sysroot, esp);
            var options = new ProofOptions
            {
                Esp = box.Esp, EspUnseen = box.EspUnseen, SystemProcess = parsed.GetValue(process), TreePolicy = parsed.GetValue(tree)!,
            };
            ProofReport report = new Proof(box.Sysroot, options).Run(cancel);
            string? written = parsed.GetValue(receipt) is { } target ? Write(report, target, hex, parsed.GetValue(keyFile)!, parsed.GetValue(tcti)) : null;
            speaker.Answer(Text(report, parsed.GetValue(full)) + (written is null ? "" : $"\n{written}"), writer =>
            {
                writer.WriteString("verdict", report.Verdict.Word());
                writer.WriteString("deployment", report.Deployment?.ToString());
                writer.WriteString("version", report.Version);
                Receipt.WriteFacts(writer, "facts", report.Facts);
            });
            return Task.FromResult(report.Verdict.ExitCode());
        });
        return command;

        static Option<string> Hidden(string name, string place) => new(name) { Hidden = true, DefaultValueFactory = _ => place };
    }

    private static readonly string[] Details =
    [
        "The facts, in the order of a boot. firmware: Secure Boot is on, with whose certificates. kernel: the one that runs is the tree's. command-line: it is the one that the UKI was signed with, nothing added. "
        + "uki: the file on the EFI partition is signed by a certificate of the firmware's db and by none of its dbx, and is the one that was started. root: / is the composefs image that command line, seal and commit name, by "
        + "the digest that the kernel holds it to; files are verified as they are read; every name below /usr is the commit's. mounts: nothing is writable or covered that the sentinel's policy protects, in any mount namespace. "
        + "modules: the loaded ones are the tree's, by name and taint. etc: how /etc differs from the tree's defaults, which is never wrong and always told. disk: whether the root lies encrypted, and opens only where it should; that it does not is told, and not wrong. approval: enough of those whom the tree's "
        + "approval policy names (sbox-approval.toml(5)) signed the commit.",
        "Each fact is ok, wrong or unchecked. What could not be looked at, or what nothing says how it should be, is unchecked, and not fine.",
        "All of it is this machine's own word. Who does not trust the machine asks for a receipt with a nonce: it is signed by a key that was made on the machine (/var/lib/sbox/machine.key) and, where "
        + "there is a TPM and the package tpm2-tools, carries the TPM's signature over PCRs 0 to 7, 11 and 12 and over the receipt. Whoever took the machine over after the boot can make it say anything "
        + "but what those PCRs say.",
        "sbox verify checks all that lies on the disk; this command checks what runs.",
    ];

    private static string? Nonce(string? text)
    {
        if (text is null)
            return null;
        return text.Length is > 0 and <= 128 && text.Length % 2 == 0 && text.All(char.IsAsciiHexDigit)
            ? text.ToLowerInvariant() : throw new Finding("the nonce is no bytes in hexadecimal: two digits each, 64 bytes at most", "A good one: openssl rand -hex 32");
    }

    private static Ed25519PublicKey? Key(string? text)
    {
        var bytes = new byte[64];
        return text is null ? null
            : Convert.TryFromBase64String(text, bytes, out int length) && length == 32 ? new Ed25519PublicKey(bytes.AsSpan(0, 32))
            : throw new Finding("the key is not 32 bytes in base64", "A machine's key is in each of its receipts, as machine");
    }

    private static string Write(ProofReport report, string file, string? nonce, string keyFile, string? tcti)
    {
        if (!Environment.IsPrivilegedProcess)
            throw new Finding($"{keyFile}: only root may sign for this machine", "sudo sbox prove --receipt=FILE");
        using Ed25519Key key = MachineKey.Open(keyFile);
        string text = Receipt.Make(report, nonce, key, DateTimeOffset.UtcNow, digest => TpmQuoter.Ask(digest, tcti));
        string full = Path.GetFullPath(file);
        using Dir dir = Dir.Open(Path.GetDirectoryName(full)!);
        Durable.Replace(dir, Path.GetFileName(full), Encoding.UTF8.GetBytes(text));
        Fact quote = Receipt.Read(text, key.Public, nonce).Checks.First(static each => each.Name == "quote");
        return $"{file} says so, signed by the machine's key {key.Public}; {(quote.Verdict == Verdict.Ok ? "its TPM signed it too" : quote.Says)}";
    }

    private static int Check(string file, Ed25519PublicKey? key, string? nonce, Speaker speaker, bool full)
    {
        string path = Path.GetFullPath(file);
        using Dir dir = Dir.Open(Path.GetDirectoryName(path)!);
        ReceiptReading reading;
        try
        {
            reading = Receipt.Read(Encoding.UTF8.GetString(dir.ReadAll(Path.GetFileName(path))), key, nonce);
        }
        catch (MalformedException broken)
        {
            throw new Finding($"{file}: {broken.Message}", "A receipt is what sbox prove --receipt=FILE writes");
        }

        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"A receipt of {reading.Time:yyyy-MM-dd HH:mm:ss} UTC:\n{Lines(reading.Checks, full)}What it says:\n{Text(reading.Report, full)}");
        speaker.Answer(text.ToString(), writer =>
        {
            writer.WriteString("verdict", reading.Verdict.Word());
            writer.WriteString("time", reading.Time.UtcDateTime);
            writer.WriteString("machine", $"{reading.Machine}");
            writer.WriteString("nonce", reading.Nonce);
            Receipt.WriteFacts(writer, "checks", reading.Checks);
            writer.WriteString("deployment", reading.Report.Deployment?.ToString());
            writer.WriteString("version", reading.Report.Version);
            Receipt.WriteFacts(writer, "facts", reading.Report.Facts);
        });
        return reading.Verdict.ExitCode();
    }

    private static string Text(ProofReport report, bool full)
    {
        int Count(Verdict verdict) => report.Facts.Count(fact => fact.Verdict == verdict);
        string what = report.Deployment is { } name ? $"{name.Short}{(report.Version is { } version ? $", version {version}" : "")}" : "no deployment is known to run";
        return $"{Lines(report.Facts, full)}{what}: {Count(Verdict.Ok)} facts are ok, {Count(Verdict.Wrong)} wrong, {Count(Verdict.Unchecked)} unchecked.";
    }

    private static string Lines(IReadOnlyList<Fact> facts, bool full)
    {
        const int few = 5;
        var text = new StringBuilder();
        foreach (Fact fact in facts)
        {
            text.Append(CultureInfo.InvariantCulture, $"{fact.Verdict.Word(),-9} {fact.Name,-12} {fact.Says}\n");
            foreach (string line in full ? fact.List : fact.Verdict == Verdict.Wrong ? fact.List.Take(few) : [])
                text.Append(CultureInfo.InvariantCulture, $"                       {line}\n");
            if (!full && fact.Verdict == Verdict.Wrong && fact.List.Count > few)
                text.Append(CultureInfo.InvariantCulture, $"                       and {fact.List.Count - few} more: --full\n");
        }

        return text.ToString();
    }
}
