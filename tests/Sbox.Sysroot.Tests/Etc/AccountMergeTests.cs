using System.Text;
using CsCheck;

namespace Sbox.Sysroot.Tests;

/// <summary>passwd and its like, for any three versions of them.</summary>
public sealed class AccountMergeTests
{
    private sealed record Account(string Name, int Uid, int Gid, int Password);

    // Few names and ids, so that they meet; in one file no name and no id comes twice, as adduser keeps it.
    private static readonly Gen<Account[]> AnyAccounts = Gen.Select(Gen.Int[0, 6], Gen.Int[100, 108], Gen.Int[100, 108], Gen.Int[0, 3])
        .Select(static (name, uid, gid, password) => new Account($"u{name}", uid, gid, password)).Array[0, 6]
        .Select(static all => all.DistinctBy(static each => each.Name).DistinctBy(static each => each.Uid).DistinctBy(static each => each.Gid).ToArray());

    [Fact]
    public void No_two_names_come_out_with_one_id() => Three((before, mine, next, merged) =>
    {
        foreach (string file in (string[])["passwd", "group"])
        {
            string[] ids = [.. Lines(merged, file).Select(static line => line.Split(':')[2])];
            Assert.Equal(ids.Distinct(), ids);
        }
    });

    [Fact]
    public void No_id_that_is_in_use_becomes_another_accounts() => Three((before, mine, next, merged) =>
    {
        foreach (string file in (string[])["passwd", "group"])
        {
            string[][] used = [.. Text(mine, file).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => line.Split(':'))];
            foreach (string[] account in Lines(merged, file).Select(static line => line.Split(':')))
            {
                Assert.DoesNotContain(used, other => other[2] == account[2] && other[0] != account[0]);
                Assert.DoesNotContain(used, other => other[0] == account[0] && other[2] != account[2]);
            }
        }
    });

    [Fact]
    public void Where_ids_do_not_fit_the_owners_files_stand_whole_and_that_is_a_conflict() => Three((before, mine, next, merged) =>
    {
        if (!merged.IsWhole)
            return;
        foreach (string file in (string[])["passwd", "group", "shadow", "gshadow"])
            Assert.Equal(Text(mine, file), Encoding.Latin1.GetString(merged.Texts[file]));
        Assert.All(merged.Notes, static note => Assert.True(note.IsConflict));
        Assert.NotEmpty(merged.Notes);
    });

    [Fact]
    public void Every_account_that_only_the_new_tree_has_arrives_with_its_group_and_its_shadow() => Three((before, mine, next, merged) =>
    {
        foreach (Account each in merged.IsWhole ? [] : next.Where(each => !before.Any(other => other.Name == each.Name) && !mine.Any(other => other.Name == each.Name)))
        {
            string[] user = Field(merged, "passwd", each.Name), group = Field(merged, "group", each.Name);
            Assert.Equal(group[2], user[3]);
            Assert.Equal($"{each.Password}", Field(merged, "shadow", each.Name)[1]);
        }
    });

    [Fact]
    public void What_the_owner_added_and_the_password_that_the_owner_changed_stay() => Three((before, mine, next, merged) =>
    {
        foreach (Account each in mine)
        {
            Account? was = before.FirstOrDefault(other => other.Name == each.Name);
            if (was is null || was.Password != each.Password)
                Assert.Equal($"{each.Password}", Field(merged, "shadow", each.Name)[1]);
            if (was is null)
                Assert.Equal($"{each.Uid}", Field(merged, "passwd", each.Name)[2]);
        }
    });

    [Fact]
    public void Who_the_owner_removed_stays_removed() => Three((before, mine, next, merged) =>
    {
        foreach (Account each in before.Where(each => !mine.Any(other => other.Name == each.Name)))
        {
            foreach (string file in (string[])["passwd", "group", "shadow", "gshadow"])
                Assert.DoesNotContain(Lines(merged, file), line => line.StartsWith($"{each.Name}:", StringComparison.Ordinal));
        }
    });

    [Fact]
    public void A_users_group_is_the_one_with_its_name_whatever_the_numbers_have_become() => Three((before, mine, next, merged) =>
    {
        foreach (string line in Lines(merged, "passwd"))
        {
            string[] user = line.Split(':');
            Assert.Equal(Field(merged, "group", user[0])[2], user[3]);
        }
    });

    [Fact]
    public void A_tree_that_changed_nothing_leaves_the_owners_files_as_they_are() => Gen.Select(AnyAccounts, AnyAccounts).Sample((before, mine) =>
    {
        MergedAccounts merged = Merge(before, mine, before);
        foreach (string file in (string[])["passwd", "group", "shadow", "gshadow"])
            Assert.Equal(Text(mine, file), Encoding.Latin1.GetString(merged.Texts[file]));
        Assert.DoesNotContain(merged.Notes, static note => note.IsConflict);
    });

    [Fact]
    public void Files_that_are_no_account_files_at_all_are_merged_without_an_error() =>
        Gen.Select(Gen.Byte.Array[0, 60], Gen.Byte.Array[0, 60], Gen.Byte.Array[0, 60]).Sample((before, mine, next) =>
        {
            AccountMerge.Merge(_ => before, _ => mine, _ => next);
        });

    [Fact]
    public void Members_of_a_group_that_either_side_added_are_in_it_and_who_was_removed_is_not()
    {
        Assert.Equal("sudo:x:27:me,pipewire\n", Group("sudo:x:27:old\n", "sudo:x:27:old,me\n", "sudo:x:27:pipewire\n"));
    }

    [Fact]
    public void Ids_that_the_new_tree_swaps_stay_and_wait_for_the_owner()
    {
        MergedAccounts merged = AccountMerge.Merge(
            static file => file == "group" ? "a:x:101:\nb:x:102:\n"u8.ToArray() : null,
            static file => file == "group" ? "a:x:101:\nb:x:102:\nmine:x:103:\n"u8.ToArray() : null,
            static file => file == "group" ? "a:x:102:\nb:x:101:\n"u8.ToArray() : null);
        Assert.Equal("a:x:101:\nb:x:102:\nmine:x:103:\n", Encoding.Latin1.GetString(merged.Texts["group"]));
        Assert.Equal(2, merged.Notes.Count(static note => note.IsConflict && note.What.Contains("and so have its files")));
    }

    [Fact]
    public void A_newcomer_whose_group_is_the_number_of_an_owners_group_does_not_arrive()
    {
        MergedAccounts merged = AccountMerge.Merge(
            static file => null,
            static file => file switch { "group" => "proj:x:1001:bob\n"u8.ToArray(), "passwd" => "bob:x:1000:1000::/:/bin/sh\n"u8.ToArray(), _ => null },
            static file => file == "passwd" ? "newsvc:x:990:1001::/:/bin/false\n"u8.ToArray() : null);
        Assert.True(merged.IsWhole);
        Assert.Contains(merged.Notes, static note => note is { File: "passwd", Name: "newsvc", IsConflict: true });
    }

    [Fact]
    public void A_number_that_an_account_had_in_the_old_tree_is_no_newcomers()
    {
        Assert.Equal("gone:x:105:\nmine:x:1000:\n", Group("gone:x:105:\n", "gone:x:105:\nmine:x:1000:\n", "new:x:105:\n"));
    }

    [Fact]
    public void Ranges_of_subordinate_ids_do_not_meet()
    {
        MergedAccounts merged = AccountMerge.Merge(
            static _ => null,
            static file => file == "subuid" ? "me:100000:65536\nme:200000:10\n"u8.ToArray() : null,
            static file => file == "subuid" ? "builder:120000:65536\n"u8.ToArray() : null);
        Assert.Equal("me:100000:65536\nme:200000:10\nbuilder:262144:65536\n", Encoding.Latin1.GetString(merged.Texts["subuid"]));
        Assert.Contains(merged.Notes, static note => note is { File: "subuid", Name: "builder", IsConflict: true });
    }

    [Fact]
    public void Comments_and_lines_for_NIS_stay_and_what_arrives_comes_before_them() =>
        Assert.Equal("# mine\nroot:x:0:\nnew:x:200:\n+::::\n", Group("root:x:0:\n", "# mine\nroot:x:0:\n+::::\n", "root:x:0:\nnew:x:200:\n"));

    private static string Group(string before, string mine, string next)
    {
        Func<string, byte[]?> Of(string text) => file => file == "group" ? Encoding.Latin1.GetBytes(text) : null;
        return Encoding.Latin1.GetString(AccountMerge.Merge(Of(before), Of(mine), Of(next)).Texts["group"]);
    }

    private static void Three(Action<Account[], Account[], Account[], MergedAccounts> check) =>
        Gen.Select(AnyAccounts, AnyAccounts, AnyAccounts).Sample((before, mine, next) => check(before, mine, next, Merge(before, mine, next)));

    private static MergedAccounts Merge(Account[] before, Account[] mine, Account[] next) =>
        AccountMerge.Merge(file => Bytes(before, file), file => Bytes(mine, file), file => Bytes(next, file));

    private static byte[]? Bytes(Account[] accounts, string file) =>
        file is "subuid" or "subgid" ? null : Encoding.Latin1.GetBytes(Text(accounts, file));

    private static string Text(Account[] accounts, string file) => string.Concat(accounts.Select(each => file switch
    {
        "passwd" => $"{each.Name}:x:{each.Uid}:{each.Gid}::/:/bin/sh\n",
        "group" => $"{each.Name}:x:{each.Gid}:\n",
        "shadow" => $"{each.Name}:{each.Password}:1:0:99999:7:::\n",
        _ => $"{each.Name}:!::\n",
    }));

    private static string[] Lines(MergedAccounts merged, string file) =>
        Encoding.Latin1.GetString(merged.Texts[file]).Split('\n', StringSplitOptions.RemoveEmptyEntries);

    private static string[] Field(MergedAccounts merged, string file, string name) =>
        Assert.Single(Lines(merged, file), line => line.StartsWith($"{name}:", StringComparison.Ordinal)).Split(':');
}
