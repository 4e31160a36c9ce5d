using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;
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

    /// <summary>
    /// How long a request's head may take from its first byte to its last, TLS to be agreed on, each 32 KiB of an answer to be taken, and the rest of the last one.
    /// </summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>Where "now" comes from.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>With what certificate TLS is spoken: the server's own with its key first, then those between it and its authority; empty for none.</summary>
    public X509Certificate2Collection Certificates { get; init; } = [];
}

/// <summary>A request that was answered.</summary>
/// <param name="Client">Who asked.</param>
/// <param name="Protocol">Such as <c>HTTP/2</c>.</param>
/// <param name="Path">For what.</param>
/// <param name="Status">The answer's status.</param>
/// <param name="Bytes">Bytes of its body that were given away.</param>
/// <param name="Finding">What went wrong that the client is not told; null for nothing.</param>
public readonly record struct ServedRequest(string Client, string Protocol, string Path, int Status, long Bytes, string? Finding = null);

/// <summary>
/// Serves a repository in mode archive over HTTP/1.1 and HTTP/2, read-only: for a network at home, or a test. Ranges, conditional requests and
/// connections that stay open. HTTP is Kestrel's; what of a repository may be had, and what is said of it, is said here.
/// </summary>
/// <remarks>Without TLS a client of HTTP/2 begins with its preface (RFC 9113, section 3.3), and whoever does is given to HTTP/2.</remarks>
public sealed class RepositoryServer : IDisposable
{
    private const int Backlog = 512;
    private const int HeadAtMost = 16 * 1024;
    private const int StreamsAtMost = 64; // of one connection at once, as many as a pull of ours asks for
    private const double SlowestReader = 2048; // bytes a second: a client still
    private static readonly TimeSpan Heartbeat = TimeSpan.FromSeconds(1); // how often Kestrel looks at that, and takes no shorter patience

    private readonly Dir root;
    private readonly ServeOptions options;
    private readonly Socket listener;
    private readonly SemaphoreSlim room;
    private readonly HandedConnections http1 = new("HTTP/1.1"), http2 = new("HTTP/2");
    private readonly SocketConnectionContextFactory connections = new(new SocketConnectionFactoryOptions(), NullLogger.Instance);
    private readonly KestrelServer server;
    private readonly RepositoryAnswers answers;
    private readonly SslServerAuthenticationOptions? tls;

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

        this.options = options ?? new ServeOptions();
        room = new SemaphoreSlim(this.options.Connections);
        tls = IsEncrypted ? ServedTls.With(this.options.Certificates) : null;
        root = Dir.Open(path);
        answers = new RepositoryAnswers(root, this.options.Patience, requests);
        server = new KestrelServer(Options.Create(Limits()), new HandedConnections.Factory(), NullLoggerFactory.Instance);
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

    /// <summary>Whether it speaks TLS.</summary>
    public bool IsEncrypted => options.Certificates.Count > 0;

    /// <summary>Answers until it is cancelled; connections that are open then are closed.</summary>
    public async Task Run(CancellationToken cancel)
    {
        await server.StartAsync(answers, cancel).ConfigureAwait(false);
        var coming = new HashSet<Task>();
        try
        {
            for (; ; )
            {
                await room.WaitAsync(cancel).ConfigureAwait(false);
                Socket client = await Accept(cancel).ConfigureAwait(false);
                coming.RemoveWhere(static task => task.IsCompleted);
                coming.Add(Give(client, cancel));
            }
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            await Task.WhenAll(coming).ConfigureAwait(false);
            await server.StopAsync(cancel).ConfigureAwait(false); // cancelled already: whatever is open is closed at once
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        listener.Dispose();
        server.Dispose();
        connections.Dispose();
        root.Dispose();
        room.Dispose();
    }

    private KestrelServerOptions Limits()
    {
        var kestrel = new KestrelServerOptions { AddServerHeader = false };
        kestrel.Limits.KeepAliveTimeout = options.Idle;
        kestrel.Limits.RequestHeadersTimeout = options.Patience;
        kestrel.Limits.MaxRequestHeadersTotalSize = HeadAtMost;
        kestrel.Limits.MaxRequestLineSize = HeadAtMost;
        kestrel.Limits.MaxRequestBodySize = 0;
        kestrel.Limits.MinResponseDataRate = new MinDataRate(SlowestReader, options.Patience + Heartbeat);
        kestrel.AllowAlternateSchemes = true; // that TLS is spoken is no business of what lies above it
        kestrel.Limits.MaxResponseBufferSize = RepositoryAnswers.Piece;
        kestrel.Limits.Http2.MaxStreamsPerConnection = StreamsAtMost;
        kestrel.Listen(http1, static place => place.Protocols = HttpProtocols.Http1);
        kestrel.Listen(http2, static place => place.Protocols = HttpProtocols.Http2);
        return kestrel;
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
                await Task.Delay(TimeSpan.FromMilliseconds(50), cancel).ConfigureAwait(false);
            }
        }
    }

    private async Task Give(Socket client, CancellationToken cancel)
    {
        await Task.Yield();
        ServedConnection? connection = null;
        bool handed = false;
        try
        {
            client.NoDelay = true;
            connection = new ServedConnection(connections.Create(client), room, options.Patience, options.Clock);
            handed = (await SpeaksHttp2(connection, cancel).ConfigureAwait(false) ? http2 : http1).Hand(connection);
        }
        catch (Exception over) when (over is SocketException or IOException or OperationCanceledException or ObjectDisposedException or AuthenticationException)
        {
            handed = false; // it went away, or said nothing that is understood: it is hung up on
        }
        finally
        {
            if (connection is null)
            {
                client.Dispose();
                room.Release();
            }
            else if (!handed)
            {
                await connection.DisposeAsync().ConfigureAwait(false);
            }
        }
    }

    private async Task<bool> SpeaksHttp2(ServedConnection connection, CancellationToken cancel)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        stop.CancelAfter(tls is null ? options.Idle : options.Patience);
        if (tls is null)
            return await BeginsHttp2(connection.Transport.Input, stop.Token).ConfigureAwait(false);
        ServedTls agreed = await ServedTls.Agree(connection.Transport, tls, stop.Token).ConfigureAwait(false);
        connection.Put(agreed);
        return agreed.SpeaksHttp2;
    }

    // Three bytes tell: no method of HTTP/1 that is answered here begins so. They stay where they are, to be read again.
    private static async Task<bool> BeginsHttp2(PipeReader input, CancellationToken stop)
    {
        for (; ; )
        {
            ReadResult read = await input.ReadAsync(stop).ConfigureAwait(false);
            bool told = read.IsCompleted || read.Buffer.Length >= 3;
            bool begins = told && Starts(read.Buffer);
            input.AdvanceTo(read.Buffer.Start, told ? read.Buffer.Start : read.Buffer.End);
            if (told)
                return begins;
        }
    }

    private static bool Starts(ReadOnlySequence<byte> bytes) => new SequenceReader<byte>(bytes).IsNext("PRI"u8);
}
