using System.IO.Pipelines;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;

namespace Sbox.Delivery;

/// <summary>
/// TLS in front of a connection's two pipes. (Kestrel's own wants the services of a whole web application; SslStream is what is beneath it as well.)
/// </summary>
internal sealed class ServedTls : IDuplexPipe, IDisposable
{
    private readonly SslStream stream;

    private ServedTls(SslStream stream)
    {
        this.stream = stream;
        (Input, Output) = (PipeReader.Create(stream), PipeWriter.Create(stream));
    }

    /// <inheritdoc/>
    public PipeReader Input { get; }

    /// <inheritdoc/>
    public PipeWriter Output { get; }

    /// <summary>Whether HTTP/2 was agreed on: RFC 7301, and RFC 9113, section 3.2.</summary>
    public bool SpeaksHttp2 => stream.NegotiatedApplicationProtocol == SslApplicationProtocol.Http2;

    /// <summary>What a server shows of itself, made once: its chain is looked at then.</summary>
    /// <param name="certificates">The server's own with its key, and those between it and its authority.</param>
    public static SslServerAuthenticationOptions With(X509Certificate2Collection certificates) => new()
    {
        ServerCertificateContext = SslStreamCertificateContext.Create(certificates[0], certificates, offline: true),
        ApplicationProtocols = [SslApplicationProtocol.Http2, SslApplicationProtocol.Http11],
    };

    /// <summary>Agrees with a client on its keys and on what is spoken.</summary>
    /// <param name="connection">What bears it; it ends with it.</param>
    /// <param name="options">What the server shows of itself.</param>
    /// <param name="cancel">Ends the wait for a client that is silent.</param>
    /// <exception cref="IOException">The client went away.</exception>
    /// <exception cref="System.Security.Authentication.AuthenticationException">They have nothing in common, or it speaks no TLS.</exception>
    public static async Task<ServedTls> Agree(IDuplexPipe connection, SslServerAuthenticationOptions options, CancellationToken cancel)
    {
        var stream = new SslStream(new BothWays(connection));
        try
        {
            await stream.AuthenticateAsServerAsync(options, cancel).ConfigureAwait(false);
        }
        catch
        {
            await stream.DisposeAsync().ConfigureAwait(false);
            throw;
        }

        return new ServedTls(stream);
    }

    /// <inheritdoc/>
    public void Dispose() => stream.Dispose();

    private sealed class BothWays(IDuplexPipe pipes) : Stream
    {
        private readonly Stream input = pipes.Input.AsStream(), output = pipes.Output.AsStream();

        public override bool CanRead => true;

        public override bool CanWrite => true;

        public override bool CanSeek => false;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) => input.ReadAsync(buffer, cancellationToken);

        public override int Read(byte[] buffer, int offset, int count) => input.Read(buffer, offset, count);

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => output.WriteAsync(buffer, cancellationToken);

        public override void Write(byte[] buffer, int offset, int count) => output.Write(buffer, offset, count);

        public override Task FlushAsync(CancellationToken cancellationToken) => output.FlushAsync(cancellationToken);

        public override void Flush() => output.Flush();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                input.Dispose();
                output.Dispose();
            }

            base.Dispose(disposing);
        }
    }
}
