using Sbox.Boot;
using Sbox.Codecs;

namespace Sbox.Sysroot;

/// <summary>A deployment that a boot entry leads to.</summary>
/// <param name="Name">Which it is; also where it is.</param>
/// <param name="BootChecksum">What names its kernel's directory in /boot: <see cref="KernelLayout.BootChecksum"/>.</param>
/// <param name="BootSerial">Its place among the deployments with the same kernel, 0 and up.</param>
/// <param name="Entry">Its boot entry, as libostree wrote it or we did.</param>
/// <param name="Origin">Where it came from; null where nobody wrote that down.</param>
public sealed record Deployment(DeploymentName Name, Checksum BootChecksum, int BootSerial, BootEntry Entry, Origin? Origin)
{
    /// <summary>The kernel arguments that are the owner's and the recipe's: all but <c>ostree=</c>, and <c>init=</c> where that leads into the deployment.</summary>
    public KernelArguments Arguments => KernelArguments.Of(Entry.Options.Where(static argument =>
        argument.Key != "ostree" && !(argument.Key == "init" && argument.RawValue?.StartsWith("/ostree/boot.", StringComparison.Ordinal) == true)));

    /// <summary>The initrds that its owner gave beside the tree's own, by their file names (<see cref="OverlayInitrds"/>).</summary>
    public IEnumerable<string> Overlays => Entry.Initrds.Where(OverlayInitrds.Holds).Select(static path => path[(path.LastIndexOf('/') + 1)..]);

    /// <summary>Whether the owner asked that it never be cleaned away.</summary>
    public bool IsPinned => Origin?.IsPinned ?? false;
}

/// <summary>The paths of a sysroot, from its root, without a leading slash.</summary>
internal static class Layout
{
    public const string Repo = "ostree/repo", Deploy = "ostree/deploy", LockFile = "ostree/lock", Boot = "boot";

    public static string Stateroot(string os) => $"{Deploy}/{os}";

    public static string Deployments(string os) => $"{Deploy}/{os}/deploy";

    public static string OriginOf(DeploymentName name) => $"{name.Directory}.origin";

    public static string BackingOf(DeploymentName name) => $"{Deploy}/{name.Os}/backing/{name.Commit}.{name.Serial}";

    public static string BootDirectory(string os, Checksum bootChecksum) => $"ostree/{os}-{bootChecksum}";

    public static string BootLink(int bootVersion, string os, Checksum bootChecksum, int bootSerial) =>
        $"/ostree/boot.{bootVersion}/{os}/{bootChecksum}/{bootSerial}";

    /// <summary>Only such names are safe in paths, kernel arguments, FAT and systemd-boot's patterns alike.</summary>
    /// <exception cref="StaterootNameException">It is none.</exception>
    public static void CheckStateroot(string name)
    {
        if (name.Length is 0 or > 64 || !char.IsAsciiLetterOrDigit(name[0])
            || name.Any(static c => !char.IsAsciiLetterOrDigit(c) && c is not ('.' or '-' or '_')))
            throw new StaterootNameException(name);
    }
}
