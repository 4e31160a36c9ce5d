using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;
using Sbox.Sysroot;

namespace Sbox.Image;

/// <summary>What a box's disk shall hold.</summary>
/// <param name="Os">The stateroot.</param>
/// <param name="Ref">The branch of the repository, deployed and followed.</param>
public sealed record BoxContent(string Os, string Ref)
{
    /// <summary>The remote's name on the box.</summary>
    public string Remote { get; init; } = "origin";

    /// <summary>Where the box fetches upgrades, an address of HTTP; null for a box that is told later.</summary>
    public string? Url { get; init; }

    /// <summary>Kernel arguments beside the recipe's.</summary>
    public KernelArguments MoreArguments { get; init; } = KernelArguments.Empty;
}

/// <summary>
/// A box's disk as two directories: the physical root with its repository and one deployment, and the EFI system partition. Nothing on
/// it remembers where it was made. It goes away when this is disposed.
/// </summary>
public sealed class StagedBox : IDisposable
{
    private readonly WorkDirectory work;

    private StagedBox(WorkDirectory work, Repository source, Checksum commit, DeployResult deployed)
    {
        this.work = work;
        Commit commitObject = source.LoadCommit(commit);
        Commit = commit;
        Deployed = deployed;
        Content = new DiskContent(RootIn(work), EspIn(work), $"{commit}") { Timestamp = (long)commitObject.Timestamp };
    }

    /// <summary>The directories, for <see cref="DiskImage.Plan"/>.</summary>
    public DiskContent Content { get; }

    /// <summary>The commit that is deployed.</summary>
    public Checksum Commit { get; }

    /// <summary>The deployment.</summary>
    public DeployResult Deployed { get; }

    /// <summary>Deploys a branch into fresh directories.</summary>
    /// <param name="source">The repository with the branch; objects are hardlinked from it where that can be.</param>
    /// <param name="content">What to deploy.</param>
    /// <param name="cache">Where the directories are made meanwhile.</param>
    /// <param name="options">How the sysroot is written.</param>
    /// <param name="progress">Told of every step.</param>
    /// <param name="cancel">Ends it; nothing is left.</param>
    /// <exception cref="RefNotFoundException">The repository has no such branch.</exception>
    /// <exception cref="SysrootException">The tree cannot be deployed.</exception>
    public static StagedBox Make(
        Repository source, BoxContent content, BuildCache cache, SysrootOptions? options = null,
        IProgress<BuildStep>? progress = null, CancellationToken cancel = default)
    {
        Checksum commit = source.Resolve(content.Ref);
        WorkDirectory work = cache.Work();
        try
        {
            progress?.Report(new BuildStep("sysroot", ""));
            // Where the builder is a box itself, its command line names a deployment of its own and none of this one.
            var install = new InstallRequest(RootIn(work), EspIn(work), source.Path, content.Ref, content.Os)
            {
                RemoteName = content.Remote,
                RemoteUrl = content.Url,
                MoreArguments = content.MoreArguments,
                Options = (options ?? new SysrootOptions()) with { CommandLine = "" },
            };
            DeployResult deployed = FreshInstall.Run(install, Steps(progress), cancel);
            LayRoot(RootIn(work));
            return new StagedBox(work, source, commit, deployed);
        }
        catch
        {
            work.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => work.Dispose();

    private static string RootIn(WorkDirectory work) => $"{work.Path}/root";

    private static string EspIn(WorkDirectory work) => $"{work.Path}/esp";

    // /tmp of boxes whose recipe wants it on the disk; the root directory itself is as every root.
    private static void LayRoot(string path)
    {
        using Dir parent = Dir.Open(Path.GetDirectoryName(path)!), root = Dir.Open(path);
        parent.ChangeMode(Path.GetFileName(path), 0x1ED);
        if (!root.Exists("tmp"))
            root.MakeDir("tmp");
        root.ChangeMode("tmp", 0x3FF); // 1777
    }

    private static IProgress<string>? Steps(IProgress<BuildStep>? progress) => progress is null ? null : new Forward(progress);

    private sealed class Forward(IProgress<BuildStep> progress) : IProgress<string>
    {
        public void Report(string value) => progress.Report(new BuildStep("deployment", value));
    }
}
