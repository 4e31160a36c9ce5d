using System.Globalization;
using System.Text;
using Sbox.Linux;

namespace Sbox.Tomb.Sessions;

/// <summary>
/// The mounts of an open tomb: the snapshot, read-only, at <c>below/lower.N</c>, where nobody but root comes; what is written since in <c>scratch/N/upper</c>, on a tmpfs that is
/// never swapped or in a directory of the owner's choice; and both together, by overlayfs, at the mount point. N grows by one whenever what is saved
/// is folded into the lower layer.
/// </summary>
internal sealed class HomeOverlay
{
    /// <summary>In a layer's directory: the id of the session's last save.</summary>
    public const string SavedFile = "saved";

    /// <summary>Beside it: the id of the snapshot below.</summary>
    public const string BaseFile = "base";

    // In the scratch directory: the number of the layer, and of the one that takes its place while a fold is under way.
    private const string CurrentFile = "current", FoldingFile = "folding";
    private const uint Private = 0x1C0; // 0700
    private readonly SessionOptions options;
    private readonly int number;

    private HomeOverlay(SessionOptions options, int number)
    {
        (this.options, this.number) = (options, number);
        Scratch = ScratchOf(options);
    }

    /// <summary>Where the snapshot is mounted.</summary>
    public string Lower => $"{Below(options)}/lower.{number}";

    /// <summary>The directory of the upper layer and what belongs to it.</summary>
    public string Layer => $"{Scratch}/{number}";

    /// <summary>Where what is written goes.</summary>
    public string Upper => $"{Layer}/upper";

    /// <summary>The directory that holds all layers.</summary>
    public string Scratch { get; }

    /// <summary>Whether the upper layer was there: a session before this one ended without closing.</summary>
    public bool Recovered { get; private set; }

    /// <summary>Makes the directories, and the memory where no scratch is named.</summary>
    public static HomeOverlay Prepare(SessionOptions options)
    {
        string where = ScratchOf(options);
        using (Dir root = Dir.Open("/"))
        {
            root.MakeDirs(options.RunDirectory.TrimStart('/'), 0x1ED /* 0755: the sockets are their owners' */);
            root.MakeDirs(options.Directory.TrimStart('/'), 0x1ED);

            // Modes of the snapshot are those of when it was saved: what its owner has closed since must not be open there.
            root.MakeDirs(Below(options).TrimStart('/'), Private);
            root.MakeDirs(where.TrimStart('/'), Private);
        }

        ClearDead(options);
        if (options.Scratch is null && MountTable.At(where) is null)
            MountMemory(where, options.MemoryLimit);
        using Dir scratch = Dir.Open(where);
        var overlay = new HomeOverlay(options, Current(scratch));
        foreach (int other in Layers(scratch).Where(other => other != overlay.number))
            scratch.RemoveAll(Name(other));
        scratch.TryUnlink(FoldingFile);
        overlay.Recovered = scratch.Exists($"{overlay.number}/upper") && scratch.Exists($"{overlay.number}/{BaseFile}");
        if (!overlay.Recovered)
            scratch.RemoveAll(Name(overlay.number));
        overlay.Make();
        return overlay;
    }

    /// <summary>The next layer, empty: what is saved goes below it.</summary>
    public HomeOverlay Next()
    {
        using Dir scratch = Dir.Open(Scratch);
        // A number that no layer has: one that a fold could not put to use is still mounted, unseen.
        var next = new HomeOverlay(options, Layers(scratch).Append(number).Max() + 1);
        next.Make();
        return next;
    }

    /// <summary>This layer is not put to use after all; it stays where it is mounted until the tomb is closed.</summary>
    public void Abandon()
    {
        using Dir scratch = Dir.Open(Scratch);
        scratch.TryUnlink(FoldingFile);
    }

    /// <summary>Puts both layers together at the mount point.</summary>
    /// <exception cref="MountException">The kernel does not take it so.</exception>
    public void MountAt(string mountPoint) => Together(mount => mount.AttachAt(mountPoint));

    /// <summary>The same where somebody else has to attach it: says what, and waits until it is there.</summary>
    /// <exception cref="MountException">Nobody did within a minute.</exception>
    public void HaveAttached(CancellationToken cancel) => Together(mount => HaveAttached(mount, cancel));

    /// <summary>The same, under what is mounted there: seen as soon as that is taken away.</summary>
    /// <exception cref="LinuxException">The kernel is older than 6.5.</exception>
    public void MountBeneath(string mountPoint)
    {
        Note(FoldingFile, Name(number));
        Together(mount => mount.AttachBeneath(mountPoint));
    }

    /// <summary>From here on this layer is the one that a later session finds.</summary>
    public void BecomeCurrent()
    {
        Note(CurrentFile, Name(number));
        using Dir scratch = Dir.Open(Scratch);
        scratch.TryUnlink(FoldingFile);
    }

    /// <summary>Deletes a layer that is mounted no more, or never was.</summary>
    public void Delete()
    {
        using Dir scratch = Dir.Open(Scratch);
        scratch.TryUnlink(FoldingFile);
        scratch.RemoveAll(Name(number));
        using Dir own = Dir.Open(Below(options));
        if (MountTable.At(Lower) is null)
            own.RemoveAll(Path.GetFileName(Lower));
    }

    /// <summary>Takes the memory and the directories away; a scratch directory of the owner's is emptied.</summary>
    /// <param name="takeLower">Unmounts the snapshot, once nothing is above it any more.</param>
    public void Remove(Action takeLower)
    {
        takeLower();
        if (options.Scratch is null)
        {
            if (MountTable.At(Scratch) is not null)
                Mounts.Detach(Scratch);
        }
        else
        {
            using Dir scratch = Dir.Open(Scratch);
            foreach (string name in Layers(scratch).Select(Name).Concat([CurrentFile, FoldingFile]))
                scratch.RemoveAll(name);
        }

        using Dir run = Dir.Open(options.RunDirectory);
        run.RemoveAll(options.Name);
    }

    /// <summary>Takes away what lies under the overlay by the same name: layers that a fold could not put to use.</summary>
    public static void ClearBeneath(SessionOptions options)
    {
        for (int layers = 0; layers < 8 && MountTable.At(options.MountPoint) is { Type: "overlay" } dead && dead.Source == $"tomb-{options.Name}"; layers++)
            Mounts.Detach(options.MountPoint);
    }

    private static string Below(SessionOptions options) => $"{options.Directory}/below";

    private static string ScratchOf(SessionOptions options) => options.Scratch ?? $"{options.Directory}/scratch";

    private static string Name(int layer) => layer.ToString(CultureInfo.InvariantCulture);

    private static IReadOnlyList<int> Layers(Dir scratch) =>
        [.. scratch.Entries().Select(static entry => int.TryParse(entry.Name, NumberStyles.None, CultureInfo.InvariantCulture, out int layer) ? layer : -1).Where(static layer => layer >= 0)];

    // Killed in the middle of a fold: whoever wrote into the new layer found the old one, which was saved, taken away already.
    private static int Current(Dir scratch)
    {
        if (Number(scratch, FoldingFile) is { } folding && scratch.Exists($"{folding}/upper"))
        {
            using Dir layer = scratch.OpenDir(Name(folding));
            using Dir upper = layer.OpenDir("upper");
            if (upper.Entries().Count > 0)
                return folding;
        }

        return Number(scratch, CurrentFile) ?? 0;
    }

    private static int? Number(Dir scratch, string file) =>
        scratch.TryReadAll(file) is { } bytes && int.TryParse(Encoding.ASCII.GetString(bytes), NumberStyles.None, CultureInfo.InvariantCulture, out int layer) ? layer : null;

    private void Note(string file, string text)
    {
        using Dir scratch = Dir.Open(Scratch);
        Durable.Replace(scratch, file, Encoding.ASCII.GetBytes(text));
    }

    private void Make()
    {
        using Dir scratch = Dir.Open(Scratch);
        scratch.MakeDirs(Name(number), Private);
        using Dir layer = scratch.OpenDir(Name(number));
        layer.RemoveAll("work");
        layer.MakeDirs("upper", Private);
        layer.MakeDirs("work", Private);
        using Dir own = Dir.Open(Below(options));
        own.MakeDirs(Path.GetFileName(Lower), Private);
    }

    // On a thread apart: overlayfs asks the snapshot, which this process serves, for what it needs of it.
    private void Together(Action<DetachedMount> attach) => ApartThread.Run(() =>
    {
        using FileSystemContext context = FileSystemContext.Open("overlay")
            .Set("source", $"tomb-{options.Name}").Set("lowerdir+", Lower).Set("upperdir", Upper).Set("workdir", $"{Layer}/work")
            .Set("redirect_dir", "on").Set("metacopy", "on").Set("index", "off").Set("xino", "auto");
        using DetachedMount mount = context.Create(MountAttributes.NoSetUid | MountAttributes.NoDevices);
        attach(mount);
    });

    private void HaveAttached(DetachedMount mount, CancellationToken cancel)
    {
        using Dir own = Dir.Open(options.Directory);
        Durable.Replace(own, SessionOptions.HomeToAttach, Encoding.ASCII.GetBytes(mount.PathForOthers));
        try
        {
            for (int tries = 0; MountTable.At(options.MountPoint) is not { Type: "overlay" }; tries++)
            {
                cancel.ThrowIfCancellationRequested();
                if (tries == 1200)
                    throw new MountException(Errno.ETIMEDOUT, "overlay", "move_mount", $"{options.MountPoint}: nobody attached it");
                Thread.Sleep(50);
            }
        }
        finally
        {
            own.TryUnlink(SessionOptions.HomeToAttach);
        }
    }

    // What a killed session left: its overlay and its snapshot answer nobody any more; its upper layer is whole.
    private static void ClearDead(SessionOptions options)
    {
        ClearBeneath(options);
        foreach (MountEntry dead in MountTable.Read().Where(mount => mount.MountPoint.StartsWith($"{Below(options)}/lower.", StringComparison.Ordinal)).Reverse())
            Mounts.DetachByForce(dead.MountPoint);
    }

    // noswap: what a home holds must not reach a disk. Kernels before 6.4 do not know the word.
    private static void MountMemory(string at, string limit)
    {
        try
        {
            Memory(at, limit, noswap: true);
        }
        catch (MountException unknown) when (unknown.Errno == Errno.EINVAL)
        {
            Memory(at, limit, noswap: false);
        }
    }

    private static void Memory(string at, string limit, bool noswap)
    {
        using FileSystemContext context = FileSystemContext.Open("tmpfs").Set("source", "tomb-scratch").Set("mode", "0700").Set("size", limit);
        if (noswap)
            context.Set("noswap");
        using DetachedMount mount = context.Create(MountAttributes.NoSetUid | MountAttributes.NoDevices);
        mount.AttachAt(at);
    }
}
