using System.Text.Json;
using Sbox.Judges;
using Sbox.Sysroot;
using Sbox.Sysroot.Tests;

namespace Sbox.Cli.Tests;

/// <summary>What a ghost would forget, kept in a tomb that is really open, and what the ledger's commands say of it: by the program itself.</summary>
public sealed class TombKeepTests : IDisposable
{
    private readonly TestBox box = new();
    private readonly Deployment running;

    public TombKeepTests()
    {
        box.Installed(box.Publish(1)).Dispose();
        using OstreeSysroot sysroot = box.Open();
        running = sysroot.Deployments[0];
    }

    public void Dispose() => box.Dispose();

    [Fact]
    public void What_is_kept_in_a_tomb_is_offsite_at_once_counts_as_lost_no_more_and_comes_back_on_another_boot()
    {
        using var machine = new RunningBox(box, running);
        string said = machine.Run($"""
            {GhostScript.Begin}{Tomb}
            mkdir -p /etc/NetworkManager/system-connections; umask 077
            printf '[connection]\nid=Cafe\ntype=wifi\n[wifi-security]\npsk=sesame\n' > /etc/NetworkManager/system-connections/cafe.nmconnection
            rm /etc/motd-of-the-disk; mkdir -p /var/lib/service; echo data > /var/lib/service/data
            umask 022
            echo "== none"; sbox keep --tomb network 2>&1 && exit 9; sbox keep --tomb --declared 2>&1 && exit 9
            sbox tomb {Words} open --at /run/at --name t >/dev/null
            trap 'sbox tomb slam --all >/dev/null 2>&1 || :' EXIT
            echo "== keep"; sbox keep --tomb network /etc/motd-of-the-disk 2>&1
            echo letter > /run/at/letter; sbox keep --tomb /run/at/letter 2>&1
            echo "== ledger"; sbox ledger 2>&1; sbox ledger network --json
            echo "== edited"; echo more >> /etc/NetworkManager/system-connections/cafe.nmconnection; sbox ledger network
            echo "== forgotten"; sbox forget network >/dev/null; sbox keep --from-tomb --dry-run; sbox keep --from-tomb 2>&1
            stat -c '%a %u' /etc/NetworkManager/system-connections/cafe.nmconnection; cat /etc/NetworkManager/system-connections/cafe.nmconnection
            echo other > /etc/NetworkManager/system-connections/cafe.nmconnection
            mkdir -p /run/motd.d; echo "keeps 1 change" > /run/motd.d/50-sbox-kept-t
            echo "== another"; sbox keep --from-tomb 2>&1; cat /etc/NetworkManager/system-connections/cafe.nmconnection; sbox keep --from-tomb network 2>&1
            sbox ledger network
            ls /run/motd.d # nothing is missing any more, and logins are not told that
            rm /etc/NetworkManager/system-connections/cafe.nmconnection
            sbox tomb close >/dev/null
            # The line is left out where the tomb takes long to say what it has, which a busy machine makes of any.
            for try in $(seq 20); do said=$(sbox tomb {Words} open --at /run/at --name t 2>&1); sbox tomb close >/dev/null; case $said in *"keeps 1 change"*) break ;; esac; sleep 1; done
            echo "== opened"; echo; echo "$said"
            echo "== offsite"; RESTIC_PASSWORD_FILE=/run/password {string.Join(' ', Judge.Restic.Command)} -r /run/tomb --no-cache ls latest
            """);
        string Of(string part) => said.Split($"== {part}\n")[1].Split("\n== ")[0];
        Assert.StartsWith("sbox: no tomb is open\n  sbox tomb open opens one\nsbox: --tomb, --from-tomb, --declared and --orphans each say something else", Of("none"), StringComparison.Ordinal);
        Assert.Equal("""
            not kept: /etc/motd-of-the-disk: it was deleted, which only the box's disk can keep
            kept in t new      /etc/NetworkManager/system-connections/cafe.nmconnection  58 B
            1 change is in the tomb t, and saved. Wherever it is opened next: sbox keep --from-tomb puts it back
            /run/at/letter is in the tomb t itself: it is saved with it
            the tomb t is saved
            """, Of("keep"));
        Assert.DoesNotContain("sesame", said.Replace(Of("forgotten"), "", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Contains("1 change, 58 B are in the tomb t as they are now: sbox keep --from-tomb puts them back.", Of("ledger"), StringComparison.Ordinal);
        Assert.DoesNotContain("new      /etc/NetworkManager", Of("ledger"), StringComparison.Ordinal);
        JsonElement network = JsonDocument.Parse(Of("ledger").Split('\n')[^1]).RootElement;
        Assert.Equal(("t", "wireless network Cafe added"), (network.GetProperty("in-tomb").GetString(), network.GetProperty("means")[0].GetString()));
        Assert.StartsWith("network: networks, 1 change, 63 B\n  * wireless network Cafe added\n  new      /etc/NetworkManager", Of("edited"), StringComparison.Ordinal);
        Assert.Equal("""
            would put back /etc/NetworkManager/system-connections/cafe.nmconnection  58 B
            put back /etc/NetworkManager/system-connections/cafe.nmconnection  58 B
            all of it is here as the tomb t has it
            600 0
            [connection]
            id=Cafe
            type=wifi
            [wifi-security]
            psk=sesame
            """, Of("forgotten"));
        Assert.Contains("here is another one; sbox keep --from-tomb /etc/NetworkManager/system-connections/cafe.nmconnection replaces it\n", Of("another"), StringComparison.Ordinal);
        Assert.Contains("\nother\nput back /etc/NetworkManager/system-connections/cafe.nmconnection  58 B  in the place of another\n", Of("another"), StringComparison.Ordinal);
        Assert.EndsWith("1 change, 58 B are in the tomb t as they are now: sbox keep --from-tomb puts them back.", Of("another"), StringComparison.Ordinal);
        Assert.Contains("\nThe tomb t keeps 1 change of /etc and /var that is not here: sudo sbox keep --from-tomb --name t puts it back (--dry-run lists)", Of("opened"), StringComparison.Ordinal);
        Assert.Contains("/run/at/.sbox-kept/etc/NetworkManager/system-connections/cafe.nmconnection\n", Of("offsite"), StringComparison.Ordinal);
        Assert.Contains("/run/at/letter", Of("offsite"), StringComparison.Ordinal);
        Assert.DoesNotContain("service", Of("offsite"), StringComparison.Ordinal);
    }

    private const string Words = "--tomb /run/tomb --password-file /run/password";

    private const string Tomb = """
        export XDG_STATE_HOME=/run/state XDG_CACHE_HOME=/run/cache
        echo secret > /run/password; mkdir /run/at; sbox tomb --tomb /run/tomb --password-file /run/password create >/dev/null

        """;
}
