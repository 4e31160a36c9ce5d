using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Makes objects whose content is compressed out of the differences of what they and their old versions unpack to. What another liblzma compresses otherwise than the one where the delta was made
/// is left out: its name says what it must be, and it can be had by itself.
/// </summary>
/// <param name="transaction">Where they are added.</param>
internal sealed class Recompressor(Transaction transaction) : IDisposable
{
    // Each compressor has about 25 MiB, whatever the number of processors.
    private const int AtOnce = 3;

    // When the first ones all come out otherwise, the rest will too.
    private const int Tries = 4;
    private const int InMemory = 1024 * 1024;
    private readonly SemaphoreSlim places = new(AtOnce);
    private int made, otherwise;

    /// <summary>Objects that were left out.</summary>
    public int ComeOutOtherwise => otherwise;

    /// <summary>Adds the object, or counts it among those that are left out.</summary>
    /// <exception cref="MalformedException">The old version is not compressed, or the differences are not its.</exception>
    public void Add(DeltaPart part, DeltaRecipe recipe, FileHeader header, string source)
    {
        if (made == 0 && otherwise >= Tries)
        {
            Interlocked.Increment(ref otherwise);
            return;
        }

        places.Wait();
        try
        {
            using Spool? content = Compressed(part, recipe, recipe.Recompression!);
            if (content is null)
            {
                Interlocked.Increment(ref otherwise);
                return;
            }

            transaction.UseWriter(writer => writer.Write(header, new StretchStream(content.ReadAt, 0, content.Length), recipe.Name.Checksum, recipe.Size, source));
            Interlocked.Increment(ref made);
        }
        catch (ObjectCorruptException)
        {
            Interlocked.Increment(ref otherwise);
        }
        finally
        {
            places.Release();
        }
    }

    public void Dispose() => places.Dispose();

    // Null where it has another length than it must have.
    private Spool? Compressed(DeltaPart part, DeltaRecipe recipe, Recompression how)
    {
        DeltaStretch patch = recipe.Stretches[0];
        using Spool old = Unpacked(transaction.Repository.LoadFile(patch.Source!.Value), how.OldSize, transaction.Staging.Dir, transaction);
        using var differences = new BufferedStream(new StretchStream(part.ReadRaw, patch.Offset, patch.Size), 32 * 1024);
        using var fresh = new BinaryPatch(differences, old.ReadAt, old.Length, how.NewSize);
        var content = new Spool(transaction.Staging.Dir, InMemory, transaction);
        try
        {
            using var xz = new XzEncoder(content, how.Settings);
            fresh.CopyTo(xz);
            xz.Finish();
            if (content.Length == recipe.Size)
                return content;
        }
        catch
        {
            content.Dispose();
            throw;
        }

        content.Dispose();
        return null;
    }

    /// <summary>What a compressed file unpacks to.</summary>
    /// <param name="file">The file.</param>
    /// <param name="limit">How many bytes that may be.</param>
    /// <param name="tmp">Where they may wait.</param>
    /// <param name="counted">Against whose reserve they count; null for nobody's.</param>
    /// <exception cref="MalformedException">It is no .xz, or a larger one.</exception>
    public static Spool Unpacked(FileObject file, long limit, Dir tmp, Transaction? counted = null)
    {
        var content = new Spool(tmp, InMemory, counted);
        try
        {
            using Stream compressed = file.OpenContent();
            using var xz = new XzDecoder(compressed);
            var buffer = new byte[64 * 1024];
            for (int read; (read = xz.Read(buffer)) > 0;)
            {
                if (content.Length + read > limit)
                    throw new MalformedException("static delta part", "old version", $"one that unpacks to {limit} bytes", "more");
                content.Write(buffer, 0, read);
            }

            return content;
        }
        catch (InvalidDataException broken)
        {
            content.Dispose();
            throw new MalformedException("static delta part", "old version", "an .xz file", broken.Message);
        }
        catch
        {
            content.Dispose();
            throw;
        }
    }
}
