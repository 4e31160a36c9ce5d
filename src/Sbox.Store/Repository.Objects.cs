using System.Text;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

public sealed partial class Repository
{
    /// <summary>Whether an object is there, or in a parent repository.</summary>
    public bool Has(ObjectName name) => Objects.HasAnywhere(name);

    /// <summary>All objects, in no order.</summary>
    public IEnumerable<ObjectName> EnumerateObjects() => Objects.Enumerate();

    /// <summary>The bytes of an object that is no file; not hashed again.</summary>
    /// <exception cref="ObjectMissingException">There is none.</exception>
    public byte[] LoadMetadata(ObjectName name) => Objects.ReadMetadata(name);

    /// <summary>A commit.</summary>
    /// <exception cref="ObjectMissingException">There is none.</exception>
    /// <exception cref="ObjectCorruptException">Its bytes are no commit.</exception>
    public Commit LoadCommit(Checksum checksum) => Objects.Load(new ObjectName(checksum, ObjectType.Commit), Commit.Parse);

    /// <summary>The names in a directory.</summary>
    /// <exception cref="ObjectMissingException">There is none.</exception>
    /// <exception cref="ObjectCorruptException">Its bytes are no dirtree.</exception>
    public DirTree LoadDirTree(Checksum checksum) => remembered?.Tree(checksum) ?? ReadDirTree(checksum);

    /// <summary>A directory's owner and mode.</summary>
    /// <exception cref="ObjectMissingException">There is none.</exception>
    /// <exception cref="ObjectCorruptException">Its bytes are no dirmeta.</exception>
    public DirMeta LoadDirMeta(Checksum checksum) => remembered?.Meta(checksum) ?? ReadDirMeta(checksum);

    /// <summary>A file or symbolic link; its content is read only when asked for.</summary>
    /// <exception cref="ObjectMissingException">There is none.</exception>
    /// <exception cref="ObjectCorruptException">Its bytes are no file object.</exception>
    public FileObject LoadFile(Checksum checksum) => Objects.LoadFile(checksum);

    /// <summary>What lies beside a commit (signatures), not part of its checksum; null where there is none.</summary>
    /// <exception cref="ObjectCorruptException">Its bytes are no dictionary.</exception>
    public VariantDictionary? LoadDetachedMetadata(Checksum commit)
    {
        var name = new ObjectName(commit, ObjectType.CommitMeta);
        return Objects.HasAnywhere(name) ? Objects.Load(name, VariantDictionary.Parse) : null;
    }

    /// <summary>Whether a commit is known to lack objects: a pull was cut short, or only metadata was asked for.</summary>
    public bool IsPartial(Checksum commit) => Dir.Exists(PartialMarker(commit));

    /// <summary>Whether a check of the repository found it so, and not a pull.</summary>
    internal bool IsPartialByFsck(Checksum commit) => Dir.TryReadAll(PartialMarker(commit)) is [(byte)'f', ..];

    /// <summary>Notes that a commit lacks objects; a pull completes it.</summary>
    internal void MarkPartial(Checksum commit, bool byFsck = false)
    {
        if (IsPartial(commit))
            return;
        Dir.MakeDirs("state");
        using Dir state = Dir.OpenDir("state");
        using Microsoft.Win32.SafeHandles.SafeFileHandle file = state.OpenOrCreateFile($"{commit}.commitpartial");
        if (byFsck)
            RandomAccess.Write(file, "f"u8, 0); // libostree's letter for "fsck found it so"
        if (Settings.Fsync)
            Durable.Sync(state);
    }

    /// <summary>The key of the group <c>core</c> by which a repository leaves a note of each commit that is deleted.</summary>
    internal const string TombstonesKey = "tombstone-commits";

    /// <summary>Where the config asks for it (<c>core.tombstone-commits</c>), leaves a note that a commit was deleted on purpose.</summary>
    internal void LeaveTombstone(Checksum commit)
    {
        if (Config.GetBoolean("core", TombstonesKey))
            WriteTombstone(commit);
    }

    /// <summary>Leaves that note: <c>{'commit': ay}</c>, where the bytes are the checksum's hexadecimal digits and a NUL, as libostree writes it.</summary>
    internal void WriteTombstone(Checksum commit)
    {
        string path = new ObjectName(commit, ObjectType.TombstoneCommit).LoosePath(Mode);
        Objects.Dir.MakeDirs(path[..2], InnerDirectoryMode);
        using Dir holder = Objects.Dir.OpenDir(path[..2]);
        Durable.Replace(holder, path[3..], VariantDictionary.Empty.With("commit", GVariant.Of(Encoding.ASCII.GetBytes($"{commit}\0"))).ToBytes());
    }

    /// <summary>Takes the marks off commits that are complete now.</summary>
    internal void ClearPartial(IEnumerable<Checksum> commits)
    {
        foreach (Checksum commit in commits)
            Dir.TryUnlink(PartialMarker(commit));
    }

    internal static string PartialMarker(Checksum commit) => $"state/{commit}.commitpartial";
}
