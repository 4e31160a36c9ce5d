using System.Text;
using CsCheck;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>
/// A thousand random trees, committed by real ostree and by us: the same commit each time, or both refuse; at the end the same objects, byte for byte.
/// A failure prints its seed (CsCheck_Seed=... repeats it) and the smallest tree that CsCheck found.
/// </summary>
public sealed class DifferentialTests
{
    private const int CasesEach = 250;
    private static readonly string[] Names = ["a", "b", "a0", "A", "z", ".hidden", "with space", "ünï", "日本", "-dash", "new\nline", "quote'\"", "\uDC80", "x", "y", "deep"];
    private static readonly Gen<string> AnyName = Gen.Frequency((60, Gen.OneOf([.. Names.Where(static name => name != "\uDC80")])), (1, Gen.Const("\uDC80")));

    private static readonly Gen<Item> AnyItem = Gen.Select(
        AnyName.List[1, 3], Gen.OneOf('f', 'f', 'f', 'd', 'l', 'h'), Gen.OneOf<uint>(0x1A4, 0x1ED, 0x180, 0x9ED, 0x5ED, 0x3FF, 0, 0x124, 0x1FF),
        Gen.OneOf<uint>(0, 0, 0, 1, 1000, 65534), Gen.OneOf(0, 1, 5, 4096, 100_000, 1_048_576, 1_048_577), Gen.Int[0, 3], Gen.Int[0, 2]).Select(
        static (path, kind, mode, owner, size, salt, xattrs) => new Item(string.Join('/', path), kind, mode, owner, size, salt, xattrs));

    private static readonly Gen<Case> AnyCase = Gen.Select(
        AnyItem.List[0, 10], Gen.Bool, Gen.OneOf(0, 0, 0, 1, 2, 3, 4)).Select(static (items, subject, flags) => new Case(items, subject ? "a subject" : "", flags));

    [Theory, Trait("Category", "Slow")]
    [InlineData(RepositoryMode.Bare)]
    [InlineData(RepositoryMode.Archive)]
    [InlineData(RepositoryMode.BareUser)]
    [InlineData(RepositoryMode.BareUserOnly)]
    public void Any_tree_is_the_same_commit_and_the_same_objects_as_ostree_makes(RepositoryMode mode)
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], mode);
        ours.Fsync = false;
        // One for each thread: two of ostree's processes at once in one repository trip over each other's staging directories.
        var theirs = new System.Collections.Concurrent.ConcurrentDictionary<int, string>();
        var commits = new System.Collections.Concurrent.ConcurrentBag<(string Repository, string Commit)>();
        int made = 0, agreed = 0, refused = 0;
        AnyCase.Sample(
            each =>
            {
                string tree = scratch[$"tree-{Interlocked.Increment(ref made)}"];
                each.Make(tree);
                string own = theirs.GetOrAdd(Environment.CurrentManagedThreadId, id =>
                {
                    Judge.Ostree.Run("init", $"--repo={scratch[$"theirs-{id}"]}", $"--mode={mode.Name()}");
                    return scratch[$"theirs-{id}"];
                });
                Verdict verdict = Judge.Ostree.Ask(["commit", $"--repo={own}", "--orphan", "--fsync=false", "--timestamp=@1700000000", $"--subject={each.Subject}", .. each.Flags, $"--tree=dir={tree}"]);
                string? mine = Commit(ours, tree, each, out string why);
                using (Dir parent = Dir.Open(scratch.Root))
                    parent.RemoveAll(Path.GetFileName(tree));
                if (mine is not null)
                    commits.Add((own, mine));
                Interlocked.Increment(ref mine is null ? ref refused : ref agreed);
                string? real = verdict.ExitCode == 0 ? verdict.Output.Trim() : null;
                Assert.True(mine == real, $"ostree: {real ?? verdict.Error} ours: {mine ?? why}\n{each}");
            },
            iter: CasesEach, threads: Math.Clamp(Environment.ProcessorCount, 1, 4));
        Assert.True(agreed > CasesEach / 2, $"{agreed} trees were committed, {refused} refused: too few to prove anything");
        foreach (IGrouping<string, string> own in commits.GroupBy(static each => each.Repository, static each => each.Commit))
            CompareObjects(ours, own.Key, own);
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={ours.Path}"));
    }

    private static string? Commit(Repository repository, string tree, Case each, out string why)
    {
        try
        {
            why = "";
            return repository.CommitDirectory(tree, each.Options).ToString();
        }
        catch (RepositoryException refused)
        {
            why = refused.Message;
            return null;
        }
    }

    // Compressed bytes depend on the compressor; their names say what is in them, and fsck that it is.
    private static void CompareObjects(Repository ours, string theirs, IEnumerable<string> commits)
    {
        using Repository real = Repository.Open(theirs);
        HashSet<ObjectName> all = [.. commits.Distinct().SelectMany(commit => ours.ObjectsOf(Checksum.Parse(commit)))];
        Assert.All(all, name => Assert.True(real.Has(name), $"{name} is ours alone"));
        foreach (ObjectName name in all.Where(name => name.Type != ObjectType.File || ours.Mode != RepositoryMode.Archive))
        {
            string path = name.LoosePath(ours.Mode);
            Assert.Equal(Describe(real.Objects.Dir, path), Describe(ours.Objects.Dir, path));
        }
    }

    private static string Describe(Dir objects, string path)
    {
        FileStat stat = objects.Stat(path);
        string content = stat.IsSymlink ? objects.ReadLink(path) : Checksum.Of(objects.ReadAll(path)).ToString();
        return $"{path} {new Mode(stat.Mode)} {stat.Uid}:{stat.Gid} {(stat.IsRegular ? stat.ModifiedSeconds == 0 || path.Contains(".dir", StringComparison.Ordinal) || path.Contains(".commit", StringComparison.Ordinal) : true)} {content} {XattrList.From(Xattrs.Read(objects, path))}";
    }

    /// <summary>One thing in a tree: a file, directory, link, or another name of the first file.</summary>
    private sealed record Item(string Path, char Kind, uint Mode, uint Owner, int Size, int Salt, int XattrCount);

    /// <summary>A tree, and how it is committed.</summary>
    private sealed record Case(List<Item> Items, string Subject, int How)
    {
        public string[] Flags => How switch { 1 => ["--canonical-permissions"], 2 => ["--no-xattrs"], 3 => ["--owner-uid=7", "--owner-gid=8"], 4 => ["--mode-ro-executables"], _ => [] };

        public CommitOptions Options => new()
        {
            Subject = Subject,
            Timestamp = DateTimeOffset.FromUnixTimeSeconds(1_700_000_000),
            NoParent = true,
            CanonicalPermissions = How == 1,
            NoXattrs = How == 2,
            OwnerUid = How == 3 ? 7 : null,
            OwnerGid = How == 3 ? 8 : null,
            ReadOnlyExecutables = How == 4,
        };

        /// <summary>Puts it on the disk; what has no place there (a file where a directory is) is left out.</summary>
        public void Make(string tree)
        {
            Directory.CreateDirectory(tree);
            using Dir root = Dir.Open(tree);
            string? first = null;
            foreach (Item item in Items)
            {
                try
                {
                    if (System.IO.Path.GetDirectoryName(item.Path) is { Length: > 0 } parent)
                        root.MakeDirs(parent);
                    Make(root, item, ref first);
                }
                catch (LinuxException taken) when (taken.Errno is Errno.EEXIST or Errno.ENOTDIR or Errno.EISDIR or Errno.ELOOP or Errno.ENOENT or Errno.ENAMETOOLONG)
                {
                    // Two items of one name: the first one stays.
                }
            }
        }

        public override string ToString() => $"{string.Join(' ', Flags)}\n{string.Join('\n', Items)}";

        private static void Make(Dir root, Item item, ref string? first)
        {
            switch (item.Kind)
            {
                case 'd':
                    root.MakeDir(item.Path);
                    root.ChangeMode(item.Path, item.Mode | 0x1C0);
                    break;
                case 'l':
                    root.Symlink(new string((char)('a' + item.Salt), Math.Clamp(item.Size, 1, 4095)), item.Path);
                    break;
                case 'h' when first is not null:
                    root.TryLink(first, root, item.Path);
                    break;
                default:
                    byte[] content = Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat($"{item.Salt} all work and no play\n", (item.Size / 20) + 1)))[..item.Size];
                    Scratch.Write(root, item.Path, content, item.Mode, item.Owner, item.Owner);
                    first ??= item.Path;
                    for (int i = item.XattrCount; i > 0; i--)
                        Xattrs.Set(root, item.Path, new Xattr($"user.x{i}", [0, (byte)item.Salt, 255]));
                    break;
            }
        }
    }
}
