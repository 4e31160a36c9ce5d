using System.Net;
using System.Net.Sockets;
using Sbox.Linux;
using Sbox.Store;

namespace Sbox.Delivery;

/// <summary>What a server may be asked for at once, and for how long.</summary>
public sealed record ServeOptions
{
    /// <summary>Connections at once; more wait until one ends.</summary>
    public int Connections { get; init; } = 256;

    /// <summary>How long a connection may be silent between two requests.</summary>
    public TimeSpan Idle { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>How long a request's head may take from its first byte to its last, and each piece of an answer to be taken.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Where "now" comes from.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;
}

/// <summary>A request that was answered.</summary>
/// <param name="Client">Who asked.</param>
/// <param name="Path">For what; empty where that could not be read.</param>
/// <param name="Status">The answer's status.</param>
/// <param name="Bytes">Bytes of its body.</param>
public readonly record struct ServedRequest(string Client, string Path, int Status, long Bytes);

/// <summary>
/// Serves a repository in mode archive over HTTP/1.1, read-only: for a network at home, or a test. Ranges, conditional requests and
/// connections that stay open; no encryption, since every object is hashed and signatures are checked by whoever takes them.
/// </summary>
public sealed class RepositoryServer : IDisposable
{
    private const int Backlog = 512;

    private readonly Dir root;
    private readonly ServeOptions options;
    private readonly IProgress<ServedRequest>? requests;
    private readonly Socket listener;
    private readonly SemaphoreSlim room;

    /// <summary>Begins to listen.</summary>
    /// <param name="path">The repository.</param>
    /// <param name="endpoint">Where; port 0 for any that is free.</param>
    /// <param name="options">Its limits; null for the usual ones.</param>
    /// <param name="requests">Told of every answer.</param>
    /// <exception cref="PlaceUnfitException">No reader could take the repository over HTTP.</exception>
    /// <exception cref="SocketException">The address cannot be listened on.</exception>
    public RepositoryServer(string path, IPEndPoint endpoint, ServeOptions? options = null, IProgress<ServedRequest>? requests = null)
    {
        using (Repository repository = Repository.Open(path))
        {
            if (repository.Mode != RepositoryMode.Archive)
                throw new PlaceUnfitException(path, $"it is a repository in mode {repository.Mode.Name()}, which no reader can take over HTTP");
        }

        (this.options, this.requests) = (options ?? new ServeOptions(), requests);
        room = new SemaphoreSlim(this.options.Connections);
        root = Dir.Open(path);
        listener = new Socket(endpoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            listener.Bind(endpoint);
            listener.Listen(Backlog);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Where it listens.</summary>
    public IPEndPoint Endpoint => (IPEndPoint)listener.LocalEndPoint!;

    /// <summary>Answers until it is cancelled; connections that are open then are closed.</summary>
    public async Task Run(CancellationToken cancel)
    {
        var open = new HashSet<Task>();
        try
        {
            for (; ; )
            {
                await room.WaitAsync(cancel).ConfigureAwait(false);
                Socket client = await Accept(cancel).ConfigureAwait(false);
                open.RemoveWhere(static task => task.IsCompleted);
                open.Add(Serve(client, cancel));
            }
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            await Task.WhenAll(open).ConfigureAwait(false);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        listener.Dispose();
        root.Dispose();
        room.Dispose();
    }

    // One that hung up before it was accepted, or descriptors that ran out for a moment, end no server.
    private async Task<Socket> Accept(CancellationToken cancel)
    {
        for (; ; )
        {
            try
            {
                return await listener.AcceptAsync(cancel).ConfigureAwait(false);
            }
            catch (SocketException)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(50), options.Clock, cancel).ConfigureAwait(false);
            }
        }
    }

    private async Task Serve(Socket client, CancellationToken cancel)
    {
        await Task.Yield();
        try
        {
            using (client)
            {
                client.NoDelay = true;
                await new ServedConnection(root, client, options, requests).Run(cancel).ConfigureAwait(false);
            }
        }
        catch (Exception over) when (over is SocketException or IOException or OperationCanceledException or ObjectDisposedException)
        {
            return; // it went away, or was too slow: the next request comes over another connection
        }
        finally
        {
            room.Release();
        }
    }
}
