using System.Text;
using CsCheck;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>Whose the new tree's files in /etc are: those whom they are meant for, or root's, and never anybody else's.</summary>
public sealed class EtcOwnersTests
{
    private sealed record Account(string Name, uint Uid, uint Gid);

    private static readonly Gen<Account[]> AnyAccounts = Gen.Select(Gen.Int[0, 6], Gen.UInt[100, 106], Gen.UInt[100, 106]).Select(static (name, uid, gid) => new Account($"u{name}", uid, gid)).Array[0, 6]
        .Select(static all => all.DistinctBy(static each => each.Name).DistinctBy(static each => each.Uid).DistinctBy(static each => each.Gid).ToArray());

    [Fact]
    public void A_new_default_belongs_to_the_account_that_it_is_meant_for_or_to_root_and_to_nobody_else_whatever_the_three_sides_have() =>
        Gen.Select(AnyAccounts, AnyAccounts, AnyAccounts).Sample((before, mine, next) =>
        {
            (Func<string, byte[]?> b, Func<string, byte[]?> m, Func<string, byte[]?> n) = (Files(before), Files(mine), Files(next));
            EtcMergePlan plan = EtcMergePlan.Make(Tree(b, []), Tree(m, []), Tree(n, next), new EtcContents(b, m, n));
            Dictionary<string, string> users = After(plan, "passwd", m, n, b), groups = After(plan, "group", m, n, b);
            foreach (Account meant in next)
            {
                EtcEntry file = plan.Steps.LastOrDefault(step => step.Action == EtcAction.Own && step.Path == $"of-{meant.Name}")?.Result ?? Default(meant);
                Belongs(file.Uid, meant.Uid, users);
                Belongs(file.Gid, meant.Gid, groups);
                // Nobody runs as somebody whom it was not meant for.
                Assert.True(file.Uid == 0 && meant.Uid != 0 ? (file.Permissions & 0x800) == 0 : (file.Permissions & 0x800) != 0);
                Assert.Equal(file.Gid == 0, (file.Permissions & 0x400) == 0);

                void Belongs(uint id, uint wanted, Dictionary<string, string> after)
                {
                    string? name = after.GetValueOrDefault($"{id}");
                    Assert.True(name == meant.Name || id == 0 || (name is null && id == wanted && !after.ContainsValue(meant.Name)), $"{meant} has {id}, which is {name}'s");
                    Assert.True(id != 0 || (after.ContainsKey($"{wanted}") && !after.ContainsValue(meant.Name)));
                }
            }

            Assert.All(plan.Foreign, each => Assert.Equal(each.Here, (each.IsGroup ? groups : users)[$"{each.Id}"]));
        }, iter: 3000);

    [Fact]
    public void On_a_box_the_files_have_their_owner_after_an_upgrade_and_what_cannot_be_given_is_told()
    {
        using var box = new TestBox(inMemory: true);
        const string Root = "root:x:0:0::/root:/bin/sh\n", Groups = "root:x:0:\n";
        Checksum one = box.Publish(1, etc: [("passwd", Root + "www:x:33:33::/:/bin/false\n"), ("group", Groups + "www:x:33:\n"), ("www.conf", "one\n")]);
        using InstalledBox installed = box.Installed(one);
        Deployment first = installed.Sysroot.Deployments[0];
        // The owner has a user of their own with the number that the new tree's database will have.
        File.AppendAllText(box.Etc(first, "passwd"), "ann:x:120:120::/home/ann:/bin/sh\n");
        File.AppendAllText(box.Etc(first, "group"), "ann:x:120:\n");

        Checksum two = PublishOwned(box);
        box.Fetch(two);
        DeployPlan plan = installed.Deployer.Plan(TestBox.Request(two));
        Assert.Contains(plan.Notes, static note => note.StartsWith("user 120 is 'db' in the new tree and 'ann' here: /usr/bin/db in /usr is 'ann's there.", StringComparison.Ordinal));
        Assert.Contains("own /etc/db.key\n      user 120 is 'db' in the new tree and 'ann' here: it is root's".Replace("      ", "    "), plan.Etc!.ToString());
        DeployResult result = box.Deploy(installed.Deployer, two);
        using Dir etc = installed.Sysroot.Root.OpenDir($"{result.Name.Directory}/etc");
        Assert.Equal((0u, 0u, 0x180u), (etc.Stat("db.key").Uid, etc.Stat("db.key").Gid, etc.Stat("db.key").Permissions));
        Assert.Equal((33u, 33u), (etc.Stat("www.conf").Uid, etc.Stat("www.conf").Gid));
        Assert.Contains(new EtcKeeper(installed.Sysroot).Open(), static open => open.Finding.Path == "db.key");
        Assert.Contains("ann:x:120:", File.ReadAllText(box.Etc(installed.Sysroot.Deployments[0], "passwd")));

        // The next version finds the same, and nothing that was decided comes up again as the owner's change.
        Assert.DoesNotContain(EtcMergePlan.Make(
            EtcTree.Read(installed.Sysroot.Root.OpenDir($"{result.Name.Directory}/usr/etc")), EtcTree.Read(etc), EtcTree.Read(installed.Sysroot.Root.OpenDir($"{result.Name.Directory}/usr/etc")),
            EtcContents.Of(installed.Sysroot.Root.OpenDir($"{result.Name.Directory}/usr/etc"), etc, installed.Sysroot.Root.OpenDir($"{result.Name.Directory}/usr/etc"))).Steps,
            static step => step.Path == "db.key" && step.Action != EtcAction.Own);
        Assert.DoesNotContain(installed.Sysroot.EtcChanges(installed.Sysroot.Deployments[0]), static change => change.Path is "db.key" or "www.conf");
        Assert.Contains(installed.Sysroot.EtcChanges(installed.Sysroot.Deployments[0]), static change => change.Path == "passwd");
        using Dir defaults = installed.Sysroot.Root.OpenDir($"{result.Name.Directory}/usr/etc");
        Assert.Equal([false, true], ((string[])["db.key", "passwd"]).Select(path => EtcDiff.Differs(defaults, etc, path)));
        etc.ChangeMode("db.key", 0x1A4);
        Assert.True(EtcDiff.Differs(defaults, etc, "db.key"));
    }

    [Fact]
    public void What_was_given_to_another_is_no_change_of_the_owners_at_the_next_upgrade_and_what_the_owner_changed_is()
    {
        // db is 120 in the tree and ann is it here; www is 33 in the tree and 34 here.
        Account db = new("db", 120, 120), www = new("www", 33, 33), ann = new("ann", 120, 120), here = new("www", 34, 34);
        (Func<string, byte[]?> before, Func<string, byte[]?> mine) = (Files([db, www]), Files([ann, here]));
        EtcEntry stripped = Default(db) with { Uid = 0, Gid = 0, Permissions = 0x1ED };
        EtcNode Local(EtcEntry ofDb, EtcEntry ofWww) => new(Tree(mine, []).Entry, Tree(mine, []).Children.Concat(
            [KeyValuePair.Create("of-db", new EtcNode(ofDb, EtcNode.NoChildren)), KeyValuePair.Create("of-www", new EtcNode(ofWww, EtcNode.NoChildren))]).ToDictionary());
        string[] Steps(EtcNode local, Account[] next) => [.. EtcMergePlan.Make(Tree(before, [db, www]), local, Tree(before, next), new EtcContents(before, mine, before)).Steps
            .Where(static step => step.Path.StartsWith("of-", StringComparison.Ordinal)).Select(static step => $"{step.Action} {step.Path}").Order(StringComparer.Ordinal)];

        EtcNode given = Local(stripped, Default(here));
        Assert.Equal(["Own of-db", "Own of-www"], Steps(given, [db, www]));
        Assert.Equal(["Own of-www"], Steps(given, [www])); // the new tree has it no more, and nothing keeps it
        // Another mode is the owner's doing, and so is another owner; bytes of theirs keep what was given.
        Assert.Equal(["CopyLeaf of-db", "Own of-db", "Own of-www"], Steps(Local(stripped with { Permissions = 0x180 }, Default(here)), [db, www]));
        Assert.Equal(["CopyLeaf of-www", "Own of-db", "Own of-www"], Steps(Local(stripped, Default(here) with { Uid = 7 }), [db, www]));
        Assert.Equal(["CopyLeaf of-www", "Own of-db", "Own of-www"], Steps(Local(stripped, Default(here) with { Content = Checksum.Of("mine"u8) }), [db, www]));
        // A default that was left as it is, before anybody had its number, is untouched too.
        Assert.Equal(["Own of-db", "Own of-www"], Steps(Local(Default(db), Default(here)), [db, www]));
    }

    private static Checksum PublishOwned(TestBox box)
    {
        const string Root = "root:x:0:0::/root:/bin/sh\n", Groups = "root:x:0:\n";
        (string, string)[] files =
        [
            ("usr/etc/passwd", Root + "www:x:33:33::/:/bin/false\ndb:x:120:120::/:/bin/false\n"), ("usr/etc/group", Groups + "www:x:33:\ndb:x:120:\n"), ("usr/etc/www.conf", "two\n"), ("usr/etc/db.key", "key\n"), ("usr/bin/db", "db\n"),
        ];
        box.PublishWith(2, files);
        using (Dir tree = Dir.Open($"{box.Path}/trees/2"))
        {
            tree.ChangeOwner("usr/etc/db.key", 120, 120);
            tree.ChangeMode("usr/etc/db.key", 0x180);
            tree.ChangeOwner("usr/bin/db", 120, 0);
            tree.ChangeOwner("usr/etc/www.conf", 33, 33);
        }

        return box.PublishWith(2, ("usr/bin/other", "other\n"));
    }

    private static Func<string, byte[]?> Files(Account[] accounts) => file => file switch
    {
        "passwd" => Encoding.ASCII.GetBytes(string.Concat(accounts.Select(static each => $"{each.Name}:x:{each.Uid}:{each.Gid}::/:/bin/sh\n"))),
        "group" => Encoding.ASCII.GetBytes(string.Concat(accounts.Select(static each => $"{each.Name}:x:{each.Gid}:\n"))),
        _ => null,
    };

    private static EtcEntry Default(Account owner) => new(FileKind.Regular, 0xDED, owner.Uid, owner.Gid, default); // 06755

    private static EtcNode Tree(Func<string, byte[]?> files, Account[] owners) => new(new EtcEntry(FileKind.Directory, 0x1ED, 0, 0, default), new Dictionary<string, EtcNode>(
        [
            .. ((string[])["passwd", "group"]).Select(file => KeyValuePair.Create(file, new EtcNode(new EtcEntry(FileKind.Regular, 0x1A4, 0, 0, Checksum.Of(files(file)!)), EtcNode.NoChildren))),
            .. owners.Select(static owner => KeyValuePair.Create($"of-{owner.Name}", new EtcNode(Default(owner), EtcNode.NoChildren))),
        ]));

    // The names by number, in the file as it is after the merge.
    private static Dictionary<string, string> After(EtcMergePlan plan, string file, Func<string, byte[]?> mine, Func<string, byte[]?> next, Func<string, byte[]?> before)
    {
        EtcStep? step = plan.Steps.LastOrDefault(step => step.Path == file);
        byte[] text = step?.Content ?? (step is { Action: EtcAction.CopyLeaf } || (step is { Action: EtcAction.Combine } && step.Result.Content == Checksum.Of(mine(file)!)) ? mine(file)! : next(file)!);
        _ = before;
        return Encoding.ASCII.GetString(text).Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(static line => line.Split(':')).ToDictionary(static fields => fields[2], static fields => fields[0]);
    }
}
