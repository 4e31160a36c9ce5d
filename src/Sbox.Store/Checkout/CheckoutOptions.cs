namespace Sbox.Store;

/// <summary>How a tree is written out.</summary>
public sealed record CheckoutOptions
{
    /// <summary>For the user who runs it (<c>-U</c>): no owners, no xattrs, no setuid.</summary>
    public bool UserMode { get; init; }

    /// <summary>Every file is a copy, so that it can be changed (<c>-C</c>).</summary>
    public bool ForceCopy { get; init; }

    /// <summary>Fail rather than copy where a hardlink cannot be made (<c>-H</c>).</summary>
    public bool RequireHardlinks { get; init; }

    /// <summary>The part of the tree to write, from its root: <c>/usr/etc</c>.</summary>
    public string Subpath { get; init; } = "/";

    /// <summary>What is done where the name is taken.</summary>
    public CheckoutOverwrite Overwrite { get; init; } = CheckoutOverwrite.None;

    /// <summary>Sync the file system that holds the destination before returning, so that a power cut cannot take it.</summary>
    public bool Durable { get; init; }

    /// <summary>
    /// Names beginning with <c>.wh.</c> delete what is there by the rest of the name, and <c>.wh..wh..opq</c> all that is in its directory,
    /// as layers of container images have it; needs <see cref="CheckoutOverwrite.UnionFiles"/>.
    /// </summary>
    public bool Whiteouts { get; init; }

    /// <summary>
    /// Files named <c>.ostree-wh.NAME</c> become what overlayfs takes for "deleted": a character device 0:0 named <c>NAME</c>
    /// (<c>--process-passthrough-whiteouts</c>).
    /// </summary>
    public bool PassthroughWhiteouts { get; init; }

    /// <summary>Directories get no permissions beyond 0775 (<c>-M</c>).</summary>
    public bool PlainDirectories { get; init; }

    /// <summary>
    /// Of an archive, keep what is uncompressed for users (<c>uncompressed-objects-cache/</c>) and hardlink to it, as libostree's command does; whoever
    /// writes to such a checkout writes to the cache.
    /// </summary>
    public bool CacheUncompressed { get; init; }

    /// <summary>Asked for every path below the subpath (<c>/bin/sh</c>); false leaves it out.</summary>
    public Func<string, Mode, bool>? Filter { get; init; }
}

/// <summary>What a checkout does where the name is taken.</summary>
public enum CheckoutOverwrite
{
    /// <summary>It fails.</summary>
    None,
    /// <summary>Directories are merged, files replaced (<c>--union</c>).</summary>
    UnionFiles,
    /// <summary>Directories are merged, files that are there stay (<c>--union-add</c>).</summary>
    AddFiles,
    /// <summary>Directories are merged; files that are there must be the same (<c>--union-identical</c>).</summary>
    UnionIdentical,
}

/// <summary>How far a checkout has come.</summary>
/// <param name="Files">Files and links made so far.</param>
/// <param name="Directories">Directories made so far.</param>
/// <param name="Bytes">Bytes copied so far; hardlinks cost none.</param>
public readonly record struct CheckoutProgress(long Files, long Directories, long Bytes);
