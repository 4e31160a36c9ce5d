using System.IO.Pipelines;
using System.Net;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;

namespace Sbox.Delivery;

/// <summary>A connection that has one of the server's places, until it is closed and nothing of it is left.</summary>
/// <param name="inner">The connection.</param>
/// <param name="places">Where its place goes back to.</param>
/// <param name="patience">How long a client has to take what it was sent last, before it is hung up on.</param>
/// <param name="clock">What measures that.</param>
internal sealed class ServedConnection(ConnectionContext inner, SemaphoreSlim places, TimeSpan patience, TimeProvider clock) : ConnectionContext
{
    private IDisposable? above;
    private int ended;

    /// <inheritdoc/>
    public override string ConnectionId
    {
        get => inner.ConnectionId;
        set => inner.ConnectionId = value;
    }

    /// <inheritdoc/>
    public override IFeatureCollection Features => inner.Features;

    /// <inheritdoc/>
    public override IDictionary<object, object?> Items
    {
        get => inner.Items;
        set => inner.Items = value;
    }

    /// <inheritdoc/>
    public override IDuplexPipe Transport
    {
        get => inner.Transport;
        set => inner.Transport = value;
    }

    /// <inheritdoc/>
    public override CancellationToken ConnectionClosed
    {
        get => inner.ConnectionClosed;
        set => inner.ConnectionClosed = value;
    }

    /// <inheritdoc/>
    public override EndPoint? LocalEndPoint
    {
        get => inner.LocalEndPoint;
        set => inner.LocalEndPoint = value;
    }

    /// <inheritdoc/>
    public override EndPoint? RemoteEndPoint
    {
        get => inner.RemoteEndPoint;
        set => inner.RemoteEndPoint = value;
    }

    /// <summary>From here on all goes through what was put in front of it, which ends with it.</summary>
    public void Put(ServedTls tls) => (above, Transport) = (tls, tls);

    /// <inheritdoc/>
    public override void Abort() => inner.Abort();

    /// <inheritdoc/>
    public override void Abort(ConnectionAbortedException abortReason) => inner.Abort(abortReason);

    /// <inheritdoc/>
    public override async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref ended, 1) != 0)
            return;
        try
        {
            above?.Dispose();
            // What was sent and not taken would be waited for as long as the client likes.
            Task closing = inner.DisposeAsync().AsTask();
            if (await Task.WhenAny(closing, Task.Delay(patience, clock)).ConfigureAwait(false) != closing)
                inner.Abort();
            await closing.ConfigureAwait(false);
        }
        finally
        {
            places.Release();
        }
    }
}
