using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>
/// What a person writes on one box is there when they log in on another, made from the same image: the tomb is on restic's own server, which the
/// guests reach by QEMU's user network. The second box is the image as it stood after its first boot, before anybody had been there; of the first
/// box's disk and memory nothing is left then.
/// </summary>
[Collection("machine")]
public sealed class TombStoryTests(ITestOutputHelper output)
{
    private const string Password = "correct horse";
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12), Limit = TimeSpan.FromMinutes(5);
    private readonly Tools tools = new(SourceTree.Root);

    [Fact, Trait("Category", "Slow")]
    public void What_was_written_on_a_box_that_is_destroyed_is_there_at_the_login_on_a_new_one()
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
            using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(Machine(image, directory));
            vm.WaitForLogin(BootLimit);
            output.WriteLine($"first boot: {vm.Timings}");
            vm.Save("fresh");

            Know(vm, port, isNew: true);
            Login(vm, "systemctl is-active sbox-tomb@alice; findmnt -no FSTYPE,SOURCE -T .", "^active", "overlay +tomb-alice");
            Login(vm, "mkdir -p letters && echo 'dear box' > letters/first && chmod 600 letters/first && ln -s letters/first newest && sync", []);
            Gone(vm);
            output.WriteLine("saved and closed on the first box");

            vm.Load("fresh");
            Know(vm, port, isNew: false);
            Assert.Equal("", vm.Run("ls -A /home/alice | grep letters || true", Limit).OrThrow());
            Login(vm, "cat newest; stat -c '%a %U' letters/first", "dear box", "600 alice");
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

    // What an owner types on a box of theirs, once; the tomb itself is made on the first.
    private static void Know(Sbox.Vm.Vm vm, int port, bool isNew)
    {
        vm.Run($"useradd --create-home --shell /bin/bash alice && echo 'alice:{Password}' | chpasswd && mkdir -p /etc/sbox", Limit).OrThrow();
        vm.Run($"printf '[alice]\\ntomb = \"rest:http://10.0.2.2:{port}/alice/\"\\n' > /etc/sbox/tomb.toml", Limit).OrThrow();
        if (isNew)
            vm.Run($"echo '{Password}' > /run/password && sbox tomb --tomb @alice --config /etc/sbox/tomb.toml --password-file /run/password create && rm /run/password", Limit).OrThrow();
    }

    // By login(1), on a terminal of its own: the serial line's belongs to root's shell.
    private static void Login(Sbox.Vm.Vm vm, string command, params string[] expected)
    {
        vm.Console.SendLine("script -qec 'login alice' /dev/null; printf '%s-%s\\n' login over");
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

    // A key of its own, sealed to the machine (which has no TPM: to its disk), and a line of fstab: whoever looks into the home first has it opened.
    private static void FirstAccessOpensIt(Sbox.Vm.Vm vm)
    {
        vm.Run($"echo '{Password}' > /run/password && sbox tomb --tomb @alice --config /etc/sbox/tomb.toml --password-file /run/password key add --seal alice && rm /run/password", Limit).OrThrow();
        vm.Run("echo 'alice /var/home/alice sbox-tomb noauto,_netdev,x-systemd.automount 0 0' >> /etc/fstab", Limit).OrThrow();
        vm.Run("systemctl daemon-reload && systemctl start var-home-alice.automount", Limit).OrThrow();
        Assert.Equal("dear box\nfrom the second box", vm.Run("cat /home/alice/letters/first || { journalctl -b -u sbox-tomb@alice -u var-home-alice.mount -o cat; false; }", Limit).OrThrow());
        vm.Run("systemctl stop var-home-alice.automount sbox-tomb@alice.service", Limit).OrThrow();
    }

    private VmOptions Machine(DemoImage image, string directory)
    {
        string modules = tools.Ostree($"--repo={image.Served}", "ls", image.First, "/usr/lib/modules").Split('/')[^1];
        string Taken(string name)
        {
            tools.Ostree($"--repo={image.Served}", "checkout", "-U", $"--subpath=/usr/lib/modules/{modules}/{name}", image.First, Path.Combine(directory, $"{name}.d"));
            return Path.Combine(directory, $"{name}.d", name);
        }

        return new VmOptions(Path.Combine(directory, "machine"), image.Disk)
        {
            Kernel = Taken("vmlinuz"), Initrd = Taken("initramfs.img"), MemoryMiB = 1024,
            CommandLine = $"root=LABEL=sbox-root sbox.deployment=debian/{image.First}.0 console=ttyS0,115200 quiet",
        };
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
