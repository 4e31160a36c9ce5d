using System.Text.RegularExpressions;

namespace Sbox.Boot.Tests;

/// <summary>The root that a soft reboot goes to, made beside the one that runs, by the kernel. Needs root.</summary>
public sealed class NextRootTests(TinyBox box) : IClassFixture<TinyBox>
{
    private string Running(string script) => box.Try($"sbox-root sbox.deployment={box.Name} || exit\nDISK=$SYSROOT/sysroot\n{script}");

    [Fact]
    public void It_is_made_of_image_objects_etc_and_var_and_nothing_else_stays_mounted() => Assert.Equal(
        """
        root of DEPLOYMENT:
          mount erofs DISK/DIR/.ostree.cfs at /run/sbox/image
          mount overlay at /run/nextroot, read-only: names of /run/sbox/image, bytes of DISK/ostree/repo/objects
          detach /run/sbox/image
          bind DISK/DIR/etc at /run/nextroot/etc, writable
          bind DISK/ostree/deploy/debian/var at /run/nextroot/var, writable
          bind DISK at /run/nextroot/sysroot, read-only
          note that /run/nextroot is SHORT
        /run/nextroot
        /run/nextroot/etc
        /run/nextroot/sysroot
        /run/nextroot/var

        """,
        Running($"probe --next $DISK {box.Name}; findmnt --list --noheadings --output TARGET | grep -e ^/run/nextroot -e ^/run/sbox | sort")
            .Replace("/run/sysroot/sysroot", "DISK", StringComparison.Ordinal).Replace(box.Deployment, "DIR", StringComparison.Ordinal)
            .Replace(box.Name, "DEPLOYMENT", StringComparison.Ordinal).Replace($"debian/{box.Name[7..19]}.0", "SHORT", StringComparison.Ordinal));

    [Fact]
    public void Its_programs_are_read_only_and_its_etc_and_var_are_the_disks() => Assert.Equal(
        "100000\n1\nchanged\nkept\n1\n", Running(
            $"""
            probe --next $DISK {box.Name} >/dev/null; cd /run/nextroot
            stat -c %s usr/bin/program
            touch usr/new 2>/dev/null; echo $?
            echo changed > etc/setting; cat $DISK/{box.Deployment}/etc/setting; echo default > etc/setting
            echo kept > var/data; cat $DISK/ostree/deploy/debian/var/data
            touch sysroot/new 2>/dev/null; echo $?
            """));

    [Fact]
    public void Whoever_runs_in_it_later_finds_out_what_it_is() => Assert.Equal(
        $"{box.Name}\n", Running($"probe --next $DISK {box.Name} >/dev/null; cat /run/sbox-roots/$(printf %x $(stat -c %d /run/nextroot))"));

    [Fact]
    public void Made_twice_it_is_there_once() => Assert.Equal(
        "1\n", Running($"probe --next $DISK {box.Name} >/dev/null; probe --next $DISK {box.Name} >/dev/null; findmnt --list --noheadings --output TARGET | grep -c '^/run/nextroot$'"));

    [Fact]
    public void One_that_is_not_whole_leaves_nothing_mounted_so_the_soft_reboot_stays_with_what_runs()
    {
        string said = Running(
            $"""
            probe --next $DISK debian/{new string('0', 64)}.0
            mount -o remount,bind,rw $DISK; mv $DISK/{box.Deployment}/.ostree.cfs $DISK/aside; head -c 9000 /dev/zero > $DISK/{box.Deployment}/.ostree.cfs
            probe --next $DISK {box.Name} 2>&1 | grep -o 'erofs: .*Invalid argument' | head -n 1
            mv $DISK/aside $DISK/{box.Deployment}/.ostree.cfs
            findmnt --list --noheadings --output TARGET | grep -c -e ^/run/nextroot -e ^/run/sbox/image
            """);
        Assert.Matches(new Regex(@"\Adeployment debian/000000000000\.0 is missing; .*\nerofs: .*Invalid argument\n0\n\z"), said);
    }
}
