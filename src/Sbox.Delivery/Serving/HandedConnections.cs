using System.Net;
using System.Threading.Channels;
using Microsoft.AspNetCore.Connections;

namespace Sbox.Delivery;

/// <summary>An address that nobody can connect to: connections are handed to it, once it is known what they speak.</summary>
internal sealed class HandedConnections(string speaks) : EndPoint, IConnectionListener
{
    private readonly Channel<ConnectionContext> handed = Channel.CreateUnbounded<ConnectionContext>();

    /// <inheritdoc/>
    public EndPoint EndPoint => this;

    /// <summary>Hands it a connection, which whoever listens closes.</summary>
    /// <returns>False where nobody listens any more.</returns>
    public bool Hand(ConnectionContext connection) => handed.Writer.TryWrite(connection);

    /// <inheritdoc/>
    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default) =>
        await handed.Reader.WaitToReadAsync(cancellationToken).ConfigureAwait(false) && handed.Reader.TryRead(out ConnectionContext? next) ? next : null;

    /// <inheritdoc/>
    public ValueTask UnbindAsync(CancellationToken cancellationToken = default)
    {
        handed.Writer.TryComplete();
        return ValueTask.CompletedTask;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        handed.Writer.TryComplete();
        while (handed.Reader.TryRead(out ConnectionContext? waiting))
            await waiting.DisposeAsync().ConfigureAwait(false);
    }

    /// <inheritdoc/>
    public override string ToString() => speaks;

    /// <summary>Listens at such addresses.</summary>
    internal sealed class Factory : IConnectionListenerFactory
    {
        /// <inheritdoc/>
        public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default) => new((HandedConnections)endpoint);
    }
}
