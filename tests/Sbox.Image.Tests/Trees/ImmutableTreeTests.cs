using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Image.Tests;

public sealed class ImmutableTreeTests : IDisposable
{
    private readonly TempDirectory directory = new();
    private readonly TreeRoot tree;

    public ImmutableTreeTests() => tree = FakeDebian.Make(directory.Of("tree"));

    public void Dispose()
    {
        tree.Dispose();
        directory.Dispose();
    }

    [Fact]
    public void All_that_is_written_to_is_a_link_and_all_that_is_mounted_over_is_empty()
    {
        Make();
        Assert.Equal(
            ["bin", "boot", "dev", "efi", "home", "lib", "media", "mnt", "opt", "ostree", "proc", "root", "run", "sbin", "srv", "sys", "sysroot", "tmp", "usr", "var"],
            tree.Names("."));
        foreach (string name in (string[])["boot", "dev", "efi", "proc", "run", "sys", "sysroot", "tmp", "var"])
            Assert.Empty(tree.Names(name));
        (string, string)[] links =
        [
            ("home", "var/home"), ("root", "var/roothome"), ("opt", "var/opt"), ("srv", "var/srv"), ("mnt", "var/mnt"),
            ("usr/local", "../var/usrlocal"), ("ostree", "sysroot/ostree"), ("media", "run/media"),
        ];
        foreach ((string path, string target) in links)
            Assert.Equal(target, tree.Dir.ReadLink(path));
        Assert.Equal(Convert.ToUInt32("1777", 8), tree.Dir.Stat("tmp").Permissions);
    }

    [Fact]
    public void Tmp_on_the_disk_is_a_link_that_a_unit_makes_writable()
    {
        tree.Write("usr/lib/tmpfiles.d/tmp.conf", "q /tmp 1777 root root 10d\n");
        ImmutableTree.Make(tree, TmpPlace.Disk);
        Assert.Equal("sysroot/tmp", tree.Dir.ReadLink("tmp"));
        Assert.Equal("/dev/null", tree.Dir.ReadLink("usr/lib/systemd/system/tmp.mount"));
        Assert.True(tree.Exists("usr/lib/systemd/system/local-fs.target.wants/sbox-tmp.service"));
        Assert.Equal("q /sysroot/tmp 1777 root root 10d\n", tree.ReadText("usr/lib/tmpfiles.d/tmp.conf"));
    }

    [Fact]
    public void Etc_is_in_usr_and_holds_nothing_of_the_machine_that_built_it()
    {
        Make();
        Assert.False(tree.Exists("etc"));
        Assert.Equal(["group", "machine-id", "passwd", "ssh"], tree.Names("usr/etc"));
        Assert.Equal(["ssh_config"], tree.Names("usr/etc/ssh"));
        Assert.Equal(0, tree.Dir.Stat("usr/etc/machine-id").Size);
    }

    [Fact]
    public void Links_that_packages_made_of_resolv_conf_stay()
    {
        tree.Link("etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
        Make();
        Assert.Equal("../run/systemd/resolve/stub-resolv.conf", tree.Dir.ReadLink("usr/etc/resolv.conf"));
    }

    [Fact]
    public void The_package_database_belongs_to_usr_and_is_found_through_var()
    {
        Make();
        Assert.Equal(["status"], tree.Names("usr/lib/sysimage/dpkg"));
        Assert.Equal(["extended_states"], tree.Names("usr/lib/sysimage/apt"));
        Assert.Contains("L /var/lib/dpkg - - - - ../../usr/lib/sysimage/dpkg", VarLines());
        Assert.Contains("L /var/lib/apt/extended_states - - - - ../../../usr/lib/sysimage/apt/extended_states", VarLines());
    }

    [Fact]
    public void What_packages_put_into_var_is_made_again_with_its_owner_and_mode()
    {
        Make();
        Assert.Contains("d /var/cache/man 2755 man man - -", VarLines());
        Assert.Contains("C /var/lib/game/scores 0664 man network - /usr/share/factory/var/lib/game/scores", VarLines());
        Assert.Contains("C /var/roothome/.bashrc 0644 root root - /usr/share/factory/var/roothome/.bashrc", VarLines());
        Assert.Contains("C /var/opt/vendor/tool 0755 root root - /usr/share/factory/var/opt/vendor/tool", VarLines());
        Assert.Contains("L /var/spool/mail - - - - ../mail", VarLines());
        Assert.Contains("d /var/usrlocal/bin 0755 root root - -", VarLines());
        Assert.Equal((6u, 998u), (tree.Dir.Stat("usr/share/factory/var/lib/game/scores").Uid, tree.Dir.Stat("usr/share/factory/var/lib/game/scores").Gid));
    }

    [Fact]
    public void A_path_with_spaces_and_percent_signs_means_itself() => Assert.Contains(
        @"C /var/lib/game/50%%\x20of\x20all 0644 root root - /usr/share/factory/var/lib/game/50%%\x20of\x20all", MadeLines());

    [Fact]
    public void Logs_caches_and_lists_leave_only_their_directories()
    {
        Make();
        Assert.DoesNotContain(tree.Below("usr"), entry => entry.Path.EndsWith("dpkg.log", StringComparison.Ordinal) || entry.Path.EndsWith("index.db", StringComparison.Ordinal));
        Assert.False(tree.Exists("usr/lib/python3/x.pyc"));
        Assert.DoesNotContain(VarLines(), line => line.Contains("lists", StringComparison.Ordinal));
    }

    [Fact]
    public void No_path_of_var_is_made_by_two_lines()
    {
        Make();
        Assert.DoesNotContain(VarLines(), line => line.Contains(" /var/log ", StringComparison.Ordinal) || line.Contains(" /var/run ", StringComparison.Ordinal));
        Assert.Contains("d /var/mail 0755 root root - -", VarLines()); // a z line only adjusts what is there
    }

    [Fact]
    public void Lines_about_homes_name_where_the_links_lead()
    {
        Make();
        Assert.Equal(
            "Q /var/home 0755 - - -\nq /var/srv 0755 - - -\nd- /var/roothome :0700 root :root -\nf^ /var/roothome/.ssh/authorized_keys :0600 root :root - key\n",
            tree.ReadText("usr/lib/tmpfiles.d/home.conf"));
    }

    [Fact]
    public void Users_that_no_package_declares_are_listed_for_boxes_with_a_passwd_of_their_own()
    {
        Make();
        Assert.Equal(
            ["g root 0 -", "g man 12 -", "g adm 4 -", "u root 0:root \"root\" /root /bin/bash", "u man 6:man \"man\" /var/cache/man /usr/sbin/nologin", "m man adm"],
            tree.ReadText("usr/lib/sysusers.d/sbox-tree.conf").Split('\n').Where(line => line.Length > 0 && line[0] != '#'));
    }

    [Fact]
    public void Setuid_programs_stay_setuid()
    {
        Make();
        Assert.Equal(Convert.ToUInt32("4755", 8), tree.Dir.Stat("usr/bin/su").Permissions);
    }

    [Fact]
    public void The_kernel_is_where_boot_loaders_and_libostree_look_for_it()
    {
        Assert.Equal(FakeDebian.Kernel, BootFiles.MoveKernel(tree));
        Make();
        Assert.Equal(["config", "vmlinuz"], tree.Names($"usr/lib/modules/{FakeDebian.Kernel}"));
    }

    [Fact]
    public void Two_kernels_are_refused_by_name()
    {
        tree.Write("boot/vmlinuz-6.13.0-amd64", "kernel\n");
        Assert.Equal(
            "kernel: the packages install 2 kernels (vmlinuz-6.12.1-amd64, vmlinuz-6.13.0-amd64); a tree boots one",
            Assert.Throws<BuildFailedException>(() => BootFiles.MoveKernel(tree)).Message);
    }

    [Fact]
    public void Devices_are_refused_by_name()
    {
        tree.Dir.MakeNode("usr/lib/null", 0x2000 | 0x1B6, 0x103);
        Assert.Contains("/usr/lib/null is a CharacterDevice", Assert.Throws<BuildFailedException>(Make).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void The_same_tree_made_twice_is_the_same()
    {
        using TreeRoot other = FakeDebian.Make(directory.Of("other"));
        Make();
        ImmutableTree.Make(other, TmpPlace.Memory);
        Assert.Equal(FakeDebian.Listing(tree), FakeDebian.Listing(other));
    }

    [Fact]
    public void Real_ostree_commits_it_and_finds_it_whole()
    {
        BootFiles.MoveKernel(tree);
        Make();
        string repository = directory.Of("repo");
        Judge.Ostree.Run("init", "--mode=bare", "--repo=" + repository);
        Judge.Ostree.Run("commit", "--repo=" + repository, "--branch=test", "--tree=dir=" + tree.Path);
        Judge.Ostree.Run("fsck", "--repo=" + repository);
        Assert.Contains("/usr/etc", Judge.Ostree.Run("ls", "--repo=" + repository, "test", "/usr"), StringComparison.Ordinal);
    }

    private void Make() => ImmutableTree.Make(tree, TmpPlace.Memory);

    private string[] VarLines() => tree.ReadText("usr/lib/tmpfiles.d/sbox-var.conf").Split('\n');

    private string[] MadeLines()
    {
        Make();
        return VarLines();
    }
}
