using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>
/// Objects and refs that appear together: staged below <c>tmp/</c>, synced, then renamed into place, refs last. Disposing without
/// <see cref="Commit"/> forgets refs; staged objects stay for the next transaction of this boot, as libostree's do.
/// </summary>
public sealed class Transaction : IDisposable
{
    internal Transaction()
    {
    }

    /// <summary>Adds an object that is no file.</summary>
    /// <returns>Its name.</returns>
    public Checksum WriteMetadata(ObjectType type, ReadOnlySpan<byte> bytes) => throw new NotSupportedException("writing objects is not there yet");

    /// <summary>Adds a file or symbolic link.</summary>
    /// <param name="header">All beside its content.</param>
    /// <param name="content">Its content; ignored for a symbolic link.</param>
    /// <returns>Its name.</returns>
    public Checksum WriteFile(FileHeader header, Stream content) => throw new NotSupportedException("writing objects is not there yet");

    /// <summary>Points a ref at a commit (null deletes it) when the transaction is committed.</summary>
    public void SetRef(string refspec, Checksum? target) => throw new NotSupportedException("writing objects is not there yet");

    /// <summary>Makes all of it durable and visible.</summary>
    public TransactionStats Commit() => throw new NotSupportedException("writing objects is not there yet");

    /// <inheritdoc/>
    public void Dispose()
    {
    }
}

/// <summary>What a transaction added.</summary>
/// <param name="MetadataWritten">Commits, dirtrees and dirmetas that were not there before.</param>
/// <param name="ContentWritten">Files that were not there before.</param>
/// <param name="ContentBytes">Bytes of those as they are stored.</param>
public readonly record struct TransactionStats(long MetadataWritten, long ContentWritten, long ContentBytes);
