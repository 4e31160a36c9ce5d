using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>
/// What a person writes on one box is there when they log in on another, made from the same image: the tomb is on restic's own server, which the
/// guests reach by QEMU's user network. Whose the boxes are, a file of answers tells at their first boot, by a credential of the firmware: nobody types it.
/// The second box is the image as it stood after its first boot, before anybody had been there; of the first box's disk and memory nothing is left then.
/// </summary>
[Collection("machine")]
public sealed class TombStoryTests(ITestOutputHelper output)
{
    private const string Password = "correct horse";
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12), Limit = TimeSpan.FromMinutes(5);
    private readonly Tools tools = new(SourceTree.Root);

    [Fact, Trait("Category", "Slow")]
    public void What_was_written_on_a_box_that_is_destroyed_is_there_at_the_login_on_a_new_one_whose_initrd_is_dracuts()
    {
        DemoImage image = DemoImage.Ensure(tools, Judge.Cache);
        string directory = Path.Combine(image.Directory, "tomb-story");
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
        Directory.CreateDirectory(directory);
        int port = FreePort();
        using Process server = Process.Start(new ProcessStartInfo(Judge.ResticRestServer, ["--listen", $"127.0.0.1:{port}", "--path", Path.Combine(directory, "served"), "--no-auth"]) { RedirectStandardOutput = true })!;
        try
        {
            DracutBox box = DracutBox.Ensure(tools, image);
            using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(box.Machine(Path.Combine(directory, "machine"), box.Commit) with { Tpm = true, Welcome = Answers(port), MemoryMiB = 1024 });
            vm.WaitForLogin(BootLimit);
            output.WriteLine($"first boot: {vm.Timings}");
            CameByDracut(vm, box);
            WasToldWhoseItIs(vm);
            Assert.True(File.Exists(Path.Combine(directory, "served", "alice", "config")), "the answers ask for a new tomb, and none was made");
            vm.Save("fresh");

            Login(vm, "systemctl is-active sbox-tomb@alice; findmnt -no FSTYPE,SOURCE -T .", "^active", "overlay +tomb-alice");
            Login(vm, $"{UnitOfTheHome} && systemctl --user start default.target && systemctl --user is-active default.target", "^active");
            Login(vm, "mkdir -p letters && echo 'dear box' > letters/first && chmod 600 letters/first && ln -s letters/first newest && sync", []);
            Gone(vm);
            output.WriteLine("saved and closed on the first box");

            vm.Load("fresh");
            Assert.Equal("", vm.Run("ls -A /home/alice | grep letters || true", Limit).OrThrow());
            Login(vm, "cat newest; stat -c '%a %U' letters/first", "dear box", "600 alice");
            Login(vm, "systemctl --user start default.target; systemctl --user is-active greeting.service || systemctl --user status --no-pager greeting.service sbox-tomb-ready.target; cat greeted", "^active", "it is open");
            Login(vm, "sbox tomb save && sbox tomb status", "saved alice", "all is offsite");
            Login(vm, "rm newest; echo 'from the second box' >> letters/first", []);
            Gone(vm);
            output.WriteLine("there on the second box");
            FirstAccessOpensIt(vm);
        }
        finally
        {
            server.Kill();
            server.WaitForExit();
        }

        File.WriteAllText(Path.Combine(directory, "password"), Password);
        string[] tomb = ["-r", Path.Combine(directory, "served", "alice"), "--password-file", Path.Combine(directory, "password"), "--no-cache"];
        Judge.Restic.Run([.. tomb, "check", "--read-data"]);
        Assert.Equal("dear box\nfrom the second box\n", Judge.Restic.Run([.. tomb, "dump", "latest", "/home/alice/letters/first"]));
    }

    // A box with the usual initrd boots in all the other stories; this one is told of the rest.
    private void CameByDracut(Sbox.Vm.Vm vm, DracutBox box)
    {
        Assert.Equal("overlay", vm.Run("findmnt -n -o FSTYPE /").OrThrow());
        Assert.Contains(box.Commit, vm.Run("sbox status").OrThrow(), StringComparison.Ordinal);
        string times = vm.GuestBootTimes(BootLimit);
        output.WriteLine(times);
        Assert.Contains("(initrd)", times, StringComparison.Ordinal); // systemd was in it, and knows when
    }

    // A unit of the user's own systemd, which is in the home: it starts when the tomb is open, on whatever box.
    private const string UnitOfTheHome = "mkdir -p .config/systemd/user/default.target.wants && printf '[Unit]\\nRequisite=sbox-tomb-ready.target\\nAfter=sbox-tomb-ready.target\\n"
        + "[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/sh -c \"echo it is open > %%h/greeted\"\\n' > .config/systemd/user/greeting.service"
        + " && ln -s ../greeting.service .config/systemd/user/default.target.wants/";

    private static string Answers(int port) => $"user = \"alice\"\nfull-name = \"Alice of the boxes\"\npassword = \"{Password}\"\nsudo = false\ntomb = \"rest:http://10.0.2.2:{port}/alice/\"\ntomb-is-new = true\n";

    // The first console's login waits until the questions are over; had one been asked, nobody would have answered it, and no login would have come.
    private static void WasToldWhoseItIs(Sbox.Vm.Vm vm)
    {
        vm.Run("for i in $(seq 600); do systemctl is-active -q getty@tty1.service && break; sleep 1; done; systemctl is-active getty@tty1.service || { systemctl status --no-pager -l sbox-welcome getty@tty1; cat /dev/vcs1; false; }", BootLimit).OrThrow();
        Assert.Equal("success 0", vm.Run("echo $(systemctl show -P Result -P ExecMainStatus sbox-welcome.service)", Limit).OrThrow());
        long[] moments = [.. vm.Run("systemctl show -P ExecMainExitTimestampMonotonic sbox-welcome.service; systemctl show -P ActiveEnterTimestampMonotonic getty@tty1.service", Limit).OrThrow().Split('\n').Select(long.Parse)];
        Assert.InRange(moments[0], 1, moments[1]);
        Assert.Equal("Alice of the boxes alice plugdev /var/lib/sbox/welcomed", vm.Run("echo $(getent passwd alice | cut -d: -f5) $(id -nG alice) $(ls /var/lib/sbox/welcomed)", Limit).OrThrow());
    }

    // By login(1), on a terminal of its own and in no session of root's, or there would be none of alice's with her own systemd.
    private static void Login(Sbox.Vm.Vm vm, string command, params string[] expected)
    {
        vm.Console.SendLine("systemd-run --pty --quiet login alice; printf '%s-%s\\n' login over");
        vm.Console.WaitFor("Password: ", Limit);
        vm.Console.SendLine(Password);
        vm.Console.WaitFor(@"alice@\S+:\S*\$ ", Limit);
        vm.Console.SendLine($"{command}; printf '%s-%s %d\\n' command over $?");
        foreach (string line in expected)
            vm.Console.WaitFor(line, Limit);
        Assert.EndsWith(" 0", vm.Console.WaitFor(@"command-over \d+", Limit).Value, StringComparison.Ordinal);
        vm.Console.SendLine("exit");
        vm.Console.WaitFor("login-over", Limit);
    }

    // The user's own systemd lives on for ten seconds; when it has ended, the tomb is saved and closed.
    private static void Gone(Sbox.Vm.Vm vm)
    {
        vm.Run("while systemctl is-active -q sbox-tomb@alice; do sleep 1; done; journalctl -b -u sbox-tomb@alice -o cat | tail -n 5", Limit).OrThrow();
        Assert.Equal("", vm.Run("findmnt -no SOURCE /var/home/alice; ls /run/sbox/tombs", Limit).Output);
    }

    // A key of its own, sealed to the machine's TPM, and a line of fstab: whoever looks into the home first has it opened.
    private static void FirstAccessOpensIt(Sbox.Vm.Vm vm)
    {
        vm.Run($"echo '{Password}' > /run/password && sbox tomb --tomb @alice --config /etc/sbox/tomb.toml --password-file /run/password key add --seal alice --with-key tpm2 && rm /run/password", Limit).OrThrow();
        // The first bytes of a credential say what sealed it: CRED_AES256_GCM_BY_HOST_AND_TPM2_HMAC or …_BY_TPM2_HMAC of systemd's src/shared/creds-util.h.
        Assert.Contains(vm.Run("head -c 24 /etc/credstore.encrypted/tomb-alice | base64 -d | head -c 4 | od -An -tx1 | tr -d ' '", Limit).OrThrow().Trim(), new[] { "93a89409", "0c7cc07b" });
        vm.Run("echo 'alice /var/home/alice sbox-tomb noauto,_netdev,x-systemd.automount 0 0' >> /etc/fstab", Limit).OrThrow();
        vm.Run("systemctl daemon-reload && systemctl start var-home-alice.automount", Limit).OrThrow();
        Assert.Equal("dear box\nfrom the second box", vm.Run("cat /home/alice/letters/first || { journalctl -b -u sbox-tomb@alice -u var-home-alice.mount -o cat; false; }", Limit).OrThrow());
        vm.Run("echo late > /home/alice/late && systemctl start sbox-tomb-sleep.service", Limit).OrThrow(); // as before the machine sleeps
        Assert.Contains("all is offsite", vm.Run("sbox tomb status alice", Limit).OrThrow(), StringComparison.Ordinal);
        vm.Run("systemctl stop var-home-alice.automount sbox-tomb@alice.service", Limit).OrThrow();
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
