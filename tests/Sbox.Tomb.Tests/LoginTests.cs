using Sbox.Linux;
using Sbox.Tomb.Tests.Mounting;

namespace Sbox.Tomb.Tests;

/// <summary>
/// The real sshd and login(1), with the real PAM and the lines of packaging/tomb: in mount and process namespaces of their own, with an account, a settings file
/// and a program <c>sbox</c> that nobody else sees.
/// </summary>
public sealed class LoginTests
{
    private const string Surroundings = """
        set -e
        cd "$1"; sbox=$2 lines=$3
        over() { mkdir -p "over$1/upper" "over$1/work"; mount -t overlay none -o "lowerdir=$1,upperdir=$PWD/over$1/upper,workdir=$PWD/over$1/work" "$1"; }
        mkdir over; mount -t tmpfs none over; over /etc; over /usr/bin; mount -t tmpfs none /run; mount -t tmpfs none /var/log; mkdir /run/sshd
        printf '#!/bin/sh\nexport HOME=%s\nexec %s "$@"\n' "$PWD" "$sbox" > /usr/bin/sbox; chmod 755 /usr/bin/sbox
        echo "person:x:54321:54321::$PWD/person:/bin/sh" >> /etc/passwd; echo 'person:x:54321:' >> /etc/group
        echo "person:$(openssl passwd -6 "$(cat password)"):19000::::::" >> /etc/shadow
        mkdir -p /etc/sbox; printf '[person]\ntomb = "%s"\n' "$PWD/tomb" > /etc/sbox/tomb.toml
        # before
        for service in sshd login gdm-password; do
          [ -e /etc/pam.d/$service ] || continue
          sed -i "/^@include common-auth/r "<(grep ^auth "$lines") /etc/pam.d/$service; grep ^session "$lines" >> /etc/pam.d/$service
        done
        closed() { for n in $(seq 600); do grep -q " $PWD/person " /proc/self/mounts || { echo closed; return; }; sleep 0.1; done; }
        """;

    [Fact]
    public void Logged_in_by_ssh_with_a_password_the_home_is_there_and_is_saved_and_closed_after_the_logout()
    {
        using var place = Saved();
        int port = Server.FreePort();
        IReadOnlyList<string> said = Apart(place, $"""
            ssh-keygen -q -t ed25519 -N '' -f "$PWD/host"
            printf 'Port {port}\nListenAddress 127.0.0.1\nHostKey %s/host\nPidFile none\nStrictModes no\nUsePAM yes\nPasswordAuthentication yes\nKbdInteractiveAuthentication no\n' "$PWD" > sshd_config
            /usr/sbin/sshd -D -e -f "$PWD/sshd_config" 2> sshd.log &
            printf '#!/bin/sh\ncat %s/password\n' "$PWD" > askpass; chmod 755 askpass
            for n in $(seq 600); do (: < /dev/tcp/127.0.0.1/{port}) 2>/dev/null && break; sleep 0.1; done
            SSH_ASKPASS=$PWD/askpass SSH_ASKPASS_REQUIRE=force ssh -p {port} -o PreferredAuthentications=password -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
              person@127.0.0.1 'cat letter; id -un; echo by ssh > written' || cat sshd.log
            closed
            """);
        Assert.Equal(["Dear", "person", "closed"], said);
        Assert.Equal("by ssh\n", place.Restic("dump", "latest", place["person/written"]));
    }

    [Fact]
    public void Logged_in_at_a_terminal_by_login_it_is_the_same()
    {
        using var place = Saved();
        IReadOnlyList<string> said = Apart(place, """
            python3 - "$(cat password)" <<'END'
            import os, pty, sys
            pid, terminal = pty.fork()
            if pid == 0:
                os.execvp("login", ["login", "person"])
            def until(words):
                got = b""
                while words not in got:
                    got += os.read(terminal, 1000)
            until(b"assword:")
            os.write(terminal, sys.argv[1].encode() + b"\n")
            until(b"$")
            os.write(terminal, b"cat letter > copied; exit\n")
            os.waitpid(pid, 0)
            END
            closed
            """);
        Assert.Equal(["closed"], said);
        Assert.Equal("Dear\n", place.Restic("dump", "latest", place["person/copied"]));
    }

    // gdm's own lines, as Debian packages them: its greeter hands PAM the password, and its session worker opens and closes the session.
    [Fact]
    public void Logged_in_through_the_lines_of_gdm_it_is_the_same()
    {
        string lines = Judges.Judge.OnPath(Judges.SourceTree.Of("tests", "gdm-pam")).Run().Trim();
        using var place = Saved();
        IReadOnlyList<string> said = Apart(place, """
            gdm() { pamtester gdm-password person "$@" < password > gdm.log 2>&1 || cat gdm.log; }
            gdm authenticate acct_mgmt open_session
            cat person/letter; id -un; echo by gdm > person/written
            gdm close_session
            closed
            """, before: $"cp {lines} /etc/pam.d/gdm-password");
        Assert.Equal(["Dear", "root", "closed"], said);
        Assert.Equal("by gdm\n", place.Restic("dump", "latest", place["person/written"]));
    }

    // A tomb with a person's home in it, and on this machine an empty one.
    private static Place Saved()
    {
        var place = new Place();
        Directory.CreateDirectory(place["person"]);
        File.WriteAllText(place["person/letter"], "Dear\n");
        Listing.Sh(place.Path, "chmod 755 .; chown -R 54321:54321 person");
        place.Restic("init");
        place.Restic("backup", place["person"]);
        File.Delete(place["person/letter"]);
        return place;
    }

    private static List<string> Apart(Place place, string script, string before = "")
    {
        File.WriteAllText(place["script"], Surroundings.Replace("# before", before, StringComparison.Ordinal) + "\n" + script);
        string sbox = $"{Environment.ProcessPath} {Path.Combine(AppContext.BaseDirectory, "sbox.dll")}", lines = Judges.SourceTree.Of("packaging", "tomb", "pam.example");
        var said = new List<string>();
        ChildResult result = ChildProcess.Run(ChildProcess.InOwnNamespaces(new ChildCommand("bash", [place["script"], place.Path, sbox, lines])), said.Add, TestContext.Current.CancellationToken);
        return result.ExitCode == 0 ? said : [.. said, $"exit {result.ExitCode}"];
    }
}
