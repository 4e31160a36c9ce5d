using System.Diagnostics;
using System.Globalization;
using System.Text;
using Sbox.Vm;

namespace Sbox.Tour;

/// <summary>
/// What a seal costs: boot to login, and reading all of /usr with nothing cached, of one version sealed and unsealed. Both boot in turn by the same firmware,
/// the build that checks signatures; only the sealed box has enrolled keys.
/// </summary>
public sealed class SealComparison(DemoImage image, Tools tools, string work, int rounds)
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(20), ReadLimit = TimeSpan.FromMinutes(20);

    // Twice: the first pass also brings what the guest's own programs need.
    private const string ReadAll =
        "sync; echo 3 >/proc/sys/vm/drop_caches; read a rest </proc/uptime; "
        + "bytes=$(find /usr -xdev -type f -print0 | xargs -0 cat | wc -c); read b rest </proc/uptime; echo $bytes $a $b";

    private sealed record Boot(double Login, double Processor, double MebibytesPerSecond, double ReadProcessor);

    /// <summary>Boots both and writes the page.</summary>
    public string Run()
    {
        if (Directory.Exists(work))
            Directory.Delete(work, recursive: true);
        Directory.CreateDirectory(work);
        string disk = MakeSealed(), variables = Enroll(disk);
        var withSeal = new List<Boot>();
        var without = new List<Boot>();
        for (int round = 0; round < rounds; round++)
        {
            withSeal.Add(Once($"sealed-{round}", disk, variables));
            without.Add(Once($"unsealed-{round}", image.Disk, null));
        }

        return Page(withSeal, without);
    }

    private string MakeSealed()
    {
        string repository = Of("repo"), keys = Of("keys"), passphrase = Of("passphrase"), disk = Of("sealed.img");
        tools.Ostree($"--repo={repository}", "init", "--mode=archive");
        tools.Ostree($"--repo={repository}", "pull-local", image.Builds, image.First);
        tools.Ostree($"--repo={repository}", "refs", $"--create={image.Ref}", image.First);
        File.WriteAllText(passphrase, "of a measurement\n");
        tools.Sbox("keys", "init", keys, "--passphrase-file", passphrase);
        tools.Sbox("seal", "--repo", repository, "--keys", keys, "--passphrase-file", passphrase, image.Ref);
        tools.Sbox("image", "--repo", repository, "--keys", keys, "--output", disk, image.Ref);
        return disk;
    }

    // Enrolling costs a start of its own, once in a machine's life: it is not part of a boot.
    private string Enroll(string disk)
    {
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(Machine("enroll", disk));
        vm.Console.WaitFor("Secure Boot keys successfully enrolled", BootLimit);
        vm.Console.WaitFor("BdsDxe: starting", BootLimit);
        vm.Kill();
        return Path.Combine(Of("enroll"), "vars.qcow2");
    }

    private Boot Once(string name, string disk, string? variables)
    {
        Directory.CreateDirectory(Of(name));
        if (variables is not null)
            File.Copy(variables, Path.Combine(Of(name), "vars.qcow2"));
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(Machine(name, disk));
        vm.WaitForLogin(BootLimit);
        double login = vm.Timings.Login!.Value.TotalSeconds, processor = vm.ProcessorTime.TotalSeconds;
        vm.GuestBootTimes();
        vm.Run(ReadAll, ReadLimit).OrThrow();
        double before = vm.ProcessorTime.TotalSeconds;
        double[] read = [.. vm.Run(ReadAll, ReadLimit).OrThrow().Split(' ').Select(static word => double.Parse(word, CultureInfo.InvariantCulture))];
        var boot = new Boot(login, processor, read[0] / 1048576 / (read[2] - read[1]), vm.ProcessorTime.TotalSeconds - before);
        Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{name}: login after {boot.Login:0.0} s, {boot.Processor:0.0} s of processor; /usr at {boot.MebibytesPerSecond:0.0} MiB/s, {boot.ReadProcessor:0.0} s of processor"));
        return boot;
    }

    private VmOptions Machine(string name, string disk) => new(Of(name), disk) { SecureBoot = true, Patient = false };

    private static string Page(List<Boot> withSeal, List<Boot> without)
    {
        var page = new StringBuilder();
        page.Append(CultureInfo.InvariantCulture, $"# What a seal costs\n\nMade by `./bench seal` on {DateTime.UtcNow:yyyy-MM-dd}: one version, sealed and unsealed, {withSeal.Count} boots each in turn, by OVMF's build that checks\n");
        page.Append("signatures. In QEMU without KVM all is emulated: hashing costs many times what a processor with SHA instructions takes, and only ratios count.\n\n");
        page.Append("| median | sealed | unsealed | sealed / unsealed |\n|---|---|---|---|\n");
        Row(page, "power-on to a shell, s", withSeal, without, static boot => boot.Login);
        Row(page, "QEMU's processor seconds until then", withSeal, without, static boot => boot.Processor);
        Row(page, "all of /usr, nothing cached, MiB/s", withSeal, without, static boot => boot.MebibytesPerSecond);
        Row(page, "QEMU's processor seconds for that", withSeal, without, static boot => boot.ReadProcessor);
        page.Append(CultureInfo.InvariantCulture, $"\nEach boot, sealed then unsealed: {string.Join("; ", withSeal.Zip(without, static (a, b) => string.Create(CultureInfo.InvariantCulture, $"{a.Login:0.0} s and {b.Login:0.0} s")))}.\n");
        return page.ToString();
    }

    private static void Row(StringBuilder page, string what, List<Boot> withSeal, List<Boot> without, Func<Boot, double> of)
    {
        double a = withSeal.Select(of).Order().ElementAt(withSeal.Count / 2), b = without.Select(of).Order().ElementAt(without.Count / 2);
        page.Append(CultureInfo.InvariantCulture, $"| {what} | {a:0.0} | {b:0.0} | {a / b:0.00} |\n");
    }

    private string Of(string name) => Path.Combine(work, name);
}
