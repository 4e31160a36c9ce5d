using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

// Machines under emulation take all the processor there is: one collection, so one at a time.
[Collection("machine")]
public sealed class EmergencyTests(ITestOutputHelper output)
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12);
    private static readonly string Missing = new('0', 64);
    private readonly Tools tools = new(SourceTree.Root);

    [Fact, Trait("Category", "Slow")]
    public void A_missing_deployment_gives_one_clear_line_and_a_shell_not_a_hang()
    {
        DemoImage image = DemoImage.Ensure(tools, Judge.Cache);
        string directory = Fresh(image, "emergency");
        HasOneLineAndAShell(Machine(directory, image.Disk, image.Served, image.First, Missing), image.First);
    }

    // That it boots the same root as well is TombStoryTests' business, whose box has it.
    [Fact, Trait("Category", "Slow")]
    public void An_initrd_made_by_dracut_has_the_same_line_and_shell()
    {
        DemoImage image = DemoImage.Ensure(tools, Judge.Cache);
        DracutBox box = DracutBox.Ensure(tools, image);
        HasOneLineAndAShell(box.Machine(Fresh(image, "dracut-missing"), Missing), box.Commit);
    }

    // Three minutes; asked for by name (-explicit only): docs/testing.md.
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public void The_rescue_entry_asks_for_roots_password_and_gives_a_shell_in_the_same_read_only_system()
    {
        DemoImage image = DemoImage.Ensure(tools, Judge.Cache);
        VmOptions options = Machine(Fresh(image, "rescue"), image.Disk, image.Served, image.First, image.First);
        using (Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options))
        {
            vm.WaitForLogin(BootLimit);
            vm.Run("echo root:of-a-test | chpasswd").OrThrow();
            vm.PowerDown(BootLimit);
        }

        using Sbox.Vm.Vm rescue = Sbox.Vm.Vm.Start(options with { CommandLine = options.CommandLine + " systemd.unit=rescue.target" });
        rescue.Console.WaitFor("(Give|Enter) root password", BootLimit);
        // sulogin throws away what was typed before it listens; the shell after it minds no such word.
        for (int again = 0; again < 4; again++)
        {
            rescue.Console.SendLine("of-a-test");
            Thread.Sleep(TimeSpan.FromSeconds(5));
        }

        rescue.WaitForLogin(BootLimit);
        Assert.Equal("active", rescue.Run("systemctl is-active rescue.target").OrThrow());
        Assert.NotEqual("active", rescue.Run("systemctl is-active multi-user.target").Output);
        Assert.Contains("Read-only file system", rescue.Run("touch /usr/x").Output, StringComparison.Ordinal);
        Assert.Contains(image.First[..12], rescue.Run("sbox status").OrThrow(), StringComparison.Ordinal);
    }

    private void HasOneLineAndAShell(VmOptions options, string whatIsThere)
    {
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(options);
        vm.WaitForEmergencyShell(BootLimit);
        // The journal puts the process's number behind the name; sbox-root on its own does not.
        string[] lines = [.. vm.Console.Text.Split('\n').Where(static line => line.Contains("sbox-root", StringComparison.Ordinal) && line.Contains("missing", StringComparison.Ordinal))];
        output.WriteLine(string.Join('\n', lines));
        string line = Assert.Single(lines);
        Assert.Contains(Missing[..12], line, StringComparison.Ordinal);
        Assert.Contains(whatIsThere[..12], line, StringComparison.Ordinal);
        Assert.Equal("shell", vm.Run("echo shell").OrThrow());
        Assert.Contains("vda2", vm.Run("ls /dev").OrThrow(), StringComparison.Ordinal);
    }

    private VmOptions Machine(string directory, string disk, string repository, string commit, string deployment)
    {
        Directory.CreateDirectory(directory);
        string modules = tools.Ostree($"--repo={repository}", "ls", commit, "/usr/lib/modules").Split('/')[^1];
        string Taken(string name)
        {
            tools.Ostree($"--repo={repository}", "checkout", "-U", $"--subpath=/usr/lib/modules/{modules}/{name}", commit, Path.Combine(directory, $"{name}.d"));
            return Path.Combine(directory, $"{name}.d", name);
        }

        return new VmOptions(directory, disk)
        {
            Kernel = Taken("vmlinuz"),
            Initrd = Taken("initramfs.img"),
            CommandLine = $"root=LABEL=sbox-root sbox.deployment=debian/{deployment}.0 console=ttyS0,115200 quiet",
        };
    }

    private static string Fresh(DemoImage image, string name)
    {
        string directory = Path.Combine(image.Directory, name);
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
        Directory.CreateDirectory(directory);
        return directory;
    }
}
