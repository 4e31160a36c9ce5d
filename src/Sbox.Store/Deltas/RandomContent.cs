using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>A file object's content, read anywhere: the object itself where that is the file, else unpacked first.</summary>
internal sealed class RandomContent : IDisposable
{
    private readonly IDisposable held;

    public RandomContent(Repository repository, FileObject file, Dir tmp, Transaction? counted = null)
    {
        if (repository.Mode == RepositoryMode.Archive || !file.Mode.IsRegular)
        {
            var spool = new Spool(tmp, 512 * 1024, counted);
            try
            {
                using Stream content = file.OpenContent();
                content.CopyTo(spool);
            }
            catch
            {
                spool.Dispose();
                throw;
            }

            (held, ReadAt, Size) = (spool, spool.ReadAt, spool.Length);
            return;
        }

        string path = file.LoosePath;
        SafeFileHandle handle = repository.Objects.Dir.OpenFile(path);
        (held, ReadAt, Size) = (handle, (into, offset) => Linux.Files.ReadAt(handle, into, offset, path), file.Size);
    }

    public ReadAt ReadAt { get; }

    public long Size { get; }

    public void Dispose() => held.Dispose();
}
