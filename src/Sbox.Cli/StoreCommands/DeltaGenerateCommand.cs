using System.CommandLine;
using System.Globalization;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary><c>static-delta generate</c>.</summary>
internal static class DeltaGenerateCommand
{
    private const long Megabyte = 1_000_000;

    public static Command Make()
    {
        var words = new Argument<string[]>("TO") { Description = "The revision that the delta makes", Arity = ArgumentArity.ZeroOrMore };
        var from = new Option<string?>("--from") { Description = "The revision that it needs; TO's parent where it is not said", HelpName = "REV" };
        var to = new Option<string?>("--to") { Description = "The revision that it makes", HelpName = "REV" };
        var empty = new Option<bool>("--empty") { Description = "It needs nothing" };
        var inline = new Option<bool>("--inline") { Description = "Put the parts into the superblock: the delta is one file" };
        var noDifferences = new Option<bool>("--disable-bsdiff") { Description = "Look for no differences between old and new versions" };
        var unless = new Option<bool>("--if-not-exists", "-n") { Description = "Do nothing where the delta is there" };
        var endianness = new Option<string?>("--set-endianness") { Description = "The order of bytes in numbers: l (least significant first) or B", HelpName = "ENDIAN" };
        var swap = new Option<bool>("--swap-endianness") { Description = "The other order of bytes" };
        var fallback = new Option<long>("--min-fallback-size") { Description = "New files of more megabytes are left to be fetched by themselves; 0: none is", HelpName = "MB", DefaultValueFactory = static _ => 4 };
        var difference = new Option<long>("--max-bsdiff-size") { Description = "Megabytes of old and new version together up to which differences are looked for", HelpName = "MB", DefaultValueFactory = static _ => 128 };
        var chunk = new Option<long>("--max-chunk-size") { Description = "Megabytes of a part before it is compressed", HelpName = "MB", DefaultValueFactory = static _ => 32 };
        var file = new Option<string?>("--filename") { Description = "Write the delta to this file, its parts beside it; else it is in the repository", HelpName = "PATH" };
        var recompress = new Option<bool>("--recompress") { Description = "Put a smaller delta beside it that compresses kernel modules and the initrd again where it is applied (ours only; others use the usual one)" };
        var sign = new DeltaSignOptions();
        return new DocumentedCommand("generate", "Make a delta")
        {
            Examples =
            [
                new Example("Make what leads from the commit before to the newest one", "ostree --repo=repo static-delta generate main"),
                new Example("One file that holds all, to be carried to a machine without a network", "ostree --repo=repo static-delta generate --inline --min-fallback-size=0 --filename=update.delta --from=OLD --to=main"),
            ],
        }.With([words, from, to, empty, inline, noDifferences, unless, endianness, swap, fallback, difference, chunk, file, recompress, .. sign.All])
            .OnRepository((parsed, repository, cancel) =>
            {
                string target = parsed.GetValue(to) ?? parsed.GetValue(words)!.FirstOrDefault() ?? throw new Finding("TO revision must be specified", "static-delta generate REV");
                if (parsed.GetValue(empty) && parsed.GetValue(from) is not null)
                    throw new Finding("Cannot specify both --empty and --from=REV", "one of them");
                if (parsed.GetValue(recompress) && (parsed.GetValue(inline) || parsed.GetValue(file) is not null))
                    throw new Finding("--recompress puts a second delta beside the usual one, and --inline and --filename make one file", "leave one of them out");
                Checksum? source = parsed.GetValue(empty) ? null : repository.Resolve(parsed.GetValue(from) ?? target + "^");
                var name = new DeltaName(source, repository.Resolve(target));
                if (parsed.GetValue(unless) && repository.HasDelta(name))
                {
                    Console.Out.WriteLine($"Delta {name} already exists.");
                    return 0;
                }

                var options = new DeltaOptions
                {
                    MinimumFallback = parsed.GetValue(fallback) * Megabyte,
                    MaximumDifference = parsed.GetValue(difference) * Megabyte,
                    MaximumPart = parsed.GetValue(chunk) * Megabyte,
                    Differences = !parsed.GetValue(noDifferences),
                    Inline = parsed.GetValue(inline),
                    BigEndian = IsBig(parsed.GetValue(endianness)) ^ parsed.GetValue(swap),
                    FileName = parsed.GetValue(file),
                    Sign = sign.Signer(parsed),
                    Recompress = parsed.GetValue(recompress),
                };
                Console.Out.Write($"Generating static delta:\n  From: {source?.ToString() ?? "empty"}\n  To:   {name.To}\n");
                using var line = new ProgressLine(new Speaker(json: false));
                DeltaReport report = repository.MakeDelta(
                    name, options, new Reporter<DeltaProgress>(at => line.Update($"{at.Done}/{at.Total} objects; {Amount.OfBytes(at.Bytes)} compared{(at.ToPack > 0 ? $"; {100 * at.Packed / at.ToPack} % packed" : "")}")), cancel);
                line.Dispose();
                SayJson(name, report);
                if (!parsed.AsJson())
                    Say(report);
                return 0;
            });
    }

    private static void SayJson(DeltaName name, DeltaReport report) => JsonAnswers.Say(writer =>
    {
        writer.WriteString("delta", $"{name}");
        writer.WriteNumber("modified", report.Modified);
        writer.WriteNumber("newMetadata", report.NewMetadata);
        writer.WriteNumber("newFiles", report.NewFiles);
        writer.WriteNumber("newSymlinks", report.NewSymlinks);
        writer.WriteNumber("parts", report.Parts.Count);
        writer.WriteNumber("fallbacks", report.Fallbacks.Count);
        writer.WriteNumber("differences", report.Differences);
        writer.WriteNumber("size", report.Size);
        writer.WriteNumber("recompressed", report.Recompressed);
        writer.WriteNumber("recompressedSize", report.RecompressedSize);
        writer.WriteNumber("uncompressedSize", report.UncompressedSize);
    });

    private static bool IsBig(string? order) => order switch
    {
        null or "l" => false,
        "B" => true,
        _ => throw new Finding($"Invalid endianness '{order}'", "--set-endianness=l or --set-endianness=B"),
    };

    // In libostree's words, on stderr as there: scripts look for them.
    private static void Say(DeltaReport report)
    {
        Console.Error.WriteLine($"modified: {report.Modified}");
        Console.Error.WriteLine($"new reachable: metadata={report.NewMetadata} content regular={report.NewFiles} symlink={report.NewSymlinks}");
        foreach (DeltaFallback fallback in report.Fallbacks)
            Console.Error.WriteLine($"fallback for {fallback.Name.Checksum} ({Amount.Decimal((long)fallback.UncompressedSize)})");
        for (int i = 0; i < report.Parts.Count; i++)
            Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"part {i + 1} n:{report.Parts[i].Objects.Count} compressed:{report.Parts[i].Size} uncompressed:{report.Parts[i].UncompressedSize}"));
        Console.Error.WriteLine($"uncompressed={report.UncompressedSize} compressed={report.Size} loose={report.LooseSize}");
        Console.Error.WriteLine($"rollsum={report.Copied} objects, {report.CopiedBytes} bytes");
        Console.Error.WriteLine($"bsdiff={report.Differences} objects");
        if (report.Recompressed > 0)
            Console.Error.WriteLine($"recompressed={report.Recompressed} objects, compressed={report.RecompressedSize} in place of {report.Size}");
    }
}
