using System.CommandLine;
using System.Globalization;
using System.Text;
using Sbox.Cli.Help;
using Sbox.Cli.Terminal;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary><c>static-delta</c>: makes, applies, lists, shows and deletes static deltas.</summary>
internal static class DeltaCommands
{
    public static Command Make()
    {
        var delta = new DocumentedCommand("static-delta", "Make, apply and look at static deltas: all that one commit needs beyond another, in a few files");
        foreach (Command each in (Command[])[List(), Show(), Delete(), DeltaGenerateCommand.Make(), Apply(), Verify(), Indexes(), Reindex()])
            delta.Subcommands.Add(each);
        return delta;
    }

    private static Command List() => new DocumentedCommand("list", "List the deltas that there are").OnRepository((_, repository, _) =>
    {
        string[] names = [.. repository.Deltas().Select(static name => $"{name}").Order(StringComparer.Ordinal)];
        SayEach("delta", names);
        Console.Out.WriteLine(names.Length == 0 ? "(No static deltas)" : string.Join('\n', names));
        return 0;
    });

    private static Command Indexes() => new DocumentedCommand("indexes", "List the commits of which a list says by which deltas they can be had").OnRepository((_, repository, _) =>
    {
        string[] names = [.. repository.DeltaIndexes().Select(static to => $"{to}").Order(StringComparer.Ordinal)];
        SayEach("commit", names);
        Console.Out.WriteLine(names.Length == 0 ? "(No static deltas indexes)" : string.Join('\n', names));
        return 0;
    });

    private static Command Reindex()
    {
        var to = new Option<string?>("--to") { Description = "Only the list of this commit", HelpName = "REV" };
        return new DocumentedCommand("reindex", "Write anew the lists by which a pull finds deltas").With(to).OnRepository((parsed, repository, cancel) =>
        {
            string? rev = parsed.GetValue(to);
            if (rev is not null && !Checksum.TryParse(rev, out _))
                throw new Finding($"Invalid rev {rev}", "--to=CHECKSUM, the 64 digits of a commit");
            repository.ReindexDeltas(rev is null ? null : Checksum.Parse(rev), cancel);
            return 0;
        });
    }

    private static Command Delete()
    {
        Argument<string> name = Named();
        return new DocumentedCommand("delete", "Delete a delta").With(name).OnRepository((parsed, repository, _) => repository.DeleteDelta(DeltaName.Parse(parsed.GetValue(name)!))
            ? 0
            : throw new Finding($"Can't find delta {parsed.GetValue(name)}", "static-delta list lists those that there are"));
    }

    private static Command Show()
    {
        Argument<string> name = Named();
        return new DocumentedCommand("show", "Show what is in a delta").With(name).OnRepository((parsed, repository, _) =>
        {
            string id = parsed.GetValue(name)!;
            byte[] bytes = repository.ReadSuperblock(id);
            DeltaSuperblock superblock = DeltaSuperblock.Parse(bytes);
            Say(superblock);
            Console.Out.Write(Describe(id, superblock));
            for (int i = 0; i < superblock.Parts.Count; i++)
                Console.Out.Write(Describe(i, superblock.Parts[i], repository.ReadDeltaPart(superblock, i)));
            Console.Out.Write(Totals(superblock));
            return 0;
        });
    }

    private static Command Apply()
    {
        var path = new Argument<string>("PATH") { Description = "The delta: its directory, or its file where all of it is in one" };
        var keys = new Argument<string[]>("KEY-ID") { Description = "Public keys; one of them must have signed the delta (as ostree: if anybody did)", Arity = ArgumentArity.ZeroOrMore };
        var trust = new DeltaTrustOptions();
        return new DocumentedCommand("apply-offline", "Add what a delta on disk makes to the repository").With([path, keys, .. trust.All]).OnRepository((parsed, repository, cancel) =>
        {
            repository.ApplyDelta(parsed.GetValue(path)!, signed => trust.RequireTrust(parsed, repository, signed, parsed.GetValue(keys)!), cancel);
            return 0;
        });
    }

    private static Command Verify()
    {
        Argument<string> name = Named();
        var keys = new Argument<string[]>("KEY-ID") { Description = "Public keys", Arity = ArgumentArity.ZeroOrMore };
        var trust = new DeltaTrustOptions();
        return new DocumentedCommand("verify", "Check who signed a delta").With([name, keys, .. trust.All]).OnRepository((parsed, repository, _) =>
        {
            byte[] superblock = repository.ReadSuperblock(parsed.GetValue(name)!);
            try
            {
                trust.Verify(parsed, superblock, parsed.GetValue(keys)!);
            }
            catch (SignatureException)
            {
                Console.Out.WriteLine("Verification fails");
                throw;
            }

            Console.Out.WriteLine("Verification OK");
            return 0;
        });
    }

    // None is an answer too, of no lines.
    private static void SayEach(string kind, string[] names)
    {
        foreach (string name in names)
            JsonAnswers.Say(writer => writer.WriteString(kind, name));
    }

    private static void Say(DeltaSuperblock superblock) => JsonAnswers.Say(writer =>
    {
        writer.WriteString("delta", $"{superblock.Name}");
        if (superblock.Name.From is { } from)
            writer.WriteString("from", $"{from}");
        writer.WriteString("to", $"{superblock.Name.To}");
        writer.WriteBoolean("signed", superblock.Signatures is not null);
        writer.WriteString("endianness", $"{superblock.Endianness}");
        writer.WriteNumber("timestamp", superblock.Timestamp);
        writer.WriteNumber("fallbacks", superblock.Fallbacks.Count);
        writer.WriteStartArray("parts");
        foreach (DeltaPartHeader part in superblock.Parts)
        {
            writer.WriteStartObject();
            writer.WriteNumber("objects", part.Objects.Count);
            writer.WriteNumber("size", part.Size);
            writer.WriteNumber("uncompressedSize", part.UncompressedSize);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    });

    private static Argument<string> Named() => new("DELTA") { Description = "The delta: FROM-TO, or TO of one from nothing; two checksums" };

    private static string Describe(string id, DeltaSuperblock superblock)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"Delta: {id}\nSigned: {(superblock.Signatures is null ? "no" : "yes")}\n");
        text.Append(superblock.Name.From is { } from ? $"From: {from}\n" : "From <scratch>\n");
        text.Append(CultureInfo.InvariantCulture, $"To: {superblock.Name.To}\nEndianness: {superblock.Endianness}\nTimestamp: {superblock.Timestamp}\n");
        text.Append(CultureInfo.InvariantCulture, $"Number of parents: {superblock.Parents}\nNumber of fallback entries: {superblock.Fallbacks.Count}\n");
        foreach (DeltaFallback fallback in superblock.Fallbacks)
            text.Append(CultureInfo.InvariantCulture, $"  {fallback.Name.Checksum}\n");
        text.Append(CultureInfo.InvariantCulture, $"Total Fallback Size: {Sized(FallbackSizes(superblock).Size)}\nTotal Fallback Uncompressed Size: {Sized(FallbackSizes(superblock).Uncompressed)}\n");
        return text.Append(CultureInfo.InvariantCulture, $"Number of parts: {superblock.Parts.Count}\n").ToString();
    }

    private static string Describe(int index, DeltaPartHeader part, DeltaPartContent content)
    {
        DeltaOperationCounts operations = content.Operations;
        return string.Create(CultureInfo.InvariantCulture, $"""
            PartMeta{index}: nobjects={part.Objects.Count} size={part.Size} usize={part.UncompressedSize}
            PartPayload{index}: nmodes={content.Modes} nxattrs={content.Xattrs} blobsize={content.RawSize} opsize={content.OperationsSize}
            PartPayloadOps{index}: openspliceclose={operations.Whole} open={operations.Open} write={operations.Write} setread={operations.SetSource} unsetread={operations.UnsetSource} close={operations.Close} bspatch={operations.Patch}

            """);
    }

    private static string Totals(DeltaSuperblock superblock)
    {
        (ulong size, ulong uncompressed) = (0, 0);
        foreach (DeltaPartHeader part in superblock.Parts)
            (size, uncompressed) = (size + part.Size, uncompressed + part.UncompressedSize);
        (ulong fallback, ulong fallbackUncompressed) = FallbackSizes(superblock);
        return $"Total Part Size: {Sized(size)}\nTotal Part Uncompressed Size: {Sized(uncompressed)}\n" +
            $"Total Size: {Sized(size + fallback)}\nTotal Uncompressed Size: {Sized(uncompressed + fallbackUncompressed)}\n";
    }

    private static (ulong Size, ulong Uncompressed) FallbackSizes(DeltaSuperblock superblock)
    {
        (ulong size, ulong uncompressed) = (0, 0);
        foreach (DeltaFallback fallback in superblock.Fallbacks)
            (size, uncompressed) = (size + fallback.Size, uncompressed + fallback.UncompressedSize);
        return (size, uncompressed);
    }

    private static string Sized(ulong bytes) => $"{bytes} ({Amount.Decimal((long)Math.Min(bytes, long.MaxValue))})";
}
