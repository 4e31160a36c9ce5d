using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>A box to be made in two directories, from which an image is made.</summary>
/// <param name="RootDirectory">What becomes the root file system; made where it is missing.</param>
/// <param name="EspDirectory">What becomes the EFI system partition; made where it is missing. Null for none.</param>
/// <param name="SourceRepository">The repository with the commit, on this machine.</param>
/// <param name="Ref">The branch there, which the box will follow.</param>
/// <param name="Os">The stateroot's name.</param>
public sealed record InstallRequest(string RootDirectory, string? EspDirectory, string SourceRepository, string Ref, string Os)
{
    /// <summary>The name of the box's remote.</summary>
    public string RemoteName { get; init; } = "origin";

    /// <summary>Where the box will pull from; null writes no remote into its config.</summary>
    public string? RemoteUrl { get; init; }

    /// <summary>Kernel arguments beside <c>root=LABEL=sbox-root</c> and the recipe's.</summary>
    public KernelArguments MoreArguments { get; init; } = KernelArguments.Empty;

    /// <summary>What the box accepts; null for one that is not sealed.</summary>
    public SealPolicy? Seal { get; init; }

    /// <summary>How the sysroot is opened.</summary>
    public SysrootOptions Options { get; init; } = new();
}

/// <summary>Makes a new box in directories.</summary>
public static class FreshInstall
{
    /// <summary>Fills both directories: sysroot, stateroot, repository with its remote, one deployment, boot loader and UKI.</summary>
    /// <exception cref="RefNotFoundException">The source has no such branch.</exception>
    /// <exception cref="NoSpaceException">The ESP's file system has too little room.</exception>
    public static DeployResult Run(InstallRequest request, IProgress<string>? progress = null, CancellationToken cancel = default)
    {
        if (request.EspDirectory is not null)
            Directory.CreateDirectory(request.EspDirectory);
        using OstreeSysroot sysroot = OstreeSysroot.Init(request.RootDirectory, request.Options);
        sysroot.InitStateroot(request.Os);
        if (request.RemoteUrl is { } url)
            AddRemote(sysroot.Repository, request.RemoteName, url);

        if (request.Seal is not null)
            sysroot.Repository.WriteConfig(sysroot.Repository.Config.With("ex-integrity", "fsverity", "maybe"));
        progress?.Report("Copying the commit");
        var refspec = new Refspec(request.RemoteName, request.Ref);
        using (Repository source = Repository.Open(request.SourceRepository))
            sysroot.Repository.PullLocal(source, new PullLocalOptions { Refs = [request.Ref], Remote = request.RemoteName, Copy = request.Seal is not null }, null, cancel);
        Checksum commit = sysroot.Repository.Resolve(refspec.ToString());

        using var deployer = new Deployer(sysroot, request.EspDirectory, request.Seal);
        return deployer.Deploy(
            new DeployRequest(request.Os, commit) { Origin = Origin.Of(refspec), MoreArguments = request.MoreArguments }, progress, cancel);
    }

    private static void AddRemote(Repository repository, string name, string url)
    {
        string group = $"remote \"{name}\"";
        repository.ChangeRemote(name, file => file.With(group, "url", url).With(group, "gpg-verify", "false"));
    }
}
