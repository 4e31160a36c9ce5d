using Microsoft.Win32.SafeHandles;
using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Image;

/// <summary>What disk image shall be made.</summary>
/// <param name="Repository">The repository with the commit, on this machine.</param>
/// <param name="Ref">The branch there, which the box will follow.</param>
/// <param name="Output">The image's path.</param>
public sealed record BoxImageRequest(string Repository, string Ref, string Output)
{
    /// <summary>The stateroot's name. Null: the first part of the branch's.</summary>
    public string? Os { get; init; }

    /// <summary>Where the box will pull from; null leaves it without a remote.</summary>
    public string? RemoteUrl { get; init; }

    /// <summary>Kernel arguments beside the recipe's.</summary>
    public IReadOnlyList<string> KernelArguments { get; init; } = [];

    /// <summary>The owner's keys, of which only the public parts are read; null makes a box that is not sealed.</summary>
    public OwnerKeys? Keys { get; init; }

    /// <summary>Whether the first boot encrypts the root's partition; the box must be sealed.</summary>
    public bool Encrypt { get; init; }

    /// <summary>Whether the image is a CD's as well; not together with <see cref="Encrypt"/>, since nothing is written to one.</summary>
    public bool Iso { get; init; }

    /// <summary>Bytes to plan for what the owner will keep on the box.</summary>
    public long UserBytes { get; init; } = 2L << 30;

    /// <summary>How the sysroot is written. What runs on the machine that makes the image has nothing to do with the box in it.</summary>
    internal SysrootOptions Sysroot { get; init; } = new() { CommandLine = "" };
}

/// <summary>A disk image cannot be as it was asked for.</summary>
/// <param name="ref">The branch.</param>
/// <param name="finding">Why not.</param>
public sealed class NotEncryptableException(string @ref, string finding) : Exception($"{@ref}: {finding}")
{
    /// <summary>The branch.</summary>
    public string Ref { get; } = @ref;
}

/// <summary>A repository's branch -> a disk image that boots it: a fresh sysroot and ESP in directories, then <see cref="DiskImage"/>.</summary>
/// <param name="cache">Where it works meanwhile.</param>
public sealed class BoxImage(BuildCache cache)
{
    /// <summary>Makes the image, and says what it is made of.</summary>
    /// <exception cref="RefNotFoundException">The repository has no such branch.</exception>
    /// <exception cref="NotEncryptableException">The first boot could not encrypt it, or nothing could open it then.</exception>
    /// <exception cref="BuildFailedException">A tool failed; nothing is left of the image.</exception>
    public DiskPlan Make(BoxImageRequest request, IProgress<BuildStep>? progress = null, CancellationToken cancel = default)
    {
        using WorkDirectory work = cache.Work();
        string root = Path.Combine(work.Path, "root"), esp = Path.Combine(work.Path, "esp");
        MakeRoot(work.Path);
        Checksum commit;
        DateTimeOffset time;
        using (Repository repository = Repository.Open(request.Repository))
        {
            commit = repository.Resolve(request.Ref);
            time = repository.LoadCommit(commit).Time;
            if (request.Encrypt)
                AskForEncryption(request, repository, commit, root);
        }

        SealPolicy? seal = request.Keys is { } keys ? BringKeys(keys, esp) : null;
        DeployResult installed = FreshInstall.Run(
            new InstallRequest(root, esp, request.Repository, request.Ref, request.Os ?? request.Ref.Split('/')[0])
            {
                RemoteUrl = request.RemoteUrl,
                MoreArguments = Boot.KernelArguments.Parse(string.Join(' ', request.KernelArguments)),
                Options = request.Sysroot,
                Seal = seal,
            },
            new Told(step => progress?.Report(new BuildStep(step, ""))), cancel);
        DiskPlan plan = DiskImage.Plan(new DiskContent(root, esp, commit.ToString())
        {
            Architecture = ArchitectureOf($"{root}/{installed.Name.Directory}"),
            Timestamp = time.ToUnixTimeSeconds(),
            UserBytes = request.UserBytes,
            IsIso = request.Iso,
            SpareMebibytes = request.Encrypt ? EncryptedDisk.SpareMebibytes : 0,
            SealedFiles = seal is null ? [] : FilesToSeal(root, installed),
        });
        DiskImage.Write(plan, request.Output, progress, cancel);
        return plan;
    }

    private static void AskForEncryption(BoxImageRequest request, Repository repository, Checksum commit, string root)
    {
        if (request.Keys is null || CommitSeal.Of(repository.LoadDetachedMetadata(commit))?.Pcr is null)
            throw new NotEncryptableException(request.Ref, "a machine's TPM keeps a disk's key for versions that its owner's pcr key signed, and this one has no such signature");
        if (repository.LoadCommit(commit).Metadata[ImageBuilder.EncryptedRootKey] is not { Boolean: true })
            throw new NotEncryptableException(request.Ref, "its initrd has nothing that encrypts a disk or opens one");
        using Dir directory = Dir.Open(root);
        directory.MakeDir(EncryptedDisk.Directory, Permission.Private);
        using SafeFileHandle marker = directory.CreateFile(EncryptedDisk.Marker, Permission.File);
    }

    // systemd-boot enrolls what it finds there, where the firmware is in setup mode and nowhere else.
    private static SealPolicy BringKeys(OwnerKeys keys, string esp)
    {
        string into = Directory.CreateDirectory(Path.Combine(esp, SealPolicy.KeyDirectory)).FullName;
        foreach (string file in OwnerKeys.EnrollmentFiles)
            File.Copy(Path.Combine(keys.Directory, file), Path.Combine(into, file));
        File.WriteAllText(Path.Combine(esp, "loader", "loader.conf"), LoaderConf.FreshSealed.Text);
        return SealPolicy.OfEsp(esp)!;
    }

    private static IReadOnlyList<string> FilesToSeal(string root, DeployResult deployed)
    {
        using OstreeSysroot sysroot = OstreeSysroot.Open(root, new SysrootOptions { CommandLine = "" });
        return [$"{deployed.Name.Directory}/{PhysicalRoot.ImageName}", .. sysroot.Repository.RegularFilePaths(deployed.Name.Commit).Select(static path => $"ostree/repo/{path}")];
    }

    // By what will boot, not by what a recipe said: the firmware and the partition's type must agree.
    private static string ArchitectureOf(string deployment)
    {
        using Dir tree = Dir.Open(deployment);
        return UnifiedKernel.Architecture(tree);
    }

    // Modes of their own, whatever the umask: this is the root directory of a disk. tmp is for recipes that want /tmp there.
    private static void MakeRoot(string work)
    {
        using Dir parent = Dir.Open(work);
        foreach ((string name, uint mode) in (ReadOnlySpan<(string, uint)>)[("root", Permission.Program), ("root/tmp", Permission.Shared)])
        {
            parent.MakeDir(name);
            parent.ChangeMode(name, mode);
        }
    }

    private sealed class Told(Action<string> tell) : IProgress<string>
    {
        public void Report(string value) => tell(value);
    }
}
