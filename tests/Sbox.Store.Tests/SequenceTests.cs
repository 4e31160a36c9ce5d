using System.Globalization;
using System.Text;
using CsCheck;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>
/// Random sequences of commands, typed to real ostree and to the program as it is published: the same answers, the same exit codes, and at the
/// end the same repository, byte for byte. Unasked they are the same ones in every run, so that a run's answer hangs on the code alone;
/// SBOX_SEQUENCES=N looks for new ones, N in each mode, and a failure prints its seed (CsCheck_Seed=... repeats it) and the shortest sequence
/// that CsCheck found.
/// </summary>
public sealed class SequenceTests
{
    private const int Unasked = 30;
    private const ulong Seed = 20261126;
    private static readonly Gen<string> Branch = Gen.OneOf(Gen.Const("main"), Gen.Const("main"), Gen.Const("os/debian"), Gen.Const("z"), Gen.Const("nowhere")); // theirs takes a branch of hexadecimal digits for the beginning of a checksum
    private static readonly Gen<string> Revision = Gen.Select(Branch, Gen.OneOf("", "", "", "^", "^^"), static (branch, up) => branch + up);
    private static readonly Gen<string> Tree = Gen.OneOf("0", "1", "2").Select(static number => $"../trees/{number}");
    private static readonly Gen<string> PathInTree = Gen.OneOf("/", "/d", "/d/deeper", "/file", "/link", "/none", "/d/none", "file");

    private static readonly Gen<Step> Commit = Gen.Select(
        Branch.Where(static branch => branch != "nowhere"), Tree, Gen.Int[0, 9],
        Gen.OneOf([
            [], [], [], ["--canonical-permissions"], ["--owner-uid=7", "--owner-gid=8"], ["--no-xattrs"], ["--no-bindings"], ["--skip-if-unchanged"], ["--parent=none"], ["--body=more\nlines"],
            ["--add-metadata-string=version=1.2"], ["--add-detached-metadata-string=K=V"], ["--bind-ref=other"], ["--add-metadata=n=uint32 7"],
            (string[])["--mode-ro-executables"]]),
        static (branch, tree, second, more) => new Step(["commit", $"--branch={branch}", $"--timestamp=@{1700000000 + second}", $"--subject=s{second}", .. more, $"--tree=dir={tree}"]));

    private static readonly Gen<Step> Look = Gen.OneOf(
        Revision.Select(static revision => new Step(["log", revision])),
        Revision.Select(static revision => new Step(["log", "--raw", revision])),
        Revision.Select(static revision => new Step(["show", revision])),
        Revision.Select(static revision => new Step(["show", "--raw", revision])),
        Revision.Select(static revision => new Step(["show", "--list-metadata-keys", revision])),
        Revision.Select(static revision => new Step(["show", "--print-metadata-key=version", revision])),
        Revision.Select(static revision => new Step(["show", "--print-detached-metadata-key=K", revision])),
        Revision.Select(static revision => new Step(["rev-parse", revision])),
        Gen.Select(Revision, PathInTree, Gen.OneOf([[], ["-R"], ["-C"], ["-R", "-C", "-X"], ["-d"], ["-R", "--nul-filenames-only"], (string[])["-d", "-C"]]), static (revision, path, how) => new Step(["ls", .. how, revision, path])),
        Gen.Select(Revision, PathInTree, static (revision, path) => new Step(["cat", revision, path])),
        Gen.Select(Revision, Revision, static (a, b) => new Step(["diff", a, b])),
        Gen.Select(Revision, Tree, static (a, tree) => new Step(["diff", a, tree])),
        Tree.Select(static tree => new Step(["checksum", tree + "/file"])),
        Gen.OneOf([["refs"], ["refs", "--revision"], ["refs", "--list", "os"], ["refs", "os"], ["refs", "-A"], ["refs", "--collections"], ["config", "get", "core.mode"], ["config", "get", "core.none"], ["remote", "list"], (string[])["static-delta", "list"]]).Select(static words => new Step(words)),
        Gen.Const(new Step(["fsck", "--quiet"])),
        Gen.Const(new Step(["fsck"])));

    private static readonly Gen<Step> Change = Gen.OneOf(
        Gen.Select(Revision, Gen.OneOf("new", "os/new", "z", "bad name", "z/below"), static (revision, name) => new Step(["refs", $"--create={name}", revision])),
        Gen.Select(Branch, Gen.OneOf("alias", "os/alias"), static (branch, name) => new Step(["refs", "-A", $"--create={name}", branch])),
        Gen.OneOf("main", "os", "z", "new", "alias", "nowhere").Select(static name => new Step(["refs", "--delete", name])),
        Gen.Select(Branch, Revision, static (branch, revision) => new Step(["reset", branch, revision])),
        Gen.OneOf([["prune"], ["prune", "--refs-only"], ["prune", "--refs-only", "--depth=0"], ["prune", "--refs-only", "--depth=1", "--no-prune"], ["prune", "--depth=0", "--commit-only", "--refs-only"], ["prune", "--only-branch=main", "--depth=0"], ["prune", "--only-branch=main", "--depth=1"], ["prune", "--retain-branch-depth=main=1"], (string[])["prune", "--retain-branch-depth=main=0"]]).Select(static words => new Step(words)),
        Gen.Const(new Step(["prune", "--delete-commit=nowhere"])), // theirs takes checksums only
        Gen.OneOf([["config", "set", "core.x", "y"], ["config", "unset", "core.x"], ["remote", "add", "r", "http://127.0.0.1:1/"], ["remote", "add", "--if-not-exists", "r", "http://127.0.0.1:1/"], ["remote", "delete", "r"], (string[])["remote", "delete", "--if-exists", "r"]]).Select(static words => new Step(words)),
        Gen.Select(Revision, Gen.OneOf([[], ["-U"], ["--union"], ["--union-add"], ["-C"], ["--subpath=/d"], (string[])["-U", "-M"]]), Gen.Int[0, 1], static (revision, how, number) => new Step(["checkout", .. how, revision, $"out{number}"])));

    private static readonly Gen<List<Step>> Sequence = Gen.Frequency((4, Commit), (5, Look), (3, Change)).List[2, 12];

    [Theory, Trait("Category", "Slow")]
    [InlineData("bare")]
    [InlineData("archive")]
    [InlineData("bare-user")]
    public void Any_sequence_of_commands_gets_the_same_answers_and_leaves_the_same_repository_as_ostrees(string mode)
    {
        using var scratch = new Scratch();
        MakeTrees(scratch);
        string program = SourceTree.Of("out", "sbox");
        Assert.True(File.Exists(program), $"{program} is not built; ./build makes it");
        File.CreateSymbolicLink(scratch["ostree"], program);
        var rig = new Rig(scratch, mode);
        if (int.TryParse(Environment.GetEnvironmentVariable("SBOX_SEQUENCES"), CultureInfo.InvariantCulture, out int count))
            Sequence.Sample(rig.Compare, iter: count, threads: Threads, print: Written);
        else
            Parallel.For(0, count = Unasked, new ParallelOptions { MaxDegreeOfParallelism = Threads }, number => rig.Compare(Sequence.Generate(new PCG((uint)number, Seed), null, out _)));
        Assert.True(rig.Answered > count, $"only {rig.Answered} commands of {count} sequences did anything");
    }

    private static int Threads => Math.Clamp(Environment.ProcessorCount, 1, 4);

    private static string Written(List<Step> steps) => string.Join('\n', steps);

    // What went wrong is said in other words here and there; that it did, and with which exit code, is the promise.
    private static string Answer(Verdict verdict) => verdict.ExitCode == 0
        ? "0 " + string.Join('\n', verdict.Output.Split('\n').Where(static line => !line.StartsWith("fsck objects (", StringComparison.Ordinal))) // progress
        : "failed";

    private static Verdict Run(string? program, string directory, string[] words)
    {
        Directory.CreateDirectory(directory);
        return Judge.OnPath("env").Ask(["--chdir", directory, "TZ=UTC", .. program is null ? Judge.Ostree.Command : [program], .. words]);
    }

    /// <summary>All that is in the repository and beside it, but for locks, leftovers and the compressor's bytes.</summary>
    private static string Describe(string directory)
    {
        var lines = new List<string>();
        using Dir root = Dir.Open(directory);
        Add(root, "");
        lines.Sort(StringComparer.Ordinal);
        return string.Join('\n', lines);

        void Add(Dir dir, string prefix)
        {
            foreach (DirEntry entry in dir.Entries())
            {
                string path = prefix + entry.Name;
                FileStat stat = dir.Stat(entry.Name);
                if (path is "repo/tmp" or "repo/.lock" || path.Contains("uncompressed-objects-cache", StringComparison.Ordinal))
                    continue;
                bool isObject = path.StartsWith("repo/objects/", StringComparison.Ordinal);
                // Blank lines are where either program leaves them.
                string said = path == "repo/config" ? Encoding.UTF8.GetString(dir.ReadAll(entry.Name)).Replace("\n\n", "\n", StringComparison.Ordinal).TrimEnd() : stat.IsSymlink ? dir.ReadLink(entry.Name) : stat.IsRegular && !path.EndsWith(".filez", StringComparison.Ordinal) ? $"{Checksum.Of(dir.ReadAll(entry.Name))}" : "";
                // A directory that an object was in stays or goes as either program pleases.
                if (!stat.IsDirectory || !isObject)
                    lines.Add($"{path} {new Mode(stat.Mode)} {stat.Uid}:{stat.Gid} {said} {(stat.IsSymlink ? "" : XattrList.From(Xattrs.Read(dir, entry.Name)))}");
                if (!stat.IsDirectory)
                    continue;
                using Dir inner = dir.OpenDir(entry.Name);
                Add(inner, path + "/");
            }
        }
    }

    private static void MakeTrees(Scratch scratch)
    {
        for (int number = 0; number < 3; number++)
        {
            Directory.CreateDirectory(scratch[$"trees/{number}/d/deeper"]);
            using Dir root = Dir.Open(scratch[$"trees/{number}"]);
            Scratch.Write(root, "file", Encoding.UTF8.GetBytes($"file {number}\n"));
            Scratch.Write(root, "d/same", "the same\n"u8.ToArray(), 0x1ED, 3, 4);
            Scratch.Write(root, $"d/deeper/only {number}", Encoding.UTF8.GetBytes(new string('x', number * 5000)));
            root.Symlink("d/same", "link");
            Xattrs.Set(root, "d/same", new Xattr("user.n", [(byte)number]));
        }
    }

    /// <summary>Two directories for each sequence, and the same commands in both.</summary>
    private sealed class Rig(Scratch scratch, string mode)
    {
        private int made, answered;

        public int Answered => answered;

        public void Compare(List<Step> steps)
        {
            string number = $"{Interlocked.Increment(ref made)}";
            string ours = scratch[$"ours-{number}"], theirs = scratch[$"theirs-{number}"];
            string[] init = ["init", "--repo=repo", $"--mode={mode}"];
            Run(scratch["ostree"], ours, init);
            Run(null, theirs, init);
            var told = new StringBuilder($"{mode}:\n");
            foreach (Step step in steps)
            {
                // checksum is about files alone, and knows no repository.
                string[] words = step.Words[0] == "checksum" ? step.Words : [step.Words[0], "--repo=repo", .. step.Words[1..]];
                Verdict mine = Run(scratch["ostree"], ours, words), real = Run(null, theirs, words);
                told.Append(CultureInfo.InvariantCulture, $"{step} -> {real.ExitCode}\n");
                Assert.True(Answer(mine) == Answer(real), $"{told}ostree: {Answer(real)}{real.Error}\nours: {Answer(mine)}{mine.Error}");
                Interlocked.Add(ref answered, real.ExitCode == 0 ? 1 : 0);
            }

            string mineAtEnd = Describe(ours), realAtEnd = Describe(theirs);
            Assert.True(mineAtEnd == realAtEnd, $"{told}ostree:\n{realAtEnd}\nours:\n{mineAtEnd}");
            using Dir root = Dir.Open(scratch.Root);
            root.RemoveAll(Path.GetFileName(ours));
            root.RemoveAll(Path.GetFileName(theirs));
        }
    }

    /// <summary>One command, without the program's name.</summary>
    private sealed record Step(string[] Words)
    {
        public override string ToString() => string.Join(' ', Words);
    }
}
