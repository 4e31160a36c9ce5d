using System.Buffers;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Sbox.Linux;

namespace Sbox.Delivery;

/// <summary>One connection: requests are read and answered one after the other until it ends.</summary>
internal sealed class ServedConnection(Dir root, Socket client, ServeOptions options, IProgress<ServedRequest>? requests)
{
    private const int HeadAtMost = 16 * 1024;
    private const int Piece = 64 * 1024; // taken within the patience, else it is given up: 2 KiB a second is a client still

    private readonly string who = $"{client.RemoteEndPoint}";
    private readonly byte[] received = new byte[HeadAtMost];
    private int filled;

    public async Task Run(CancellationToken cancel)
    {
        for (bool open = true; open;)
        {
            RequestHead? request = null;
            try
            {
                if (await ReadHead(cancel).ConfigureAwait(false) is not { } length)
                    return;
                request = RequestHead.Parse(received.AsSpan(0, length - 4));
                Drop(length);
                open = request.KeepsAlive;
                await Answer(request, cancel).ConfigureAwait(false);
            }
            catch (RefusedRequestException refused)
            {
                // What follows a request that could not be read may be its body: nothing more is taken for a request.
                open = request is not null && open;
                await Refuse(refused, request, open, cancel).ConfigureAwait(false);
            }
        }
    }

    // The length of a head with the empty line that ends it; null where the client has hung up.
    private async Task<int?> ReadHead(CancellationToken cancel)
    {
        TimeSpan patience = filled == 0 ? options.Idle : options.Patience;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        stop.CancelAfter(patience);
        for (; ; )
        {
            if (received.AsSpan(0, filled).IndexOf("\r\n\r\n"u8) is >= 0 and var end)
                return end + 4;
            if (filled == HeadAtMost)
                throw new RefusedRequestException(431, $"a request's head may have {HeadAtMost} bytes");
            bool first = filled == 0;
            int read = await client.ReceiveAsync(received.AsMemory(filled), SocketFlags.None, stop.Token).ConfigureAwait(false);
            if (read == 0)
                return null;
            filled += read;
            if (first)
                stop.CancelAfter(options.Patience); // for all of it: a byte now and then does not keep a place here
        }
    }

    private void Drop(int length)
    {
        received.AsSpan(length, filled - length).CopyTo(received);
        filled -= length;
    }

    private async Task Answer(RequestHead request, CancellationToken cancel)
    {
        ServedFile file = Find(request.Path) ?? throw new RefusedRequestException(404, "there is no such file");
        using (file.Handle)
        {
            if (file.IsKnownTo(request))
            {
                await Send(Head(304, request.KeepsAlive, Describe(file)), cancel).ConfigureAwait(false);
                Report(request, 304, 0);
                return;
            }

            ByteRange? range = file.Continues(request) ? RangeOf(request, file) : null;
            (long from, long length) = range is { } part ? (part.From, part.Length) : (0, file.Size);
            string where = range is null ? "" : $"Content-Range: bytes {from}-{from + length - 1}/{file.Size}\r\n";
            int status = range is null ? 200 : 206;
            await Send(Head(status, request.KeepsAlive, $"{Describe(file)}{where}Content-Type: application/octet-stream\r\nContent-Length: {length}\r\n"), cancel).ConfigureAwait(false);
            if (!request.IsHead)
                await SendBytes(file, request.Path, from, length, cancel).ConfigureAwait(false);
            Report(request, status, request.IsHead ? 0 : length);
        }
    }

    private ServedFile? Find(string path)
    {
        try
        {
            return ServedFile.TryOpen(root, path);
        }
        catch (LinuxException refused)
        {
            throw new RefusedRequestException(refused.Errno == Errno.ENAMETOOLONG ? 404 : 500, refused.Message);
        }
    }

    private static ByteRange? RangeOf(RequestHead request, ServedFile file)
    {
        try
        {
            return ByteRange.Parse(request.Headers.GetValueOrDefault("range"), file.Size);
        }
        catch (RefusedRequestException none)
        {
            throw new UnsatisfiableException(none.Message, file.Size);
        }
    }

    private async Task SendBytes(ServedFile file, string path, long from, long length, CancellationToken cancel)
    {
        byte[] buffer = ArrayPool<byte>.Shared.Rent((int)Math.Min(Piece, Math.Max(length, 1)));
        try
        {
            for (long left = length; left > 0;)
            {
                int read = Files.ReadAt(file.Handle, buffer.AsSpan(0, (int)Math.Min(buffer.Length, left)), from + length - left, path);
                if (read == 0)
                    throw new IOException($"{path}: it became shorter while it was sent"); // the length was said: all that is left is to hang up
                await Send(buffer.AsMemory(0, read), cancel).ConfigureAwait(false);
                left -= read;
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    private async Task Refuse(RefusedRequestException refused, RequestHead? request, bool open, CancellationToken cancel)
    {
        byte[] words = Encoding.UTF8.GetBytes(refused.Message + "\n");
        string more = refused switch
        {
            UnsatisfiableException none => $"Content-Range: bytes */{none.Size}\r\n",
            { Status: 405 } => "Allow: GET, HEAD\r\n",
            _ => "",
        };
        byte[] head = Head(refused.Status, open, $"{more}Content-Type: text/plain; charset=utf-8\r\nContent-Length: {words.Length}\r\n");
        await Send(request?.IsHead == true ? head : [.. head, .. words], cancel).ConfigureAwait(false);
        Report(request, refused.Status, 0);
    }

    private async Task Send(ReadOnlyMemory<byte> bytes, CancellationToken cancel)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        stop.CancelAfter(options.Patience);
        while (!bytes.IsEmpty)
            bytes = bytes[await client.SendAsync(bytes, SocketFlags.None, stop.Token).ConfigureAwait(false)..];
    }

    private byte[] Head(int status, bool open, string fields) => Encoding.ASCII.GetBytes(
        $"HTTP/1.1 {status} {Reason(status)}\r\nDate: {options.Clock.GetUtcNow().ToString("r", CultureInfo.InvariantCulture)}\r\nServer: sbox\r\nConnection: {(open ? "keep-alive" : "close")}\r\n{fields}\r\n");

    private static string Describe(ServedFile file) =>
        $"ETag: {file.Tag}\r\nLast-Modified: {file.Modified.ToString("r", CultureInfo.InvariantCulture)}\r\nAccept-Ranges: bytes\r\n"
        + $"Cache-Control: {(file.Lifetime == Lifetime.Immutable ? BucketPlace.ForEver : "no-cache")}\r\n";

    private static string Reason(int status) => status switch
    {
        200 => "OK",
        206 => "Partial Content",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        416 => "Range Not Satisfiable",
        431 => "Request Header Fields Too Large",
        _ => "Internal Server Error",
    };

    private void Report(RequestHead? request, int status, long bytes) => requests?.Report(new ServedRequest(who, request?.Path ?? "", status, bytes));

    private sealed class UnsatisfiableException(string finding, long size) : RefusedRequestException(416, finding)
    {
        public long Size { get; } = size;
    }
}
