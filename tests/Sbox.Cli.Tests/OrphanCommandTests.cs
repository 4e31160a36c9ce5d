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
        mount -t tmpfs tmpfs /var/tmp
        mkdir -p /var/tmp/kept
        echo one > /var/tmp/kept/letter; echo two > /var/tmp/kept/edited; touch -d @1700000000 /var/tmp/kept/letter

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
            $"new\tdir\t1700000000\t0\t0.0\t{by}\t/var/tmp/kept\nnew\tfile\t1700000000\t4\t1700000000.0\t{by}\t/var/tmp/kept/letter\nnew\tfile\t1700000000\t4\t1700000000.0\t{by}\t/var/tmp/kept/edited\n");
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
        Assert.Contains(lines, static line => line.StartsWith("not deleted: /var/tmp/kept/edited", StringComparison.Ordinal));
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
