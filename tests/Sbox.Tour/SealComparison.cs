using System.Diagnostics;
using System.Globalization;
using System.Text;
using Sbox.Vm;

namespace Sbox.Tour;

/// <summary>
/// What a seal costs: boot to login, and reading files of /usr with nothing cached, of one version sealed and unsealed. Both boot in turn by the same firmware,
/// the build that checks signatures; only the sealed box has enrolled keys. Each boot is a row of a file: cut short, the next run goes on behind the last one.
/// </summary>
public sealed class SealComparison(DemoImage image, Tools tools, string work, int rounds)
{
    private static readonly TimeSpan BootLimit = TimeSpan.FromMinutes(20), ReadLimit = TimeSpan.FromMinutes(20);

    // The same files on both. All of /usr takes an emulated processor many minutes, a boot and a read together longer than most machines are left alone.
    private const int Mebibytes = 64;
    private static readonly string ReadFiles = string.Create(CultureInfo.InvariantCulture,
        $"sync; find /usr -xdev -type f -print0 | LC_ALL=C sort -z >/run/files; echo 3 >/proc/sys/vm/drop_caches; read a rest </proc/uptime; bytes=$(xargs -0 cat </run/files 2>/dev/null | head -c {Mebibytes}M | wc -c); read b rest </proc/uptime; echo $bytes $a $b");

    private sealed record Boot(double Login, double Processor, double MebibytesPerSecond, double ReadProcessor)
    {
        public string Line(string name) => string.Create(CultureInfo.InvariantCulture, $"{name} {Login:R} {Processor:R} {MebibytesPerSecond:R} {ReadProcessor:R}");

        public static Boot Of(string[] words) => words[1..].Select(static word => double.Parse(word, CultureInfo.InvariantCulture)).ToArray() is [var login, var processor, var speed, var reading]
            ? new Boot(login, processor, speed, reading) : throw new FormatException($"no row: {string.Join(' ', words)}");
    }

    private string Rows => Of("rows");

    private string Subject => Of("of");

    /// <summary>Boots both as often as is still to be done.</summary>
    /// <param name="page">Told the page, with all rows that there are, behind each pair of them.</param>
    public void Run(Action<string> page)
    {
        if (!File.Exists(Subject) || File.ReadAllText(Subject) != image.First)
            Begin();
        string disk = Of("sealed.img"), variables = Path.Combine(Of("enroll"), "vars.qcow2");
        for (int round = 0; round < rounds; round++)
        {
            Row($"sealed-{round}", disk, variables);
            Row($"unsealed-{round}", image.Disk, null);
            page(Page(Measured("sealed-", round), Measured("unsealed-", round)));
        }
    }

    // Last of all it says of what it is: without that, it was cut short and begins anew.
    private void Begin()
    {
        if (Directory.Exists(work))
            Directory.Delete(work, recursive: true);
        Directory.CreateDirectory(work);
        Enroll(MakeSealed());
        File.WriteAllText(Subject, image.First);
    }

    private void Row(string name, string disk, string? variables)
    {
        if (Lines().Any(words => words[0] == name))
            return;
        if (Directory.Exists(Of(name)))
            Directory.Delete(Of(name), recursive: true); // of a boot that was cut short
        File.AppendAllText(Rows, Once(name, disk, variables).Line(name) + "\n");
        Directory.Delete(Of(name), recursive: true);
    }

    // A line that was cut short is none.
    private IEnumerable<string[]> Lines() => File.Exists(Rows) ? File.ReadAllText(Rows).Split('\n')[..^1].Select(static line => line.Split(' ')) : [];

    private List<Boot> Measured(string kind, int last) =>
        [.. Lines().Where(words => words[0].StartsWith(kind, StringComparison.Ordinal) && int.Parse(words[0][kind.Length..], CultureInfo.InvariantCulture) <= last).Select(Boot.Of)];

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
    private void Enroll(string disk)
    {
        using Sbox.Vm.Vm vm = Sbox.Vm.Vm.Start(Machine("enroll", disk));
        vm.Console.WaitFor("Secure Boot keys successfully enrolled", BootLimit);
        vm.Console.WaitFor("BdsDxe: starting", BootLimit);
        vm.Kill();
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
        double before = vm.ProcessorTime.TotalSeconds;
        double[] read = [.. vm.Run(ReadFiles, ReadLimit).OrThrow().Split(' ').Select(static word => double.Parse(word, CultureInfo.InvariantCulture))];
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
        Row(page, string.Create(CultureInfo.InvariantCulture, $"the first {Mebibytes} MiB of /usr's files by name, nothing cached, MiB/s"), withSeal, without, static boot => boot.MebibytesPerSecond);
        Row(page, "QEMU's processor seconds for that", withSeal, without, static boot => boot.ReadProcessor);
        page.Append(CultureInfo.InvariantCulture, $"\nThese are few boots: a difference that is smaller than those among boots of one kind says nothing. The processor's seconds of a read are with making the list of the files.\n\nEach boot, sealed then unsealed: {string.Join("; ", withSeal.Zip(without, static (a, b) => string.Create(CultureInfo.InvariantCulture, $"{a.Login:0.0} s and {b.Login:0.0} s")))}.\n");
        return page.ToString();
    }

    private static void Row(StringBuilder page, string what, List<Boot> withSeal, List<Boot> without, Func<Boot, double> of)
    {
        double a = withSeal.Select(of).Order().ElementAt(withSeal.Count / 2), b = without.Select(of).Order().ElementAt(without.Count / 2);
        page.Append(CultureInfo.InvariantCulture, $"| {what} | {a:0.0} | {b:0.0} | {a / b:0.00} |\n");
    }

    private string Of(string name) => Path.Combine(work, name);
}
