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
    private const int MountsTakenOff = 64;

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
            Reach(still.MountPoint, Way.To(still, mounts));
        }
    }

    // A path leads to the topmost mount. What lies above, at the place itself or at a directory above it, is taken off, and put back with
    // all below it, in the order in which it lay there.
    private void Reach(string place, Way way)
    {
        var above = new Stack<(string Place, DetachedMount Mount)>();
        try
        {
            foreach (string covered in way.Covered)
                TakeOff(covered, way, above);
            using HeldMount top = HeldMount.At(place);
            if (top.Id != Mount.Id)
                return; // somebody mounts at the same time
            if (Unmounts)
                Mounts.Detach(place);
            else
                top.SetAttributes(MountAttributes.ReadOnly);
        }
        finally
        {
            PutBack(above);
        }
    }

    private static void TakeOff(string place, Way way, Stack<(string Place, DetachedMount Mount)> above)
    {
        for (int taken = 0; taken < MountsTakenOff; taken++)
        {
            using (HeldMount top = HeldMount.At(place))
            {
                if (way.Mounts.Contains(top.Id))
                    return;
            }

            above.Push((place, CloneOf(place)));
            Mounts.Detach(place);
        }
    }

    // One that cannot be put back must not take the others with it.
    private static void PutBack(Stack<(string Place, DetachedMount Mount)> above)
    {
        LinuxException? failure = null;
        while (above.TryPop(out (string Place, DetachedMount Mount) each))
        {
            using (each.Mount)
            {
                try
                {
                    each.Mount.AttachAt(each.Place);
                }
                catch (LinuxException refused)
                {
                    failure = refused;
                }
            }
        }

        if (failure is not null)
            throw failure;
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

    /// <summary>The mounts that a path leads through to get to one, and where others lie in its way.</summary>
    /// <param name="Mounts">Their numbers: its own, that of the mount it is on, and so on to the lowest.</param>
    /// <param name="Covered">The places at which something else is mounted over one of them, the shortest path first.</param>
    internal sealed record Way(IReadOnlySet<int> Mounts, IReadOnlyList<string> Covered)
    {
        /// <summary>The way to a mount of a table.</summary>
        public static Way To(MountEntry mount, IReadOnlyList<MountEntry> mounts)
        {
            MountTree tree = MountTree.Of(mounts);
            var through = new HashSet<int>();
            for (MountEntry? at = mount; at is not null && through.Add(at.Id);)
                at = tree.ParentOf(at);
            // Over "/" itself nothing is taken off: whoever enters the namespace stands in what is mounted there.
            string[] covered = [.. mounts
                .Where(each => !through.Contains(each.Id) && through.Contains(each.ParentId) && each.MountPoint != "/" && MountTree.IsAtOrBelow(mount.MountPoint, each.MountPoint))
                .Select(static each => each.MountPoint).Distinct().OrderBy(static place => place.Length)];
            return new Way(through, covered);
        }
    }
}
