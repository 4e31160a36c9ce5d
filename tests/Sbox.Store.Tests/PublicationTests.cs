using System.Buffers.Binary;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Store.Tests;

/// <summary>How staged objects come to their places.</summary>
public sealed class PublicationTests
{
    [Fact]
    public void New_directories_of_objects_have_the_default_acl_of_the_one_they_are_in()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Archive);
        using Dir objects = ours.Dir.OpenDir("objects");
        Xattrs.Set(objects.Handle, new Xattr("system.posix_acl_default", Acl()), objects.Path);
        string tree = scratch.Tree();
        for (int i = 0; i < 100; i++)
            System.IO.File.WriteAllText($"{tree}/many-{i}", $"{i}");
        ours.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
        string[] made = [.. objects.Entries().Select(static entry => entry.Name)];
        Assert.True(made.Length > 50);
        Assert.All(made, name => Assert.Contains(Xattrs.Read(objects, name), static each => each.Name == "system.posix_acl_access"));
        Assert.Contains("no errors found", Judge.Ostree.Run("fsck", $"--repo={ours.Path}"));
    }

    [Fact]
    public void A_leftover_directory_with_permissions_of_its_own_leaves_them_behind()
    {
        using var scratch = new Scratch();
        using Repository ours = Repository.Create(scratch["ours"], RepositoryMode.Archive);
        string tree = scratch.Tree();
        for (int i = 0; i < 100; i++)
            System.IO.File.WriteAllText($"{tree}/many-{i}", $"{i}");
        using Repository other = Repository.Create(scratch["other"], RepositoryMode.Archive);
        other.CommitDirectory(tree, new CommitOptions { Branches = ["main"] });
        using (Transaction transaction = ours.Begin())
        {
            foreach (ObjectName name in other.EnumerateObjects().Where(static each => each.Type != ObjectType.File))
                transaction.WriteMetadata(name.Type, other.LoadMetadata(name));
            foreach (string staged in System.IO.Directory.GetDirectories($"{ours.Path}/tmp", "??", SearchOption.AllDirectories))
                ours.Dir.ChangeMode(staged[(ours.Path.Length + 1)..], 0x1C0 /* 0700 */);
            transaction.Commit();
        }

        ours.PullLocal(other);
        using Dir objects = ours.Dir.OpenDir("objects");
        Assert.All(objects.Entries(), entry => Assert.NotEqual(0x1C0u, objects.Stat(entry.Name).Permissions));
    }

    // linux/posix_acl_xattr.h: version 2, then tag, permissions and id of each entry.
    private static byte[] Acl()
    {
        (ushort Tag, ushort Permissions, uint Id)[] entries = [(1, 7, uint.MaxValue), (2, 5, 33), (4, 5, uint.MaxValue), (16, 5, uint.MaxValue), (32, 5, uint.MaxValue)];
        var bytes = new byte[4 + (entries.Length * 8)];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, 2);
        for (int i = 0; i < entries.Length; i++)
        {
            Span<byte> entry = bytes.AsSpan(4 + (i * 8));
            BinaryPrimitives.WriteUInt16LittleEndian(entry, entries[i].Tag);
            BinaryPrimitives.WriteUInt16LittleEndian(entry[2..], entries[i].Permissions);
            BinaryPrimitives.WriteUInt32LittleEndian(entry[4..], entries[i].Id);
        }

        return bytes;
    }
}
