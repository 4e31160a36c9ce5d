using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>Carries out an <see cref="EtcMergePlan"/>.</summary>
public static class EtcMerge
{
    private const uint OwnerOnly = 0x180; // 0600

    /// <summary>Applies the plan.</summary>
    /// <param name="plan">Made from the trees below.</param>
    /// <param name="local">The old deployment's <c>etc</c>; only read.</param>
    /// <param name="target">A fresh copy of the new defaults; nobody else may use it yet.</param>
    /// <exception cref="LinuxException">A step was refused; the target is half merged and must be made anew.</exception>
    public static void Apply(EtcMergePlan plan, Dir local, Dir target)
    {
        foreach (EtcStep step in plan.Steps)
        {
            switch (step.Action)
            {
                case EtcAction.Remove:
                    target.RemoveAll(step.Path);
                    break;
                case EtcAction.Own when target.TryStat(step.Path) is { } stat:
                    target.ChangeOwner(step.Path, step.Result.Uid, step.Result.Gid);
                    if (!stat.IsSymlink)
                        target.ChangeMode(step.Path, step.Result.Permissions);
                    break;
                case EtcAction.TakeDirectory when local.TryStat(step.Path) is { IsDirectory: true }:
                    TreeCopy.Directory(local, step.Path, target, step.Path);
                    break;
                case EtcAction.CopyLeaf when target.TryStat(Parent(step.Path)) is { IsDirectory: true }:
                    TreeCopy.Leaf(local, step.Path, target, step.Path);
                    break;
                case EtcAction.Combine when target.TryStat(Parent(step.Path)) is { IsDirectory: true }:
                    Combine(step, local, target);
                    break;
                default:
                    break; // the owner removed it since the plan was made
            }
        }
    }

    // Extended attributes are the owner's file's, as with one that is kept.
    private static void Combine(EtcStep step, Dir local, Dir target)
    {
        byte[] theirs = target.TryStat(step.Path) is { IsRegular: true } ? target.ReadAll(step.Path) : [];
        byte[] content = step.Content ?? (Checksum.Of(theirs) == step.Result.Content ? theirs : local.TryReadAll(step.Path) ?? theirs);
        target.RemoveAll(step.Path);
        // Never readable by more than it will be, not for a moment: shadow is among these.
        using (SafeFileHandle file = target.CreateFile(step.Path, OwnerOnly))
            Files.WriteAt(file, content, 0, target.Of(step.Path));
        if (local.Exists(step.Path))
        {
            foreach (Xattr attribute in Xattrs.Read(local, step.Path))
                Xattrs.Set(target, step.Path, attribute);
        }

        target.ChangeOwner(step.Path, step.Result.Uid, step.Result.Gid);
        target.ChangeMode(step.Path, step.Result.Permissions);
    }

    private static string Parent(string path) => path.LastIndexOf('/') is var slash and > 0 ? path[..slash] : ".";
}
