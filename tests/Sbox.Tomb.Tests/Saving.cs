using System.Text;
using Sbox.Linux;

namespace Sbox.Tomb.Tests;

/// <summary>Saves as the program does: a lock, the index, the parent.</summary>
internal static class Saving
{
    public static async Task<SaveReport> Save(TombRepository tomb, params string[] paths)
    {
        CancellationToken cancel = TestContext.Current.CancellationToken;
        await using TombLock held = await TombLock.Take(tomb, exclusive: false, TimeProvider.System, cancel);
        IReadOnlyList<Snapshot> snapshots = await tomb.Snapshots(cancel);
        await tomb.LoadIndex(cancel);
        var options = new SaveOptions { Paths = paths };
        return await Saver.Save(tomb, Saver.ParentFor(snapshots, options), options, TimeProvider.System, null, cancel);
    }

    /// <summary>The tree of a path in a snapshot: the directories above it are everybody's, and change under the test.</summary>
    public static async Task<Codecs.Checksum> TreeOf(TombRepository tomb, Codecs.Checksum tree, string path)
    {
        foreach (string name in path.Split('/', StringSplitOptions.RemoveEmptyEntries))
            tree = (await tomb.LoadTree(tree, TestContext.Current.CancellationToken)).Find(name)!.Subtree!.Value;
        return tree;
    }
}

/// <summary>Whether two directories hold the same, by everything that a restore brings back.</summary>
internal static class TreeCompare
{
    public static void Same(string expected, string found) => Assert.Equal(Describe(expected), Describe(found));

    public static string Describe(string path)
    {
        var text = new StringBuilder();
        using Dir dir = Dir.Open(path);
        Describe(dir, "", text, []);
        return text.ToString();
    }

    private static void Describe(Dir dir, string below, StringBuilder text, Dictionary<ulong, string> seen)
    {
        foreach (DirEntry entry in dir.Entries())
        {
            FileStat stat = dir.Stat(entry.Name);
            string name = $"{below}/{entry.Name}", first = "";
            if (stat.IsRegular && stat.Links > 1 && !seen.TryAdd(stat.Inode, name))
                first = $" = {seen[stat.Inode]}";
            text.Append($"{Convert.ToHexString(FileName.ToBytes(name))} {name.Length} {Convert.ToString(stat.Mode, 8)} {stat.Uid}:{stat.Gid} {stat.ModifiedSeconds}.{stat.ModifiedNanoseconds} {stat.RawDevice}{first}");
            foreach (Xattr attribute in Xattrs.Read(dir, entry.Name))
                text.Append($" {attribute.Name}={Convert.ToHexString(attribute.Value)}");
            if (stat.IsSymlink)
                text.Append($" -> {Convert.ToHexString(FileName.ToBytes(dir.ReadLink(entry.Name)))}");
            else if (stat.IsRegular)
                text.Append($" {Codecs.Checksum.Of(dir.ReadAll(entry.Name))}");
            text.Append('\n');
            if (!stat.IsDirectory)
                continue;
            using Dir inner = dir.OpenDir(entry.Name);
            Describe(inner, name, text, seen);
        }
    }
}
