using System.Globalization;
using System.Text;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb;

namespace Sbox.Bench;

/// <summary>
/// A tomb with the snapshot of very many small files, each with a blob of its own, written by our own packs without the files ever having been there: one directory of
/// 100,000 names, and the others of fifty each.
/// </summary>
internal static class LargeTomb
{
    private const int Wide = 100_000, InEach = 50, DirectoriesInEach = 200;

    /// <summary>Makes it.</summary>
    /// <param name="place">The tomb's directory.</param>
    /// <param name="password">A file with its password.</param>
    /// <param name="home">The place that the snapshot says it is of.</param>
    /// <param name="files">How many.</param>
    public static async Task Make(string place, string password, string home, int files)
    {
        await using var backend = new DirectoryBackend(place);
        using SecretMemory secret = SecretFile.FirstLine(password);
        await using TombRepository tomb = await TombRepository.Create(backend, secret, TimeProvider.System, default);
        await using var packs = new PackWriter(tomb, TimeProvider.System, default);
        Node top = Directory("top", packs, Middle(packs, files));
        foreach (string name in home.Split('/', StringSplitOptions.RemoveEmptyEntries).Reverse())
            top = Directory("top", packs, [top with { Name = name }]);
        await packs.Finish();
        var snapshot = new Snapshot { Time = Moment.Of(DateTimeOffset.UtcNow), Tree = top.Subtree!.Value, Paths = [home], Hostname = Environment.MachineName, Username = "bench" };
        await tomb.SaveDocument(StoredFileType.Snapshot, snapshot.ToBytes(), default);
    }

    private static List<Node> Middle(PackWriter packs, int files)
    {
        int wide = Math.Min(Wide, files / 2), made = wide;
        var nodes = new List<Node>();
        for (int upper = 0; made < files; upper++)
        {
            var inner = new List<Node>();
            for (int lower = 0; lower < DirectoriesInEach && made < files; lower++, made += InEach)
                inner.Add(Directory($"dir{lower:d4}", packs, Files(packs, made, Math.Min(InEach, files - made))));
            nodes.Add(Directory($"part{upper:d4}", packs, inner));
        }

        nodes.Add(Directory("wide", packs, Files(packs, 0, wide)));
        return nodes;
    }

    private static List<Node> Files(PackWriter packs, int first, int count)
    {
        var nodes = new List<Node>(count);
        for (int number = first; number < first + count; number++)
        {
            byte[] content = Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"what file {number} holds\n"));
            Checksum id = Checksum.Of(content);
            packs.Add(BlobType.Data, id, content);
            nodes.Add(Named($"file-{number:d8}.txt", NodeType.File, 0x1A4, number) with { Size = (ulong)content.Length, Content = [id] });
        }

        return nodes;
    }

    private static Node Directory(string name, PackWriter packs, List<Node> nodes)
    {
        byte[] json = new Tree(nodes).ToBytes();
        Checksum id = Checksum.Of(json);
        packs.Add(BlobType.Tree, id, json);
        return Named(name, NodeType.Directory, 0x1ED, 0) with { Subtree = id };
    }

    private static Node Named(string name, NodeType type, uint permissions, int number)
    {
        var time = new Moment(1_700_000_000 + number, 123_456_789);
        return new Node
        {
            Name = name, Type = type, Mode = GoMode.FromStat((uint)GoMode.Kind(type) | permissions), Modified = time, Accessed = time, Changed = time,
            User = "root", Group = "root", Inode = (ulong)number + 1000, DeviceId = 0, Links = type == NodeType.File ? 1UL : 0,
        };
    }
}
