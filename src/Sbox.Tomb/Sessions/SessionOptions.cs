namespace Sbox.Tomb.Sessions;

/// <summary>How a tomb is opened.</summary>
public sealed record SessionOptions
{
    /// <summary>What it is called while it is open: a word without <c>/</c>.</summary>
    public required string Name { get; init; }

    /// <summary>Where it is seen: an absolute path of a directory, without symbolic links, as the kernel's table of mounts has it.</summary>
    public required string MountPoint { get; init; }

    /// <summary>What snapshots call that place, as its owner does: <c>/home/me</c>, also where /home is a link; null for <see cref="MountPoint"/>.</summary>
    public string? Place { get; init; }

    /// <summary>Where sessions keep their mounts and sockets.</summary>
    public string RunDirectory { get; init; } = DefaultRunDirectory;

    /// <summary>A directory that keeps what is not saved yet; null keeps it in memory, and a power cut takes what was not saved.</summary>
    public string? Scratch { get; init; }

    /// <summary>How much memory what is not saved may take, as tmpfs(5) has it; only without <see cref="Scratch"/>.</summary>
    public string MemoryLimit { get; init; } = "50%";

    /// <summary>The snapshot to open, by its id or its beginning; null for the newest.</summary>
    public string? Snapshot { get; init; }

    /// <summary>The machine's name in snapshots.</summary>
    public string Hostname { get; init; } = Environment.MachineName;

    /// <summary>What wrote the snapshots.</summary>
    public string ProgramVersion { get; init; } = "sbox";

    /// <summary>How often to save by itself; zero for never.</summary>
    public TimeSpan SaveEvery { get; init; } = TimeSpan.FromMinutes(10);

    /// <summary>How long nothing may have been written for it to be saved without waiting for its time; zero for never.</summary>
    public TimeSpan SaveWhenQuietFor { get; init; } = TimeSpan.FromMinutes(1);

    /// <summary>
    /// A file that is there while somebody else is to attach the overlay at <see cref="MountPoint"/>: under an automount that is being set off only the helper
    /// of mount(8) may touch the place. The session then names what to attach in its directory, in <see cref="HomeToAttach"/>. Null for nobody.
    /// </summary>
    public string? Attacher { get; init; }

    /// <summary>In a session's directory: what <see cref="Linux.DetachedMount.AttachFrom"/> takes, while it is waited for.</summary>
    public const string HomeToAttach = "attach";

    /// <summary>Bytes of the upper layer above which what is saved is folded into the lower one, when nobody uses the home; zero for never.</summary>
    public long FoldAbove { get; init; } = 16 << 20;

    /// <summary>For whom the hooks inside the tomb are followed; null to leave them alone.</summary>
    public HookOwner? Hooks { get; init; }

    /// <summary>The user who may ask the session, beside root; null for whoever owns the tomb's top.</summary>
    public uint? Owner { get; init; }

    /// <summary>That user's first group.</summary>
    public uint OwnerGroup { get; init; }

    /// <summary>Told each snapshot that is saved, before anything else happens; null when nobody wants to know.</summary>
    public Action<Snapshot>? OnSaved { get; init; }

    /// <summary>For waiting, and for a snapshot's time.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Where sessions keep their mounts and sockets unless told otherwise.</summary>
    public const string DefaultRunDirectory = "/run/sbox/tombs";

    /// <summary>What snapshots call the place.</summary>
    public string PlaceInSnapshots => Place ?? MountPoint;

    /// <summary>This session's own directory.</summary>
    public string Directory => $"{RunDirectory}/{Name}";
}
