using System.Text.Json;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary><c>sbox keep --orphans</c> on a box that runs, and what is kept where there is no disk, by the program itself.</summary>
public sealed class OrphanCommandTests : IDisposable
{
    // Of this machine's own: the host's /etc and /var/tmp are seen by nobody here.
    private const string OwnDirectories = """
        mkdir /run/etc; cp -a /etc/passwd /etc/group /etc/ld.so.cache /run/etc/; mount --bind /run/etc /etc
        mount -t tmpfs tmpfs /var
        umask 022; mkdir -p /var/tmp/kept
        echo one > /var/tmp/kept/letter; echo two > /var/tmp/kept/edited; touch -d @1700000000 /var/tmp/kept/letter

        """;

    // A ghost of the same box: what it changes is in memory, over what its disk has.
    private const string Ghost = """
        os=/sysroot/ostree/deploy/debian deployment=$(ls -d /sysroot/ostree/deploy/debian/deploy/*.0)
        mount -o remount,bind,rw /sysroot; umask 022
        mkdir -p $os/var/tmp/kept $deployment/etc; cp -a /etc/ld.so.cache /etc/passwd /etc/group $deployment/etc/
        echo one > $os/var/tmp/kept/letter; touch -d @1700000000 $os/var/tmp/kept/letter
        mount -o remount,bind,ro /sysroot
        echo "$(cat /run/cmdline) sbox.ghost" > /run/cmdline
        mkdir -p /run/sbox/ghost; mount -t tmpfs tmpfs /run/sbox/ghost; mkdir -p /run/sbox/ghost/{etc,var}/{upper,work}
        mount -t overlay etc -o redirect_dir=on,lowerdir=$deployment/etc,upperdir=/run/sbox/ghost/etc/upper,workdir=/run/sbox/ghost/etc/work /etc
        mount -t overlay var -o redirect_dir=on,lowerdir=$os/var,upperdir=/run/sbox/ghost/var/upper,workdir=/run/sbox/ghost/var/work /var

        """;

    private readonly TestBox box = new();
    private readonly Deployment running;

    public OrphanCommandTests()
    {
        box.Installed(box.Publish(1)).Dispose();
        using OstreeSysroot sysroot = box.Open();
        running = sysroot.Deployments[0];
        const string by = "/etc/sbox/keep.d/mine.toml\t/var/tmp/kept";
        File.WriteAllText($"{box.SysrootPath}/ostree/deploy/{running.Name.Os}/.sbox-kept",
            $"new\tparent\t1700000000\t40755\t0\t0\t0\t0.0\t0\t{by}\t/var/tmp/kept\n{Line("letter")}{Line("edited")}");

        static string Line(string name) => $"new\tkept\t1700000000\t100644\t0\t0\t4\t1700000000.0\t0\t{by}\t/var/tmp/kept/{name}\n";
    }

    public void Dispose() => box.Dispose();

    [Fact]
    public void They_are_listed_mentioned_and_deleted_when_somebody_says_so_and_not_before()
    {
        using var machine = new RunningBox(box, running);
        string said = machine.Run(OwnDirectories + """
            sbox keep --orphans
            sbox ledger
            sbox status --esp=/run/esp | grep Kept:
            sbox status --esp=/run/esp --json
            sbox keep --orphans --clean </dev/null 2>&1 && exit 9
            cat /var/tmp/kept/letter
            sbox keep --orphans --clean --yes 2>&1
            ls -A /var/tmp/kept
            sbox keep --orphans
            """);
        string[] lines = said.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal("path /var/tmp/kept of /etc/sbox/keep.d/mine.toml: 2 files, 8 B", lines[0]);
        Assert.Equal("  /var/tmp/kept/edited  4 B  kept 2023-11-14, ", lines[1][..46]);
        Assert.EndsWith(" days ago; stays: changed since", lines[1], StringComparison.Ordinal);
        Assert.Contains("2 files, 8 B on the disk were kept by a list that names them no more: sbox keep --orphans", lines);
        Assert.Contains("Kept: 2 files, 8 B on the disk were kept by a list that names them no more: sbox keep --orphans", lines);
        Assert.Equal(2, JsonDocument.Parse(lines.Single(static line => line.StartsWith('{'))).RootElement.GetProperty("orphans").GetInt32());
        Assert.Contains("sbox: there is no terminal to ask at, and nothing was changed", lines);
        Assert.Contains("one", lines);
        Assert.Contains(lines, static line => line.StartsWith("deleted /var/tmp/kept/letter  4 B", StringComparison.Ordinal));
        Assert.Contains(lines, static line => line.StartsWith("not deleted, and not told of again: /var/tmp/kept/edited", StringComparison.Ordinal));
        Assert.Equal("All that lists in /etc/sbox/keep.d have kept they name still.", lines[^1]);
        Assert.Contains("edited", lines);
        Assert.DoesNotContain("letter", lines);
    }

    [Fact]
    public void At_a_terminal_it_is_asked_and_only_a_plain_yes_deletes()
    {
        using var machine = new RunningBox(box, running);
        string said = machine.Run(OwnDirectories + """
            printf 'perhaps\nno\n' | script -qec "$program/sbox keep --orphans --clean" /dev/null
            echo "left: $(ls /var/tmp/kept | paste -sd' ')"
            printf 'yes\n' | script -qec "$program/sbox keep --orphans --clean" /dev/null
            echo "left: $(ls /var/tmp/kept | paste -sd' ')"
            """);
        Assert.Contains("Delete them (yes/no), or adopt: name them again [no]: ", said, StringComparison.Ordinal);
        Assert.Contains("Please type yes, no or adopt.", said, StringComparison.Ordinal);
        Assert.Equal(["left: edited letter", "left: edited"], said.Split('\n').Where(static line => line.StartsWith("left: ", StringComparison.Ordinal)));
    }

    [Fact]
    public void What_is_adopted_is_an_orphan_no_more()
    {
        using var machine = new RunningBox(box, running);
        string said = machine.Run(OwnDirectories + """
            sbox keep --orphans --adopt
            cat /etc/sbox/keep.d/adopted.toml
            sbox keep --orphans --clean --yes
            cat /var/tmp/kept/letter
            """);
        Assert.Equal("/etc/sbox/keep.d/adopted.toml names /var/tmp/kept: 2 files, 8 B stay\n# What sbox keep --orphans was told to adopt.\npaths = [\n  \"/var/tmp/kept\",\n]\nAll that lists in /etc/sbox/keep.d have kept they name still.\none\n", said);
    }

    [Fact]
    public void Adopting_a_part_names_that_part_and_a_group_that_no_list_may_name_is_named_by_its_paths()
    {
        string record = $"{box.SysrootPath}/ostree/deploy/{running.Name.Os}/.sbox-kept";
        using var machine = new RunningBox(box, running);
        const string show = """
            cat /etc/sbox/keep.d/adopted.toml
            rm /etc/sbox/keep.d/adopted.toml

            """;
        string part = machine.Run($"{OwnDirectories}sbox keep --orphans --adopt /var/tmp/kept/letter\n{show}printf 'adopt\\n' | script -qec \"$program/sbox keep --orphans --clean /var/tmp\" /dev/null >/dev/null\n{show}");
        const string head = "# What sbox keep --orphans was told to adopt.\npaths = [\n";
        Assert.Equal($"/etc/sbox/keep.d/adopted.toml names /var/tmp/kept/letter: 1 file, 4 B stay\n{head}  \"/var/tmp/kept/letter\",\n]\n{head}  \"/var/tmp/kept\",\n]\n", part);
        File.WriteAllText(record, File.ReadAllText(record).Replace("mine.toml\t/var/tmp/kept", "mine.toml\ttemporary", StringComparison.Ordinal));
        string noise = machine.Run($"{OwnDirectories}sbox keep --orphans --adopt\ncat /etc/sbox/keep.d/adopted.toml\nsbox keep --orphans");
        Assert.Equal(
            $"/etc/sbox/keep.d/adopted.toml names /var/tmp/kept/edited, /var/tmp/kept/letter: 2 files, 8 B stay\n{head}  \"/var/tmp/kept/edited\",\n  \"/var/tmp/kept/letter\",\n]\nAll that lists in /etc/sbox/keep.d have kept they name still.\n", noise);
    }

    [Fact]
    public void A_list_of_another_version_counts_and_one_that_cannot_be_read_leaves_all_in_place()
    {
        using var machine = new RunningBox(box, running);
        string said = machine.Run(OwnDirectories + """
            sbox keep --orphans --adopt --dry-run 2>&1 && exit 9
            test -e /etc/sbox && exit 8
            mount -o remount,bind,rw /sysroot
            lists=/sysroot/ostree/deploy/debian/deploy/another.1/etc/sbox/keep.d
            mkdir -p $lists; echo 'paths = ["/var/tmp/kept"]' > $lists/of-another.toml
            sbox keep --orphans --clean --yes
            echo 'paths = ' > $lists/of-another.toml
            sbox keep --orphans --clean --yes 2>&1 && exit 7
            sbox status --esp=/run/esp | grep Kept: && exit 6
            cat /var/tmp/kept/letter
            """);
        Assert.Contains("without --dry-run", said, StringComparison.Ordinal);
        Assert.Contains("All that lists in /etc/sbox/keep.d have kept they name still.", said, StringComparison.Ordinal);
        Assert.Contains("of-another.toml:1", said, StringComparison.Ordinal);
        Assert.EndsWith("\none\n", said, StringComparison.Ordinal);
    }

    [Fact]
    public void In_a_ghost_the_disks_lists_count_and_what_is_kept_by_name_is_no_lists_any_more()
    {
        using var machine = new RunningBox(box, running);
        string said = machine.Run(Ghost + """
            mount -o remount,bind,rw /sysroot
            mkdir -p $deployment/etc/sbox/keep.d; echo 'paths = ["/var/tmp/kept"]' > $deployment/etc/sbox/keep.d/mine.toml
            mount -o remount,bind,ro /sysroot
            rm -r /etc/sbox
            sbox keep --orphans
            mount -o remount,bind,rw /sysroot; rm -r $deployment/etc/sbox; mount -o remount,bind,ro /sysroot
            sbox keep --orphans
            sbox keep /var/tmp/kept 2>&1
            sbox keep --orphans
            sbox keep /var/tmp/kept 2>&1 && exit 9
            sed -n 's/.*\t//p' $os/.sbox-kept
            """);
        const string none = "All that lists in /etc/sbox/keep.d have kept they name still.";
        string[] lines = said.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(none, lines[0]);
        Assert.Equal("path /var/tmp/kept of /etc/sbox/keep.d/mine.toml: 1 file, 4 B", lines[1]);
        Assert.Contains("3 paths that a list had kept stay by name from now on: sbox keep --orphans will not list them", said, StringComparison.Ordinal);
        Assert.Equal(2, lines.Count(static line => line == none));
        Assert.Contains("the session has changed nothing there", said, StringComparison.Ordinal);
        Assert.DoesNotContain("/var/tmp/kept/letter", lines);
    }

    [Fact]
    public void Where_a_boot_runs_from_memory_nothing_is_called_kept()
    {
        using var machine = new RunningBox(box, running);
        string said = machine.Run(OwnDirectories + """
            echo "$(cat /run/cmdline) sbox.ghost" > /run/cmdline
            mkdir -p /run/sbox; printf 'medium=/dev/sda2\nbytes=1\nmilliseconds=1\n' > /run/sbox/memory-disk
            for asked in "--declared" "--declared --dry-run" "--orphans --clean --yes" "--orphans --adopt"; do
              sbox keep $asked 2>&1 && exit 9
            done
            cat /var/tmp/kept/letter
            """);
        Assert.Equal(4, said.Split("sbox: this boot runs from memory").Length - 1);
        Assert.Equal(4, said.Split("Reboot with the medium in").Length - 1);
    }
}
