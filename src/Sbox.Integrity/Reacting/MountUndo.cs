using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>How something that was done to a mount is taken back.</summary>
/// <param name="Mount">The mount, as it was found.</param>
/// <param name="Says">What is so afterwards.</param>
internal sealed record MountUndo(MountEntry Mount, string Says)
{
    /// <summary>The way back from a finding; null where it is about no mount, or there is nothing left to take back.</summary>
    public static MountUndo? Of(Finding finding) => finding switch
    {
        { IsOver: true } or { Mount: null } => null,
        { Kind: FindingKind.Writable or FindingKind.Loosened or FindingKind.PhysicalWritable or FindingKind.EspWritable } => new MountUndo(finding.Mount, "read-only again"),
        { Kind: FindingKind.Covered or FindingKind.SystemExtension } => new MountUndo(finding.Mount, Unmounted),
        _ => null,
    };

    private const string Unmounted = "unmounted";
    private const int Attempts = 3;

    private bool Unmounts => Says == Unmounted;

    /// <summary>Takes it back, by a thread that is in its mount namespace, and looks whether it is so.</summary>
    /// <param name="table">The mounts of that namespace.</param>
    /// <returns>What came of it: <c>undone: …</c>, or why not.</returns>
    /// <exception cref="IOException">The kernel refused.</exception>
    public string Do(MountInfoFile table)
    {
        for (int attempt = 0; ; attempt++)
        {
            // By its number: another mount may be at its place by now, and whoever made it may have taken it away again.
            IReadOnlyList<MountEntry> mounts = table.Read();
            MountEntry? still = mounts.FirstOrDefault(each => each.Id == Mount.Id && each.Device == Mount.Device);
            if (still is null ? Unmounts && attempt > 0 : !Unmounts && still.IsMarkedReadOnly)
                return $"undone: {Says}";
            if (still is null)
                return $"{(Unmounts ? "nothing to undo" : "not undone")}: the mount is not seen there any more";
            if (attempt == Attempts)
                return $"not undone: the path {still.MountPoint} does not lead to it, something is mounted over it";
            Reach(still.MountPoint, Above(mounts, still));
        }
    }

    /// <summary>How many mounts lie on a mount at its very place: it was put beneath the rightful one, or was covered since.</summary>
    internal static int Above(IReadOnlyList<MountEntry> mounts, MountEntry mount)
    {
        int above = 0;
        for (MountEntry? at = mount; at is not null && above <= mounts.Count; above++)
            at = mounts.FirstOrDefault(each => each.ParentId == at.Id && each.Id != at.Id && each.MountPoint == mount.MountPoint);
        return above - 1;
    }

    // A path leads to the topmost mount. What lies above is taken off, and put back with all below it.
    private void Reach(string place, int above)
    {
        var rightful = new Stack<DetachedMount>();
        try
        {
            for (int i = 0; i < above; i++)
            {
                rightful.Push(CloneOf(place));
                Mounts.Detach(place);
            }

            using HeldMount top = HeldMount.At(place);
            if (top.Id != Mount.Id)
                return; // somebody mounts at the same time, or over a directory above
            if (Unmounts)
                Mounts.Detach(place);
            else
                top.SetAttributes(MountAttributes.ReadOnly);
        }
        finally
        {
            while (rightful.TryPop(out DetachedMount? mount))
            {
                using (mount)
                    mount.AttachAt(place);
            }
        }
    }

    private static DetachedMount CloneOf(string place)
    {
        try
        {
            return DetachedMount.CloneOf(place, recursive: true);
        }
        catch (LinuxException unbindable) when (unbindable.Errno == Errno.EINVAL)
        {
            // A mark by which a mount protects itself from being copied, and so what is below it from being reached.
            Mounts.SetPropagation(place, Propagation.Private, recursive: false);
            return DetachedMount.CloneOf(place, recursive: true);
        }
    }
}
