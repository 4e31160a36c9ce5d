using System.Text.Json;
using Sbox.Codecs;

namespace Sbox.Tomb;

/// <summary>A file of <c>locks/</c>: someone at work.</summary>
public sealed record LockRecord
{
    /// <summary>Locks that were not refreshed for this long are nobody's, as restic has it.</summary>
    public static TimeSpan StaleAfter { get; } = TimeSpan.FromMinutes(30);

    /// <summary>When it was made or refreshed.</summary>
    public required Moment Time { get; init; }

    /// <summary>Whether nobody else may be at work.</summary>
    public required bool Exclusive { get; init; }

    /// <summary>On which machine.</summary>
    public required string Hostname { get; init; }

    /// <summary>Who.</summary>
    public required string Username { get; init; }

    /// <summary>The process there.</summary>
    public required int Pid { get; init; }

    /// <summary>Their number.</summary>
    public uint Uid { get; init; }

    /// <summary>Their group.</summary>
    public uint Gid { get; init; }

    /// <summary>A lock whose file is not what was written: somebody's, at work in whatever way, until it has not been renewed for long.</summary>
    public static LockRecord Unreadable { get; } = new() { Time = default, Exclusive = true, Hostname = "?", Username = "?", Pid = 0, IsUnreadable = true };

    /// <summary>Whether nobody knows whose it is.</summary>
    public bool IsUnreadable { get; private init; }

    /// <summary>Reads the JSON.</summary>
    /// <exception cref="MalformedException">It is none.</exception>
    public static LockRecord Parse(ReadOnlySpan<byte> json) => JsonFields.Read(json, "restic lock", static (ref Utf8JsonReader reader) =>
    {
        var read = new LockRecord { Time = default, Exclusive = false, Hostname = "", Username = "", Pid = 0 };
        JsonFields.Object(ref reader);
        while (JsonFields.Next(ref reader))
        {
            switch (reader.GetString())
            {
                case "time":
                    read = read with { Time = JsonFields.Time(ref reader) };
                    break;
                case "exclusive":
                    reader.Read();
                    read = read with { Exclusive = reader.GetBoolean() };
                    break;
                case "hostname":
                    read = read with { Hostname = JsonFields.Text(ref reader) };
                    break;
                case "username":
                    read = read with { Username = JsonFields.Text(ref reader) };
                    break;
                case "pid":
                    read = read with { Pid = checked((int)JsonFields.Number(ref reader)) };
                    break;
                case "uid":
                    read = read with { Uid = JsonFields.Small(ref reader) };
                    break;
                case "gid":
                    read = read with { Gid = JsonFields.Small(ref reader) };
                    break;
                default:
                    JsonFields.Skip(ref reader);
                    break;
            }
        }

        return read;
    });

    /// <summary>The JSON that restic would write.</summary>
    public byte[] ToBytes()
    {
        var json = new GoJson();
        json.Raw("{\"time\":"u8);
        json.Time(Time);
        json.Raw(Exclusive ? ",\"exclusive\":true,\"hostname\":"u8 : ",\"exclusive\":false,\"hostname\":"u8);
        json.Text(Hostname);
        json.Raw(",\"username\":"u8);
        json.Text(Username);
        json.Raw(",\"pid\":"u8);
        json.Number((ulong)Pid);
        if (Uid != 0)
        {
            json.Raw(",\"uid\":"u8);
            json.Number(Uid);
        }

        if (Gid != 0)
        {
            json.Raw(",\"gid\":"u8);
            json.Number(Gid);
        }

        json.Raw("}"u8);
        return json.Written.ToArray();
    }

    /// <summary>Who, where, since when.</summary>
    public override string ToString() => $"process {Pid} of {Username} on {Hostname}, since {Time}";
}
