using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>What becomes of the owner's /etc in an upgrade.</summary>
public sealed class EtcMergeTests : IDisposable
{
    private readonly TempDir temp = new();

    public EtcMergeTests()
    {
        foreach (string tree in (string[])["defaults", "local", "next"])
            Directory.CreateDirectory(temp.Of(tree));
    }

    public void Dispose() => temp.Dispose();

    [Fact]
    public void An_untouched_file_takes_its_new_default()
    {
        Give("hosts", defaults: "old", local: "old", next: "new");
        Merge();
        Assert.Equal("new", temp.Read("merged/hosts"));
    }

    [Fact]
    public void An_untouched_file_that_the_new_tree_dropped_is_gone()
    {
        Give("hosts", defaults: "old", local: "old", next: null);
        Merge();
        Assert.False(File.Exists(temp.Of("merged/hosts")));
    }

    [Fact]
    public void An_edited_file_stays_edited_and_that_is_no_conflict_where_the_default_is_the_same()
    {
        Give("hosts", defaults: "old", local: "mine", next: "old");
        Assert.Empty(Merge().Conflicts);
        Assert.Equal("mine", temp.Read("merged/hosts"));
    }

    [Fact]
    public void Where_both_changed_a_file_the_owner_wins_and_the_report_says_so()
    {
        Give("hosts", defaults: "old", local: "mine", next: "theirs");
        Assert.Equal(["hosts"], Merge().Conflicts);
        Assert.Equal("mine", temp.Read("merged/hosts"));
    }

    [Fact]
    public void Where_both_made_the_same_change_there_is_no_conflict()
    {
        Give("hosts", defaults: "old", local: "same", next: "same");
        Assert.Empty(Merge().Conflicts);
        Assert.Equal("same", temp.Read("merged/hosts"));
    }

    [Fact]
    public void A_file_the_owner_added_is_kept_with_the_directories_above_it()
    {
        Give("a/b/c.conf", defaults: null, local: "mine", next: null);
        temp.Chmod("local/a", 0x1C0); // 0700
        Merge();
        Assert.Equal("mine", temp.Read("merged/a/b/c.conf"));
        Assert.Equal(0x1C0u, Stat("merged/a").Permissions);
    }

    [Fact]
    public void A_file_the_owner_removed_stays_removed_and_comes_back_for_no_new_default()
    {
        Give("motd", defaults: "old", local: null, next: "new");
        Assert.Equal(["motd"], Merge().Conflicts);
        Assert.False(File.Exists(temp.Of("merged/motd")));
    }

    [Fact]
    public void A_directory_the_owner_removed_stays_removed_with_what_the_new_tree_adds_to_it()
    {
        Give("d/old", defaults: "1", local: null, next: "1");
        Give("d/new", defaults: null, local: null, next: "2");
        Merge();
        Assert.False(Directory.Exists(temp.Of("merged/d")));
    }

    [Fact]
    public void An_owners_file_in_a_directory_that_the_new_tree_dropped_keeps_the_directory_alone()
    {
        Give("d/default", defaults: "1", local: "1", next: null);
        Give("d/mine", defaults: null, local: "2", next: null);
        Merge();
        Assert.Equal("2", temp.Read("merged/d/mine"));
        Assert.False(File.Exists(temp.Of("merged/d/default")));
    }

    [Fact]
    public void An_owners_file_stands_where_the_new_tree_has_a_directory()
    {
        Give("x", defaults: null, local: "mine", next: null);
        Give("x/y", defaults: null, local: null, next: "theirs");
        Assert.Equal(["x"], Merge().Conflicts);
        Assert.Equal("mine", temp.Read("merged/x"));
    }

    [Fact]
    public void An_owners_directory_stands_where_the_new_tree_has_a_file()
    {
        Give("x/y", defaults: null, local: "mine", next: null);
        Give("x", defaults: null, local: null, next: "theirs");
        Assert.Equal(["x"], Merge().Conflicts);
        Assert.Equal("mine", temp.Read("merged/x/y"));
    }

    [Fact]
    public void A_file_that_the_owner_replaced_by_a_link_stays_a_link()
    {
        Give("resolv.conf", defaults: "old", local: null, next: "new");
        File.CreateSymbolicLink(temp.Of("local/resolv.conf"), "../run/stub");
        Merge();
        Assert.Equal("../run/stub", new FileInfo(temp.Of("merged/resolv.conf")).LinkTarget);
    }

    [Fact]
    public void Owner_mode_and_attributes_of_a_kept_file_are_kept()
    {
        Give("secret", defaults: "old", local: "mine", next: "old");
        using (Dir local = temp.Open("local"))
        {
            local.ChangeOwner("secret", 12, 34);
            local.ChangeMode("secret", 0x9C0); // 04700
            Xattrs.Set(local, "secret", new Xattr("user.note", [1, 2, 3]));
        }

        Merge();
        FileStat stat = Stat("merged/secret");
        Assert.Equal((12u, 34u, 0x9C0u), (stat.Uid, stat.Gid, stat.Permissions));
        using Dir merged = temp.Open("merged");
        Assert.Contains(Xattrs.Read(merged, "secret"), attribute => attribute is { Name: "user.note", Value: [1, 2, 3] });
    }

    [Fact]
    public void A_changed_mode_alone_is_a_change_of_the_owners()
    {
        Give("key", defaults: "same", local: "same", next: "same");
        temp.Chmod("local/key", 0x100); // 0400
        Merge();
        Assert.Equal(0x100u, Stat("merged/key").Permissions);
    }

    [Fact]
    public void Only_the_directory_whose_mode_the_owner_changed_keeps_it()
    {
        Give("mine/f", defaults: "1", local: "edited", next: "1");
        Give("theirs/f", defaults: "1", local: "edited", next: "1");
        temp.Chmod("local/mine", 0x140); // 0500
        temp.Chmod("next/theirs", 0x1C0); // 0700
        Merge();
        Assert.Equal(0x140u, Stat("merged/mine").Permissions);
        Assert.Equal(0x1C0u, Stat("merged/theirs").Permissions);
    }

    [Fact]
    public void Lines_that_only_one_side_changed_are_as_that_side_has_them_and_that_is_no_conflict()
    {
        Give("sshd_config", defaults: "a\nb\nc\nd\n", local: "a\nmine\nc\nd\n", next: "a\nb\nc\ntheirs\n");
        Assert.Empty(Merge().Conflicts);
        Assert.Equal("a\nmine\nc\ntheirs\n", temp.Read("merged/sshd_config"));
    }

    [Fact]
    public void Where_both_changed_a_line_the_owners_file_stands_whole()
    {
        Give("sshd_config", defaults: "a\nb\nc\nd\n", local: "a\nmine\nc\nd\n", next: "new\ntheirs\nc\nd\n");
        Assert.Equal(["sshd_config"], Merge().Conflicts);
        Assert.Equal("a\nmine\nc\nd\n", temp.Read("merged/sshd_config"));
    }

    [Fact]
    public void A_file_that_is_no_text_is_kept_whole()
    {
        Give("blob", defaults: "a\0\nb\nc\n", local: "A\0\nb\nc\n", next: "a\0\nb\nC\n");
        Assert.Equal(["blob"], Merge().Conflicts);
        Assert.Equal("A\0\nb\nc\n", temp.Read("merged/blob"));
    }

    [Fact]
    public void A_file_whose_mode_alone_the_owner_changed_takes_its_new_default_and_keeps_the_mode()
    {
        Give("key", defaults: "old", local: "old", next: "new");
        temp.Chmod("local/key", 0x180); // 0600
        Assert.Empty(Merge().Conflicts);
        Assert.Equal(("new", 0x180u), (temp.Read("merged/key"), Stat("merged/key").Permissions));
    }

    [Fact]
    public void An_edited_file_takes_the_mode_that_the_new_tree_gives_it()
    {
        Give("key", defaults: "old", local: "mine", next: "old");
        temp.Chmod("next/key", 0x180); // 0600
        Assert.Empty(Merge().Conflicts);
        Assert.Equal(("mine", 0x180u), (temp.Read("merged/key"), Stat("merged/key").Permissions));
    }

    [Fact]
    public void A_new_system_user_arrives_and_the_owners_user_and_password_stay()
    {
        Give("passwd", "root:x:0:0::/root:/bin/sh\n", "root:x:0:0::/root:/bin/bash\nme:x:1000:1000::/home/me:/bin/sh\n", "root:x:0:0::/root:/bin/sh\nchrony:x:110:110::/var:/bin/false\n");
        Give("group", "root:x:0:\nsudo:x:27:\n", "root:x:0:\nsudo:x:27:me\nme:x:1000:\n", "root:x:0:\nsudo:x:27:\nchrony:x:110:\n");
        Give("shadow", "root:*:1:0:99999:7:::\n", "root:$y$mine:5:0:99999:7:::\nme:$y$me:5:0:99999:7:::\n", "root:*:2:0:99999:7:::\nchrony:!:2::::::\n");
        temp.Chmod("local/shadow", 0x1A0); // 0640
        temp.Chmod("defaults/shadow", 0x1A0);
        temp.Chmod("next/shadow", 0x1A0);
        Assert.Empty(Merge().Conflicts);
        Assert.Equal("root:x:0:0::/root:/bin/bash\nme:x:1000:1000::/home/me:/bin/sh\nchrony:x:110:110::/var:/bin/false\n", temp.Read("merged/passwd"));
        Assert.Equal("root:x:0:\nsudo:x:27:me\nme:x:1000:\nchrony:x:110:\n", temp.Read("merged/group"));
        Assert.Equal("root:$y$mine:5:0:99999:7:::\nme:$y$me:5:0:99999:7:::\nchrony:!:2::::::\n", temp.Read("merged/shadow"));
        Assert.Equal(0x1A0u, Stat("merged/shadow").Permissions);
    }

    [Fact]
    public void A_new_system_user_whose_id_is_taken_leaves_the_owners_files_whole_and_the_report_says_so()
    {
        Give("passwd", "root:x:0:0::/root:/bin/sh\n", "root:x:0:0::/root:/bin/sh\nmydaemon:x:110:110::/:/bin/false\n", "root:x:0:0::/root:/bin/sh\nchrony:x:110:110::/:/bin/false\n");
        Give("group", "root:x:0:\n", "root:x:0:\nmydaemon:x:110:\n", "root:x:0:\nchrony:x:110:\n");
        EtcMergePlan plan = Merge();
        Assert.Equal(["group", "passwd"], plan.Conflicts.Order());
        Assert.Equal("root:x:0:0::/root:/bin/sh\nmydaemon:x:110:110::/:/bin/false\n", temp.Read("merged/passwd"));
        Assert.Equal("root:x:0:\nmydaemon:x:110:\n", temp.Read("merged/group"));
        Assert.Contains("chrony: the new tree brings it with id 110, which is mydaemon's here", plan.ToString());
    }

    [Fact]
    public void A_passwd_that_is_a_link_takes_nobody_out_of_shadow()
    {
        Give("passwd", "root:x:0:0::/root:/bin/sh\n", null, "root:x:0:0::/root:/bin/sh\nchrony:x:110:110::/:/bin/false\n");
        Give("passwd.real", null, "root:x:0:0::/root:/bin/sh\n", null);
        Give("shadow", "root:*:1:0:99999:7:::\n", "root:$6$mine:1:0:99999:7:::\n", "root:*:1:0:99999:7:::\nchrony:!:2::::::\n");
        File.CreateSymbolicLink(temp.Of("local/passwd"), "passwd.real");
        Assert.Equal(["passwd", "shadow"], Merge().Conflicts.Order());
        Assert.Equal("root:$6$mine:1:0:99999:7:::\n", temp.Read("merged/shadow"));
        Assert.Equal("passwd.real", new FileInfo(temp.Of("merged/passwd")).LinkTarget);
    }

    [Fact]
    public void Sockets_and_fifos_are_left_behind_and_the_report_says_so()
    {
        using (Dir local = temp.Open("local"))
            local.MakeNode("fifo", (uint)FileKind.Fifo | 0x180, 0);
        Assert.Equal(["fifo"], Merge().Skipped);
        Assert.False(File.Exists(temp.Of("merged/fifo")));
    }

    [Fact]
    public void A_name_that_is_no_UTF8_is_kept()
    {
        string name = FileName.FromBytes([0x61, 0xFF, 0x62]);
        using (Dir local = temp.Open("local"))
            local.CreateFile(name).Dispose();
        Merge();
        using Dir merged = temp.Open("merged");
        Assert.Contains(merged.Entries(), entry => entry.Name == name);
    }

    private void Give(string path, string? defaults, string? local, string? next)
    {
        foreach ((string tree, string? text) in (ReadOnlySpan<(string, string?)>)[("defaults", defaults), ("local", local), ("next", next)])
        {
            if (text is not null)
                temp.Write($"{tree}/{path}", text);
        }
    }

    private FileStat Stat(string path)
    {
        using Dir dir = temp.Open();
        return dir.Stat(path);
    }

    private EtcMergePlan Merge()
    {
        using Dir root = temp.Open(), defaults = temp.Open("defaults"), local = temp.Open("local"), next = temp.Open("next");
        EtcMergePlan plan = EtcMergePlan.Make(EtcTree.Read(defaults), EtcTree.Read(local), EtcTree.Read(next), EtcContents.Of(defaults, local, next));
        TreeCopy.Recursive(root, "next", root, "merged");
        using Dir merged = temp.Open("merged");
        EtcMerge.Apply(plan, local, merged);
        return plan;
    }
}
