using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// A directory of the read-only system that programs may write to all the same, /opt say: what they change is kept in /var, over what the version brings. Where another version runs than last
/// time, what it brings wins over what was changed at the same path; what was added stays.
/// </summary>
/// <param name="Name">What its changes are kept under.</param>
/// <param name="MountPoint">The directory.</param>
/// <remarks>Layout and mark are libostree's (<c>ostree admin state-overlay</c>), so that either program goes on with what the other one kept.</remarks>
public sealed record StateOverlay(string Name, string MountPoint)
{
    /// <summary>Where the changes of all of them are kept.</summary>
    public const string Home = "/var/ostree/state-overlays";

    private const string Mark = "user.ostree.deploymentcsum", Opaque = "trusted.overlay.opaque", Upper = "upper", Work = "work";

    /// <summary>Mounts it, for all who share this process's mounts.</summary>
    /// <param name="running">The commit of the version that runs.</param>
    /// <param name="home">Where changes are kept; <see cref="Home"/> unless a test says otherwise.</param>
    /// <exception cref="LinuxException">There is no such directory, or the kernel refused.</exception>
    /// <exception cref="MountException">The kernel refused the mount.</exception>
    public void Mount(Checksum running, string home = Home)
    {
        if (Name.Length == 0 || Name is "." or ".." || Name.Contains('/', StringComparison.Ordinal))
            throw new IOException($"'{Name}' cannot name a state overlay: it is a directory's name in {home}");
        using Dir lower = Dir.Open(MountPoint);
        Directory.CreateDirectory(home);
        using Dir all = Dir.Open(home);
        using Dir own = all.MakeAndOpenDir(Name);
        own.MakeDirs(Work);
        if (own.TryMakeDir(Upper))
            TakeAfter(lower, own);
        if (RanWith(own) != running.ToString())
        {
            using Dir upper = own.OpenDir(Upper);
            Prune(upper, lower);
            Xattrs.Set(own, Upper, new Xattr(Mark, Encoding.ASCII.GetBytes(running.ToString())));
        }

        using FileSystemContext context = FileSystemContext.Open("overlay");
        using DetachedMount mount = context.Set("source", "overlay").Set("lowerdir", Escaped(MountPoint)).Set("upperdir", own.Of(Upper)).Set("workdir", own.Of(Work)).Create();
        mount.AttachAt(MountPoint);
    }

    // The changed directory is the one that people see: owner and mode as the version has them.
    private static void TakeAfter(Dir lower, Dir own)
    {
        FileStat stat = lower.Stat();
        own.ChangeOwner(Upper, stat.Uid, stat.Gid);
        own.ChangeMode(Upper, stat.Permissions);
    }

    private static string? RanWith(Dir own) => Xattrs.Read(own, Upper).Where(static each => each.Name == Mark).Select(static each => Encoding.ASCII.GetString(each.Value).TrimEnd('\0')).FirstOrDefault();

    /// <summary>Removes what stands in the way of what a version brings: changed copies, marks of removal, and marks of directories that hide all below them.</summary>
    internal static void Prune(Dir upper, Dir lower)
    {
        foreach (DirEntry entry in upper.Entries())
        {
            if (upper.TryStat(entry.Name) is not { } changed)
                continue;
            bool isRemoval = changed is { Kind: FileKind.CharacterDevice, RawDevice: 0 };
            if (changed.IsDirectory && lower.TryStat(entry.Name) is { IsDirectory: true })
            {
                Xattrs.Remove(upper, entry.Name, Opaque);
                using Dir inner = upper.OpenDir(entry.Name), brought = lower.OpenDir(entry.Name);
                Prune(inner, brought);
            }
            else if (isRemoval || lower.Exists(entry.Name))
            {
                upper.RemoveAll(entry.Name);
            }
        }
    }

    // Of several lower directories a colon would part the names.
    private static string Escaped(string path) => path.Replace("\\", "\\\\", StringComparison.Ordinal).Replace(":", "\\:", StringComparison.Ordinal);
}
