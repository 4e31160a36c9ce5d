using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;
using static Sbox.Linux.FuseProtocol;

namespace Sbox.Linux;

/// <summary>Answers the kernel's requests out of a tree.</summary>
internal sealed class FuseServer(FuseDevice device, IFuseTree tree, Action<Exception>? onFailure)
{
    private const int LongestName = 255;

    /// <summary>Serves until the file system is unmounted.</summary>
    /// <param name="handle">A descriptor of the connection, this worker's own.</param>
    public void Work(SafeFileHandle handle)
    {
        while (true)
        {
            FuseRequest request = device.Take();
            if (!FuseDevice.Receive(handle, request))
            {
                device.Return(request);
                return;
            }

            ValueTask served = Serve(handle, request);
            if (served.IsCompleted)
                served.GetAwaiter().GetResult();
            else
                served.Preserve(); // goes on by itself: it replies, and reports its own failures
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask Serve(SafeFileHandle handle, FuseRequest request)
    {
        InHeader header = request.Header;
        NativeBlock? large = null;
        try
        {
            Reply reply;
            if (header.Operation == FuseOperation.Read)
                reply = await Read(handle, request, header);
            else if (header.Operation is FuseOperation.ReadDirectory or FuseOperation.ReadDirectoryPlus)
                reply = await Fill(request, header, large = device.TakeLarge());
            else
                reply = await Answer(request, header);
            if (reply.Expected)
                FuseDevice.Reply(handle, header.Unique, reply.Errno, reply.Length > 0 ? large ?? request.Small : null, reply.Length);
        }
        catch (LinuxException refused)
        {
            FuseDevice.Reply(handle, header.Unique, refused.Errno is Errno.None or Errno.Unexplained ? Errno.EIO : refused.Errno, null, 0);
            onFailure?.Invoke(refused);
        }
        catch (OperationCanceledException) when (request.Cancelled.IsCancellationRequested)
        {
            FuseDevice.Reply(handle, header.Unique, Errno.EINTR, null, 0);
        }
        catch (Exception failure)
        {
            // Whatever a tree throws, the reader gets an answer: without one it could not even be killed.
            FuseDevice.Reply(handle, header.Unique, Errno.EIO, null, 0);
            onFailure?.Invoke(failure);
        }
        finally
        {
            request.Content.End();
            if (large is not null)
                device.Return(large);
            device.Return(request);
        }
    }

    private async ValueTask<Reply> Read(SafeFileHandle handle, FuseRequest request, InHeader header)
    {
        ReadIn read = request.Read<ReadIn>();
        request.Content.Begin(device, (int)Math.Min(read.Size, FuseMount.MaxRead));
        await tree.Read(header.Node, (long)read.Offset, request.Content, request.Cancelled);
        request.Content.Reply(handle, header.Unique);
        return Reply.None;
    }

    private async ValueTask<Reply> Fill(FuseRequest request, InHeader header, NativeBlock block)
    {
        ReadIn read = request.Read<ReadIn>();
        Memory<byte> into = block.Memory.Slice(OutHeaderSize, (int)Math.Min(read.Size, FuseMount.MaxRead));
        FuseDirectoryPage page = request.Page;
        page.Begin(into, header.Operation == FuseOperation.ReadDirectoryPlus);
        for (int own = (int)Math.Min(read.Offset, FuseDirectoryPage.OwnEntries); own < FuseDirectoryPage.OwnEntries; own++)
        {
            if (!page.TryAddOwn(own, header.Node))
                return new Reply(page.Used);
        }

        int from = (int)Math.Max((long)read.Offset - FuseDirectoryPage.OwnEntries, 0);
        await tree.ReadDirectory(header.Node, from, page, request.Cancelled);
        return new Reply(page.Used);
    }

    private async ValueTask<Reply> Answer(FuseRequest request, InHeader header)
    {
        switch (header.Operation)
        {
            case FuseOperation.Lookup:
                if (request.Name(after: 0).Length > LongestName) // the kernel asks for up to 1024 bytes, and every program expects 255
                    return Reply.Refused(Errno.ENAMETOOLONG);
                return request.Put(await tree.Lookup(header.Node, request.Name(after: 0), request.Cancelled) is { } found
                    ? EntryOf(found)
                    : new EntryOut { EntryValid = Always }); // node 0: that there is none may be kept too
            case FuseOperation.GetAttributes:
                return request.Put(new AttrOut { Valid = Always, Attr = AttrOf(await tree.Attributes(header.Node, request.Cancelled)) });
            case FuseOperation.ReadLink:
                return request.Put(await tree.ReadLink(header.Node, request.Cancelled));
            case FuseOperation.GetXattr:
                uint asked = request.Read<XattrIn>().Size;
                return await tree.Xattr(header.Node, request.Name(Unsafe.SizeOf<XattrIn>()), request.Cancelled) is { } value
                    ? request.PutXattr(value, asked)
                    : Reply.Refused(Errno.ENODATA);
            case FuseOperation.ListXattr:
                return request.PutXattr(await tree.XattrNames(header.Node, request.Cancelled), request.Read<XattrIn>().Size);
            default:
                return AnswerAtOnce(request, header);
        }
    }

    private Reply AnswerAtOnce(FuseRequest request, InHeader header)
    {
        switch (header.Operation)
        {
            case FuseOperation.Init:
                return Init(request);
            case FuseOperation.StatFs:
                FuseSpace space = tree.Space;
                return request.Put(new StatFsOut
                {
                    Blocks = (ulong)(space.Bytes + 4095) / 4096, Files = (ulong)space.Files, BlockSize = 4096, FragmentSize = 4096, NameLength = LongestName,
                });
            case FuseOperation.Forget:
                tree.Forget(header.Node, request.Read<ulong>());
                return Reply.None;
            case FuseOperation.BatchForget:
                ReadOnlySpan<ForgetOne> batch = MemoryMarshal.Cast<byte, ForgetOne>(request.Body.Span[8..]);
                foreach (ForgetOne one in batch[..(int)Math.Min((uint)batch.Length, request.Read<uint>())])
                    tree.Forget(one.Node, one.Times);
                return Reply.None;
            case FuseOperation.Interrupt:
                // EAGAIN brings it back: the request that it is for may be in another worker's hands and not be noted yet.
                return device.Interrupt(request.Read<ulong>()) ? Reply.None : Reply.Refused(Errno.EAGAIN);
            case FuseOperation.Destroy:
                return new Reply(0);
            case FuseOperation.SetAttributes or FuseOperation.Symlink or FuseOperation.MakeNode or FuseOperation.MakeDirectory or FuseOperation.Unlink
                or FuseOperation.RemoveDirectory or FuseOperation.Rename or FuseOperation.RenameTwo or FuseOperation.Link or FuseOperation.Write
                or FuseOperation.SetXattr or FuseOperation.RemoveXattr or FuseOperation.Create or FuseOperation.FileAllocate
                or FuseOperation.CopyFileRange or FuseOperation.TemporaryFile:
                return Reply.Refused(Errno.EROFS);
            default:
                // OPEN and OPENDIR among them: refused with ENOSYS once, the kernel never asks again and keeps its caches for ever.
                return Reply.Refused(Errno.ENOSYS);
        }
    }

    private static Reply Init(FuseRequest request)
    {
        // Not READDIRPLUS_AUTO: a find that lists a directory and then asks for every size would send one request an entry.
        const uint wanted = AsyncRead | ExportSupport | DoReadDirectoryPlus | AsyncDirectIo | NoOpenSupport
            | ParallelDirectories | PosixAcl | MaxPages | CacheSymlinks | NoOpenDirectorySupport;
        InitIn asked = request.Read<InitIn>();
        if (asked.Major < Major || (asked.Major == Major && asked.Minor < Minor))
            return Reply.Refused(Errno.EPROTO);
        return request.Put(new InitOut
        {
            Major = Major,
            Minor = Minor,
            MaxReadAhead = FuseMount.MaxRead,
            Flags = wanted & asked.Flags,
            MaxBackground = 64,
            CongestionThreshold = 48,
            MaxWrite = 4096, // nothing is written; a request's buffer must hold this and its headers, or the mount is lost
            TimeGranularity = 1,
            MaxPages = FuseMount.MaxRead / 4096,
        });
    }
}

/// <summary>What goes back to the kernel: an error, so many bytes, or nothing at all.</summary>
internal readonly record struct Reply(Errno Errno, int Length, bool Expected)
{
    public Reply(int length)
        : this(Errno.None, length, true)
    {
    }

    public static Reply None => new(Errno.None, 0, false);

    public static Reply Refused(Errno errno) => new(errno, 0, true);
}

/// <summary>Bodies of replies.</summary>
internal static class FuseReplies
{
    public static Reply Put<T>(this FuseRequest request, in T body) where T : struct
    {
        MemoryMarshal.Write(request.Small.GetSpan()[OutHeaderSize..], body);
        return new Reply(Unsafe.SizeOf<T>());
    }

    public static Reply Put(this FuseRequest request, ReadOnlySpan<byte> body)
    {
        if (body.Length > FuseRequest.SmallReply - OutHeaderSize)
            return Reply.Refused(Errno.E2BIG);
        body.CopyTo(request.Small.GetSpan()[OutHeaderSize..]);
        return new Reply(body.Length);
    }

    // Asked with size 0, the kernel wants to know how much there is.
    public static Reply PutXattr(this FuseRequest request, ReadOnlySpan<byte> value, uint asked) =>
        asked == 0 ? request.Put(new XattrIn { Size = (uint)value.Length })
        : value.Length > asked ? Reply.Refused(Errno.ERANGE)
        : request.Put(value);
}
