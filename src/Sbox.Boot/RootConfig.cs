using Sbox.Codecs;

namespace Sbox.Boot;

/// <summary>What the kernel command line asks of the root: which disk, which deployment, and whether it must prove itself.</summary>
/// <param name="Root">The physical root, as <c>root=</c> names it; null where it does not.</param>
/// <param name="RootFlags">Its mount options, as <c>rootflags=</c>.</param>
/// <param name="RootType">Its file system, as <c>rootfstype=</c>.</param>
/// <param name="Deployment">The deployment of <c>sbox.deployment=</c>; null where there is none, or it is no deployment's name.</param>
/// <param name="DeploymentText">What stood behind <c>sbox.deployment=</c>.</param>
/// <param name="OstreeLink">The path of <c>ostree=</c>, a link to a deployment; used where <c>sbox.deployment=</c> is missing.</param>
/// <param name="Commit">The commit of <c>sbox.commit=</c>, whichever deployment of it there is: what a signed command line can say; null where it is missing.</param>
/// <param name="ComposefsDigest">The fs-verity digest of the deployment's image, as <c>composefs=</c>.</param>
/// <param name="RequireVerity">Whether <c>sbox.verity=required</c> asks that every byte be proven.</param>
public sealed record RootConfig(
    string? Root, string? RootFlags, string? RootType, DeploymentName? Deployment, string? DeploymentText, string? OstreeLink,
    Checksum? Commit, Checksum? ComposefsDigest, bool RequireVerity)
{
    /// <summary>The argument of a boot that keeps nothing.</summary>
    public const string GhostArgument = "sbox.ghost";

    /// <summary>The argument of a ghost that copies its medium into memory and lets go of it.</summary>
    public const string FromRamArgument = "sbox.from-ram";

    /// <summary>The argument of a boot that deletes /var and all changes in /etc first.</summary>
    public const string ResetArgument = "sbox.factory-reset";

    /// <summary>Whether changes of /etc and /var live in memory and are gone at power-off, as <c>sbox.ghost</c> asks.</summary>
    public bool Ghost { get; private init; }

    /// <summary>Whether a ghost runs from a copy of its medium in memory, so that the medium may be taken out, as <c>sbox.from-ram</c> asks.</summary>
    public bool FromRam { get; private init; }

    /// <summary>Whether /var and the changes in /etc are deleted before anything starts, as <c>sbox.factory-reset</c> asks.</summary>
    public bool FactoryReset { get; private init; }

    /// <summary>Whether a sealed boot ends where a TPM that the firmware tells of stays away, as <c>sbox.tpm=required</c> asks.</summary>
    public bool RequireTpm { get; private init; }

    /// <summary>Reads the arguments this program knows; others are for others.</summary>
    /// <exception cref="NoRootException">A value is not what its argument asks for.</exception>
    public static RootConfig From(KernelArguments arguments)
    {
        string? deployment = arguments.Get("sbox.deployment");
        DeploymentName parsed = default;
        if (deployment is not null && !DeploymentName.TryParse(deployment, out parsed))
            throw new NoRootException($"sbox.deployment={deployment} on the kernel command line is not OS/CHECKSUM.SERIAL");
        bool ghost = Flag(arguments, GhostArgument), reset = Flag(arguments, ResetArgument), fromRam = Flag(arguments, FromRamArgument);
        if (ghost && reset)
            throw new NoRootException($"{GhostArgument} and {ResetArgument} on the kernel command line: a ghost changes nothing on the disk, so it cannot empty it");
        if (fromRam && !ghost)
            throw new NoRootException($"{FromRamArgument} without {GhostArgument} on the kernel command line: what runs from memory keeps nothing, and must say so");
        return new RootConfig(
            arguments.Get("root"), arguments.Get("rootflags"), arguments.Get("rootfstype"),
            deployment is null ? null : parsed, deployment, arguments.Get("ostree"),
            Digest(arguments, "sbox.commit"), Digest(arguments, "composefs"), Required(arguments, "sbox.verity"))
        {
            Ghost = ghost,
            FromRam = fromRam,
            FactoryReset = reset,
            RequireTpm = Required(arguments, "sbox.tpm"),
        };
    }

    /// <summary>Whether a command line is a ghost's: what it does is gone at power-off.</summary>
    public static bool IsGhost(KernelArguments arguments) => arguments.Contains(GhostArgument);

    /// <summary>Whether a command line is a sealed box's: every byte of its root has to prove itself.</summary>
    public static bool AsksForVerity(KernelArguments arguments) => arguments.Contains("sbox.verity");

    private static Checksum? Digest(KernelArguments arguments, string key)
    {
        string? text = arguments.Get(key);
        return text is null ? null
            : Checksum.TryParse(text, out Checksum digest) ? digest
            : throw new NoRootException($"{key}={text} on the kernel command line is not 64 hexadecimal digits");
    }

    // A demand that is not understood must not pass for none, here and below.
    private static bool Flag(KernelArguments arguments, string key) => arguments.Contains(key) && (arguments.Get(key) is not { } value
        ? true
        : throw new NoRootException($"{key}={value} on the kernel command line: it takes no value"));

    private static bool Required(KernelArguments arguments, string key) => arguments.Contains(key) && (arguments.Get(key) is null or "required"
        ? true
        : throw new NoRootException($"{key}={arguments.Get(key)} on the kernel command line: 'required' is all that it can be"));
}

/// <summary>There is no root to be made. The message is one line for the console: what is missing, what is there, what to do.</summary>
/// <param name="message">That line.</param>
public sealed class NoRootException(string message) : Exception(message);
