using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

// Machines under emulation take all the processor there is: one collection, so one at a time.
[Collection("machine")]
public sealed class EmergencyTests(ITestOutputHelper output)
{
    [Fact, Trait("Category", "Slow")]
    public void A_missing_deployment_gives_one_clear_line_and_a_shell_not_a_hang()
    {
        var tools = new Tools(SourceTree.Root);
        DemoImage image = DemoImage.Ensure(tools, Judge.Cache);
        string directory = Path.Combine(image.Directory, "emergency");
        if (Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
        Directory.CreateDirectory(directory);
        string modules = tools.Ostree($"--repo={image.Served}", "ls", image.First, "/usr/lib/modules").Split('/')[^1];
        string Taken(string name)
        {
            tools.Ostree($"--repo={image.Served}", "checkout", "-U", $"--subpath=/usr/lib/modules/{modules}/{name}", image.First, Path.Combine(directory, $"{name}.d"));
            return Path.Combine(directory, $"{name}.d", name);
        }

        string missing = new('0', 64);
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(directory, image.Disk)
        {
            Kernel = Taken("vmlinuz"),
            Initrd = Taken("initramfs.img"),
            CommandLine = $"root=LABEL=sbox-root sbox.deployment=debian/{missing}.0 console=ttyS0,115200 quiet",
        });
        vm.WaitForEmergencyShell(TimeSpan.FromMinutes(12));
        string[] lines = [.. vm.Console.Text.Split('\n').Where(static line => line.Contains("sbox-root[", StringComparison.Ordinal))];
        output.WriteLine(string.Join('\n', lines));
        string line = Assert.Single(lines);
        Assert.Contains(missing[..12], line, StringComparison.Ordinal);
        Assert.Contains(image.First[..12], line, StringComparison.Ordinal);
        Assert.Equal("shell", vm.Run("echo shell").OrThrow());
    }
}
