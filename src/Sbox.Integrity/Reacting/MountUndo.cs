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

    /// <summary>Takes it back, by a thread that is in its mount namespace.</summary>
    /// <param name="table">The mounts of that namespace.</param>
    /// <exception cref="IOException">The kernel refused.</exception>
    public void Do(MountInfoFile table)
    {
        if (Says != Unmounted)
        {
            Mounts.SetAttributes(Mount.MountPoint, set: MountAttributes.ReadOnly);
            return;
        }

        // Whoever made it may have taken it away again: unmounting now would hit the rightful one.
        IReadOnlyList<MountEntry> mounts = table.Read();
        if (mounts.FirstOrDefault(each => each.Id == Mount.Id && each.Device == Mount.Device) is { } still)
            TakeOut(still.MountPoint, Above(mounts, still));
    }

    /// <summary>How many mounts lie on a mount at its very place: it was put beneath the rightful one, or was covered since.</summary>
    internal static int Above(IReadOnlyList<MountEntry> mounts, MountEntry mount)
    {
        int above = 0;
        for (MountEntry? at = mount; at is not null && above <= mounts.Count; above++)
            at = mounts.FirstOrDefault(each => each.ParentId == at.Id && each.Id != at.Id && each.MountPoint == mount.MountPoint);
        return above - 1;
    }

    // A path leads to the topmost mount, and umount(2) goes by path. What lies above is taken off, and put back with all below it.
    private static void TakeOut(string place, int above)
    {
        var rightful = new Stack<DetachedMount>();
        try
        {
            for (int i = 0; i < above; i++)
            {
                rightful.Push(DetachedMount.CloneOf(place, recursive: true));
                Mounts.Detach(place);
            }

            Mounts.Detach(place);
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
}
