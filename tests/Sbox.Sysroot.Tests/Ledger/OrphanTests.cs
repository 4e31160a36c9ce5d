using System.Text;
using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>What a list of what stays has kept, when it names it no more.</summary>
public sealed class OrphanTests : IDisposable
{
    private const string List = "/etc/sbox/keep.d/mine.toml";
    private readonly GhostDirectory ghost = new();

    public void Dispose() => ghost.Dispose();

    [Fact]
    public void What_a_list_kept_and_names_no_more_is_told_with_what_named_it_and_the_rest_is_not()
    {
        ghost.Disk("had", "by the disk");
        ghost.Disk("docs/own", "by the disk");
        ghost.Begin();
        foreach (string each in (string[])["had", "made/deep/letter", "docs/new", "stays/a", "by-hand"])
            ghost.Session(each, "of the session");
        Declare("had", "made", "docs", "stays");
        ghost.Keep("by-hand");
        Assert.Empty(Orphans(Rules("had", "made", "docs", "stays")));
        Assert.Equal(
            ["Deletable docs/new by docs", "WasThere had by had", "Deletable made by made", "Deletable made/deep by made", "Deletable made/deep/letter by made"],
            Told(Orphans(Rules("stays"))));
        Orphan letter = Orphans(Rules("stays")).Single(orphan => orphan.Kept.Path == ghost.Of("made/deep/letter"));
        Assert.Equal((14, new KeepRule(List, ghost.Of("made"))), (letter.Bytes, letter.Kept.By));
        Assert.InRange(letter.Kept.Kept, DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow);
    }

    [Fact]
    public void Cleaning_deletes_in_the_session_and_on_the_disk_what_only_the_list_had_made()
    {
        ghost.Disk("had", "by the disk");
        ghost.Disk("docs/own", "by the disk");
        ghost.Begin();
        foreach (string each in (string[])["had", "made/deep/letter", "made/deep/edited", "other/a", "docs/new"])
            ghost.Session(each, "of the session");
        Declare("had", "made", "other", "docs");
        Begin();
        ghost.Session("made/deep/edited", "by somebody, since");
        ghost.Session("other/theirs", "by somebody, since");
        Assert.Equal(["Deletable docs/new by docs", "WasThere had by had", "ChangedSince made/deep/edited by made", "Deletable made/deep/letter by made", "Deletable other/a by other"], Told(Orphans([])));
        Assert.Equal(["docs/new", "made/deep/letter", "other/a"], Clean(ghost.Layer, isGhost: true).Select(orphan => ghost.Layer.Relative(orphan.Kept.Path)).Order(StringComparer.Ordinal));
        foreach (string each in (string[])["made/deep/letter", "docs/new", "other/a"])
            Assert.Equal((false, false), (File.Exists(ghost.Of(each)), ghost.IsOnDisk(each)));
        Assert.Equal(["Changed made/deep/edited", "New other/theirs"], ghost.Ledger());
        Assert.Equal(("of the session", "of the session", "by the disk"), (ghost.OnDisk("made/deep/edited"), ghost.OnDisk("had"), ghost.OnDisk("docs/own")));
    }

    [Fact]
    public void On_a_boot_that_is_no_ghost_directories_go_with_the_last_that_was_kept_in_them()
    {
        ghost.Begin();
        ghost.Session("made/deep/letter", "of the session");
        Directory.CreateDirectory(ghost.Of("made/empty"));
        Declare("made");
        Normal();
        Assert.Equal(4, Clean(Disk, isGhost: false).Count);
        Assert.False(ghost.IsOnDisk("made"));
    }

    [Fact]
    public void A_link_in_the_place_of_a_directory_leads_nobody_out_of_it()
    {
        ghost.Begin();
        Session("made/letter");
        ghost.Session("link", "of the session");
        Declare("made", "link");
        Normal();
        Session("elsewhere/letter");
        IReadOnlyList<Orphan> listed = Find(Disk, []);
        Directory.Delete(ghost.Of("made"), recursive: true);
        Directory.CreateSymbolicLink(ghost.Of("made"), "elsewhere");
        File.Delete(ghost.Of("link"));
        File.CreateSymbolicLink(ghost.Of("link"), "elsewhere/letter");
        Assert.Equal(3, listed.Count);
        Assert.Empty(Delete(listed, Disk, isGhost: false));
        Assert.True(ghost.IsOnDisk("elsewhere/letter"));
        Assert.Equal(["ChangedSince link by link"], Told(Find(Disk, [])));
    }

    [Fact]
    public void What_is_kept_again_is_the_lists_still_and_what_was_deleted_or_kept_by_name_is_not()
    {
        ghost.Begin();
        foreach (string each in (string[])["again", "deleted", "by-name"])
            ghost.Session(each, "one");
        Declare("again", "deleted", "by-name");
        Begin();
        ghost.Session("again", "two");
        ghost.Session("by-name", "two");
        File.Delete(ghost.Of("deleted"));
        Declare("again", "deleted");
        ghost.Keep("by-name");
        Normal();
        ghost.Session("deleted", "made anew, by somebody");
        Assert.Equal(["Deletable again by again"], Told(Find(Disk, [])));
    }

    [Fact]
    public void What_somebody_changed_on_the_disk_between_two_sessions_is_theirs_also_when_it_is_kept_again()
    {
        ghost.Begin();
        ghost.Session("letter", "one");
        Declare("letter");
        Normal();
        ghost.Session("letter", "by hand, on a boot that is no ghost");
        Begin();
        ghost.Session("letter", "two");
        Declare("letter");
        Assert.Equal(["WasThere letter by letter"], Told(Orphans([])));
    }

    [Fact]
    public void What_is_kept_is_in_the_record_before_it_has_its_name()
    {
        Directory.CreateDirectory($"{ghost.Layer.Lower}/made");
        ghost.Begin();
        ghost.Session("made/letter", "of the session");
        // No file can be renamed into another file system: the first deed after the record fails, as a power cut would have it.
        using (FileSystemContext context = FileSystemContext.Open("tmpfs"))
        using (DetachedMount other = context.Create())
            other.AttachAt($"{ghost.Layer.Lower}/made");
        Assert.Throws<LinuxException>(() => Declare("made"));
        Mounts.Detach($"{ghost.Layer.Lower}/made");
        using Dir beside = Dir.Open(Path.GetDirectoryName(ghost.Layer.Staging)!);
        Assert.Contains(ghost.Of("made/letter"), KeptRecord.Read(beside).Select(static kept => kept.Path));
        Assert.Empty(Orphans([]));
    }

    [Fact]
    public void A_record_reads_back_as_written_and_a_line_that_is_damaged_says_nothing()
    {
        string bytes = FileName.FromBytes([(byte)'/', 0xFF, (byte)'\n', (byte)'\t', (byte)'\\', (byte)'n']);
        KeptPath[] kept =
        [
            new("/etc/hosts", new KeepRule(List, "network"), IsNew: false, 0x81A4, 1000, uint.MaxValue, 12, -5, 999_999_999, 0, DateTimeOffset.FromUnixTimeSeconds(1)),
            new(bytes, new KeepRule(List, bytes), IsNew: true, 0x41C0, 0, 0, 0, 0, 0, ulong.MaxValue, DateTimeOffset.FromUnixTimeSeconds(1_700_000_000)) { IsParent = true },
        ];
        using Dir directory = Dir.Open(ghost.Layer.Lower);
        Assert.Empty(KeptRecord.Read(directory));
        KeptRecord.Write(directory, kept);
        Assert.Equal(kept, KeptRecord.Read(directory));
        Assert.Equal(0x180u, directory.Stat(".sbox-kept").Permissions);
        const string whole = "new\tkept\t1\t100644\t0\t0\t2\t3.4\t5\tf\tw\t";
        Durable.Replace(directory, ".sbox-kept", Encoding.UTF8.GetBytes($"{whole}/var/../etc/passwd\n{whole}etc\n{whole}/\nnew\tkept\n{whole[..^3]}/a\n{whole.Replace("t\t1", "t\t99999999999999", StringComparison.Ordinal)}/a\n{whole.Replace("644", "648", StringComparison.Ordinal)}/a\n{whole}/var/a\n{whole.Replace("\t2", "\t6", StringComparison.Ordinal)}/var/a\n\0"));
        Assert.Equal([("/var/a", 6L)], KeptRecord.Read(directory).Select(static each => (each.Path, each.Bytes)));
    }

    [Fact]
    public void What_is_adopted_is_named_again_beside_what_the_list_names_already()
    {
        Directory.CreateDirectory($"{ghost.Layer.Lower}/sbox/keep.d");
        string lists = $"{ghost.Layer.Lower}/sbox/keep.d";
        using Dir etc = Dir.Open(ghost.Layer.Lower);
        AdoptedList.Add(etc, lists, ["network", "/var/home/ann/\"new\"\\\t\u0001"]);
        AdoptedList.Add(etc, lists, ["/var/b", "network"]);
        Assert.Equal(["network", "/var/home/ann/\"new\"\\\t\u0001", "/var/b"], KeepList.Read(static path => path, lists).Select(static rule => rule.What));
        string before = File.ReadAllText($"{lists}/adopted.toml");
        foreach (string noGroup in (string[])["logs", "no-group"])
            Assert.Throws<GhostSettingsException>(() => AdoptedList.Add(etc, lists, [noGroup]));
        Assert.Equal(before, File.ReadAllText($"{lists}/adopted.toml"));
        Assert.Throws<ArgumentException>(() => AdoptedList.Add(etc, lists, [FileName.FromBytes([(byte)'/', 0xFF])]));
    }

    [Fact]
    public void What_something_is_mounted_over_is_no_orphan_and_not_deleted_when_it_is_mounted_later()
    {
        ghost.Begin();
        Session("home/letter");
        Declare("home");
        Normal();
        IReadOnlyList<Orphan> listed = Find(Disk, []);
        using (FileSystemContext context = FileSystemContext.Open("tmpfs"))
        using (DetachedMount tomb = context.Create())
            tomb.AttachAt(ghost.Of("home"));
        try
        {
            Session("home/letter");
            Assert.Equal(2, listed.Count);
            Assert.Empty(Find(Disk, []));
            Assert.Empty(Delete(listed, Disk, isGhost: false));
            Assert.True(File.Exists(ghost.Of("home/letter")));
        }
        finally
        {
            Mounts.Detach(ghost.Of("home"));
        }

        Assert.Equal(2, Clean(Disk, isGhost: false).Count);
    }

    [Fact]
    public void What_somebody_brought_back_from_a_copy_or_gave_to_another_is_theirs()
    {
        ghost.Begin();
        foreach (string each in (string[])["copied", "given", "closed", "kept"])
            Session(each);
        Directory.CreateDirectory(ghost.Of("empty"));
        Directory.CreateDirectory(ghost.Of("shut"));
        Declare("copied", "given", "closed", "kept", "empty", "shut");
        Normal();
        File.Move(ghost.Of("copied"), ghost.Of("old"));
        Session("copied");
        using (Dir disk = Dir.Open(ghost.Layer.At))
        {
            disk.ChangeOwner("given", 1000, 1000);
            disk.ChangeMode("closed", 0x180);
            disk.ChangeMode("shut", 0x1C0);
        }

        Assert.Equal(["ChangedSince closed by closed", "ChangedSince copied by copied", "Deletable empty by empty", "ChangedSince given by given", "Deletable kept by kept"], Told(Find(Disk, [])));
    }

    [Fact]
    public void What_was_deleted_is_forgotten_when_the_next_is_kept()
    {
        ghost.Begin();
        ghost.Session("gone", "of the session");
        ghost.Session("made/gone", "of the session");
        Declare("gone", "made");
        Normal();
        File.Delete(ghost.Of("gone"));
        Directory.Delete(ghost.Of("made"), recursive: true);
        Begin();
        ghost.Session("other", "of the session");
        Declare("other");
        using Dir beside = Dir.Open(Path.GetDirectoryName(ghost.Layer.Staging)!);
        Assert.Equal([ghost.Of("other")], KeptRecord.Read(beside).Select(static kept => kept.Path));
    }

    [Fact]
    public void A_record_that_cannot_be_read_costs_no_file_and_is_told()
    {
        Directory.CreateDirectory($"{Path.GetDirectoryName(ghost.Layer.Staging)}/.sbox-kept");
        ghost.Begin();
        ghost.Session("letter", "of the session");
        Assert.Contains(".sbox-kept", Declare("letter"), StringComparison.Ordinal);
        Assert.Equal("of the session", ghost.OnDisk("letter"));
    }

    [Fact]
    public void A_directory_is_an_orphan_only_with_what_is_in_it_or_where_it_was_kept_empty()
    {
        ghost.Begin();
        foreach (string each in (string[])["emptied/letter", "home/ann/letter", "whole/letter"])
            ghost.Session(each, "of the session");
        Directory.CreateDirectory(ghost.Of("empty"));
        Declare("emptied", "home", "whole", "empty");
        Normal();
        File.Delete(ghost.Of("emptied/letter"));
        Assert.Equal(
            ["Deletable empty by empty", "Deletable home/ann/letter by home", "Deletable whole by whole", "Deletable whole/letter by whole"],
            Told(Find(Disk, Rules("home/ann/Documents"))));
    }

    [Fact]
    public void In_a_ghost_what_the_session_does_not_see_on_the_disk_holds_its_directory_too()
    {
        ghost.Begin();
        ghost.Session("made/letter", "of the session");
        Declare("made");
        Normal();
        ghost.Session("made/own", "by somebody, since");
        Begin();
        File.Delete(ghost.Of("made/own"));
        Assert.Equal(["Deletable made/letter by made"], Told(Orphans([])));
    }

    [Fact]
    public void In_a_ghost_what_a_renamed_directory_is_read_from_stays()
    {
        ghost.Begin();
        Session("made/letter");
        ghost.Session("other", "of the session");
        Declare("made", "other");
        Begin();
        IReadOnlyList<Orphan> listed = Orphans([]);
        Directory.Move(ghost.Of("made"), ghost.Of("moved"));
        Session("made/letter");
        var refused = new List<string>();
        Assert.Equal([ghost.Of("other")], Delete(listed, ghost.Layer, isGhost: true, refused).Select(static orphan => orphan.Kept.Path));
        Assert.Contains(refused, static why => why.Contains("the session reads from there what it renamed", StringComparison.Ordinal));
        Assert.Equal("of the session", File.ReadAllText(ghost.Of("moved/letter")));
    }

    [Fact]
    public void One_that_cannot_be_deleted_is_told_and_the_others_go()
    {
        ghost.Begin();
        foreach (string each in (string[])["a", "immutable", "z"])
            ghost.Session(each, "of the session");
        Declare("a", "immutable", "z");
        Normal();
        Judge.OnPath("chattr").Run("+i", ghost.Of("immutable"));
        try
        {
            var refused = new List<string>();
            Assert.Equal(["a", "z"], Delete(Find(Disk, []), Disk, isGhost: false, refused).Select(orphan => ghost.Layer.Relative(orphan.Kept.Path)).Order(StringComparer.Ordinal));
            Assert.Contains("unlinkat", Assert.Single(refused), StringComparison.Ordinal);
        }
        finally
        {
            Judge.OnPath("chattr").Run("-i", ghost.Of("immutable"));
        }
    }

    // With the same time whenever it is written, to the nanosecond.
    private void Session(string path)
    {
        ghost.Session(path, "of the session");
        File.SetLastWriteTimeUtc(ghost.Of(path), DateTime.UnixEpoch.AddDays(1));
    }

    // As a boot that is no ghost has it.
    private GhostLayer Disk => ghost.Layer with { Lower = ghost.Layer.At };

    private KeepRule[] Rules(params string[] paths) => [.. paths.Select(path => new KeepRule(List, ghost.Of(path)))];

    // As a ghost does that is switched off.
    private string? Declare(params string[] paths)
    {
        KeepRule[] rules = Rules(paths);
        using LedgerKeeper keeper = LedgerKeeper.Open(ghost.Layer with { IsShared = true });
        keeper.Keep([.. LedgerScan.Of(ghost.Layer).Where(entry => rules.For(entry.Path) is not null)], default, rules);
        return keeper.RecordTrouble;
    }

    // The next session: its memory is empty.
    private void Begin()
    {
        ghost.End();
        ghost.Begin();
    }

    private void Normal()
    {
        ghost.End();
        ghost.BeginNormal();
    }

    private IReadOnlyList<Orphan> Orphans(IReadOnlyList<KeepRule> rules) => Find(ghost.Layer, rules);

    private IReadOnlyList<Orphan> Find(GhostLayer layer, IReadOnlyList<KeepRule> rules)
    {
        using Dir beside = Dir.Open(Path.GetDirectoryName(layer.Staging)!);
        return KeptOrphans.Find(KeptRecord.Read(beside), rules, [layer]);
    }

    private IReadOnlyList<Orphan> Clean(GhostLayer layer, bool isGhost) => Delete(Find(layer, []), layer, isGhost);

    private static List<Orphan> Delete(IReadOnlyList<Orphan> orphans, GhostLayer layer, bool isGhost, List<string>? refused = null)
    {
        var gone = new List<Orphan>();
        KeptOrphans.Delete(orphans, layer, isGhost, (orphan, why) =>
        {
            if (why is null)
                gone.Add(orphan);
            else
                refused?.Add(why);
        }, TestContext.Current.CancellationToken);
        return gone;
    }


    private IEnumerable<string> Told(IReadOnlyList<Orphan> orphans) => orphans.Select(orphan => $"{orphan.Fate} {ghost.Layer.Relative(orphan.Kept.Path)} by {ghost.Layer.Relative(orphan.Kept.By.What)}");
}
