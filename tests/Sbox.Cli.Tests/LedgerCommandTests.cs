using System.Text.Json;
using Sbox.Judges;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary><c>sbox ledger</c>, <c>keep</c> and <c>forget</c> by groups, in a ghost that real tools have worked in.</summary>
public sealed class LedgerCommandTests : IDisposable
{
    private readonly TestBox box = new();
    private readonly Deployment running;

    public LedgerCommandTests()
    {
        box.Installed(box.Publish(1)).Dispose();
        using OstreeSysroot sysroot = box.Open();
        running = sysroot.Deployments[0];
    }

    public void Dispose() => box.Dispose();

    // One thing of each preset, by the real tool where the host has it.
    private const string Work = """
        useradd --no-create-home --shell /bin/sh anna; usermod --password '$y$j9T$abc$secrethash' anna
        mkdir -p /etc/NetworkManager/system-connections /var/lib/bluetooth/A/B /etc/cups /var/home/ann/.ssh /etc/systemd/system/multi-user.target.wants /var/log /var/home/ann
        printf '[connection]\nid=Cafe\ntype=wifi\n[wifi-security]\npsk=secret\n' > /etc/NetworkManager/system-connections/cafe.nmconnection
        printf '[General]\nName=Headset\n[LinkKey]\nKey=secret\n' > /var/lib/bluetooth/A/B/info
        printf '<Printer office>\nDeviceURI smb://ben:secret@host/p\n</Printer>\n' > /etc/cups/printers.conf
        echo 'example.org ssh-ed25519 AAAA' > /var/home/ann/.ssh/known_hosts
        ln -s /usr/share/zoneinfo/Europe/Rome /etc/localtime
        ln -s /usr/lib/systemd/system/ssh.service /etc/systemd/system/multi-user.target.wants/ssh.service
        echo letter > /var/home/ann/letter; echo noise > /var/log/noise

        """;

    [Fact]
    public void What_was_done_is_told_by_its_meaning_without_a_secret_and_each_preset_keeps_and_forgets_its_own()
    {
        using var machine = new RunningBox(box, running);
        string said = machine.Run($$"""
            sbox ghost logout --issue # no ghost yet, and PAM hears of no failure
            {{GhostScript.Begin}}{{Work}}
            echo "== ledger"; sbox ledger
            echo "== json"; sbox ledger --json
            echo "== why"; sbox ledger --why /var/log/noise; sbox ledger --why /home/ann/letter --json; sbox ledger --why /usr/bin/env
            for preset in bluetooth printers ssh locale units; do echo "== keep $preset"; sbox keep $preset; done
            echo "== forget"; sbox forget --dry-run users; sbox forget users; sbox forget users 2>&1 && exit 9; grep anna /etc/passwd && exit 8
            echo "== left"; sbox ledger --all
            # What is not counted in a second, on a busy machine, is told by the memory that it takes.
            counted() { for try in $(seq 20); do told=$("$@"); case $told in *"ghost forgets"*) break ;; esac; sleep 1; done; printf '%s\n' "$told"; }
            at_prompt() { sbox ghost logout --issue; cat /run/issue.d/*; }
            echo "== logout"; counted sbox ghost logout; counted at_prompt; setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/tmp "$program/sbox" ghost logout
            mkdir /run/bin{,-work}; mount -t overlay bin -o lowerdir=/usr/bin,upperdir=/run/bin,workdir=/run/bin-work /usr/bin; ln -s "$program/sbox" /usr/bin/sbox
            cp {{SourceTree.Of("packaging", "box", "sbox-ghost.logout")}} /etc/bash.bash_logout; echo "== script"; HOME=/nowhere bash --login -c exit; echo nothing
            on_terminal() { HOME=/nowhere TERM=dumb script --quiet --return --command 'bash --login -c exit' /dev/null </dev/null | tr -d '\r'; }
            echo "== bash"; counted on_terminal; rm /etc/bash.bash_logout
            echo "== nothing"; sbox forget /etc /var >/dev/null; for try in $(seq 20); do left=$(sbox ghost logout; sbox ghost logout --issue; ls /run/issue.d); [ -n "$left" ] || break; sleep 1; done; printf '%s' "$left"; echo end
            echo "== disk"; (cd $deployment && find etc -newer etc/motd-of-the-disk ! -type d | sort; cd $os && find var/home var/lib/bluetooth ! -type d | sort)
            """);
        string Of(string part) => said.Split($"== {part}\n")[1].Split("\n== ")[0];
        foreach (string meaning in (string[])["user anna added", "password of anna set", "group anna added", "wireless network Cafe added", "bluetooth device Headset added", "printer office added", "ssh host example.org added",
            "time zone is Europe/Rome", "ssh.service is switched on"])
        {
            Assert.Contains($"  * {meaning}\n", Of("ledger"), StringComparison.Ordinal);
            Assert.Contains(Of("json").Split('\n').Select(static line => JsonDocument.Parse(line).RootElement),
                each => each.TryGetProperty("means", out JsonElement means) && means.EnumerateArray().Any(one => one.GetString() == meaning));
        }

        Assert.DoesNotContain("secret", said, StringComparison.Ordinal);
        string[] why = Of("why").Split('\n');
        Assert.StartsWith("/var/log/noise: new in this session, 6 B; at power-off it is as the disk has it", why[0], StringComparison.Ordinal);
        Assert.Equal("  group logs (logs and crash dumps; noise), by /var/log", why[1]);
        JsonElement letter = JsonDocument.Parse(why[2]).RootElement;
        Assert.Equal(("/var/home/ann/letter", "home", 1), (letter.GetProperty("path").GetString(), letter.GetProperty("group").GetString(), letter.GetProperty("changes").GetInt32()));
        Assert.StartsWith("/usr/bin/env: it is neither in /etc nor in /var", why[3], StringComparison.Ordinal);
        Assert.Equal("kept new      /var/lib/bluetooth/A/B/info  44 B", Of("keep bluetooth"));
        Assert.Equal("kept new      /etc/cups/printers.conf  62 B", Of("keep printers"));
        Assert.Equal("kept new      /var/home/ann/.ssh/known_hosts  29 B", Of("keep ssh"));
        Assert.Equal("kept new      /etc/localtime", Of("keep locale"));
        Assert.Equal("kept new      /etc/systemd/system/multi-user.target.wants/ssh.service", Of("keep units"));
        Assert.Contains("would forget changed  /etc/passwd", Of("forget"), StringComparison.Ordinal);
        Assert.Contains("\nforgot changed  /etc/passwd", Of("forget"), StringComparison.Ordinal);
        Assert.EndsWith("users: the session has changed nothing there\n  sbox ledger lists what it changed; the groups are in sbox-ledger(1)", Of("forget"), StringComparison.Ordinal);
        Assert.Equal(["network", "home"], Of("left").Split('\n').Where(static line => line.Contains(": ", StringComparison.Ordinal) && !line.StartsWith(' ')).Select(static line => line.Split(':')[0]).Except(["logs", "leftovers", "caches"]));
        string[] logout = Of("logout").Split('\n');
        Assert.Equal(("This ghost forgets 2 changes, 65 B, when it is switched off: sbox ledger", logout[0]), (logout[0], logout[1]));
        Assert.Matches("^This ghost holds [1-9][0-9.]* [KM]iB of changes in [1-9][0-9]* files and directories, and forgets them when it is switched off: sudo sbox ledger$", logout[^1]);
        Assert.Equal("nothing", Of("script")); // what a script writes is read by programs
        Assert.Equal($"This ghost forgets 3 changes, {65 + new FileInfo(SourceTree.Of("packaging", "box", "sbox-ghost.logout")).Length} B, when it is switched off: sbox ledger", Of("bash"));
        Assert.Equal("end", Of("nothing"));
        Assert.Equal(["etc/cups/printers.conf", "etc/localtime", "etc/systemd/system/multi-user.target.wants/ssh.service", "var/home/ann/.ssh/known_hosts", "var/lib/bluetooth/A/B/info"], Of("disk").TrimEnd().Split('\n'));
    }

    [Fact]
    public void Packages_that_dpkg_has_otherwise_than_the_tree_are_named_with_their_versions()
    {
        using var machine = new RunningBox(box, running);
        string said = machine.Run($$"""
            {{GhostScript.Begin}}
            package() { mkdir -p /run/$1/DEBIAN; printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: nobody\nDescription: test\n' $1 $2 > /run/$1/DEBIAN/control; dpkg-deb --build /run/$1 /run/$1_$2.deb >/dev/null; }
            install() { dpkg --force-all --log=/dev/null --admindir=$database --instdir=/run/instdir -i "$@" >/dev/null 2>&1; }
            database=/run/database; mkdir -p $database/info $database/updates $database/triggers /run/instdir; touch $database/status
            package stays 1; package grows 1.9; package goes 3; install /run/stays_1.deb /run/grows_1.9.deb /run/goes_3.deb
            mount -o remount,bind,rw /sysroot
            mkdir -p $deployment/usr/lib/sysimage; cp -a $database $deployment/usr/lib/sysimage/dpkg
            mount -o remount,bind,ro /sysroot
            # As an overlay over /usr shows it, to which the box's /var leads.
            mkdir -p /var/lib; ln -s $database /var/lib/dpkg
            echo "== none"; sbox ledger packages
            package grows 1.10; package hello 2.0-1; install /run/grows_1.10.deb /run/hello_2.0-1.deb
            dpkg --log=/dev/null --admindir=$database --instdir=/run/instdir --purge goes >/dev/null 2>&1
            echo "== packages"; sbox ledger
            echo "== json"; sbox ledger packages --json
            echo "== other"; sbox ledger network
            """);
        string Of(string part) => said.Split($"== {part}\n")[1].Split("\n== ")[0];
        Assert.DoesNotContain("otherwise than in this version's tree", Of("none"), StringComparison.Ordinal);
        Assert.Contains("3 packages are otherwise than in this version's tree; a recipe keeps what sbox keep cannot\n  * goes 3 removed\n  * grows upgraded from 1.9 to 1.10\n  * hello 2.0-1 installed\n", Of("packages"), StringComparison.Ordinal);
        JsonElement hello = Of("json").Split('\n').Select(static line => JsonDocument.Parse(line).RootElement).Single(static each => each.TryGetProperty("package", out JsonElement name) && name.GetString() == "hello");
        Assert.Equal(("installed", "2.0-1"), (hello.GetProperty("change").GetString(), hello.GetProperty("version").GetString()));
        Assert.Equal("Nothing would be lost.", Of("other").TrimEnd());
    }
}
