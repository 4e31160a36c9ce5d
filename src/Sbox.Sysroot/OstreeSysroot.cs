using System.Text;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>How a sysroot is opened.</summary>
public sealed record SysrootOptions
{
    /// <summary>
    /// The kernel command line that says which deployment runs. Null: the running kernel's where the sysroot is this machine's own
    /// (its <c>/</c> or <c>/sysroot</c>, and /run/ostree-booted is there), else none runs.
    /// </summary>
    public string? CommandLine { get; init; }

    /// <summary>
    /// Where the firmware's variables are, which come before loader.conf. Null: this machine's efivarfs where the sysroot is this
    /// machine's own, else none: a box in directories is not what this machine's firmware boots.
    /// </summary>
    public string? EfiVariables { get; init; }

    /// <summary>Where "now" comes from.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Told the name of every step that changes the disk, just before it; a crash test throws or kills here.</summary>
    public Action<string>? BeforeStep { get; init; }

    /// <summary>How many bytes are free where a directory is, for tests. Null: as the kernel says.</summary>
    public Func<Dir, long>? FreeBytes { get; init; }

    /// <summary>Name boot entries <c>ostree-N.conf</c>, as libostree does since 2025, and not <c>ostree-N-OS.conf</c>; both are read by both.</summary>
    public bool ShortEntryNames { get; init; }

    /// <summary>
    /// Pass over boot entries that lead nowhere, and where a link of the boot configuration is broken take the one that most entries fit: for whoever
    /// repairs. Otherwise each is a <see cref="SysrootDamagedException"/>.
    /// </summary>
    public bool TolerateDamage { get; init; }

    /// <summary>Makes a UKI of its parts; tests with trees that hold no real stub give their own.</summary>
    public Action<UnifiedKernel, Stream> AssembleUki { get; init; } = UnifiedKernel.Assemble;
}

/// <summary>A change of the boot configuration.</summary>
/// <param name="Swapped">Whether the entries are new, or only the links that they go through.</param>
/// <param name="Version">Which entries are active: 0 or 1.</param>
/// <param name="Subversion">Which links: 0 or 1.</param>
/// <param name="CountChange">How many deployments more there are.</param>
public sealed record BootWrite(bool Swapped, int Version, int Subversion, int CountChange);

/// <summary>
/// A physical root in libostree's layout, held open: <c>ostree/repo</c>, <c>ostree/deploy/OS</c>, <c>boot</c>. What it says is as of
/// when it was opened or last written; reading takes no lock, changing takes libostree's (<c>ostree/lock</c>).
/// </summary>
/// <remarks>docs/formats/sysroot.md.</remarks>
public sealed class OstreeSysroot : IDisposable
{
    private const string BootedMarkPath = "/run/ostree-booted";
    private readonly SoftRoots? soft;
    private Repository? repository;

    private OstreeSysroot(Dir root, SysrootOptions options)
    {
        (Root, Options) = (root, options);
        string? own = CommandLineOfThisMachine(root);
        BootArguments = KernelArguments.Parse(options.CommandLine ?? own ?? "");
        IsRunning = own is not null && options.CommandLine is null;
        soft = IsRunning ? new SoftRoots() : null;
        if (soft?.Of("/") is { } went)
            BootArguments = AsIfBooted(BootArguments, went);
        string? variables = options.EfiVariables ?? (IsRunning ? FirmwareVariables.Efivarfs : null);
        Firmware = variables is null ? null : new LoaderVariables(variables);
        Reload();
    }

    /// <summary>The physical root; belongs to this object.</summary>
    public Dir Root { get; }

    /// <summary>Whether it is the one that this machine runs from.</summary>
    internal bool IsRunning { get; }

    /// <summary>The path it was opened by.</summary>
    public string Path => Root.Path;

    /// <summary>What is deployed, in boot order: the first is the default.</summary>
    public IReadOnlyList<Deployment> Deployments { get; private set; } = [];

    /// <summary>The deployment that runs now; null where none of this sysroot does.</summary>
    public Deployment? Booted => Deployments.FirstOrDefault(IsBooted);

    /// <summary>Its repository.</summary>
    /// <exception cref="NotARepositoryException">There is none.</exception>
    public Repository Repository => repository ??= Repository.Open(Root.Of(Layout.Repo));

    /// <summary>The last change of the boot configuration through this object; null where there was none.</summary>
    public BootWrite? LastBootWrite { get; internal set; }

    internal SysrootOptions Options { get; }

    /// <summary>The firmware that boots this sysroot; null where that is no business of this machine.</summary>
    internal LoaderVariables? Firmware { get; }

    internal BootVersion BootVersion { get; private set; }

    /// <summary>What of the boot configuration leads nowhere; empty where damage is not tolerated.</summary>
    internal IReadOnlyList<BootTrouble> BootTroubles { get; private set; } = [];

    /// <summary>The kernel command line that says which deployment runs; empty where none does. After a soft reboot it is the one that the deployment would have been started with.</summary>
    public KernelArguments BootArguments { get; }

    /// <summary>Makes an empty sysroot in a directory, which may hold other things: <c>boot</c>, <c>ostree/repo</c> (bare) and <c>ostree/deploy</c>.</summary>
    /// <exception cref="LinuxException">The kernel refused.</exception>
    public static OstreeSysroot Init(string path, SysrootOptions? options = null)
    {
        Directory.CreateDirectory(path);
        using (Dir root = Dir.Open(path))
        {
            root.MakeDirs(Layout.Boot);
            root.MakeDirs(Layout.Deploy);
            Repository.Create(root.Of(Layout.Repo), RepositoryMode.Bare).Dispose();
        }

        return Open(path, options);
    }

    /// <summary>Opens a sysroot.</summary>
    /// <param name="path">The physical root: <c>/sysroot</c> on a box, or a directory with an image's root.</param>
    /// <param name="options">Which deployment runs, and what tests need.</param>
    /// <exception cref="SysrootDamagedException">There is none, or its boot links contradict each other.</exception>
    public static OstreeSysroot Open(string path, SysrootOptions? options = null)
    {
        Dir root = Dir.Open(path);
        try
        {
            if (root.TryStat(Layout.Deploy) is not { IsDirectory: true })
                throw new SysrootDamagedException(path, "no ostree/deploy: this is no sysroot");
            return new OstreeSysroot(root, options ?? new SysrootOptions());
        }
        catch
        {
            root.Dispose();
            throw;
        }
    }

    /// <summary>Makes a stateroot with the directories in /var that every system counts on; one that is there is left as it is.</summary>
    /// <exception cref="StaterootNameException">The name cannot be one.</exception>
    public void InitStateroot(string os)
    {
        Layout.CheckStateroot(os);
        Root.MakeDirs(Layout.Deployments(os));
        using Dir var = Root.MakeAndOpenDir($"{Layout.Stateroot(os)}/var");
        FillVarWithUsualNames(var);
        TouchDeploy();
    }

    /// <summary>Makes the stateroot alone, with an empty /var: as <c>ostree admin os-init</c>.</summary>
    /// <returns>False where it is there already.</returns>
    public bool TryMakeStateroot(string os)
    {
        Layout.CheckStateroot(os);
        if (Root.Exists(Layout.Stateroot(os)))
            return false;
        Root.MakeDirs($"{Layout.Stateroot(os)}/var");
        TouchDeploy();
        return true;
    }

    internal static void FillVarWithUsualNames(Dir var)
    {
        if (!var.Exists("tmp"))
            var.MakeDir("tmp");
        var.ChangeMode("tmp", 0x3FF); // 01777
        var.MakeDirs("lib");
        // journald flushes to it before tmpfiles have run.
        var.MakeDirs("log");
        foreach ((string name, string target) in (ReadOnlySpan<(string, string)>)[("run", "../run"), ("lock", "../run/lock")])
        {
            if (!var.Exists(name))
                var.Symlink(target, name);
        }
    }

    /// <summary>The name of the deployment that runs, whether a boot entry leads to it or not; null where none of this sysroot does.</summary>
    public DeploymentName? BootedName
    {
        get
        {
            if (BootArguments.Get("sbox.commit") is { } commit)
                return Checksum.TryParse(commit, out Checksum checksum) ? BootedOf(checksum) : null;
            if (BootArguments.Get("sbox.deployment") is { } text)
                return DeploymentName.TryParse(text, out DeploymentName asked) && Root.Exists(asked.Directory) ? asked : null;
            if (BootArguments.Get("ostree")?.TrimStart('/') is not { } link || Root.TryStat(link) is not { IsSymlink: true })
                return null;
            return Root.ReadLink(link).Split('/') is [.., var os, "deploy", var directory] && DeploymentName.TryParse($"{os}/{directory}", out DeploymentName name)
                ? name : null;
        }
    }

    // A signed command line names no serial: what sbox-root chose, it wrote down.
    private DeploymentName? BootedOf(Checksum commit)
    {
        DeploymentName[] candidates = [.. DeploymentDirectories.Of(Root).Where(name => name.Commit == commit).OrderByDescending(static name => name.Serial)];
        if (candidates.Length > 1 && File.Exists(BootedMarkPath))
        {
            using Dir run = Dir.Open(System.IO.Path.GetDirectoryName(BootedMarkPath)!);
            GVariant? chosen = VariantDictionary.Parse(run.ReadAll(System.IO.Path.GetFileName(BootedMarkPath)))["backing-root-device-inode"];
            foreach (DeploymentName name in candidates)
            {
                FileStat stat = Root.Stat(name.Directory);
                if (chosen is { Type.Signature: "(tt)" } && chosen.Items[0].Unsigned == stat.Device && chosen.Items[1].Unsigned == stat.Inode)
                    return name;
            }
        }

        return candidates.Length > 0 ? candidates[0] : null;
    }

    /// <summary>Whether a deployment is the one that runs.</summary>
    public bool IsBooted(Deployment deployment) => BootedName == deployment.Name;

    /// <summary>
    /// Whose /etc and kernel arguments a new deployment takes over: the running one where it is of the same stateroot, else the first
    /// of the stateroot; null where there is none yet.
    /// </summary>
    public Deployment? MergeDeployment(string os) =>
        Booted is { } booted && booted.Name.Os == os ? booted : Deployments.FirstOrDefault(each => each.Name.Os == os);

    /// <summary>Opens a deployment's directory.</summary>
    public Dir OpenDeployment(Deployment deployment) => Root.OpenDir(deployment.Name.Directory);

    /// <summary>The owner's changes to a deployment's /etc; none where it has no /etc or no defaults.</summary>
    public IReadOnlyList<EtcChange> EtcChanges(Deployment deployment)
    {
        using Dir? defaults = Root.TryOpenDir($"{deployment.Name.Directory}/usr/etc"), local = Root.TryOpenDir($"{deployment.Name.Directory}/etc");
        return defaults is null || local is null ? [] : EtcDiff.Between(defaults, local);
    }

    /// <summary>How many names of a deployment's /etc differ from their defaults, by sizes and times (<see cref="EtcDiff.Glance"/>).</summary>
    internal int CountEtcChanges(Deployment deployment)
    {
        using Dir? defaults = Root.TryOpenDir($"{deployment.Name.Directory}/usr/etc"), local = Root.TryOpenDir($"{deployment.Name.Directory}/etc");
        return defaults is null || local is null ? 0 : EtcDiff.Glance(defaults, local).Count;
    }

    /// <summary>Takes the lock that everything that changes deployments takes, real <c>ostree</c> included.</summary>
    /// <exception cref="SysrootBusyException">Someone else holds it.</exception>
    public IDisposable Lock() =>
        FileLock.TryTake(Root, Layout.LockFile, LockKind.Exclusive) ?? (IDisposable?)null ?? throw new SysrootBusyException(Root.Of(Layout.LockFile));

    /// <inheritdoc/>
    public void Dispose()
    {
        repository?.Dispose();
        Root.Dispose();
    }

    /// <summary>Reads again what is deployed: others may have changed it.</summary>
    public void Reload()
    {
        if (Options.TolerateDamage)
        {
            (BootVersion, Deployments, BootTroubles) = BootSurvey.Of(Root);
            return;
        }

        BootVersion = BootLinks.ReadVersion(Root);
        Deployments = BootLinks.ReadDeployments(Root, BootVersion);
    }

    /// <summary>Says that a step that changes the disk comes now.</summary>
    internal void Step(string name) => Options.BeforeStep?.Invoke(name);

    /// <summary>libostree's clients watch this time to see changes.</summary>
    internal void TouchDeploy()
    {
        DateTimeOffset now = Options.Clock.GetUtcNow();
        Root.SetTimes(Layout.Deploy, now.ToUnixTimeSeconds(), (uint)(now.Ticks % TimeSpan.TicksPerSecond * 100));
    }

    /// <summary>The deployment that the next soft reboot goes to; null for the one that runs, or where none of this sysroot does.</summary>
    public DeploymentName? SoftRebootTarget => soft?.Next;

    // What the kernel was started with is another deployment's since.
    private static KernelArguments AsIfBooted(KernelArguments line, DeploymentName name) => KernelArguments.Of(
        line.Where(static argument => argument.Key is not ("sbox.deployment" or "sbox.commit" or "composefs" or "ostree")).Prepend(new KernelArgument($"sbox.deployment={name}")));

    // The command line of the running kernel says nothing about a staging directory, a mounted image or a chroot.
    private static string? CommandLineOfThisMachine(Dir root)
    {
        if (!File.Exists(BootedMarkPath))
            return null;
        FileStat asked = root.Stat();
        foreach (string own in (string[])["/sysroot", "/"])
        {
            using Dir dir = Dir.Open("/");
            if ((own == "/" ? dir.Stat() : dir.TryStat(own[1..])) is { } stat && stat.Device == asked.Device && stat.Inode == asked.Inode)
            {
                using Dir proc = Dir.Open("/proc");
                return Encoding.UTF8.GetString(proc.ReadAll("cmdline"));
            }
        }

        return null;
    }
}
