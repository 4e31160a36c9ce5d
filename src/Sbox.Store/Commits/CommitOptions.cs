using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>What <see cref="Repository.CommitDirectory"/> shall write, beside the tree itself.</summary>
public sealed record CommitOptions
{
    /// <summary>One line.</summary>
    public string Subject { get; init; } = "";

    /// <summary>More lines.</summary>
    public string Body { get; init; } = "";

    /// <summary>The commit before it. Null: the first branch's, where it has one, unless <see cref="NoParent"/>.</summary>
    public Checksum? Parent { get; init; }

    /// <summary>No parent, whatever the branch was.</summary>
    public bool NoParent { get; init; }

    /// <summary>The time, kept in whole seconds. Null: now, by <see cref="Clock"/>.</summary>
    public DateTimeOffset? Timestamp { get; init; }

    /// <summary>Where "now" comes from.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>Entries of the commit's metadata, before those that are added by themselves (<c>ostree.ref-binding</c>).</summary>
    public VariantDictionary Metadata { get; init; } = VariantDictionary.Empty;

    /// <summary>Branches to set to the commit; the first decides the parent. None makes an orphan.</summary>
    public IReadOnlyList<string> Branches { get; init; } = [];

    /// <summary>Whether the branches are written into the commit (<c>ostree.ref-binding</c>), as <c>ostree commit</c> does.</summary>
    public bool BindRefs { get; init; } = true;

    /// <summary>More refs for the binding, set elsewhere.</summary>
    public IReadOnlyList<string> AdditionalBindings { get; init; } = [];

    /// <summary>Owner of everything, in place of what is on disk.</summary>
    public uint? OwnerUid { get; init; }

    /// <summary>Group of everything, in place of what is on disk.</summary>
    public uint? OwnerGid { get; init; }

    /// <summary>No extended attributes.</summary>
    public bool NoXattrs { get; init; }

    /// <summary>Owner 0, modes 0755 and 0644, as <c>--canonical-permissions</c>.</summary>
    public bool CanonicalPermissions { get; init; }

    /// <summary>
    /// Asked for every path (<c>/</c>, <c>/usr/bin/sh</c>) and what is there: false leaves it out, with all below it. The root is asked too.
    /// </summary>
    public Func<string, FileStat, bool>? Filter { get; init; }

    /// <summary>Permission bits to add to a path's (<c>/usr/bin/ping</c>), as <c>--statoverride</c> does.</summary>
    public IReadOnlyDictionary<string, uint>? AddedPermissions { get; init; }

    /// <summary>Permission bits of a path in place of its own; as <c>=MODE</c> in <c>--statoverride</c>.</summary>
    public IReadOnlyDictionary<string, uint>? SetPermissions { get; init; }

    /// <summary>Entries for what lies beside the commit, not part of its checksum; none where it is empty.</summary>
    public VariantDictionary DetachedMetadata { get; init; } = VariantDictionary.Empty;

    /// <summary>
    /// Signs the commit: is given the object's bytes, and answers with signatures (<c>aay</c>) by the kind of key, as they lie beside the commit. Asked
    /// before anything is published, so that a commit that cannot be signed is on no branch. Null signs nothing.
    /// </summary>
    public Func<byte[], VariantDictionary>? Signer { get; init; }

    /// <summary>Called when all trees are read, before anything is published; what it throws ends the commit. Null for nothing.</summary>
    public Action? TreesRead { get; init; }

    /// <summary>Names of metadata to take over from the parent.</summary>
    public IReadOnlyList<string> KeepMetadata { get; init; } = [];

    /// <summary>Whether the tree must hold a kernel; then the metadata says so (<c>ostree.bootable</c>, <c>ostree.linux</c>).</summary>
    public bool Bootable { get; init; }

    /// <summary>Executable files are nobody's to write (<c>--mode-ro-executables</c>).</summary>
    public bool ReadOnlyExecutables { get; init; }

    /// <summary>Write the fs-verity digest of the tree's composefs image into the metadata.</summary>
    public bool ComposefsDigest { get; init; }

    /// <summary>In mode archive, write the sizes of all objects into the metadata (<c>ostree.sizes</c>).</summary>
    public bool Sizes { get; init; }

    /// <summary>The first tree is taken as it is, whatever else is asked for (<c>--base</c>).</summary>
    public bool FirstTreeAsIs { get; init; }

    /// <summary>
    /// Files that are hardlinks to objects of this repository (a checkout) are those objects, unread; in mode bare-user with the owner that the object says
    /// (<c>--link-checkout-speedup</c>).
    /// </summary>
    public bool TrustsHardlinks { get; init; }

    /// <summary>With <see cref="TrustsHardlinks"/>: take such files as they are in the repository, whatever else the options make of files.</summary>
    public bool HardlinksAsTheyAre { get; init; }

    /// <summary>
    /// Files on disk become the objects themselves where they need no change (<c>--consume</c> with <c>--link-checkout-speedup</c>); whoever has them open
    /// must not write to them.
    /// </summary>
    public bool Adopt { get; init; }

    /// <summary>Whether what is in a commit's tree may come out otherwise than it is there.</summary>
    internal bool Modifies => CanonicalPermissions || NoXattrs || ReadOnlyExecutables || OwnerUid is not null || OwnerGid is not null ||
        Filter is not null || AddedPermissions is not null || SetPermissions is not null;

    /// <summary>Refuse to make a commit that is the parent's tree again: the parent is returned instead.</summary>
    public bool SkipIfUnchanged { get; init; }
}

/// <summary>One of the trees that a commit is laid together from, each over those before it.</summary>
public abstract record TreeSource
{
    /// <summary>A directory on disk, which is itself the tree's root.</summary>
    public sealed record Directory(string Path) : TreeSource;

    /// <summary>An archive: tar, also with gzip, or cpio (newc).</summary>
    /// <param name="Content">Its bytes.</param>
    /// <param name="Name">What it is called, for errors.</param>
    public sealed record Archive(Stream Content, string Name) : TreeSource
    {
        /// <summary>Make directories that the archive has no entries for.</summary>
        public bool MakesParents { get; init; }

        /// <summary>Turns a path in the archive (without a slash in front) into the one to commit; null for none.</summary>
        public Func<string, string>? Rename { get; init; }
    }

    /// <summary>The tree of a commit of the same repository.</summary>
    public sealed record OfCommit(Checksum Commit) : TreeSource;

    private TreeSource()
    {
    }
}

/// <summary>A commit that was made.</summary>
/// <param name="Checksum">Its name; the parent's where nothing changed and that was asked for.</param>
/// <param name="Stats">What was written for it; null where nothing was.</param>
public sealed record CommitResult(Checksum Checksum, TransactionStats? Stats);

/// <summary>How far a commit has come.</summary>
/// <param name="Files">Files and links seen so far.</param>
/// <param name="Bytes">Bytes of content read so far.</param>
/// <param name="ObjectsWritten">Objects that were not there before.</param>
public readonly record struct CommitProgress(long Files, long Bytes, long ObjectsWritten);
