using System.Net.Sockets;
using System.Text.Json;
using Sbox.Linux;

namespace Sbox.Tomb.Sessions;

/// <summary>No tomb of that name is open.</summary>
/// <param name="name">The name.</param>
/// <param name="finding">What was found instead.</param>
public sealed class TombNotOpenException(string name, string finding) : TombException($"{name}: {finding}")
{
    /// <summary>The name.</summary>
    public string Name { get; } = name;
}

/// <summary>An open tomb could not do what it was asked.</summary>
/// <param name="message">What it said.</param>
/// <param name="kind">The name of its exception.</param>
/// <param name="users">Who is in the way, where that is why.</param>
public sealed class SessionRefusedException(string message, string kind, IReadOnlyList<MountUser> users) : TombException(message)
{
    /// <summary>The name of the session's exception.</summary>
    public string Kind { get; } = kind;

    /// <summary>Who is in the way, where that is why.</summary>
    public IReadOnlyList<MountUser> Users { get; } = users;
}

/// <summary>Asks open tombs.</summary>
/// <param name="runDirectory">Where sessions keep their sockets.</param>
public sealed class SessionClient(string runDirectory = SessionOptions.DefaultRunDirectory)
{
    /// <summary>The names of all open tombs, in order; one of which the session was killed is among them.</summary>
    public IReadOnlyList<string> Names => Directory.Exists(runDirectory)
        ? [.. Directory.GetDirectories(runDirectory).Select(static path => Path.GetFileName(path)).Order(StringComparer.Ordinal)]
        : [];

    /// <summary>How a tomb stands.</summary>
    /// <exception cref="TombNotOpenException">It is not open.</exception>
    public async Task<SessionStatus> Status(string name, CancellationToken cancel)
    {
        using JsonDocument answer = await Ask(name, SessionRequest.Status, cancel);
        return SessionMessage.ReadStatus(answer.RootElement);
    }

    /// <summary>Saves.</summary>
    /// <exception cref="TombNotOpenException">It is not open.</exception>
    /// <exception cref="SessionRefusedException">It could not be saved.</exception>
    public async Task<SessionSave> Save(string name, CancellationToken cancel)
    {
        using JsonDocument answer = await Ask(name, SessionRequest.Save, cancel);
        return SessionMessage.ReadSave(answer.RootElement);
    }

    /// <summary>Saves and closes.</summary>
    /// <exception cref="TombNotOpenException">It is not open.</exception>
    /// <exception cref="SessionRefusedException">It is in use, or could not be saved; it is still open.</exception>
    public async Task<SessionSave> Close(string name, CancellationToken cancel)
    {
        using JsonDocument answer = await Ask(name, SessionRequest.Close, cancel);
        return SessionMessage.ReadSave(answer.RootElement);
    }

    /// <summary>Takes a tomb away at once.</summary>
    /// <returns>Whom it ended.</returns>
    /// <exception cref="TombNotOpenException">It is not open.</exception>
    public async Task<IReadOnlyList<MountUser>> Slam(string name, CancellationToken cancel)
    {
        using JsonDocument answer = await Ask(name, SessionRequest.Slam, cancel);
        return Users(answer.RootElement);
    }

    /// <summary>Saves, and has the upper layer begin anew above what is saved.</summary>
    /// <returns>Bytes that were freed here.</returns>
    /// <exception cref="TombNotOpenException">It is not open.</exception>
    /// <exception cref="SessionRefusedException">It is in use, or could not be saved.</exception>
    public async Task<long> Fold(string name, CancellationToken cancel)
    {
        using JsonDocument answer = await Ask(name, SessionRequest.Fold, cancel);
        return answer.RootElement.GetProperty("folded-bytes").GetInt64();
    }

    /// <summary>Pins paths below the home's top, or lets go of them; with none, tells what is pinned.</summary>
    /// <exception cref="TombNotOpenException">It is not open.</exception>
    /// <exception cref="SessionRefusedException">It cannot be pinned, or the remote does not answer.</exception>
    public async Task<PinnedPaths> Pin(string name, IReadOnlyList<string> paths, bool remove, CancellationToken cancel)
    {
        using JsonDocument answer = await Ask(name, SessionRequest.Pin, cancel, json =>
        {
            json.WriteStartArray("paths");
            foreach (string path in paths)
                json.WriteStringValue(path);
            json.WriteEndArray();
            json.WriteBoolean("remove", remove);
        });
        return SessionMessage.ReadPins(answer.RootElement);
    }

    /// <summary>Has a tomb saved and closed as soon as nobody uses it any more; returns at once.</summary>
    /// <exception cref="TombNotOpenException">It is not open.</exception>
    public async Task Leave(string name, CancellationToken cancel) => (await Ask(name, SessionRequest.Leave, cancel)).Dispose();

    /// <summary>Takes a <see cref="Leave"/> back.</summary>
    /// <exception cref="TombNotOpenException">It is not open.</exception>
    /// <exception cref="SessionRefusedException">It was being closed already.</exception>
    public async Task Stay(string name, CancellationToken cancel) => (await Ask(name, SessionRequest.Stay, cancel)).Dispose();

    /// <summary>What the hooks did when it was opened.</summary>
    /// <exception cref="TombNotOpenException">It is not open.</exception>
    public async Task<IReadOnlyList<HookReport>> Hooks(string name, CancellationToken cancel)
    {
        using JsonDocument answer = await Ask(name, SessionRequest.Hooks, cancel);
        return [.. answer.RootElement.GetProperty("hooks").EnumerateArray().Select(static hook => new HookReport(hook.GetProperty("hook").GetString()!, SessionMessage.Text(hook, "finding")))];
    }

    private async Task<JsonDocument> Ask(string name, SessionRequest request, CancellationToken cancel, Action<Utf8JsonWriter>? more = null)
    {
        using var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint($"{runDirectory}/{name}/{SessionMessage.SocketName}"), cancel);
        }
        catch (SocketException refused)
        {
            throw refused.SocketErrorCode == SocketError.AccessDenied
                ? new UnauthorizedAccessException($"{name}: this tomb is someone else's")
                : new TombNotOpenException(name, Directory.Exists($"{runDirectory}/{name}")
                    ? "its session has ended without closing it; what was not saved is kept, and opening it again finds it"
                    : "no such tomb is open");
        }

        await socket.SendAsync(SessionMessage.Line(json =>
        {
            json.WriteString("do", request.ToString().ToLowerInvariant());
            more?.Invoke(json);
        }), cancel);
        JsonDocument answer = await SessionMessage.Read(socket, cancel) ?? throw new TombNotOpenException(name, "its session ended while it was asked");
        if (SessionMessage.Text(answer.RootElement, "error") is not { } error)
            return answer;
        using (answer)
            throw new SessionRefusedException(error, SessionMessage.Text(answer.RootElement, "kind") ?? "", Users(answer.RootElement));
    }

    private static MountUser[] Users(JsonElement json) => json.TryGetProperty("users", out JsonElement users)
        ? [.. users.EnumerateArray().Select(static user => new MountUser(
            user.GetProperty("pid").GetInt32(), user.GetProperty("program").GetString()!, user.GetProperty("uid").GetUInt32(), user.GetProperty("use").GetString()!))]
        : [];
}
