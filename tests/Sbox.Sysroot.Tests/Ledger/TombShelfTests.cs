using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>What of a ghost is put into a tomb, and what a tomb may put into a machine.</summary>
public sealed class TombShelfTests : IDisposable
{
    private readonly TempDir temp = new(inMemory: true);
    private readonly Dir root;

    public TombShelfTests()
    {
        foreach (string each in (string[])["root/etc", "root/var", "tomb"])
            Directory.CreateDirectory(temp.Of(each));
        root = temp.Open("root");
    }

    public void Dispose()
    {
        root.Dispose();
        temp.Dispose();
    }

    [Fact]
    public void What_is_put_into_a_tomb_comes_back_with_its_owner_mode_and_the_directories_above_it()
    {
        temp.Write("root/etc/net/secret/x", "one", mode: 0x180);
        temp.Write("root/var/socketless", "two");
        temp.Chmod("root/etc/net/secret", 0x1C0);
        using (Dir net = temp.Open("root/etc/net/secret"))
            net.ChangeOwner("x", 1000, 1001);
        File.CreateSymbolicLink(temp.Of("root/etc/link"), "/nowhere");
        LedgerEntry[] entries = [New("/etc/net/secret/x"), New("/etc/link", FileKind.Symlink), New("/var/socketless"), New("/var/gone"), New("/etc/deleted") with { Change = LedgerChange.Deleted }];
        using TombShelf shelf = TombShelf.Open(temp.Of("tomb"));
        Assert.Equal(entries[..3], shelf.Put(root, entries).Select(static copy => copy.Entry));
        Assert.All(shelf.Items(root), static item => Assert.Equal(ShelfState.Same, item.State));
        using (Dir tomb = temp.Open("tomb"))
            Assert.Equal(0x1C0u, tomb.Stat(TombShelf.Name).Permissions);

        root.RemoveAll("etc/net");
        root.RemoveAll("etc/link");
        temp.Write("root/var/socketless", "owt"); // as long
        Assert.Equal([("/etc/link", ShelfState.Missing), ("/etc/net/secret/x", ShelfState.Missing), ("/var/socketless", ShelfState.Other)], shelf.Items(root).Select(static item => (item.Path, item.State)));
        Assert.Equal(ShelfState.Same, shelf.Items(root, reads: false)[^1].State);
        Assert.All(shelf.Items(root), item => Assert.NotNull(shelf.PutBack(root, item)));
        Assert.Equal(("one", "two"), (temp.Read("root/etc/net/secret/x"), temp.Read("root/var/socketless")));
        using Dir secret = temp.Open("root/etc/net/secret");
        Assert.Equal((1000u, 1001u, 0x180u), (secret.Stat("x").Uid, secret.Stat("x").Gid, secret.Stat("x").Permissions));
        Assert.Equal(0x1C0u, secret.Stat().Permissions);
        Assert.Equal(["x"], secret.Entries().Select(static entry => entry.Name));
    }

    [Fact]
    public void Kept_twice_the_last_counts_also_where_it_is_another_kind_of_thing()
    {
        using TombShelf shelf = TombShelf.Open(temp.Of("tomb"));
        temp.Write("root/etc/a", "file");
        temp.Write("root/etc/b/inner", "inner");
        shelf.Put(root, [New("/etc/a"), New("/etc/b/inner")]);
        root.RemoveAll("etc/a");
        root.RemoveAll("etc/b");
        temp.Write("root/etc/a/inner", "inner");
        temp.Write("root/etc/b", "file");
        shelf.Put(root, [New("/etc/a/inner"), New("/etc/b")]);
        Assert.Equal(["/etc/a/inner", "/etc/b"], shelf.Items(root).Select(static item => item.Path));
        Assert.All(shelf.Items(root), static item => Assert.Equal(ShelfState.Same, item.State));
    }

    [Fact]
    public void A_tomb_makes_nobody_root_by_what_it_puts_back()
    {
        temp.Write("root/var/tool", "program", mode: 0x9ED /* 4755 */);
        using TombShelf shelf = TombShelf.Open(temp.Of("tomb"));
        shelf.Put(root, [New("/var/tool")]);
        root.Unlink("var/tool");
        Assert.NotNull(shelf.PutBack(root, shelf.Items(root).Single()));
        using Dir var = temp.Open("root/var");
        Assert.Equal(0x1EDu, var.Stat("tool").Permissions);
        Assert.Equal(ShelfState.Same, shelf.Items(root).Single().State); // nobody is told again and again that it is another one
        var.ChangeMode("tool", 0x1C9);
        Assert.Equal(ShelfState.Other, shelf.Items(root).Single().State);
        Assert.Equal(["tool"], var.Entries().Select(static entry => entry.Name)); // and where it was made is gone
    }

    [Fact]
    public void A_link_on_the_way_leads_nowhere_and_what_is_otherwise_in_the_way_stays()
    {
        temp.Write("root/etc/dir/file", "kept");
        temp.Write("root/etc/plain", "kept");
        using TombShelf shelf = TombShelf.Open(temp.Of("tomb"));
        shelf.Put(root, [New("/etc/dir/file"), New("/etc/plain")]);
        root.RemoveAll("etc/dir");
        root.Unlink("etc/plain");
        Directory.CreateDirectory(temp.Of("elsewhere"));
        File.CreateSymbolicLink(temp.Of("root/etc/dir"), temp.Of("elsewhere"));
        temp.Write("root/etc/plain/inner", "mine");
        Assert.All(shelf.Items(root), item => Assert.Null(shelf.PutBack(root, item)));
        Assert.Empty(Directory.EnumerateFileSystemEntries(temp.Of("elsewhere")));
        Assert.Equal("mine", temp.Read("root/etc/plain/inner"));
    }

    [Fact]
    public void A_tomb_that_is_deeper_than_any_ledger_is_not_gone_through()
    {
        using TombShelf shelf = TombShelf.Open(temp.Of("tomb"));
        Directory.CreateDirectory(temp.Of($"tomb/{TombShelf.Name}/etc/{string.Join('/', Enumerable.Repeat("a", 300))}"));
        Assert.Contains("more than 200 directories deep", Assert.Throws<TombShelfException>(() => shelf.Items(root)).Message, StringComparison.Ordinal);
    }

    [Theory, InlineData(1000u, 0x1C0u), InlineData(0u, 0x1FFu)]
    public void What_somebody_else_put_in_its_place_is_not_taken_for_it(uint owner, uint mode)
    {
        using Dir tomb = temp.Open("tomb");
        tomb.MakeDir(TombShelf.Name);
        tomb.ChangeOwner(TombShelf.Name, owner, 0);
        tomb.ChangeMode(TombShelf.Name, mode);
        Assert.Throws<TombShelfException>(() => TombShelf.TryOpen(tomb.Path));
        Assert.Throws<TombShelfException>(() => TombShelf.Open(tomb.Path));
    }

    [Fact]
    public void The_ledger_knows_what_a_tomb_has_until_it_is_changed()
    {
        temp.Write("root/etc/a", "one");
        temp.Write("root/etc/b", "one");
        using TombShelf shelf = TombShelf.Open(temp.Of("tomb"));
        IReadOnlyList<ShelfCopy> copies = shelf.Put(root, [New("/etc/a"), New("/etc/b"), New("/etc/gone")]);
        temp.Write("root/etc/b", "another"); // while the tomb is saved
        KeptInTombs.Add(copies.Select(static copy => (copy.Entry.Path, copy.Was)), "ann", temp.Of("record"));
        var kept = KeptInTombs.Read(temp.Of("record"));
        Assert.Equal("ann", kept.TombOf(root, New("/etc/a")));
        Assert.Null(kept.TombOf(root, New("/etc/b")));
        Assert.Null(kept.TombOf(root, New("/etc/gone")));
        Assert.Null(kept.TombOf(root, New("/etc/a") with { Change = LedgerChange.Deleted }));
        temp.Write("root/etc/a", "another");
        Assert.Null(kept.TombOf(root, New("/etc/a")));
        Assert.True(KeptInTombs.Read(temp.Of("none")).IsEmpty);
    }

    private static LedgerEntry New(string path, FileKind kind = FileKind.Regular) => new(path, LedgerChange.New, kind, 0);
}
