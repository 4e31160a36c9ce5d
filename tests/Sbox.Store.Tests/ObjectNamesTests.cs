using CsCheck;
using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>What holds names of objects when there are more of them than memory shall hold.</summary>
public sealed class ObjectNamesTests
{
    // Few checksums, so that names repeat, and some that differ in their last byte or in their type only.
    private static readonly Gen<ObjectName> AnyName = Gen.Select(Gen.Byte[0, 3], Gen.Byte[0, 40], Gen.Int[1, 6]).Select(static (first, last, type) =>
    {
        byte[] bytes = new byte[32];
        (bytes[0], bytes[31]) = (first, last);
        return new ObjectName(Checksum.FromBytes(bytes), (ObjectType)type);
    });

    [Fact]
    public void Names_come_back_in_order_and_once_each_however_few_of_them_memory_holds() =>
        Gen.Select(AnyName.Array[0, 600], Gen.Int[2, 300], Gen.Bool).Sample(static (added, most, inTmp) =>
        {
            using var scratch = new Scratch();
            if (inTmp)
                Directory.CreateDirectory(scratch["tmp"]);
            using Dir dir = Dir.Open(scratch.Root);
            using var spool = new NameSpool(dir, most: most);
            foreach (ObjectName name in added)
                spool.Add(name);
            ObjectName[] expected = [.. added.Distinct().OrderBy(static name => name.Checksum).ThenBy(static name => name.Type)];
            Assert.Equal(expected.Length, spool.Count());
            Assert.Equal(expected, spool.Names());
            Assert.Equal(expected, spool.Names()); // as often as wanted
        }, iter: 200);

    [Fact]
    public void What_needs_comes_before_what_it_needs_where_that_is_the_order() =>
        Gen.Select(AnyName.Array[0, 400], Gen.Int[2, 300]).Sample(static (added, most) =>
        {
            using var scratch = new Scratch();
            using Dir dir = Dir.Open(scratch.Root);
            using var spool = new NameSpool(dir, NameOrder.NeedingFirst, most);
            foreach (ObjectName name in added)
                spool.Add(name);
            ObjectType[] order = [ObjectType.Commit, ObjectType.CommitMeta, ObjectType.TombstoneCommit, ObjectType.DirTree, ObjectType.DirMeta, ObjectType.File];
            Assert.Equal(added.Distinct().OrderBy(name => Array.IndexOf(order, name.Type)).ThenBy(static name => name.Checksum), spool.Names());
        }, iter: 100);

    [Fact]
    public void A_disk_without_room_for_the_names_leaves_them_in_memory()
    {
        using var scratch = new Scratch();
        string small = scratch["small/tmp"];
        Directory.CreateDirectory(small);
        Judge.OnPath("mount").Run("-t", "tmpfs", "-o", "size=64k", "tmpfs", small);
        try
        {
            using Dir dir = Dir.Open(scratch["small"]);
            using var spool = new NameSpool(dir, most: 1000);
            ObjectName[] names = [.. Enumerable.Range(0, 10_000).Select(static i => new ObjectName(Checksum.Of(BitConverter.GetBytes(i)), ObjectType.File))];
            foreach (ObjectName name in names)
                spool.Add(name);
            Assert.Equal(names.OrderBy(static name => name.Checksum), spool.Names());
        }
        finally
        {
            Unmounting.Unmount(small);
        }
    }

    [Theory, InlineData(false), InlineData(true)]
    public void No_name_is_given_back_that_a_disk_has_changed_wherever_it_did(bool needingFirst) =>
        Gen.Select(Gen.Int[0, 99], Gen.Int[0, 32], Gen.Int[1, 255], Gen.Int[0, 2]).Sample((place, inRecord, change, how) =>
        {
            const int records = 3000, size = 33;
            using var scratch = new Scratch();
            Directory.CreateDirectory(scratch["tmp"]);
            using Dir dir = Dir.Open(scratch.Root);
            using var spool = new NameSpool(dir, needingFirst ? NameOrder.NeedingFirst : NameOrder.Checksum, most: 1000);
            ObjectName[] names = [.. Enumerable.Range(0, records + 10).Select(static i => new ObjectName(Checksum.Of(BitConverter.GetBytes(i)), i % 2 == 0 ? ObjectType.File : ObjectType.DirTree))];
            foreach (ObjectName name in names)
                spool.Add(name);
            ObjectName[] right = [.. spool.Names()];
            Assert.Equal(names.Length, right.Length);

            using (FileStream file = Written(scratch["tmp"]))
            {
                Assert.Equal(records * size, file.Length);
                byte[] bytes = new byte[records * size];
                file.ReadExactly(bytes);
                int at = place * records / 100 * size;
                if (how == 0)
                    bytes[at + inRecord] ^= (byte)change;
                else if (how == 1)
                    bytes.AsSpan(at + size, size).CopyTo(bytes.AsSpan(at)); // one twice, one never
                else
                    bytes.AsSpan(at, Math.Min(4096, bytes.Length - at)).Clear();
                file.Position = 0;
                file.Write(bytes);
            }

            var given = new List<ObjectName>();
            NamesDamagedException damaged = Assert.Throws<NamesDamagedException>(() =>
            {
                foreach (ObjectName name in spool.Names())
                    given.Add(name);
            });
            Assert.Equal(scratch["tmp"], damaged.Path);
            Assert.Equal(right[..given.Count], given);
        }, iter: 60, threads: 1);

    // The file without a name in a directory, as this process has it open.
    private static FileStream Written(string directory)
    {
        string descriptor = Directory.GetFiles("/proc/self/fd").Single(each => new FileInfo(each).LinkTarget?.StartsWith(directory + "/#", StringComparison.Ordinal) == true);
        return new FileStream(descriptor, FileMode.Open, FileAccess.ReadWrite);
    }

    [Fact]
    public void Names_that_were_met_are_known_and_no_others()
    {
        AnyName.Array[0, 600].Sample(static added =>
        {
            var seen = new SeenNames();
            var known = new HashSet<ObjectName>();
            foreach (ObjectName name in added)
            {
                Assert.Equal(known.Contains(name), seen.Contains(name));
                Assert.Equal(known.Add(name), seen.Add(name));
            }
        }, iter: 200);
    }

    [Fact]
    public void A_name_that_was_met_costs_some_twenty_bytes()
    {
        const int count = 100_000;
        ObjectName[] names = [.. Enumerable.Range(0, count).Select(static i => new ObjectName(Checksum.Of(BitConverter.GetBytes(i)), ObjectType.DirTree))];
        var seen = new SeenNames();
        Assert.All(names, name => Assert.True(seen.Add(name)));
        Assert.InRange(seen.Bytes, 16 * count, 36 * count);
        Assert.False(seen.Add(names[0]));
    }

    [Fact]
    public void A_dirtree_is_the_very_bytes_that_its_tree_of_values_would_be() => FormatTests.AnyDirTree.Sample(static tree =>
    {
        GVariantType type = GVariantType.Parse("(a(say)a(sayay))");
        byte[] expected = GVariant.Tuple(
            GVariant.Array(type.Children[0].Children[0], [.. tree.Files.Select(static file => GVariant.Tuple(GVariant.Of(file.Name), GVariant.Of(file.Content.ToArray())))]),
            GVariant.Array(type.Children[1].Children[0], [.. tree.Directories.Select(static directory =>
                GVariant.Tuple(GVariant.Of(directory.Name), GVariant.Of(directory.Tree.ToArray()), GVariant.Of(directory.Meta.ToArray())))])).ToBytes();
        Assert.Equal(expected, tree.ToBytes());
    });
}
