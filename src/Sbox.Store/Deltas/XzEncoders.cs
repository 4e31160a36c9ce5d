using System.Collections.Concurrent;
using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Compressors that are used again: each has some 25 MiB, and thousands of files are made one after the other.</summary>
internal sealed class XzEncoders : IDisposable
{
    private readonly ConcurrentBag<XzEncoder> idle = [];

    /// <summary>Lends one, which writes to a stream. Several threads at once may.</summary>
    public void Use(XzSettings settings, Stream output, Action<XzEncoder> use)
    {
        if (idle.TryTake(out XzEncoder? encoder) && encoder.Settings == settings)
        {
            encoder.Begin(output);
        }
        else
        {
            encoder?.Dispose();
            encoder = new XzEncoder(output, settings);
        }

        try
        {
            use(encoder);
        }
        catch
        {
            encoder.Dispose();
            throw;
        }

        idle.Add(encoder);
    }

    public void Dispose()
    {
        while (idle.TryTake(out XzEncoder? encoder))
            encoder.Dispose();
    }
}
