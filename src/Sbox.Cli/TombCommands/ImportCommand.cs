using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Tomb;

namespace Sbox.Cli.TombCommands;

/// <summary><c>sbox tomb import</c>: what is kept in another way comes into the tomb. What it came from is only read, but for the lock that restic asks for in a repository.</summary>
internal static class ImportCommand
{
    public static Command Make()
    {
        var source = new Argument<string>("SOURCE") { Description = "A directory of plain files; a restic repository, as a directory or sftp:, rest:, s3: URL, or @NAME for a table of the settings file; or a tomb of dyne's" };
        var password = new Option<string?>("--from-password-file") { Description = "A file whose first line is the password of the restic repository; without it, the terminal is asked", HelpName = "FILE" };
        var key = new Option<string?>("--key") { Description = "The key of a tomb of dyne's; FILE.key beside it, where it is not said", HelpName = "FILE" };
        var keyPassword = new Option<string?>("--key-password-file") { Description = "A file whose first line is the password of that key; without it, the terminal is asked", HelpName = "FILE" };
        return new DocumentedCommand("import", "Take a plain home, the snapshots of a restic repository, or a tomb of dyne's into the tomb")
        {
            Details =
            [
                "A plain directory is saved as sbox tomb save does it, and then read once more, from end to end, to see that the tomb holds it as it is: a file that changed meanwhile is told, with exit status 1.",
                "Of a restic repository every snapshot is taken over, each blob verified and sealed under this tomb's key; those of an earlier import are not taken again. While it is read it has a lock of ours, as restic asks for, so it must be writable. Cut short, the same command goes on. "
                + "A repository need not be imported to be used: it is a tomb already, for --tomb.",
                "A tomb of dyne's is a disk in a file, with its key in another, sealed by gpg. It is deciphered and mounted read-only, as root, for the time of the import, without dm-crypt and without dyne's tools, and imported as a directory is. "
                + "One that was not closed is refused: dyne's tomb opens and closes it. A key in a picture, or hardened by a KDF, needs dyne's tools first.",
            ],
            Examples =
            [
                new Example("A home that was not in a tomb", "sbox tomb import /home/me"),
                new Example("Years of backups", "sbox tomb import sftp:me@host:/srv/restic --from-password-file old-password"),
                new Example("A tomb of dyne's", "sudo sbox tomb --tomb /media/stick/tomb import secret.tomb --key secret.tomb.key"),
            ],
        }.With(source, password, key, keyPassword).OnTomb(async (parsed, session, cancel) =>
        {
            string from = parsed.GetValue(source)!;
            await using TombLock held = await TombLock.Take(session.Repository, exclusive: false, TimeProvider.System, cancel);
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel, held.Lost);
            await session.Readable(wantsNewest: false, stop.Token); // a damaged one is no reason to import nothing
            await session.Repository.LoadIndex(stop.Token);
            if (IsRepository(from))
                return await Repository(parsed, session, from, parsed.GetValue(password), stop.Token);
            if (DyneTomb.IsOne(from))
                return await Dyne(session, from, parsed.GetValue(key) ?? $"{from}.key", parsed.GetValue(keyPassword), stop.Token);
            return Directory.Exists(from) ? await Plain(session, Path.GetFullPath(from), stop.Token)
                : throw new Finding($"{from}: there is no such directory, nor a tomb of dyne's", "A directory of plain files, a restic repository, or a tomb of dyne's: sbox tomb import --help");
        });
    }

    private static bool IsRepository(string from) => from.StartsWith('@') || from.StartsWith("sftp:", StringComparison.Ordinal) || from.StartsWith("rest:", StringComparison.Ordinal)
        || from.StartsWith("s3:", StringComparison.Ordinal) || (File.Exists(Path.Combine(from, "config")) && Directory.Exists(Path.Combine(from, "keys")) && Directory.Exists(Path.Combine(from, "data")));

    private static async Task<int> Dyne(TombSession session, string from, string keyFile, string? passwordFile, CancellationToken cancel)
    {
        using SecretMemory password = passwordFile is not null ? TombSession.Checked(SecretFile.FirstLine(passwordFile), passwordFile) : SecretPrompt.Ask($"Password of {keyFile}: ", twice: false);
        using DyneTomb tomb = DyneTomb.Open(from, keyFile, password);
        return await Plain(session, tomb.Place, cancel);
    }

    private static async Task<int> Plain(TombSession session, string from, CancellationToken cancel)
    {
        var options = new SaveOptions
        {
            Paths = [from.Length > 1 ? from.TrimEnd('/') : from], Excludes = new Excludes([]), Tags = [], Hostname = Environment.MachineName, ProgramVersion = $"sbox {ProgramVersion.Text}", ReadAll = true,
        };
        using var line = new ProgressLine(session.Speaker);
        SaveReport report = await Saver.Save(session.Repository, null, options, TimeProvider.System, new Reporter<SaveProgress>(at => line.Update($"{at.Files} files, {Amount.OfBytes(at.BytesRead)} read  {at.Path}")), cancel);
        TombSession.Memory.Remember(session.Repository, report.Snapshot!);
        SaveReport again = await Saver.Save(
            session.Repository, null, options with { DryRun = true }, TimeProvider.System, new Reporter<SaveProgress>(at => line.Update($"{at.Files} files, {Amount.OfBytes(at.BytesRead)} read again  {at.Path}")), cancel);
        line.Dispose();
        foreach (Unsaved each in report.Unsaved)
            Speaker.Complain($"not imported: {each.Path}: {each.Reason}");
        bool same = again.SavedTrees.GetValueOrDefault(options.Paths[0]) == report.SavedTrees.GetValueOrDefault(options.Paths[0]);
        session.Speaker.Answer($"imported {from} as snapshot {report.Snapshot!.Id.ToString()[..8]}: {report.FilesNew} files, {Amount.OfBytes(report.BytesTotal)}{(same ? ", verified" : "")}", json =>
        {
            json.WriteString("snapshot", report.Snapshot.Id.ToString());
            json.WriteNumber("files", report.FilesNew);
            json.WriteNumber("bytes", report.BytesTotal);
            json.WriteNumber("unread", report.Unsaved.Count);
            json.WriteBoolean("verified", same);
        });
        if (!same)
            throw new Finding($"{from}: something there changed while it was imported, so it could not be verified", "The same command again saves and verifies what it is now");
        return report.Unsaved.Count > 0 ? TombCommandSet.Incomplete : 0;
    }

    private static async Task<int> Repository(ParseResult parsed, TombSession session, string from, string? passwordFile, CancellationToken cancel)
    {
        await using TombSession other = TombSession.At(parsed, from);
        using SecretMemory password = passwordFile is not null ? TombSession.Checked(SecretFile.FirstLine(passwordFile), passwordFile) : SecretPrompt.Ask($"Password of {other.Backend.Location}: ", twice: false);
        await using TombRepository theirs = await TombRepository.Open(other.Backend, password, cancel);
        if (theirs.Config.Id == session.Repository.Config.Id)
            throw new Finding($"{other.Backend.Location}: this is the same tomb", "Nothing was changed");
        await using TombLock held = await TombLock.Take(theirs, exclusive: false, TimeProvider.System, cancel);
        await theirs.LoadIndex(cancel);
        using var line = new ProgressLine(session.Speaker);
        ImportReport report = await TombImport.Run(theirs, session.Repository, TimeProvider.System, new Reporter<long>(at => line.Update($"{Amount.OfBytes(at)} read")), cancel);
        line.Dispose();
        TombSession.Memory.Remember(session.Repository, await session.Repository.ReadableSnapshots(cancel));
        foreach (DamagedFile each in report.Damaged)
            Speaker.Complain($"not imported: {other.Backend.Location}: {each.File.Path}: {each.What}");
        session.Speaker.Answer($"imported {report.Snapshots.Count} snapshots of {other.Backend.Location}, {report.Known} were here already: {report.Blobs} blobs, {Amount.OfBytes(report.Bytes)} added", json =>
        {
            json.WriteNumber("snapshots", report.Snapshots.Count);
            json.WriteNumber("known", report.Known);
            json.WriteNumber("blobs", report.Blobs);
            json.WriteNumber("bytes", report.Bytes);
            json.WriteNumber("damaged_snapshots", report.Damaged.Count);
        });
        return report.Damaged.Count > 0 ? TombCommandSet.Incomplete : 0;
    }
}
