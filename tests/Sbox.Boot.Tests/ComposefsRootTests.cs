namespace Sbox.Boot.Tests;

/// <summary>The root as the kernel makes it: real mounts of a real, small deployment, in namespaces that nobody else sees. Needs root.</summary>
public sealed class ComposefsRootTests(TinyBox box) : IClassFixture<TinyBox>
{
    private string Mounted(string script) => box.Try($"sbox-root sbox.deployment={box.Name} || exit\n{script}");

    [Fact]
    public void The_root_is_the_deployment_and_its_bytes_come_from_the_objects() =>
        Assert.Equal($"100000 x\n", Mounted("echo $(stat -c %s $SYSROOT/usr/bin/program) $(head -c1 $SYSROOT/usr/bin/program)"));

    [Fact]
    public void The_root_cannot_be_written_and_no_remount_makes_it_so() => Assert.Equal(
        "1\n32\n1\n1\n", Mounted(
            """
            exec 3>&1 >/dev/null 2>&1
            touch $SYSROOT/usr/new; echo $? >&3
            mount -o remount,rw $SYSROOT; echo $? >&3
            mount -o remount,bind,rw $SYSROOT; touch $SYSROOT/usr/new; echo $? >&3
            mkdir /run/other; mount --bind $SYSROOT/usr /run/other; mount -o remount,bind,rw /run/other; touch /run/other/new; echo $? >&3
            """));

    [Fact]
    public void Etc_and_var_are_written_where_the_deployment_and_its_stateroot_have_them() => Assert.Equal(
        "default\nchanged\nkept\n", Mounted(
            $"""
            cat $SYSROOT/etc/setting
            echo changed > $SYSROOT/etc/setting; cat $SYSROOT/sysroot/{box.Deployment}/etc/setting
            echo default > $SYSROOT/etc/setting
            echo kept > $SYSROOT/var/data; cat $SYSROOT/sysroot/ostree/deploy/debian/var/data
            """));

    [Fact]
    public void The_physical_root_is_read_only_for_all() =>
        Assert.Contains("Read-only file system", Mounted("touch $SYSROOT/sysroot/new"), StringComparison.Ordinal);

    [Fact]
    public void What_was_mounted_on_the_way_is_gone() => Assert.Equal(
        "/run\n/run/sysroot\n/run/sysroot/etc\n/run/sysroot/sysroot\n/run/sysroot/var\n",
        Mounted("findmnt --list --noheadings --output TARGET | grep ^/run | sort"));

    [Fact]
    public void The_mark_of_a_booted_deployment_holds_its_device_and_inode()
    {
        string[] lines = Mounted(
            $"""
            stat --format '%d %i' $SYSROOT/sysroot/{box.Deployment}
            od --address-radix=n --format=u8 --skip-bytes=32 --read-bytes=16 /run/ostree-booted
            head -c 25 /run/ostree-booted
            """).Split('\n');
        Assert.Equal(lines[0].Split(' '), lines[1].Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal("backing-root-device-inode", lines[2]);
    }

    [Fact]
    public void The_ostree_link_leads_to_the_deployment_too() => Assert.Equal(
        "100000\n", box.Try(
            $"""
            mount -o remount,rw $SYSROOT
            mkdir -p $SYSROOT/ostree/boot.1.1/debian/cc; ln -s boot.1.1 $SYSROOT/ostree/boot.1
            ln -s ../../../deploy/{box.Deployment["ostree/deploy/".Length..]} $SYSROOT/ostree/boot.1.1/debian/cc/0
            mount -o remount,ro $SYSROOT
            sbox-root ostree=/ostree/boot.1/debian/cc/0
            stat -c %s $SYSROOT/usr/bin/program
            """));

    [Fact]
    public void A_missing_deployment_is_one_line_and_leaves_the_disk_as_it_was()
    {
        string wrong = $"debian/{new string('0', 64)}.0";
        string output = box.Try($"sbox-root 'root=LABEL=x sbox.deployment={wrong}'; echo $?; findmnt -no FSTYPE,OPTIONS $SYSROOT");
        Assert.Equal(
            $"sbox-root: deployment debian/000000000000.0 is missing; root=LABEL=x has debian/{box.Name[7..19]}.0: reboot and choose it in the boot menu\n1\next4 ro,relatime\n",
            System.Text.RegularExpressions.Regex.Replace(output, "ext4 +", "ext4 "));
    }

    [Fact]
    public void An_image_that_is_none_is_one_line_with_the_kernels_reason()
    {
        string output = box.Try(
            $"mount -o remount,rw $SYSROOT; cp $SYSROOT/{box.Deployment}/.ostree.cfs /run/good; head -c 9000 /dev/zero > $SYSROOT/{box.Deployment}/.ostree.cfs; " +
            $"sbox-root sbox.deployment={box.Name}; echo $?; cat /run/good > $SYSROOT/{box.Deployment}/.ostree.cfs");
        string[] lines = output.TrimEnd('\n').Split('\n');
        Assert.Equal(2, lines.Length);
        Assert.Matches("^sbox-root: erofs: .*/.ostree.cfs: fsconfig create: Invalid argument.*reboot and choose another one", lines[0]);
        Assert.Equal("1", lines[1]);
    }

    [Fact]
    public void Private_mounts_write_where_others_cannot_and_leave_nothing_mounted() => Assert.Equal(
        "arguments: /run/sysroot/sysroot|file with blanks\nwritten\nwritten\nro\n0\n", Mounted(
            """
            probe $SYSROOT/sysroot 'file with blanks'
            cat "$SYSROOT/sysroot/file with blanks"
            findmnt --noheadings --output VFS-OPTIONS $SYSROOT/sysroot | cut -c1-2
            findmnt --list --noheadings --output TARGET | grep -c /run/sbox/
            """));
}
