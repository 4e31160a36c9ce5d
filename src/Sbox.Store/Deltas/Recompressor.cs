using System.Collections.Concurrent;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>
/// Makes objects whose content is compressed out of the differences of what they and their old versions unpack to. What another liblzma or zstd compresses otherwise than the one where the delta was
/// made is left out: its name says what it must be, and it can be had by itself.
/// </summary>
/// <param name="transaction">Where they are added.</param>
/// <param name="most">Bytes that it may have to compress in all: who offered the delta said so.</param>
internal sealed class Recompressor(Transaction transaction, long most) : IDisposable
{
    // Each compressor has about 25 MiB, whatever the number of processors.
    internal const int AtOnce = 3;

    // When so many more come out otherwise than right, the rest is not tried.
    private const int Tries = 4;
    private const int InMemory = 1024 * 1024;
    private readonly XzEncoders encoders = new();
    private readonly SemaphoreSlim places = new(AtOnce);
    private readonly Lock entrance = new();
    private readonly ConcurrentQueue<ObjectName> otherwise = [];
    private int made;
    private long left = most;

    /// <summary>Objects that were left out, in no order.</summary>
    public IReadOnlyCollection<ObjectName> ComeOutOtherwise => otherwise;

    /// <summary>Adds the object, or counts it among those that are left out.</summary>
    /// <exception cref="MalformedException">The old version is not compressed, or the differences are not its.</exception>
    /// <exception cref="OperationCanceledException">Cancelled.</exception>
    public void Add(DeltaPart part, DeltaRecipe recipe, FileHeader header, string source, CancellationToken cancel)
    {
        if (Interlocked.Add(ref left, -recipe.Recompression!.NewSize) < 0)
            throw new MalformedException("static delta part", "bytes to compress", $"at most what its delta says in all", "more");
        using IDisposable room = Enter(recipe.Recompression.How.Places, cancel);
        try
        {
            bool isTried = recipe.Recompression.How.IsPossible && otherwise.Count < Volatile.Read(ref made) + Tries;
            using Spool? content = isTried ? Compressed(part, recipe, recipe.Recompression, cancel) : null;
            if (content is null)
            {
                otherwise.Enqueue(recipe.Name);
                return;
            }

            transaction.UseWriter(writer => writer.Write(header, new StretchStream(content.ReadAt, 0, content.Length), recipe.Name.Checksum, recipe.Size, source));
            Interlocked.Increment(ref made);
        }
        catch (ObjectCorruptException)
        {
            otherwise.Enqueue(recipe.Name);
        }
    }

    public void Dispose()
    {
        places.Dispose();
        encoders.Dispose();
    }

    // One at a time comes in, so that two who need several places do not wait for each other for ever.
    private Places Enter(int count, CancellationToken cancel)
    {
        lock (entrance)
        {
            for (int taken = 0; taken < count; taken++)
            {
                try
                {
                    places.Wait(cancel);
                }
                catch
                {
                    if (taken > 0)
                        places.Release(taken);
                    throw;
                }
            }
        }

        return new Places(places, count);
    }

    // Null where it has another length than it must have.
    private Spool? Compressed(DeltaPart part, DeltaRecipe recipe, Recompression how, CancellationToken cancel)
    {
        DeltaStretch patch = recipe.Stretches[0];
        using Spool old = Unpacked(transaction.Repository.LoadFile(patch.Source!.Value), how.How, how.OldSize, transaction.Staging.Dir, transaction);
        using var differences = new BufferedStream(new StretchStream(part.ReadRaw, patch.Offset, patch.Size), 32 * 1024);
        using var fresh = new BinaryPatch(differences, old.ReadAt, old.Length, how.NewSize);
        var content = new Spool(transaction.Staging.Dir, InMemory, transaction);
        try
        {
            how.How.Pack(fresh, how.NewSize, content, encoders, () =>
            {
                cancel.ThrowIfCancellationRequested();
                return true;
            });
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
    /// <param name="how">By what it is compressed.</param>
    /// <param name="limit">How many bytes that may be.</param>
    /// <param name="tmp">Where they may wait.</param>
    /// <param name="counted">Against whose reserve they count; null for nobody's.</param>
    /// <exception cref="MalformedException">It is not compressed so, or is a larger one.</exception>
    public static Spool Unpacked(FileObject file, Packing how, long limit, Dir tmp, Transaction? counted = null)
    {
        var content = new Spool(tmp, InMemory, counted);
        try
        {
            using Stream compressed = file.OpenContent();
            using Stream plain = how.Unpack(compressed);
            var buffer = new byte[64 * 1024];
            for (int read; (read = plain.Read(buffer)) > 0;)
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
            throw new MalformedException("static delta part", "old version", "a compressed file", broken.Message);
        }
        catch
        {
            content.Dispose();
            throw;
        }
    }

    private sealed class Places(SemaphoreSlim of, int count) : IDisposable
    {
        public void Dispose() => of.Release(count);
    }
}
