using System.Text;
using CsCheck;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>The merge's promises for any three trees, against a model that knows only paths.</summary>
public sealed class EtcMergePropertyTests
{
    private static readonly Gen<EtcNode> AnyLeaf = Gen.Select(
        OneOf(FileKind.Regular, FileKind.Symlink), Gen.Int[0, 2], Gen.Int[0, 1],
        (kind, content, uid) => new EtcNode(
            new EtcEntry(kind, kind == FileKind.Symlink ? 0u : 0x1A4u, (uint)uid, 0, Checksum.Of(Encoding.UTF8.GetBytes($"{content}"))), EtcNode.NoChildren));

    // Few names, few contents: so that the three trees meet at every kind of corner.
    private static readonly Gen<EtcNode> AnyTree = Gen.Recursive<EtcNode>((depth, inner) =>
        Gen.Select(OneOf(0x1EDu, 0x1C0u), Gen.Dictionary(OneOf("a", "b", "c"), depth > 2 ? AnyLeaf : Gen.Frequency((2, AnyLeaf), (1, inner)))[0, 3],
            (mode, children) => new EtcNode(new EtcEntry(FileKind.Directory, depth == 0 ? 0x1EDu : mode, 0, 0, default), children)));

    [Fact]
    public void Every_change_of_the_owner_is_in_the_result() => Three((defaults, local, next) =>
    {
        IReadOnlyDictionary<string, EtcEntry> before = Flat(defaults), mine = Flat(local), result = Flat(Merged(defaults, local, next));
        foreach ((string path, EtcEntry entry) in mine.Where(each => !before.TryGetValue(each.Key, out EtcEntry old) || old != each.Value))
        {
            // Of a file, content and owner each by itself: what the owner left as it was may be the new tree's.
            EtcEntry there = Assert.Contains(path, result);
            EtcEntry? was = before.TryGetValue(path, out EtcEntry old) && old.Kind == entry.Kind ? old : null;
            Assert.Equal(entry.Kind, there.Kind);
            Assert.True(was?.Content == entry.Content || there.Content == entry.Content, path);
            Assert.True(was?.Uid == entry.Uid || there.Uid == entry.Uid, path);
        }

        foreach (string path in before.Keys.Where(path => !mine.ContainsKey(path)))
            Assert.DoesNotContain(path, result);
    });

    [Fact]
    public void Every_path_the_owner_did_not_touch_is_as_the_new_tree_has_it() => Three((defaults, local, next) =>
    {
        IReadOnlyDictionary<string, EtcEntry> before = Flat(defaults), mine = Flat(local), theirs = Flat(next), result = Flat(Merged(defaults, local, next));
        List<string> touched = [.. before.Keys.Union(mine.Keys).Where(path => Get(before, path) != Get(mine, path))];
        foreach (string path in before.Keys.Union(mine.Keys).Union(theirs.Keys))
        {
            if (Get(before, path) == Get(mine, path) && !touched.Exists(other => Related(path, other)))
                Assert.Equal(Get(theirs, path), Get(result, path));
        }
    });

    [Fact]
    public void An_owner_who_changed_nothing_gets_the_new_tree_and_a_tree_that_changed_nothing_keeps_all() => Three((defaults, local, next) =>
    {
        Assert.Empty(EtcMergePlan.Make(defaults, defaults, next).Steps);
        Assert.True(EtcNode.Same(local, Merged(defaults, local, defaults)));
        Assert.Empty(EtcMergePlan.Make(defaults, local, defaults).Conflicts);
    });

    [Fact]
    public void Conflicts_are_only_where_both_changed_something() => Three((defaults, local, next) =>
    {
        HashSet<string> mine = [.. Touched(defaults, local)], theirs = [.. Touched(defaults, next)];
        foreach (string conflict in EtcMergePlan.Make(defaults, local, next).Conflicts)
        {
            Assert.Contains(mine, path => Related(path, conflict));
            Assert.Contains(theirs, path => Related(path, conflict));
        }
    });

    private static Gen<T> OneOf<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(at => values[at]);

    private static void Three(Action<EtcNode, EtcNode, EtcNode> check) =>
        Gen.Select(AnyTree, AnyTree, AnyTree).Sample((defaults, local, next) =>
        {
            check(defaults, local, next);
            // Real trees are mostly alike: the same with the owner's tree close to the defaults.
            check(next, local, next with { Children = new Dictionary<string, EtcNode>(next.Children.Concat(defaults.Children).DistinctBy(each => each.Key)) });
        });

    private static IEnumerable<string> Touched(EtcNode before, EtcNode after) => EtcDiff.Between(before, after).Select(change => change.Path);

    private static bool Related(string a, string b) =>
        a == b || a.StartsWith(b + "/", StringComparison.Ordinal) || b.StartsWith(a + "/", StringComparison.Ordinal);

    private static EtcEntry? Get(IReadOnlyDictionary<string, EtcEntry> tree, string path) => tree.TryGetValue(path, out EtcEntry entry) ? entry : null;

    /// <summary>The plan carried out on the model: a map from path to entry, to which each step does the obvious.</summary>
    private static EtcNode Merged(EtcNode defaults, EtcNode local, EtcNode next)
    {
        Dictionary<string, EtcEntry> tree = new(Flat(next));
        IReadOnlyDictionary<string, EtcEntry> mine = Flat(local);
        foreach (EtcStep step in EtcMergePlan.Make(defaults, local, next).Steps)
        {
            string parent = step.Path.Contains('/') ? step.Path[..step.Path.LastIndexOf('/')] : "";
            switch (step.Action)
            {
                case EtcAction.Remove:
                    Assert.Contains(step.Path, tree);
                    foreach (string path in tree.Keys.Where(path => path == step.Path || path.StartsWith(step.Path + "/", StringComparison.Ordinal)).ToList())
                        tree.Remove(path);
                    break;
                case EtcAction.Combine:
                    Assert.Equal((FileKind.Regular, FileKind.Regular), (tree[step.Path].Kind, step.Result.Kind));
                    tree[step.Path] = step.Result;
                    break;
                default:
                    Assert.True(parent.Length == 0 || tree[parent].Kind == FileKind.Directory, $"{step.Path}: no directory to put it in");
                    Assert.False(step.Action == EtcAction.CopyLeaf && Get(tree, step.Path)?.Kind == FileKind.Directory, $"{step.Path}: a directory is in the way");
                    tree[step.Path] = mine[step.Path];
                    break;
            }
        }

        return Unflatten(next.Entry, "", tree);
    }

    private static EtcNode Unflatten(EtcEntry entry, string path, Dictionary<string, EtcEntry> tree) => new(entry, tree.Keys
        .Where(key => key.Length > path.Length && key.StartsWith(path.Length == 0 ? "" : path + "/", StringComparison.Ordinal)
            && !key[(path.Length == 0 ? 0 : path.Length + 1)..].Contains('/'))
        .ToDictionary(key => key[(path.Length == 0 ? 0 : path.Length + 1)..], key => Unflatten(tree[key], key, tree)));

    private static IReadOnlyDictionary<string, EtcEntry> Flat(EtcNode root)
    {
        var flat = new Dictionary<string, EtcEntry>();
        void Add(string path, EtcNode node)
        {
            foreach ((string name, EtcNode child) in node.Children)
            {
                string full = path.Length == 0 ? name : $"{path}/{name}";
                flat.Add(full, child.Entry);
                Add(full, child);
            }
        }

        Add("", root);
        return flat;
    }
}
