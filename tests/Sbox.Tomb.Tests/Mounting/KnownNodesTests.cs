using System.Text;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Tomb.Mounting;

namespace Sbox.Tomb.Tests.Mounting;

public sealed class KnownNodesTests
{
    [Fact]
    public void A_table_of_numbers_holds_what_was_added_and_not_removed_whatever_the_order()
    {
        var random = new Random(1);
        var table = new NodeTable();
        var expected = new Dictionary<ulong, int>();
        for (int step = 0; step < 200_000; step++)
        {
            ulong number = (ulong)random.Next(1, 40_000);
            if (expected.Remove(number))
            {
                table.Remove(number);
            }
            else
            {
                expected[number] = step;
                table.Add(new NodeTable.Slot { Number = number, At = step });
            }
        }

        Assert.Equal(expected.Count, table.Count);
        for (ulong number = 1; number < 40_000; number++)
        {
            ref NodeTable.Slot slot = ref table.Find(number);
            Assert.Equal(expected.TryGetValue(number, out int at) ? at : -1, System.Runtime.CompilerServices.Unsafe.IsNullRef(ref slot) ? -1 : slot.At);
        }
    }

    [Fact]
    public void What_the_kernel_gives_up_is_forgotten_with_the_directories_that_only_it_kept()
    {
        var nodes = new KnownNodes(Checksum.Of("top"u8));
        KnownDirectory top = nodes.FindDirectory(1)!;
        ulong outer = nodes.Tell(top, 0, Told("outer", isDirectory: true));
        ulong inner = nodes.Tell(nodes.FindDirectory(outer)!, 3, Told("inner", isDirectory: true));
        ulong file = nodes.Tell(nodes.FindDirectory(inner)!, 5, Told("file", isDirectory: false));
        nodes.Tell(nodes.FindDirectory(inner)!, 5, Told("file", isDirectory: false));
        nodes.Forget(outer, 1);
        nodes.Forget(inner, 1);
        Assert.Equal(2, nodes.Count);
        Assert.Equal(5, nodes.Find(file)!.Value.At);
        Assert.Equal((inner, outer), (nodes.Find(file)!.Value.Parent!.Number, nodes.Find(file)!.Value.Parent!.Parent!.Number)); // the way back is there for as long as the file is
        nodes.Forget(file, 1);
        Assert.NotNull(nodes.Find(file));
        nodes.Forget(file, 1);
        Assert.Null(nodes.Find(file));
        Assert.Equal(1, nodes.Count);
        Assert.Equal(outer, nodes.Tell(top, 0, Told("outer", isDirectory: true)));
    }

    [Fact]
    public void A_directory_that_was_given_up_under_a_request_is_known_again()
    {
        var nodes = new KnownNodes(Checksum.Of("top"u8));
        ulong outer = nodes.Tell(nodes.FindDirectory(1)!, 0, Told("outer", isDirectory: true));
        KnownDirectory held = nodes.FindDirectory(outer)!;
        nodes.Forget(outer, 1);
        ulong file = nodes.Tell(held, 2, Told("file", isDirectory: false));
        Assert.Equal(outer, nodes.Find(file)!.Value.Parent!.Number);
        nodes.TellAgain(held);
        Assert.Equal(held, nodes.FindDirectory(outer));
    }

    [Fact]
    public void A_million_known_files_take_less_than_thirty_four_megabytes()
    {
        var table = new NodeTable();
        for (ulong number = 1; number <= 1_000_000; number++)
            table.Add(new NodeTable.Slot { Number = number * 0x9E3779B97F4A7C15 >> 4, Told = 1 });
        Assert.InRange(table.Size, 20_000_000, 34_000_000);
        GC.KeepAlive(table);
    }

    [Fact]
    public void A_packed_directory_has_every_entry_as_it_was_but_for_what_nobody_sees_of_it()
    {
        var nodes = new List<Node>
        {
            Entry("a", isDirectory: false) with { Content = [Checksum.Of("1"u8), Checksum.Of("2"u8)], Size = 1UL << 40, Uid = 70_000, Gid = 5 },
            Entry("b\udcff", isDirectory: true) with { Accessed = new Moment(-5, 7), Changed = new Moment(1L << 40, 999_999_999) },
            Entry("c", isDirectory: false) with { Type = NodeType.Symlink, LinkTarget = "../ü", Content = null },
            Entry("d", isDirectory: false) with { Links = 2, Inode = 77, DeviceId = 99, Xattrs = [new Xattr("user.x", [0, 1, 255]), new Xattr("user.y", [])] },
            Entry("e", isDirectory: false) with { Type = NodeType.BlockDevice, Device = 0x803, Content = null, Xattrs = [new Xattr("user.z", [7])] },
        };
        using PackedTree packed = PackedTree.Parse(new Tree(nodes).ToBytes());
        Assert.Equal(nodes.Count, packed.Count);
        for (int at = 0; at < nodes.Count; at++)
        {
            Node node = packed[at];
            Assert.Equal(Json(nodes[at]), Json(node));
            PackedEntry entry = packed.EntryAt(at);
            Assert.Equal(node.Name, FileName.FromBytes(entry.Name));
            Assert.Equal(
                (node.Type, node.Mode, node.Uid, node.Gid, node.Size, node.Links, node.Inode, node.DeviceId, node.Device),
                (entry.Type, entry.Mode, entry.Uid, entry.Gid, entry.Size, entry.Links, entry.Inode, entry.DeviceId, entry.Device));
            Assert.Equal((node.Modified, node.Accessed, node.Changed, node.Subtree), (entry.Modified, entry.Accessed, entry.Changed, entry.Subtree));
            Assert.Equal(FileName.ToBytes(node.LinkTarget).Length, entry.LinkLength);
            Assert.Equal(at, packed.PlaceOf(packed.NameOf(at)));
        }

        Assert.Equal(-1, packed.PlaceOf("bb"u8));
    }

    private static string Json(Node node) => Encoding.UTF8.GetString(new Tree([node]).ToBytes());

    private static PackedEntry Told(string name, bool isDirectory) => new()
    {
        Name = Encoding.UTF8.GetBytes(name), Type = isDirectory ? NodeType.Directory : NodeType.File, Links = 1, Subtree = isDirectory ? Checksum.Of(Encoding.UTF8.GetBytes(name)) : null,
    };

    private static Node Entry(string name, bool isDirectory) => new()
    {
        Name = name, Type = isDirectory ? NodeType.Directory : NodeType.File, Mode = GoMode.FromStat((isDirectory ? 0x4000u : 0x8000u) | 0x1A4), Modified = new Moment(5, 6), Accessed = new Moment(5, 6),
        Changed = new Moment(5, 6), Links = isDirectory ? 0UL : 1, Subtree = isDirectory ? Checksum.Of(Encoding.UTF8.GetBytes(name)) : null, Content = isDirectory ? null : [],
    };
}
