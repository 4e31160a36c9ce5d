using Sbox.Codecs;

namespace Sbox.Store;

/// <summary>Repositories on this machine that may have what would have to be fetched. What they have is hashed as what a server sends.</summary>
internal sealed class LocalCaches : IDisposable
{
    private readonly List<Repository> repositories = [];
    private long metadata, content;

    public LocalCaches(IEnumerable<string> paths)
    {
        foreach (string path in paths)
            repositories.Add(Repository.Open(path));
    }

    /// <summary>Objects that are no files, that came from here.</summary>
    public long Metadata => Interlocked.Read(ref metadata);

    /// <summary>Files that came from here.</summary>
    public long Content => Interlocked.Read(ref content);

    /// <summary>An object that is no file; null where none has it as it should be.</summary>
    public byte[]? TryRead(ObjectName name)
    {
        foreach (Repository repository in repositories)
        {
            if (repository.Has(name) && repository.LoadMetadata(name) is var bytes && Checksum.Of(bytes) == name.Checksum)
            {
                Interlocked.Increment(ref metadata);
                return bytes;
            }
        }

        return null;
    }

    /// <summary>Adds a file that one of them has as it should be.</summary>
    /// <returns>Whether one has.</returns>
    public bool TryAdd(Transaction transaction, ObjectName name)
    {
        foreach (Repository repository in repositories)
        {
            if (!repository.Has(name))
                continue;
            try
            {
                FileObject file = repository.LoadFile(name.Checksum);
                using Stream stream = file.OpenContent();
                transaction.UseWriter(writer => writer.Write(file.Header, stream, name.Checksum, file.Size, repository.Objects.PathOf(name)));
                Interlocked.Increment(ref content);
                return true;
            }
            catch (Exception damaged) when (damaged is ObjectCorruptException or InvalidDataException or MalformedException)
            {
                continue; // only a cache: the network has it too
            }
        }

        return false;
    }

    public void Dispose()
    {
        foreach (Repository repository in repositories)
            repository.Dispose();
    }
}
