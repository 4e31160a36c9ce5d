namespace Sbox.Boot.Tests;

/// <summary>Boots that keep nothing and boots that begin anew, as the host's kernel makes them. Needs root.</summary>
public sealed class GhostAndResetTests(TinyBox box) : IClassFixture<TinyBox>
{
    private const string Os = "ostree/deploy/debian";

    // What people left: a changed default, a file more, a file of theirs, and two that chattr protects.
    private string Lived(string script) => box.Try(
        $$"""
        deployment=$SYSROOT/{{box.Deployment}} var=$SYSROOT/{{Os}}/var
        mount -o remount,rw $SYSROOT
        rm -rf $var/* $deployment/etc; cp -a $deployment/usr/etc $deployment/etc
        echo changed > $deployment/etc/setting; echo more > $deployment/etc/more
        mkdir -p $var/home/alice; echo letter > $var/home/alice/letter; echo stays > $var/lock; chattr +i $var/lock; echo grows > $var/log; chattr +a $var/log; chmod 0711 $var; touch $SYSROOT/{{Os}}/.sbox-kept
        mount -o remount,ro $SYSROOT
        again() { umount -R $SYSROOT; mount -o ro $loop $SYSROOT; }
        clean() { again; mount -o remount,rw $SYSROOT; chattr -R -ia $SYSROOT/{{Os}}/*var $SYSROOT/{{Os}}/.sbox-reset; rm -rf $var/* $SYSROOT/{{Os}}/.sbox-reset $SYSROOT/{{Os}}/.sbox-kept; umount $SYSROOT; }
        trap 'clean >/dev/null 2>&1; losetup --detach $loop' EXIT
        {{script}}
        """);

    private string Ghost(string script) => Lived($"sbox-root 'sbox.deployment={box.Name} sbox.ghost' || exit\n{script}");

    // Without the countdown, which is for people.
    private string Program => $"dotnet {TinyBox.Built("Sbox.Boot.Probe", "Sbox.Boot.Probe")} --reset $SYSROOT 'sbox.deployment={box.Name} sbox.factory-reset'";

    private string Reset => $"sbox-root 'sbox.deployment={box.Name} sbox.factory-reset' 2>&1";

    [Fact]
    public void A_ghost_sees_what_is_there_and_keeps_nothing_of_what_it_does() => Assert.Equal(
        "changed\nletter\n711\nghostly\nnew\ngone\n--\nchanged\nletter\nno\nno\n", Ghost(
            """
            cat $SYSROOT/etc/setting $SYSROOT/var/home/alice/letter; stat -c %a $SYSROOT/var
            echo ghostly > $SYSROOT/etc/setting; mv $SYSROOT/var/home/alice $SYSROOT/var/home/bob; echo new > $SYSROOT/var/new
            cat $SYSROOT/etc/setting $SYSROOT/var/new; test -e $SYSROOT/var/home/alice || echo gone
            echo --
            again
            cat $deployment/etc/setting $var/home/alice/letter
            test -e $var/new && echo yes || echo no
            test -e $var/home/bob && echo yes || echo no
            """));

    [Fact]
    public void Not_one_block_of_the_disk_changes_under_a_ghost() => Assert.Equal("same\n", Ghost(
        """
        before=$(sha256sum < $loop)
        head -c 300000 /dev/zero > $SYSROOT/var/much; echo x >> $SYSROOT/etc/setting; sync
        mount -o remount,bind,rw $SYSROOT/sysroot; touch $SYSROOT/sysroot/file 2>/dev/null
        [ "$before" = "$(sha256sum < $loop)" ] && echo same
        """));

    [Fact]
    public void What_a_ghost_changes_is_in_memory_that_is_never_swapped_and_for_root_alone() => Assert.Equal("tmpfs noswap 700\n", Ghost(
        """
        options=$(findmnt -n -o OPTIONS /run/sbox/ghost)
        echo $(findmnt -n -o FSTYPE /run/sbox/ghost) $(grep -o noswap <<<"$options") $(stat -c %a /run/sbox/ghost)
        """));

    [Fact]
    public void A_ghost_is_somebody_new_at_each_boot_and_the_disk_does_not_know()
    {
        const string script =
            """
            cat $SYSROOT/etc/machine-id $SYSROOT/etc/hostname; stat -c %a $SYSROOT/etc/machine-id
            grep -c MACAddressPolicy=random /run/systemd/network/00-sbox-ghost.link; grep -c cloned-mac-address=random /run/NetworkManager/conf.d/90-sbox-ghost.conf
            test -e $deployment/etc/machine-id && echo "on the disk"
            """;
        string one = Ghost(script), two = Ghost(script);
        Assert.Matches("^[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}\ndesktop-[a-z0-9]{7}\n444\n1\n2\n$", one);
        Assert.NotEqual(one.Split('\n')[0], two.Split('\n')[0]);
        Assert.NotEqual(one.Split('\n')[1], two.Split('\n')[1]);
    }

    [Fact]
    public void A_factory_reset_empties_var_and_brings_the_defaults_of_etc_back_and_then_boots()
    {
        string[] lines = Lived(
            $"""
            {Reset}
            cat $SYSROOT/etc/setting; ls -A $SYSROOT/etc $SYSROOT/var | tr '\n' ' '; stat -c %a $SYSROOT/var
            ls -A $SYSROOT/sysroot/{Os}; head -c1 $SYSROOT/usr/bin/program
            """).Split('\n');
        Assert.Contains("everything in /var of debian, home directories included, and every change in /etc will be deleted. To keep them, switch the machine off now", lines[0], StringComparison.Ordinal);
        Assert.Equal(["sbox-root: factory reset in 30 s", "sbox-root: factory reset in 25 s"], lines[1..3]);
        Assert.Equal(["default", "/run/sysroot/etc: setting  /run/sysroot/var: 711", "deploy", "var", "x"], lines[7..]);
    }

    [Fact]
    public void Cut_after_any_of_its_steps_a_reset_leaves_a_box_that_boots_with_the_old_or_the_new_and_no_rest_of_either()
    {
        // strace kills it at a call of its own doing: the first and the second exchange, and while the old is deleted.
        foreach (string fault in (string[])["renameat2:signal=KILL:when=1", "renameat2:signal=KILL:when=2", "unlinkat:signal=KILL:when=2", "syncfs:signal=KILL:when=1"])
        {
            string output = Lived(
                $"""
                ( strace -f -qq -o /dev/null -e inject={fault} {Program}; echo $? >&3 ) 3>&1 >/dev/null 2>&1
                umount -R /run/sbox/root /run/sbox/disk 2>/dev/null; again
                sbox-root sbox.deployment={box.Name} || echo "does not boot"
                ls -A $SYSROOT/sysroot/{Os} | tr '\n' ' '; cat $SYSROOT/etc/setting; ls $SYSROOT/var | wc -l
                again
                {Program} || echo "does not reset"
                cat $SYSROOT/etc/setting; ls -A $SYSROOT/var | wc -l
                """);
            Assert.Matches("^137\n(\\.sbox-kept deploy var changed\n3|deploy var (changed\n3|default\n0|changed\n0|default\n3))\ndefault\n0\n$", output);
        }
    }
}
