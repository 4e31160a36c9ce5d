using Sbox.Boot;
using Sbox.Codecs;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Sysroot;

/// <summary>A deployment as it shall stand in the boot menu: what a boot entry, or a UKI, is made from.</summary>
/// <param name="Name">Which it is.</param>
/// <param name="Kernel">Its kernel.</param>
/// <param name="Arguments">The owner's and the recipe's kernel arguments, without those that name the deployment.</param>
/// <param name="Release">The tree's os-release.</param>
/// <param name="Version">The commit's version; null where it has none.</param>
/// <param name="Time">When the commit was made.</param>
internal sealed record BootTarget(
    DeploymentName Name, KernelLayout Kernel, KernelArguments Arguments, OsRelease Release, string? Version, DateTimeOffset Time)
{
    /// <summary>Of a deployment that is there: its tree, its commit, its boot entry's arguments.</summary>
    /// <param name="sysroot">Where it is.</param>
    /// <param name="name">Which it is.</param>
    /// <param name="arguments">Its kernel arguments.</param>
    /// <param name="isSealed">Whether the box is; on another one a seal means nothing.</param>
    public static BootTarget Of(OstreeSysroot sysroot, DeploymentName name, KernelArguments arguments, bool isSealed)
    {
        using Dir tree = sysroot.Root.OpenDir(name.Directory);
        Commit? commit = CommitOf(sysroot, name);
        Deployment? there = sysroot.Deployments.FirstOrDefault(each => each.Name == name);
        return new BootTarget(
            name, KernelLayout.Find(tree, there?.BootChecksum), arguments, OsRelease.Of(tree), commit?.Version, commit?.Time ?? DateTimeOffset.UnixEpoch)
        {
            Overlays = [.. there?.Overlays ?? []],
            Seal = isSealed && commit is not null ? CommitSeal.Of(sysroot.Repository.LoadDetachedMetadata(name.Commit)) : null,
        };
    }

    /// <summary>The initrds that its owner gave beside the tree's own: file names (<see cref="OverlayInitrds"/>).</summary>
    public IReadOnlyList<string> Overlays { get; init; } = [];

    /// <summary>Its seal, where the box is sealed and the commit is; then the UKI is made of it.</summary>
    public CommitSeal? Seal { get; init; }

    /// <summary>Whether its owner said that it may go without a seal, also where firmware will not start it then.</summary>
    public bool MayBeUnsealed { get; init; }

    /// <summary>The tree's name with the version, where no word of the name is it already.</summary>
    public string Title => Version is { Length: > 0 } && !Release.PrettyName.Split(' ').Contains(Version)
        ? $"{Release.PrettyName} {Version}"
        : Release.PrettyName;

    /// <summary>
    /// Whether the boot entry that a deployment has serves this one: same kernel, initrds, arguments, version and stateroot.
    /// </summary>
    public bool IsServedBy(OstreeSysroot sysroot, Deployment there) => Kernel.BootChecksum == there.BootChecksum && Arguments.Equals(there.Arguments) && Name.Os == there.Name.Os
        && Overlays.SequenceEqual(there.Overlays) && (Name == there.Name || Version == CommitOf(sysroot, there.Name)?.Version);

    /// <summary>The place of each among those with the same kernel, as libostree counts.</summary>
    public static int[] Serials(IReadOnlyList<BootTarget> targets)
    {
        var counts = new Dictionary<Checksum, int>();
        var serials = new int[targets.Count];
        for (int at = 0; at < serials.Length; at++)
        {
            Checksum kernel = targets[at].Kernel.BootChecksum;
            serials[at] = counts.GetValueOrDefault(kernel);
            counts[kernel] = serials[at] + 1;
        }

        return serials;
    }

    // An old deployment may outlive its commit, where someone pruned by hand; it boots all the same.
    private static Commit? CommitOf(OstreeSysroot sysroot, DeploymentName name) =>
        sysroot.Repository.Has(new ObjectName(name.Commit, ObjectType.Commit)) ? sysroot.Repository.LoadCommit(name.Commit) : null;
}
