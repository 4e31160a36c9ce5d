namespace Sbox.Sysroot.Tests;

/// <summary>What a change of a known file means, in a person's words; and that no secret of the file is among them.</summary>
public sealed class MeaningTests
{
    private const string Root = "root:x:0:0:root:/root:/bin/bash\n", Anna = "anna:x:1000:1000:Anna:/home/anna:/bin/bash\n";
    private const string Hash = "$y$j9T$abc$defgh", Other = "$y$j9T$xyz$ijklm", Key = "AAAAC3NzaC1lZDI1NTE5AAAAI";

    [Theory]
    [InlineData("/etc/passwd", Root, Root + Anna, "user anna added")]
    [InlineData("/etc/passwd", Root + Anna, Root, "user anna removed")]
    [InlineData("/etc/passwd", Anna, "anna:x:1000:1000:Anna:/srv/anna:/bin/zsh\n", "user anna: home changed|user anna: shell changed")]
    [InlineData("/etc/passwd", Root + Anna, Anna + Root, "")]
    [InlineData("/etc/shadow", "root:*:1::::::\n", "root:*:1::::::\nanna:" + Hash + ":1::::::\nmail:!:1::::::\n", "password of anna set")]
    [InlineData("/etc/shadow", "root:" + Hash + ":1:0::::\n", "root:" + Other + ":2:0::::\n", "password of root changed")]
    [InlineData("/etc/shadow", "root:" + Hash + ":1::::::\n", "root:!" + Hash + ":1::::::\n", "password of root locked")]
    [InlineData("/etc/shadow", "root:!" + Hash + ":1::::::\n", "root:" + Hash + ":1::::::\n", "password of root unlocked")]
    [InlineData("/etc/shadow", "root:" + Hash + ":1::::::\n", "root::1::::::\n", "password of root is empty: it is asked for none")]
    [InlineData("/etc/shadow", "root:*:1::::::\n", "root:" + Hash + ":1::::::\n", "password of root set")]
    [InlineData("/etc/shadow", "root:" + Hash + ":1::::::\n", "root:" + Hash + ":1:0:99:7:::\n", "password of root: how long it is valid changed")]
    [InlineData("/etc/group", "sudo:x:27:\nold:x:5:\n", "sudo:x:27:anna,ben\nanna:x:1000:\n", "group anna added|group old removed|user anna added to group sudo|user ben added to group sudo")]
    [InlineData("/etc/group", "sudo:x:27:anna,ben\n", "sudo:x:27:ben\n", "user anna taken out of group sudo")]
    [InlineData("/etc/gshadow", "sudo:*::\n", "sudo:" + Hash + "::\n", "password of group sudo changed")]
    [InlineData("/etc/NetworkManager/system-connections/x.nmconnection", null, "[wifi-security]\npsk=secret\n[connection]\nid=Café 1\ntype=wifi\n", "wireless network Café 1 added")]
    [InlineData("/etc/NetworkManager/system-connections/x.nmconnection", "[connection]\ntype=wireguard\n", null, "VPN x removed")]
    [InlineData("/etc/NetworkManager/system-connections/x.nmconnection", "[connection]\nid=a\ntype=ethernet\n", "[connection]\nid=a\ntype=ethernet\n[ipv4]\nmethod=auto\n", "wired network a changed")]
    [InlineData("/etc/systemd/network/10-lan.network", null, "[Match]\nName=eth0\n[Network]\nDHCP=yes\n", "network settings of eth0 added")]
    [InlineData("/var/lib/iwd/Cafe.psk", null, "[Security]\nPassphrase=secret\n", "wireless network Cafe added")]
    [InlineData("/var/lib/iwd/=43616665.open", "", null, "wireless network Cafe removed")]
    [InlineData("/etc/wpa_supplicant/wpa_supplicant.conf", "network={\n ssid=\"Old\"\n psk=\"secret\"\n}\n", "network={\n  ssid=\"New\"\n psk=\"secret\"\n}\n", "wireless network New added|wireless network Old removed")]
    [InlineData("/etc/wireguard/home.conf", null, "[Interface]\nPrivateKey=secret\n", "VPN home added")]
    [InlineData("/var/home/ann/.ssh/known_hosts", "# note\nold.org ssh-ed25519 " + Key + "1\n", "example.org,192.0.2.1 ssh-ed25519 " + Key + "2\n|1|abc=|def= ssh-ed25519 " + Key + "3\n", "ssh host example.org,192.0.2.1 added|ssh host old.org removed|1 ssh host with a hashed name added")]
    [InlineData("/var/roothome/.ssh/known_hosts", "a.org ssh-ed25519 " + Key + "1\n", "a.org ssh-ed25519 " + Key + "2\n", "key of ssh host a.org changed")]
    [InlineData("/etc/ssh/ssh_known_hosts", null, "@cert-authority *.corp ssh-rsa " + Key + "\n", "ssh host *.corp added")]
    [InlineData("/var/home/ann/.ssh/authorized_keys", null, "from=\"192.0.2.1\" ssh-ed25519 " + Key + " ben@laptop\n", "ssh key ben@laptop may log in as ann")]
    [InlineData("/var/home/ann/.ssh/authorized_keys", null, "command=\"x ssh-y z\" ssh-ed25519 " + Key + " ben\n", "ssh key ben may log in as ann")]
    [InlineData("/var/home/ann/.ssh/authorized_keys", null, "command=\"x ssh-y z\" ssh-ed25519 " + Key + "\n" + Key + " ssh-ed25519\n", "an ssh key without a comment may log in as ann")]
    [InlineData("/var/roothome/.ssh/known_hosts", null, "-----BEGIN OPENSSH PRIVATE KEY-----\n" + Key + "\nssh-rsa " + Key + "\na.org ssh-ed25519 " + Key + "\n", "ssh host a.org added")]
    [InlineData("/var/roothome/.ssh/authorized_keys", "ssh-rsa " + Key + "\n", "", "an ssh key without a comment may log in as root no more")]
    [InlineData("/etc/ssh/ssh_host_ed25519_key", null, "secret", "this box's ssh key (ed25519) added")]
    [InlineData("/etc/cups/printers.conf", "<Printer old>\nDeviceURI ipp://a\nState Idle\n</Printer>\n<Printer same>\nState Idle\nDeviceURI ipp://c\n</Printer>\n",
        "<DefaultPrinter office>\nDeviceURI smb://ben:secret@host/p\n</DefaultPrinter>\n<Printer same>\nState Stopped\nDeviceURI ipp://c\n</Printer>\n", "printer office added|printer office is the default one|printer old removed")]
    [InlineData("/etc/cups/printers.conf", "<Printer p>\nDeviceURI ipp://a\n</Printer>\n", "<Printer p>\nDeviceURI ipp://b\n</Printer>\n", "printer p changed")]
    [InlineData("/var/lib/bluetooth/00:11:22:33:44:55/AA:BB:CC:DD:EE:FF/info", null, "[LinkKey]\nKey=secret\n[General]\nName=Headset\n", "bluetooth device Headset added")]
    [InlineData("/var/lib/bluetooth/00:11:22:33:44:55/AA:BB:CC:DD:EE:FF/info", "[General]\n", null, "bluetooth device AA:BB:CC:DD:EE:FF removed")]
    [InlineData("/var/lib/bluetooth/00:11:22:33:44:55/settings", null, "[General]\nName=x\n", "")]
    [InlineData("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC", "../usr/share/zoneinfo/Europe/Rome", "time zone is Europe/Rome (was Etc/UTC)")]
    [InlineData("/etc/localtime", null, "TZif2\0\nCET-1CEST\n", "")]
    [InlineData("/etc/timezone", "Etc/UTC\n", "Europe/Rome\n", "time zone is Europe/Rome (was Etc/UTC)")]
    [InlineData("/etc/hostname", "box\n", "desk\n", "host name is desk (was box)")]
    [InlineData("/etc/locale.conf", "LANG=C.UTF-8\n", "LANG=\"it_IT.UTF-8\"\nLC_TIME=de_DE.UTF-8\n", "language is it_IT.UTF-8 (was C.UTF-8)|LC_TIME is de_DE.UTF-8")]
    [InlineData("/etc/default/keyboard", "XKBLAYOUT=\"us\"\nBACKSPACE=guess\n", "XKBLAYOUT=\"it\"\n", "keyboard layout is it (was us)")]
    [InlineData("/etc/vconsole.conf", "KEYMAP=us\n", "", "keyboard of the console is not set any more (was us)")]
    [InlineData("/etc/systemd/system/multi-user.target.wants/ssh.service", null, "/usr/lib/systemd/system/ssh.service", "ssh.service is switched on")]
    [InlineData("/etc/systemd/system/multi-user.target.wants/ssh.service", "/usr/lib/systemd/system/ssh.service", null, "ssh.service is switched off")]
    [InlineData("/etc/systemd/system/cups.service", null, "/dev/null", "cups.service is masked")]
    [InlineData("/etc/systemd/system/cups.service", null, "[Service]\n", "")]
    [InlineData("/var/lib/flatpak/app/org.gimp.GIMP/current", null, "x86_64/stable", "flatpak org.gimp.GIMP installed")]
    [InlineData("/var/lib/extensions/tools.raw", null, "", "system extension tools added")]
    [InlineData("/etc/hosts", "a", "b", "")]
    [InlineData("/etc/cups/sub/printers.conf", null, "<Printer p>\n</Printer>\n", "")]
    public void A_change_is_told_by_what_it_means(string path, string? before, string? now, string meaning)
    {
        IReadOnlyList<string> said = LedgerMeaning.Of(path, before, now);
        Assert.Equal(meaning.Split('|', StringSplitOptions.RemoveEmptyEntries), said);
        Assert.DoesNotContain(said, static text => new[] { "secret", Hash, Other, Key }.Any(secret => text.Contains(secret, StringComparison.Ordinal)));
    }

    [Fact]
    public void Names_that_other_people_chose_cannot_steer_a_terminal_and_are_not_endless()
    {
        Assert.Equal(["wireless network a?[2Jb?c added"], LedgerMeaning.Of("/var/lib/iwd/a\u001b[2Jb\u202ec.open", null, ""));
        Assert.Equal("/etc/a?put back ?[2Kb", LedgerMeaning.Printable("/etc/a\nput back \u001b[2Kb"));
        Assert.InRange(LedgerMeaning.Of($"/var/lib/iwd/{new string('x', 5000)}.open", null, "")[0].Length, 1, 200);
    }

    [Theory]
    [InlineData("")]
    [InlineData(":\n:::\n\0\n[\n]\n=\n<>\n</\n<Printer >\nssid=\nssid=\"\n@\n@x\n|\nssh-\n")]
    [InlineData("\ud800x:\n[connection\nid\n")]
    public void A_file_that_is_not_what_its_name_says_is_no_trouble(string text)
    {
        foreach (string path in (string[])["/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow", "/etc/NetworkManager/system-connections/x", "/etc/systemd/network/x", "/etc/network/interfaces", "/var/lib/iwd/=x.psk",
            "/etc/wpa_supplicant/x", "/var/home/a/.ssh/known_hosts", "/var/home/a/.ssh/authorized_keys", "/etc/cups/printers.conf", "/var/lib/bluetooth/a/b/info", "/etc/localtime", "/etc/locale.conf"])
        {
            LedgerMeaning.Of(path, null, text);
            LedgerMeaning.Of(path, text, "x:y\n");
            LedgerMeaning.Of(path, text, null);
        }
    }

    [Fact]
    public void It_is_read_from_the_two_layers_and_a_link_by_where_it_leads()
    {
        using var ghost = new GhostDirectory();
        ghost.Disk("a", "never read: the path is not /etc's");
        ghost.Begin();
        GhostLayer etc = ghost.Layer with { At = "/etc" };
        ghost.Session("passwd", Root + Anna);
        File.CreateSymbolicLink(ghost.Of("localtime"), "/usr/share/zoneinfo/Europe/Rome");
        ghost.Session("shadow", $"anna:{Hash}:1::::::\n{new string('x', 2 << 20)}");
        Assert.Equal(["user anna added", "user root added"], LedgerMeaning.Of([etc], new LedgerEntry("/etc/passwd", LedgerChange.New, Sbox.Linux.FileKind.Regular, 1)));
        Assert.Equal(["time zone is Europe/Rome"], LedgerMeaning.Of([etc], new LedgerEntry("/etc/localtime", LedgerChange.New, Sbox.Linux.FileKind.Symlink, 0)));
        Assert.Empty(LedgerMeaning.Of([etc], new LedgerEntry("/etc/shadow", LedgerChange.New, Sbox.Linux.FileKind.Regular, 2 << 20)));
        Assert.Empty(LedgerMeaning.Of([etc], new LedgerEntry("/etc/gone/passwd", LedgerChange.New, Sbox.Linux.FileKind.Regular, 1)));
    }
}
