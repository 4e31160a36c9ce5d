using System.Collections.Concurrent;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Decompressors that are used again: each has a dictionary as large as a part, and the kernel makes those pages one fault at a time.</summary>
internal sealed class XzDecoders : IDisposable
{
    private readonly ConcurrentBag<XzDecoder> idle = [];

    /// <summary>Lends one for a stream. Several threads at once may.</summary>
    /// <exception cref="InvalidDataException">From the use: the stream is broken.</exception>
    public void Use(Stream compressed, Action<Stream> use)
    {
        if (idle.TryTake(out XzDecoder? decoder))
            decoder.Begin(compressed);
        else
            decoder = new XzDecoder(compressed);
        try
        {
            use(decoder);
        }
        catch
        {
            decoder.Dispose();
            throw;
        }

        idle.Add(decoder);
    }

    public void Dispose()
    {
        while (idle.TryTake(out XzDecoder? decoder))
            decoder.Dispose();
    }
}
