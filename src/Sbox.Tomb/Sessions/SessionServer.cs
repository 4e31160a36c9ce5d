using System.Net.Sockets;
using System.Text.Json;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb.Sessions;

/// <summary>
/// Serves an open tomb until it is closed: answers on the session's socket, which is its owner's and root's, and saves now and then.
/// </summary>
/// <param name="session">The tomb; closed by a request, not by this.</param>
/// <param name="options">As it was opened.</param>
public sealed class SessionServer(TombSession session, SessionOptions options) : IDisposable
{
    private static readonly TimeSpan WhileUsed = TimeSpan.FromSeconds(1), WhileNotSaved = TimeSpan.FromSeconds(30), AfterFailure = TimeSpan.FromMinutes(1), LongestWait = TimeSpan.FromDays(1);

    private readonly CancellationTokenSource over = new();
    private readonly SemaphoreSlim closing = new(1);
    private readonly TaskCompletionSource closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool leaving;
    private Socket? listener;

    /// <summary>Listens; from here on clients are answered once <see cref="Run"/> runs.</summary>
    /// <exception cref="LinuxException">The socket cannot be made.</exception>
    public void Listen()
    {
        using Dir directory = Dir.Open(options.Directory);
        directory.TryUnlink(SessionMessage.SocketName);
        listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint($"{options.Directory}/{SessionMessage.SocketName}"));
        // For the account that it is opened for, and root: whose the home's top is, a snapshot says, which may name anybody.
        directory.ChangeOwner(SessionMessage.SocketName, options.Owner ?? 0, 0);
        // Root's group too: the sentinel, which closes tombs where its policy says so, is a root that may not open what is somebody else's.
        directory.ChangeMode(SessionMessage.SocketName, 0x1B0 /* 0660 */);
        listener.Listen(8);
    }

    /// <summary>Serves until the tomb is closed or slammed.</summary>
    /// <param name="cancel">The machine goes down: ends whoever uses the tomb, saves, and closes it.</param>
    /// <exception cref="Exception">The machine goes down, and the tomb could not be saved: what the save ended with.</exception>
    public async Task Run(CancellationToken cancel)
    {
        Task slammed = SlamWhenPulled();
        try
        {
            Task saving = SaveNowAndThen(), quiet = SaveWhenQuiet(), free = CloseWhenFree();
            using (CancellationTokenRegistration stop = cancel.Register(over.Cancel))
                await Task.WhenAll(await Accept());
            await saving;
            await quiet;
            await free;
        }
        finally
        {
            if (cancel.IsCancellationRequested && !WasPulled)
                await session.CloseForShutdown();
            closed.TrySetResult();
            await slammed;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        listener?.Dispose();
        over.Dispose();
        closing.Dispose();
    }

    /// <summary>The token that it is slammed without; watched before anything was opened. Null for none.</summary>
    public TokenWatch? Token { get; init; }

    /// <summary>Whether it ended because what it was not to be open without was pulled out.</summary>
    public bool WasPulled { get; private set; }

    // Also while the machine goes down and saves. What cannot be unmounted is tried again; the keys are gone after the first time.
    private async Task SlamWhenPulled()
    {
        if (Token is not { } token)
            return;
        await Task.WhenAny(token.Gone, closed.Task);
        if (!token.Gone.IsCompleted || closed.Task.IsCompleted)
            return;
        WasPulled = true;
        try
        {
            await session.Slam();
        }
        finally
        {
            await over.CancelAsync();
        }
    }

    private async Task<List<Task>> Accept()
    {
        var serving = new List<Task>();
        while (!over.IsCancellationRequested)
        {
            try
            {
                Socket client = await listener!.AcceptAsync(over.Token);
                Task served = Task.Run(() => Serve(client), CancellationToken.None);
                serving.RemoveAll(static each => each.IsCompleted);
                serving.Add(served);
            }
            catch (OperationCanceledException)
            {
                break;
            }
            catch (SocketException)
            {
                await Task.Delay(TimeSpan.FromSeconds(1), CancellationToken.None); // no descriptor is left for it: later there is one
            }
        }

        return serving;
    }

    // Whatever a save ends with, the next round tries again: nobody would notice that saving has ended. Status says what it was.
    private async Task SaveNowAndThen()
    {
        for (TimeSpan wait = options.SaveEvery; options.SaveEvery > TimeSpan.Zero && await Passed(wait);)
        {
            bool done = await Try(() => session.Save(over.Token));
            wait = done || options.SaveEvery < AfterFailure ? options.SaveEvery : AfterFailure;
            if (done)
                await FoldWhenLarge();
        }
    }

    // What was written is offsite soon after whoever wrote it has stopped. Each state is tried once: one that cannot be saved waits for the other one, which tries
    // again. A look costs as much as there is in the upper layer, and takes a two-hundredth of the time at most; a place that is far away is left alone for longer.
    private async Task SaveWhenQuiet()
    {
        Checksum? before = null, tried = null;
        for (TimeSpan wait = options.SaveWhenQuietFor; options.SaveEvery > TimeSpan.Zero && wait > TimeSpan.Zero && await Passed(wait);)
        {
            long begun = options.Clock.GetTimestamp();
            Checksum? now = null;
            await Try(() => Task.Run(() => now = session.Unsaved(over.Token)));
            wait = options.SaveWhenQuietFor + (options.Clock.GetElapsedTime(begun) * 200);
            (bool quiet, before) = (now is not null && now == before && now != tried, now);
            if (!quiet)
                continue;
            tried = now;
            if (!await Try(() => session.Save(over.Token)))
                continue;
            await FoldWhenLarge();
            if (!session.IsNear)
                wait *= 5;
        }
    }

    // Refused while somebody uses it: the next round asks again.
    private async Task FoldWhenLarge()
    {
        if (options.FoldAbove > 0)
            await Try(() => session.UpperBytes(over.Token) > options.FoldAbove ? session.Fold(over.Token) : Task.CompletedTask);
    }

    // False when all is over.
    private async Task<bool> Passed(TimeSpan wait)
    {
        try
        {
            await Task.Delay(wait < LongestWait ? wait : LongestWait, options.Clock, over.Token);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    private static async Task<bool> Try(Func<Task> work)
    {
        try
        {
            await work();
            return true;
        }
        catch (Exception)
        {
            return false; // status says why; when all is over whoever calls this sees it by itself
        }
    }

    // Somebody logged out. What they left behind (a user's systemd ends ten seconds later) may still use the home; and what cannot be saved now waits here.
    private async Task CloseWhenFree()
    {
        TimeSpan wait = WhileUsed;
        while (!over.IsCancellationRequested)
        {
            try
            {
                await Task.Delay(wait, over.Token);
                await closing.WaitAsync(over.Token);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            try
            {
                wait = WhileUsed;
                if (!leaving || Logins.Any(options.Owner ?? 0))
                    continue;
                await session.Close(over.Token);
                await over.CancelAsync();
            }
            catch (TombInUseException)
            {
                continue;
            }
            catch (Exception) when (!over.IsCancellationRequested)
            {
                wait = WhileNotSaved; // status says why
            }
            catch (Exception)
            {
                return; // it ends in another way
            }
            finally
            {
                closing.Release();
            }
        }
    }

    // Whoever logs in while it is being closed hears of it, and opens it anew.
    private async Task<byte[]> Stay()
    {
        leaving = false;
        await closing.WaitAsync(CancellationToken.None);
        closing.Release();
        return over.IsCancellationRequested
            ? SessionMessage.Line(static json => json.WriteString("error", "it was closed meanwhile"))
            : SessionMessage.Line(static json => json.WriteBoolean("stays", true));
    }

    private async Task Serve(Socket client)
    {
        using (client)
        {
            try
            {
                using JsonDocument? asked = await SessionMessage.Read(client, over.Token);
                if (asked is null)
                    return;
                (byte[] answer, bool ends) = await Answer(asked.RootElement);
                await client.SendAsync(answer, SocketFlags.None);
                client.Shutdown(SocketShutdown.Both);
                if (ends)
                    await over.CancelAsync();
            }
            catch (Exception gone) when (gone is SocketException or JsonException or InvalidDataException or OperationCanceledException)
            {
                return; // whoever asked is gone, or is no client of ours
            }
        }
    }

    private async Task<(byte[] Answer, bool Ends)> Answer(JsonElement asked)
    {
        try
        {
            switch (Enum.TryParse(SessionMessage.Text(asked, "do"), ignoreCase: true, out SessionRequest request) ? request : (SessionRequest?)null)
            {
                case SessionRequest.Status:
                    SessionStatus status = session.Status(over.Token);
                    return (SessionMessage.Line(json => SessionMessage.Write(json, status)), false);
                case SessionRequest.Save:
                    SessionSave save = await session.Save(over.Token);
                    return (SessionMessage.Line(json => SessionMessage.Write(json, save)), false);
                case SessionRequest.Close:
                    SessionSave last = await session.Close(over.Token);
                    return (SessionMessage.Line(json => SessionMessage.Write(json, last)), true);
                case SessionRequest.Slam:
                    IReadOnlyList<MountUser> ended = await session.Slam();
                    return (SessionMessage.Line(json => Users(json, ended)), true);
                case SessionRequest.Hooks:
                    return (SessionMessage.Line(Hooks), false);
                case SessionRequest.Pin:
                    string[] paths = asked.TryGetProperty("paths", out JsonElement named) ? [.. named.EnumerateArray().Select(static each => each.GetString()!)] : [];
                    PinnedPaths pins = paths.Length > 0 ? await session.Pin(paths, asked.TryGetProperty("remove", out JsonElement remove) && remove.GetBoolean(), over.Token) : session.Pins;
                    return (SessionMessage.Line(json => SessionMessage.Write(json, pins)), false);
                case SessionRequest.Fold:
                    long folded = await session.Fold(over.Token);
                    return (SessionMessage.Line(json => json.WriteNumber("folded-bytes", folded)), false);
                case SessionRequest.Leave:
                    leaving = true;
                    return (SessionMessage.Line(static json => json.WriteBoolean("leaves", true)), false);
                case SessionRequest.Stay:
                    return (await Stay(), false);
                default:
                    return (SessionMessage.Line(static json => json.WriteString("error", "no such request")), false);
            }
        }
        catch (TombInUseException used)
        {
            return (SessionMessage.Line(json =>
            {
                json.WriteString("error", used.Message);
                json.WriteString("kind", nameof(TombInUseException));
                Users(json, used.Users);
            }), false);
        }
        catch (Exception failed) when (failed is not OperationCanceledException || !over.IsCancellationRequested)
        {
            return (SessionMessage.Line(json =>
            {
                json.WriteString("error", failed.Message);
                json.WriteString("kind", failed.GetType().Name);
            }), false);
        }
    }

    private void Hooks(Utf8JsonWriter json)
    {
        json.WriteStartArray("hooks");
        foreach (HookReport report in session.HookReports)
        {
            json.WriteStartObject();
            json.WriteString("hook", report.Hook);
            if (report.Finding is { } finding)
                json.WriteString("finding", finding);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void Users(Utf8JsonWriter json, IReadOnlyList<MountUser> users)
    {
        json.WriteStartArray("users");
        foreach (MountUser user in users)
        {
            json.WriteStartObject();
            json.WriteNumber("pid", user.Process);
            json.WriteString("program", user.Program);
            json.WriteNumber("uid", user.Uid);
            json.WriteString("use", user.Use);
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }
}
