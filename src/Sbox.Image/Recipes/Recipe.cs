using Sbox.Sysroot;

namespace Sbox.Image;

/// <summary>Where /tmp is on a running box.</summary>
public enum TmpPlace
{
    /// <summary>In memory, gone at power-off.</summary>
    Memory,
    /// <summary>On the disk, at /sysroot/tmp; kept over a reboot until systemd-tmpfiles cleans it.</summary>
    Disk,
}

/// <summary>A file, or a symbolic link, that a recipe puts into the tree.</summary>
/// <param name="Path">Where, absolute, as the running box names it (/etc, not /usr/etc).</param>
/// <param name="Mode">The twelve permission bits; of no use for a link.</param>
/// <param name="Owner">A user's name in the tree, or a number.</param>
/// <param name="Group">A group's name in the tree, or a number.</param>
/// <param name="Content">Its bytes; null for a link.</param>
/// <param name="LinkTarget">Where the link points; null for a file.</param>
public sealed record RecipeFile(string Path, uint Mode, string Owner, string Group, ReadOnlyMemory<byte>? Content, string? LinkTarget);

/// <summary>A user made in the tree, or the password of one who is there.</summary>
/// <param name="Name">The name.</param>
/// <param name="Uid">The number; null lets systemd-sysusers choose one for a system user.</param>
/// <param name="Group">The primary group; null for one of the user's own name.</param>
/// <param name="Groups">Further groups.</param>
/// <param name="Description">The GECOS field.</param>
/// <param name="Home">The home directory; null for none.</param>
/// <param name="Shell">The login shell; null for nologin.</param>
/// <param name="PasswordHash">A crypt(5) hash, or empty for a login without a password; null leaves the account locked.</param>
public sealed record RecipeUser(
    string Name, uint? Uid, string? Group, IReadOnlyList<string> Groups, string Description, string? Home, string? Shell, string? PasswordHash);

/// <summary>A group made in the tree.</summary>
/// <param name="Name">The name.</param>
/// <param name="Gid">The number; null lets systemd-sysusers choose one.</param>
public sealed record RecipeGroup(string Name, uint? Gid);

/// <summary>What is done to systemd units.</summary>
/// <param name="Enable">Units to enable.</param>
/// <param name="Disable">Units to disable.</param>
/// <param name="Mask">Units to mask.</param>
public sealed record UnitChoices(IReadOnlyList<string> Enable, IReadOnlyList<string> Disable, IReadOnlyList<string> Mask);

/// <summary>Which program makes the initrd.</summary>
public enum InitrdMaker
{
    /// <summary>This one: sbox-root alone boots the machine.</summary>
    Sbox,
    /// <summary>dracut: systemd and udev, with sbox-root as a unit.</summary>
    Dracut,
}

/// <summary>The initrd, and what it holds beside what every box needs.</summary>
/// <param name="MadeBy">Which program makes it.</param>
/// <param name="Modules">dracut modules; empty when it does not make the initrd.</param>
/// <param name="Drivers">Kernel modules.</param>
/// <param name="EncryptedRoot">Whether it has what encrypts and opens the disk of a root.</param>
public sealed record InitrdChoices(InitrdMaker MadeBy, IReadOnlyList<string> Modules, IReadOnlyList<string> Drivers, bool EncryptedRoot = false);

/// <summary>What apt and dpkg are asked for: all that decides the base tree, and nothing else.</summary>
/// <param name="Suite">Debian's name of the release, <c>trixie</c>.</param>
/// <param name="Variant">mmdebstrap's variant.</param>
/// <param name="Architecture">Debian's name of it, <c>amd64</c>.</param>
/// <param name="Components">Parts of the archive: main, contrib, non-free-firmware ...</param>
/// <param name="Packages">The packages, each once, in the order of their bytes.</param>
/// <param name="Mirrors">Where from; empty for the mirror, updates and security that mmdebstrap chooses.</param>
/// <param name="AptOptions">Lines of apt.conf(5), kept in the tree.</param>
/// <param name="Docs">Whether man, info and doc pages are kept (copyright files always are).</param>
/// <param name="Locales">Whether translations are kept.</param>
public sealed record PackageChoices(
    string Suite, string Variant, string Architecture, IReadOnlyList<string> Components, IReadOnlyList<string> Packages,
    IReadOnlyList<string> Mirrors, IReadOnlyList<string> AptOptions, bool Docs, bool Locales);

/// <summary>How a Debian tree is built, read from TOML by <see cref="RecipeReader"/>; docs/recipe.md describes every key.</summary>
/// <param name="Name">The stateroot that deployments of it live in: <c>debian</c>.</param>
/// <param name="Ref">The branch that its commits go to: <c>debian/13/amd64/minimal</c>.</param>
/// <param name="Version">What <c>sbox status</c> shows of it.</param>
/// <param name="Packages">What apt and dpkg are asked for.</param>
/// <param name="Hostname">The default of /etc/hostname.</param>
/// <param name="KernelArguments">Kernel arguments of every deployment, in order.</param>
/// <param name="Tmp">Where /tmp is.</param>
/// <param name="Programs">Whether sbox, ostree and sbox-root are put into the tree; a box needs them.</param>
/// <param name="Files">Files and links, later ones over earlier ones, each path once.</param>
/// <param name="Users">Users.</param>
/// <param name="Groups">Groups.</param>
/// <param name="Units">systemd units.</param>
/// <param name="Initrd">The initrd.</param>
/// <param name="SourceDateEpoch">Seconds since 1970 for the commit; null for the newest file in the packages.</param>
public sealed record Recipe(
    string Name, string Ref, string Version, PackageChoices Packages, string Hostname, IReadOnlyList<string> KernelArguments, TmpPlace Tmp,
    bool Programs, IReadOnlyList<RecipeFile> Files, IReadOnlyList<RecipeUser> Users, IReadOnlyList<RecipeGroup> Groups, UnitChoices Units,
    InitrdChoices Initrd, long? SourceDateEpoch)
{
    /// <summary>What a new box of it starts as when nobody chooses in the boot menu.</summary>
    public DefaultBoot BootsAs { get; init; }
}
