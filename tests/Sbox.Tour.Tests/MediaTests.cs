using System.Globalization;
using System.Text.Json;
using Sbox.Judges;
using Sbox.Vm;

namespace Sbox.Tour.Tests;

/// <summary>A box that came onto its medium in another way than as an image on a disk: a stick that a box made, an ISO that is no CD, a disk that a CD's ghost installed. Each boots alone, grows and upgrades.</summary>
[Collection("machine")]
public sealed class MediaTests(ITestOutputHelper output) : IDisposable
{
    private const long MediumBytes = 4L << 30;
    private const string Spare = "spare"; // a stick that is plugged in
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(12), ChangeLimit = TimeSpan.FromMinutes(15);
    private readonly string directory = Directory.CreateDirectory(Path.Combine(Judge.Cache, $"media-{Environment.ProcessId}")).FullName;
    private readonly Tools tools = new(SourceTree.Root);

    public void Dispose() => Directory.Delete(directory, recursive: true);

    // Three boots; asked for by name (-explicit only).
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public async Task A_stick_that_a_person_has_a_box_make_boots_alone_has_all_of_itself_and_upgrades()
    {
        DemoImage image = DemoImage.Ensure(tools, Judge.Cache);
        image.Withdraw();
        await using FileServer server = await FileServer.Start(image.Served, DemoImage.Port);
        string stick = Empty("stick.img");
        using (Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(Of("box"), image.Disk) { MoreArguments = ["-device", "qemu-xhci,id=usb"] }))
        {
            vm.WaitForLogin(BootLimit);
            vm.Run("useradd -m ann && echo letter >/home/ann/letter && echo '# mine' >>/etc/profile && sync").OrThrow();
            vm.PlugIn(Spare, stick);
            vm.Run("for n in $(seq 60); do test -e /dev/sda && break; sleep 1; done; test -e /dev/sda").OrThrow();
            Assert.Matches("3$", Typed(vm, "sbox stick --to /dev/sda", "sdb"));
            Assert.Matches("0$", Typed(vm, "sbox stick --to /dev/sda", "sda"));
            vm.PullOut(Spare); // it was told that it may be taken out
            vm.Kill();
        }

        using Sbox.Vm.Vm alone = Sbox.Vm.Vm.Start(new VmOptions(Of("alone"), stick) { AsStick = true });
        alone.WaitForLogin(BootLimit);
        Runs(alone, "1");
        alone.Run("test ! -e /home/ann && ! grep -q ann /etc/passwd && ! grep -q mine /etc/profile && test -s /etc/machine-id").OrThrow();
        HasGrown(alone, "sda2");
        Upgrade(alone, image);
    }

    // Two boots each; asked for by name (-explicit only).
    [Theory(Explicit = true), Trait("Category", "Slow"), InlineData(true), InlineData(false)]
    public async Task An_image_that_is_also_an_ISO_boots_grows_and_upgrades_as_a_stick_and_as_a_disk(bool asStick)
    {
        DemoImage image = DemoImage.Ensure(tools, Judge.Cache);
        image.Withdraw();
        string iso = Iso(image);
        using (FileStream medium = File.OpenWrite(iso))
            medium.SetLength(MediumBytes); // as dd leaves it on a larger one
        await using FileServer server = await FileServer.Start(image.Served, DemoImage.Port);
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(Of("machine"), iso) { AsStick = asStick });
        vm.WaitForLogin(BootLimit);
        Runs(vm, "1");
        HasGrown(vm, asStick ? "sda2" : "vda2");
        Upgrade(vm, image);
    }

    // Two boots; asked for by name (-explicit only).
    [Fact(Explicit = true), Trait("Category", "Slow")]
    public async Task From_the_ghost_of_a_CD_an_empty_disk_is_installed_which_boots_alone_and_upgrades()
    {
        DemoImage image = DemoImage.Ensure(tools, Judge.Cache);
        image.Withdraw();
        string disk = Empty("disk.img");
        using (Sbox.Vm.Vm cd = Sbox.Vm.Vm.Start(new VmOptions(Of("cd"), Iso(image)) { AsCd = true, DataDisk = disk }))
        {
            cd.Console.WaitFor("Boot in", BootLimit);
            cd.Console.Send("\u001b[B"); // down: the ghost
            Thread.Sleep(TimeSpan.FromSeconds(2));
            cd.Console.Send("\r");
            cd.WaitForLogin(BootLimit);
            output.WriteLine(cd.Run("findmnt -n /sysroot; losetup --list; sbox status").OrThrow());
            output.WriteLine(cd.Run("sbox install --to /dev/vda --yes", ChangeLimit).OrThrow());
            cd.PowerDown(BootLimit);
        }

        await using FileServer server = await FileServer.Start(image.Served, DemoImage.Port);
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(new VmOptions(Of("installed"), disk));
        vm.WaitForLogin(BootLimit);
        Runs(vm, "1");
        HasGrown(vm, "vda2");
        Upgrade(vm, image);
    }

    // What a person types at a terminal, and all that is shown there.
    private string Typed(Sbox.Vm.Vm vm, string command, string name)
    {
        int before = vm.Console.Text.Length;
        vm.Console.SendLine($"TERM=vt220 {command}; printf '\\n%s-%s %d\\n' stick made $?");
        vm.Console.WaitFor("Type sda to do it: ", ChangeLimit);
        vm.Console.SendLine(name);
        string ended = vm.Console.WaitFor("stick-made \\d+", ChangeLimit).Value;
        output.WriteLine(vm.Console.Text[before..]);
        return ended;
    }

    private void Runs(Sbox.Vm.Vm vm, string version)
    {
        vm.Run("systemctl start sbox-health.service", BootLimit).OrThrow();
        output.WriteLine(vm.Run("sbox status; findmnt -n -o SOURCE /sysroot; systemctl --failed --no-legend").OrThrow());
        JsonElement status = JsonDocument.Parse(vm.Run("sbox status --json").OrThrow()).RootElement;
        Assert.Equal(version, status.GetProperty("booted").GetProperty("version").GetString());
        Assert.True(status.GetProperty("settled").GetBoolean());
        Assert.Equal("", vm.Run("systemctl --failed --no-legend").OrThrow());
        Assert.NotEqual(0, vm.Run("grep -w sbox.ghost /proc/cmdline").ExitCode);
    }

    private void HasGrown(Sbox.Vm.Vm vm, string partition)
    {
        vm.Run("systemctl start sbox-grow.service", ChangeLimit).OrThrow();
        output.WriteLine(vm.Run("journalctl -b -o cat -u sbox-grow.service; df -h /sysroot").OrThrow());
        Assert.Equal($"/dev/{partition}", vm.Run("findmnt -n -o SOURCE /sysroot | head -n 1").OrThrow());
        Assert.InRange(Number(vm, $"blockdev --getsize64 /dev/{partition}"), MediumBytes * 8 / 10, MediumBytes);
        Assert.InRange(Number(vm, "stat -f -c %b /sysroot") * 4096, MediumBytes * 8 / 10, MediumBytes);
    }

    private void Upgrade(Sbox.Vm.Vm vm, DemoImage image)
    {
        image.Publish();
        output.WriteLine(vm.Run("sbox upgrade", ChangeLimit).OrThrow());
        vm.Reboot(BootLimit);
        Runs(vm, "2");
        Assert.DoesNotContain("tries-left", vm.Run("sbox status --json").OrThrow(), StringComparison.Ordinal);
        vm.PowerDown(BootLimit);
    }

    private string Iso(DemoImage image)
    {
        string iso = Of("iso.img");
        tools.Sbox("image", "--iso", "--repo", image.Served, image.Ref, "--remote-url", $"http://10.0.2.2:{DemoImage.Port}", "--free-mib", "256", "--output", iso);
        return iso;
    }

    private string Empty(string name)
    {
        using FileStream file = File.Create(Of(name));
        file.SetLength(MediumBytes);
        return file.Name;
    }

    private static long Number(Sbox.Vm.Vm vm, string command) => long.Parse(vm.Run(command).OrThrow(), CultureInfo.InvariantCulture);

    private string Of(string name) => Path.Combine(directory, name);
}
