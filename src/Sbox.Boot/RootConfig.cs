using Sbox.Codecs;

namespace Sbox.Boot;

/// <summary>What the kernel command line asks of the root: which disk, which deployment, and whether it must prove itself.</summary>
/// <param name="Root">The physical root, as <c>root=</c> names it; null where it does not.</param>
/// <param name="RootFlags">Its mount options, as <c>rootflags=</c>.</param>
/// <param name="RootType">Its file system, as <c>rootfstype=</c>.</param>
/// <param name="Deployment">The deployment of <c>sbox.deployment=</c>; null where there is none, or it is no deployment's name.</param>
/// <param name="DeploymentText">What stood behind <c>sbox.deployment=</c>.</param>
/// <param name="OstreeLink">The path of <c>ostree=</c>, a link to a deployment; used where <c>sbox.deployment=</c> is missing.</param>
/// <param name="ComposefsDigest">The fs-verity digest of the deployment's image, as <c>composefs=</c>.</param>
/// <param name="RequireVerity">Whether <c>sbox.verity</c> asks that every byte be proven.</param>
public sealed record RootConfig(
    string? Root, string? RootFlags, string? RootType, DeploymentName? Deployment, string? DeploymentText, string? OstreeLink,
    Checksum? ComposefsDigest, bool RequireVerity)
{
    /// <summary>Reads the arguments this program knows; others are for others.</summary>
    /// <exception cref="NoRootException">A value is not what its argument asks for.</exception>
    public static RootConfig From(KernelArguments arguments)
    {
        string? deployment = arguments.Get("sbox.deployment");
        DeploymentName parsed = default;
        if (deployment is not null && !DeploymentName.TryParse(deployment, out parsed))
            throw new NoRootException($"sbox.deployment={deployment} on the kernel command line is not OS/CHECKSUM.SERIAL");
        return new RootConfig(
            arguments.Get("root"), arguments.Get("rootflags"), arguments.Get("rootfstype"),
            deployment is null ? null : parsed, deployment, arguments.Get("ostree"), Digest(arguments), arguments.Contains("sbox.verity"));
    }

    private static Checksum? Digest(KernelArguments arguments)
    {
        string? text = arguments.Get("composefs");
        return text is null ? null
            : Checksum.TryParse(text, out Checksum digest) ? digest
            : throw new NoRootException($"composefs={text} on the kernel command line is not a digest of 64 hexadecimal digits");
    }
}

/// <summary>There is no root to be made. The message is one line for the console: what is missing, what is there, what to do.</summary>
/// <param name="message">That line.</param>
public sealed class NoRootException(string message) : Exception(message);
