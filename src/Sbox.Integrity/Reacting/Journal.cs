using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>Writes alarms to systemd's journal, each fact a field of its own, by its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).</summary>
public static class Journal
{
    /// <summary>The number by which all alarms are found: <c>journalctl MESSAGE_ID=…</c>.</summary>
    public const string MessageId = "8e6e4a5c2f5b4cb09bbd64a8a3d2c7f1";

    private const string Socket = "/run/systemd/journal/socket";

    /// <summary>Writes an alarm.</summary>
    /// <returns>Why not; <see cref="Errno.None"/> when the journal has it.</returns>
    public static Errno Write(Alarm alarm, string socket = Socket) => Datagram.Send(socket, Encode(Fields(alarm)));

    /// <summary>Writes a plain line.</summary>
    /// <param name="priority">As syslog has it: 3 error, 4 warning, 6 information.</param>
    /// <param name="message">One line.</param>
    /// <param name="socket">The journal's socket.</param>
    public static Errno Write(int priority, string message, string socket = Socket) => Datagram.Send(socket, Encode(
        [("MESSAGE", message), ("PRIORITY", priority.ToString(CultureInfo.InvariantCulture)), ("SYSLOG_IDENTIFIER", "sbox-watch")]));

    /// <summary>An alarm's fields.</summary>
    internal static IReadOnlyList<(string Name, string Value)> Fields(Alarm alarm)
    {
        List<(string, string)> fields =
        [
            ("MESSAGE", alarm.ToString()),
            ("MESSAGE_ID", MessageId),
            ("PRIORITY", alarm.Severity switch { Severity.Critical => "2", Severity.Alarm => "4", _ => "5" }),
            ("SYSLOG_IDENTIFIER", "sbox-watch"),
            ("SBOX_SEVERITY", PolicyReader.NameOf(alarm.Severity)),
            ("SBOX_FINDING", PolicyReader.NameOf(alarm.Finding.Kind)),
            ("SBOX_PATH", alarm.Finding.Path),
            ("SBOX_MOUNT_NAMESPACE", alarm.Namespace.ToString(CultureInfo.InvariantCulture)),
        ];
        if (alarm.Finding.Mount is { } mount)
            fields.Add(("SBOX_MOUNT", $"{mount.MountPoint} {mount.Type} {mount.Source} {mount.Options} {mount.SuperOptions}"));
        if (alarm.Latency is { } latency)
            fields.Add(("SBOX_LATENCY_USEC", ((long)latency.TotalMicroseconds).ToString(CultureInfo.InvariantCulture)));
        if (alarm.Culprit is { } who)
        {
            fields.AddRange(
            [
                ("SBOX_PID", who.Process.ToString(CultureInfo.InvariantCulture)), ("SBOX_PARENT", who.Parent.ToString(CultureInfo.InvariantCulture)),
                ("SBOX_EXE", who.Program), ("SBOX_COMM", who.Name), ("SBOX_CMDLINE", who.CommandLine),
                ("SBOX_CGROUP", who.ControlGroup ?? ""), ("SBOX_UID", who.User.ToString(CultureInfo.InvariantCulture)),
            ]);
            if (who.LoginUser is { } login)
                fields.Add(("SBOX_LOGIN_UID", login.ToString(CultureInfo.InvariantCulture)));
        }

        return fields;
    }

    /// <summary>Fields as the protocol has them: with a length where a value has more than one line.</summary>
    internal static byte[] Encode(IEnumerable<(string Name, string Value)> fields)
    {
        var bytes = new MemoryStream();
        Span<byte> length = stackalloc byte[8];
        foreach ((string name, string value) in fields)
        {
            byte[] text = FileName.ToBytes(value);
            bytes.Write(Encoding.ASCII.GetBytes(name));
            if (text.Contains((byte)'\n'))
            {
                bytes.WriteByte((byte)'\n');
                BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)text.Length);
                bytes.Write(length);
            }
            else
            {
                bytes.WriteByte((byte)'=');
            }

            bytes.Write(text);
            bytes.WriteByte((byte)'\n');
        }

        return bytes.ToArray();
    }
}
