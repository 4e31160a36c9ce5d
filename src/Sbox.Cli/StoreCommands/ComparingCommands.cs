using System.CommandLine;
using Sbox.Cli.Help;
using Sbox.Codecs;
using Sbox.Store;

namespace Sbox.Cli.StoreCommands;

/// <summary>Commands that compare: diff and checksum.</summary>
internal static class ComparingCommands
{
    public static Command Diff()
    {
        var from = new Argument<string>("REV") { Description = "The revision to start from; alone, it is compared with its parent. Or a directory (with a / in its name), to compare with another" };
        var to = new Argument<string?>("TARGETDIR") { Description = "A revision, or a directory on disk (with a / in its name)", Arity = ArgumentArity.ZeroOrOne };
        var stats = new Option<bool>("--stats") { Description = "Count the objects of both and what they share, in place of the paths" };
        var fs = new Option<bool>("--fs-diff") { Description = "List the paths, also with --stats" };
        var noXattrs = new Option<bool>("--no-xattrs") { Description = "Do not compare extended attributes of files on disk" };
        var uid = new Option<uint?>("--owner-uid") { Description = "Take files on disk as this user's", HelpName = "UID" };
        var gid = new Option<uint?>("--owner-gid") { Description = "Take files on disk as this group's", HelpName = "GID" };
        return new DocumentedCommand("diff", "Compare a revision with another, or with a directory") { Examples = [new Example("What changed since the commit before", "ostree --repo=repo diff main")] }
            .With(from, to, stats, fs, noXattrs, uid, gid).OnRepository((parsed, repository, cancel) =>
            {
                string? given = parsed.GetValue(to);
                string source = given is null ? parsed.GetValue(from)! + "^" : parsed.GetValue(from)!, target = given ?? parsed.GetValue(from)!;
                bool wantsStats = parsed.GetValue(stats);
                if (IsPath(source))
                {
                    Print(Repository.Diff(source, target, new FileIdentity(parsed.GetValue(uid), parsed.GetValue(gid), !parsed.GetValue(noXattrs)), cancel), source, target);
                    return 0;
                }

                Checksum first = repository.Resolve(source);
                if (!wantsStats || parsed.GetValue(fs))
                {
                    var how = new FileIdentity(parsed.GetValue(uid), parsed.GetValue(gid), !parsed.GetValue(noXattrs));
                    Print(IsPath(target)
                        ? repository.Diff(first, target, how, cancel)
                        : repository.Diff(first, repository.Resolve(target), cancel), source, target);
                }

                if (wantsStats)
                    PrintStats(repository, first, repository.Resolve(target), cancel);
                return 0;
            });
    }

    public static Command Checksum()
    {
        var path = new Argument<string>("PATH") { Description = "A file, symbolic link or directory" };
        var ignore = new Option<bool>("--ignore-xattrs") { Description = "Leave extended attributes out" };
        Command command = new DocumentedCommand("checksum", "Print the checksum that a file or directory would have in a repository").With(path, ignore);
        command.WithVerbose();
        command.SetAction(parsed =>
        {
            string found = $"{new FileIdentity(Xattrs: !parsed.GetValue(ignore)).Of(parsed.GetValue(path)!)}";
            Console.Out.WriteLine(!parsed.AsJson() ? found : Terminal.Speaker.JsonLine(writer =>
            {
                writer.WriteString("path", parsed.GetValue(path)!);
                writer.WriteString("checksum", found);
            }));
            return 0;
        });
        return command;
    }

    // As libostree tells them apart: no ref begins with either.
    private static bool IsPath(string text) => text.StartsWith('/') || text.StartsWith("./", StringComparison.Ordinal);

    // As libostree: what lies on disk has no slash before it. What is modified or removed is the source's, what is added the target's.
    private static void Print(TreeDiff diff, string source, string target)
    {
        string before = IsPath(source) ? "" : "/", after = IsPath(target) ? "" : "/";
        foreach ((char letter, string root, IReadOnlyList<string> paths) in new[] { ('M', before, diff.Modified), ('D', before, diff.Removed), ('A', after, diff.Added) })
        {
            foreach (string path in paths)
            {
                Console.Out.WriteLine($"{letter}    {root}{path.TrimStart('/')}");
                JsonAnswers.Say(writer =>
                {
                    writer.WriteString("change", letter switch { 'M' => "modified", 'D' => "removed", _ => "added" });
                    writer.WriteString("path", path);
                });
            }
        }
    }

    private static void PrintStats(Repository repository, Checksum from, Checksum to, CancellationToken cancel)
    {
        IReadOnlySet<ObjectName> a = repository.ObjectsOf(from, cancel), b = repository.ObjectsOf(to, cancel);
        List<ObjectName> common = [.. a.Where(b.Contains)];
        Console.Out.WriteLine($"[A] Object Count: {a.Count}\n[B] Object Count: {b.Count}");
        Console.Out.WriteLine($"Common Object Count: {common.Count}");
        Console.Out.WriteLine($"Common Object Size: {Terminal.Amount.Decimal(common.Sum(repository.StoredSize))}");
    }
}
