using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>Carries out an <see cref="EtcMergePlan"/>.</summary>
public static class EtcMerge
{
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
                case EtcAction.TakeDirectory when local.TryStat(step.Path) is { IsDirectory: true }:
                    TreeCopy.Directory(local, step.Path, target, step.Path);
                    break;
                case EtcAction.CopyLeaf when target.TryStat(Parent(step.Path)) is { IsDirectory: true }:
                    TreeCopy.Leaf(local, step.Path, target, step.Path);
                    break;
                default:
                    break; // the owner removed it since the plan was made
            }
        }
    }

    private static string Parent(string path) => path.LastIndexOf('/') is var slash and > 0 ? path[..slash] : ".";
}
