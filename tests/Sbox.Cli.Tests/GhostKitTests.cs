using Sbox.Cli.Commands;
using Sbox.Judges;

namespace Sbox.Cli.Tests;

/// <summary>What a ghost copies to memory runs from there, by a shell that opens nothing of the disk.</summary>
public sealed class GhostKitTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-kit-").FullName;

    public void Dispose() => Directory.Delete(directory, recursive: true);

    private static Sbox.Boot.GhostMedium Gone => new("sda2", "/sys/none", IsCopied: false);

    private string Kit => $"{directory}/kit";

    [Fact]
    public void Copies_run_where_the_machine_has_no_other_programs_libraries_or_loader()
    {
        GhostKit.Pack(Kit, room: 64 << 20, Gone, sbox: "/usr/bin/true");
        File.WriteAllText($"{directory}/letter", "letter");
        // Nothing of the machine is left but the kit and a shell that runs already, as when the disk is gone.
        Verdict verdict = Judge.OnPath("unshare").Ask("--mount", "bash", "-c", """
            set -e
            shopt -s expand_aliases
            alias ls='ls --color=auto' cp='cp -i'
            for top in /usr /lib /lib64 /bin /etc; do [ -L $top ] || [ ! -d $top ] || mounts="$mounts $top"; done
            . $1/kit/env
            for top in $mounts; do mount -t tmpfs none $top; done
            [ ! -e /usr/bin/env ]
            mkdir $1/new; cp $1/letter $1/new/copy; cat $1/new/copy; sbox; ls $1/new
            """, "bash", directory);
        Assert.Equal((0, "lettercopy\n", ""), (verdict.ExitCode, verdict.Output, verdict.Error));
    }

    [Fact]
    public void What_would_take_more_than_there_is_room_for_is_left_out_and_the_rest_is_there()
    {
        File.WriteAllBytes($"{directory}/large", new byte[8 << 20]);
        (long bytes, IReadOnlyList<string> programs) = GhostKit.Pack(Kit, room: 8 << 20, Gone, sbox: $"{directory}/large");
        Assert.Equal(["cat", "cp", "ls", "mkdir", "mount", "sync", "umount"], programs);
        Assert.InRange(bytes, 1, 8 << 20);
        Assert.Equal(bytes, new DirectoryInfo(Kit).EnumerateFiles("*", SearchOption.AllDirectories).Where(static file => file.Name is not ("env" or "wipe")).Sum(static file => file.Length));
        string[] functions = [.. File.ReadLines($"{Kit}/env").Where(static line => line.Contains("() {", StringComparison.Ordinal)).Select(static line => line.Split('(')[0])];
        Assert.Equal(["cat", "cp", "find", "head", "ls", "mkdir", "mount", "nproc", "off", "sync", "umount"], functions.Order(StringComparer.Ordinal));
        Assert.Equal(bytes, GhostKit.Pack(Kit, room: 8 << 20, Gone, sbox: $"{directory}/large").Bytes); // a second time, over the first
    }

    [Fact]
    public void People_are_told_what_can_be_done_where_a_disk_is_missed_and_that_nothing_is_lost_where_it_is_not()
    {
        string missed = GhostWatch.Words(Gone, ["sbox", "cp"]), copied = GhostWatch.Words(Gone with { IsCopied = true }, []), none = GhostWatch.Words(Gone, []);
        Assert.Contains("no room for copies", none, StringComparison.Ordinal);
        Assert.DoesNotContain("env", none, StringComparison.Ordinal);
        foreach (string word in (string[])["sda2 was taken out", ". /run/initramfs/sbox-kit/env", "sbox tomb save", "off", "wipes nothing"])
            Assert.Contains(word, missed, StringComparison.Ordinal);
        Assert.Contains("Nothing is lost", copied, StringComparison.Ordinal);
    }

    // Not run: where this does not hold, it would end the machine that asks.
    [Fact]
    public void Nobody_is_switched_off_whose_disk_is_there()
    {
        GhostKit.Pack(Kit, room: 8 << 20, Gone, sbox: "/usr/bin/true");
        string[] lines = File.ReadAllLines($"{Kit}/env");
        Assert.StartsWith("  if [ -e '/sys/none' ] && [ \"$1\" != now ]; then echo ", lines[Array.IndexOf(lines, "off() {") + 1], StringComparison.Ordinal);
        Assert.EndsWith("return 1; fi", lines[Array.IndexOf(lines, "off() {") + 1], StringComparison.Ordinal);
    }
}
