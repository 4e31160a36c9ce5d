using Sbox.Codecs;
using Sbox.Judges;
using Sbox.Store;

namespace Sbox.Sysroot.Tests;

/// <summary>A small operating system in versions, a repository that publishes it (made by real ostree), and a box that runs it.</summary>
internal sealed class TestBox : IDisposable
{
    public const string Os = "debian", Ref = "debian/trixie", Remote = "origin";
    public static readonly DateTimeOffset Start = new(2026, 11, 22, 10, 0, 0, TimeSpan.Zero);

    private readonly TempDir temp;

    public TestBox(bool inMemory = false)
    {
        temp = new TempDir(inMemory);
        Judge.HostOstree.Run("init", $"--repo={Source}", "--mode=archive");
        Directory.CreateDirectory(EspPath);
    }

    /// <summary>Whether its trees have systemd's own EFI stub: the program sbox makes its UKIs of that.</summary>
    public bool RealStub { get; init; }

    public string Path => temp.Path;

    public string Source => temp.Of("source");

    public string SysrootPath => temp.Of("sysroot");

    public string EspPath => temp.Of("esp");

    /// <summary>Publishes a version: a kernel and initrd, a boot loader, an os-release, defaults of /etc.</summary>
    /// <param name="version">1 and up; each is a day younger than the one before.</param>
    /// <param name="kernel">The kernel's bytes; the same ones give the same boot checksum.</param>
    /// <param name="kargs">What its recipe asks of the kernel.</param>
    /// <param name="etc">Defaults beside the usual ones.</param>
    public Checksum Publish(int version, string kernel = "kernel", string[]? kargs = null, params (string Path, string Text)[] etc) =>
        Publish(version, kernel, kargs, etc, []);

    /// <summary>Publishes a version with files anywhere in its tree, a trailing slash for an empty directory.</summary>
    public Checksum PublishWith(int version, params (string Path, string Text)[] files) => Publish(version, "kernel", null, [], files);

    private Checksum Publish(int version, string kernel, string[]? kargs, (string Path, string Text)[] etc, (string Path, string Text)[] files)
    {
        string tree = $"trees/{version}";
        temp.Write($"{tree}/usr/lib/os-release", $"ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\n");
        temp.Write($"{tree}/usr/lib/modules/6.12.1/vmlinuz", kernel);
        temp.Write($"{tree}/usr/lib/modules/6.12.1/initramfs.img", $"initrd of {kernel}");
        temp.Write($"{tree}/usr/lib/systemd/boot/efi/linuxx64.efi.stub", "stub");
        // A kernel is a PE file too; no machine starts this one.
        foreach (string pe in RealStub ? (string[])["usr/lib/systemd/boot/efi/linuxx64.efi.stub", "usr/lib/modules/6.12.1/vmlinuz"] : [])
            File.Copy(Directory.GetFiles(System.IO.Path.Combine(Judge.Root, "usr/lib/systemd/boot/efi"), "linuxx64.efi.stub").Single(), temp.Of($"{tree}/{pe}"), overwrite: true);
        temp.Write($"{tree}/usr/lib/systemd/boot/efi/systemd-bootx64.efi", $"boot loader of version {version}");
        temp.Write($"{tree}/usr/bin/version", $"{version}", 0x1ED);
        temp.Write($"{tree}/usr/etc/hostname", "box\n");
        temp.Write($"{tree}/usr/etc/default/thing", $"from version {version}\n");
        foreach ((string path, string text) in etc)
            temp.Write($"{tree}/usr/etc/{path}", text);
        foreach ((string path, string text) in files)
        {
            if (path.EndsWith('/'))
                Directory.CreateDirectory(temp.Of($"{tree}/{path}"));
            else
                temp.Write($"{tree}/{path}", text);
        }

        foreach (string empty in (string[])["var", "sysroot", "boot", "proc", "dev", "run", "tmp"])
            Directory.CreateDirectory(temp.Of($"{tree}/{empty}"));
        string list = string.Join(", ", (kargs ?? ["quiet"]).Select(static each => $"'{each}'"));
        string id = Judge.HostOstree.Run(
            "commit", $"--repo={Source}", $"--branch={Ref}", $"--tree=dir={temp.Of(tree)}", $"--subject=version {version}",
            $"--timestamp={Start.AddDays(version):yyyy-MM-dd HH:mm:ss} +0000", $"--add-metadata-string=version={version}.0", $"--add-metadata=sbox.kargs=[{list}]");
        return Checksum.Parse(id.Trim());
    }

    /// <summary>Brings a commit into the box's repository, by real ostree; none: the branch's newest, as its remote's branch.</summary>
    public void Fetch(Checksum? commit = null) =>
        Judge.HostOstree.Run("pull-local", $"--repo={SysrootPath}/ostree/repo", $"--remote={Remote}", Source, commit?.ToString() ?? Ref);

    /// <summary>Fetches a commit and deploys it.</summary>
    public DeployResult Deploy(Deployer deployer, Checksum commit) => Deploy(deployer, Request(commit));

    public DeployResult Deploy(Deployer deployer, DeployRequest request)
    {
        Fetch(request.Commit);
        return deployer.Deploy(request);
    }

    /// <summary>A new box with its stateroot and nothing deployed.</summary>
    public OstreeSysroot Install()
    {
        OstreeSysroot sysroot = OstreeSysroot.Init(SysrootPath, Options());
        sysroot.InitStateroot(Os);
        return sysroot;
    }

    /// <summary>A new box with an ESP on which these were deployed, one after the other, without a boot in between.</summary>
    public InstalledBox Installed(params Checksum[] commits) => Installed(EspPath, commits);

    /// <summary>A new box without an ESP.</summary>
    public InstalledBox InstalledWithoutEsp(params Checksum[] commits) => Installed(null, commits);

    private InstalledBox Installed(string? esp, Checksum[] commits)
    {
        OstreeSysroot sysroot = Install();
        var deployer = new Deployer(sysroot, esp);
        foreach (Checksum commit in commits)
            Deploy(deployer, commit);
        return new InstalledBox(sysroot, deployer);
    }

    public OstreeSysroot Open(SysrootOptions? options = null) => OstreeSysroot.Open(SysrootPath, options ?? Options());

    /// <summary>As it is after a boot of a deployment.</summary>
    public OstreeSysroot OpenBooted(Deployment deployment, Func<SysrootOptions, SysrootOptions>? change = null)
    {
        SysrootOptions options = Options() with { CommandLine = $"root=LABEL=sbox-root sbox.deployment={deployment.Name} quiet" };
        return Open(change is null ? options : change(options));
    }

    public static SysrootOptions Options() => new() { AssembleUki = Victim.FakeUki.Assemble };

    public static DeployRequest Request(Checksum commit) => new(Os, commit) { Origin = Origin.Of(new Refspec(Remote, Ref)) };

    public string Etc(Deployment deployment, string path) => $"{SysrootPath}/{deployment.Name.Directory}/etc/{path}";

    public IReadOnlyList<string> Ukis() => Directory.Exists($"{EspPath}/EFI/Linux")
        ? [.. Directory.GetFiles($"{EspPath}/EFI/Linux").Select(static path => System.IO.Path.GetFileName(path)).Order(StringComparer.Ordinal)] : [];

    public string LoaderConf => File.ReadAllText($"{EspPath}/loader/loader.conf");

    public void Dispose() => temp.Dispose();
}

/// <summary>A box in directories, open to be changed.</summary>
internal sealed record InstalledBox(OstreeSysroot Sysroot, Deployer Deployer) : IDisposable
{
    public void Dispose()
    {
        Deployer.Dispose();
        Sysroot.Dispose();
    }
}
