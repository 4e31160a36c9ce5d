using System.Buffers.Binary;
using System.Diagnostics;
using System.Formats.Cbor;
using System.Security.Cryptography;
using System.Text;

namespace Sbox.Tomb.Tests;

/// <summary>
/// A FIDO2 token of a test's own, for real libfido2: CTAP2 with hmac-secret and PIN protocol 1, in the frames of CTAPHID, behind a pseudo-terminal. libfido2 takes any
/// character device for a token; what it cannot ask of a terminal (the sizes of reports) it takes to be as usual.
/// </summary>
/// <remarks>After "Client to Authenticator Protocol (CTAP)" 2.0, FIDO Alliance, 2019: sections 5, 8.1 and 9.1.</remarks>
internal sealed class VirtualToken : IDisposable
{
    private const int Report = 64;
    private const byte Init = 0x06, Cbor = 0x10, Cancel = 0x11, KeepAlive = 0x3B, Error = 0x3F;
    private const byte Ok = 0, NotKnown = 0x01, NoCredentials = 0x2E, PinInvalid = 0x31, PinAuthInvalid = 0x33, PinRequired = 0x36;

    private const string Relay = """
        import os, pty, sys, threading, tty
        master, slave = pty.openpty(); tty.setraw(slave)
        sys.stdout.write(os.ttyname(slave) + "\n"); sys.stdout.flush()
        def answers():
            while len(report := sys.stdin.buffer.read(64)) == 64:
                os.write(master, report)
            os._exit(0)
        threading.Thread(target=answers, daemon=True).start()
        while True:
            os.write(1, os.read(master, 65))
        """;

    private readonly Process relay;
    private readonly string? pin;
    private readonly Dictionary<string, (byte[] Plain, byte[] Verified)> secrets = [];
    private readonly byte[] pinToken = RandomNumberGenerator.GetBytes(32);
    private readonly ECDiffieHellman agreement = ECDiffieHellman.Create(ECCurve.NamedCurves.nistP256);

    /// <param name="pin">Its PIN; null for none.</param>
    public VirtualToken(string? pin = null)
    {
        this.pin = pin;
        relay = Process.Start(new ProcessStartInfo("python3", ["-c", Relay]) { RedirectStandardInput = true, RedirectStandardOutput = true })!;
        Stream said = relay.StandardOutput.BaseStream;
        var path = new StringBuilder();
        for (int letter; (letter = said.ReadByte()) is not ('\n' or -1);)
            path.Append((char)letter);
        Path = path.ToString();
        new Thread(() => Serve(said, relay.StandardInput.BaseStream)) { IsBackground = true }.Start();
    }

    /// <summary>Its device.</summary>
    public string Path { get; }

    /// <summary>How often it was touched: each time that it wanted to be.</summary>
    public int Touches { get; private set; }

    public void Dispose()
    {
        relay.Kill();
        relay.WaitForExit();
        relay.Dispose();
        agreement.Dispose();
    }

    private void Serve(Stream from, Stream to)
    {
        var report = new byte[Report + 1]; // its number first, which is 0
        while (from.ReadAtLeast(report, report.Length, throwOnEndOfStream: false) == report.Length)
        {
            uint channel = BinaryPrimitives.ReadUInt32BigEndian(report.AsSpan(1));
            byte command = (byte)(report[5] & 0x7F);
            var payload = new byte[BinaryPrimitives.ReadUInt16BigEndian(report.AsSpan(6))];
            int filled = Math.Min(payload.Length, Report - 7);
            report.AsSpan(8, filled).CopyTo(payload);
            for (; filled < payload.Length; filled += Math.Min(payload.Length - filled, Report - 5))
            {
                from.ReadExactly(report);
                report.AsSpan(6, Math.Min(payload.Length - filled, Report - 5)).CopyTo(payload.AsSpan(filled));
            }

            switch (command)
            {
                case Init:
                    Send(to, channel, Init, [.. payload, 1, 2, 3, 4, /* version */ 2, 1, 0, 0, /* CBOR, no U2F */ 0x04 | 0x08]);
                    break;
                case Cbor:
                    if (payload[0] is 0x01 or 0x02)
                        Send(to, channel, KeepAlive, [2 /* somebody must touch it */]);
                    Send(to, channel, Cbor, Do(payload));
                    break;
                case Cancel:
                    break;
                default:
                    Send(to, channel, Error, [NotKnown]);
                    break;
            }
        }
    }

    private static void Send(Stream to, uint channel, byte command, ReadOnlySpan<byte> payload)
    {
        Span<byte> report = stackalloc byte[Report];
        for (int at = 0, number = -1; number < 0 || at < payload.Length; number++)
        {
            report.Clear();
            BinaryPrimitives.WriteUInt32BigEndian(report, channel);
            report[4] = number < 0 ? (byte)(command | 0x80) : (byte)number;
            if (number < 0)
                BinaryPrimitives.WriteUInt16BigEndian(report[5..], (ushort)payload.Length);
            Span<byte> room = report[(number < 0 ? 7 : 5)..];
            int taken = Math.Min(room.Length, payload.Length - at);
            payload.Slice(at, taken).CopyTo(room);
            at += taken;
            to.Write(report);
        }

        to.Flush();
    }

    private byte[] Do(byte[] payload)
    {
        Dictionary<int, object> asked = payload.Length > 1 ? Numbered(new CborReader(payload.AsMemory(1))) : [];
        return payload[0] switch
        {
            0x01 => MakeCredential(asked),
            0x02 => GetAssertion(asked),
            0x04 => [Ok, .. Info()],
            0x06 => ClientPin(asked),
            _ => [NotKnown],
        };
    }

    private byte[] Info() => Written(writer =>
    {
        writer.WriteStartMap(5);
        writer.WriteInt32(1);
        Texts(writer, "FIDO_2_0");
        writer.WriteInt32(2);
        Texts(writer, "hmac-secret");
        writer.WriteInt32(3);
        writer.WriteByteString(new byte[16]);
        writer.WriteInt32(4);
        writer.WriteStartMap(2);
        writer.WriteTextString("up");
        writer.WriteBoolean(true);
        writer.WriteTextString("clientPin");
        writer.WriteBoolean(pin is not null);
        writer.WriteEndMap();
        writer.WriteInt32(6);
        writer.WriteStartArray(1);
        writer.WriteInt32(1);
        writer.WriteEndArray();
        writer.WriteEndMap();
    });

    private byte[] MakeCredential(Dictionary<int, object> asked)
    {
        if (pin is not null && !asked.ContainsKey(8))
            return [PinRequired];
        if (!IsVerified(asked, 1, 8, out bool verified))
            return [PinAuthInvalid];
        Touches++;
        byte[] id = RandomNumberGenerator.GetBytes(48);
        secrets[Convert.ToHexString(id)] = (RandomNumberGenerator.GetBytes(32), RandomNumberGenerator.GetBytes(32));
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        string party = (string)((Dictionary<string, object>)asked[2])["id"];
        byte[] known = [.. new byte[16], 0, (byte)id.Length, .. id, .. Written(writer => PublicKey(writer, key.ExportParameters(false).Q, -7))];
        byte[] data = Data(party, (byte)(0x41 | (verified ? 0x04 : 0)), known, static writer => writer.WriteBoolean(true));
        return [Ok, .. Written(writer =>
        {
            writer.WriteStartMap(3);
            writer.WriteInt32(1);
            writer.WriteTextString("none");
            writer.WriteInt32(2);
            writer.WriteByteString(data);
            writer.WriteInt32(3);
            writer.WriteStartMap(0);
            writer.WriteEndMap();
            writer.WriteEndMap();
        })];
    }

    private byte[] GetAssertion(Dictionary<int, object> asked)
    {
        if (!IsVerified(asked, 2, 6, out bool verified))
            return [PinAuthInvalid];
        byte[]? id = ((List<object>)asked[3]).Select(static each => (byte[])((Dictionary<string, object>)each)["id"]).FirstOrDefault(id => secrets.ContainsKey(Convert.ToHexString(id)));
        if (id is null)
            return [NoCredentials];
        Touches++;
        var secret = (Dictionary<int, object>)((Dictionary<string, object>)asked[4])["hmac-secret"];
        byte[] shared = Shared((Dictionary<int, object>)secret[1]), sealedSalt = (byte[])secret[2];
        if (!HMACSHA256.HashData(shared, sealedSalt).AsSpan(0, 16).SequenceEqual((byte[])secret[3]))
            return [PinAuthInvalid];
        (byte[] plain, byte[] withPin) = secrets[Convert.ToHexString(id)];
        byte[] answer = Cipher(shared, HMACSHA256.HashData(verified ? withPin : plain, Cipher(shared, sealedSalt, back: true)), back: false);
        byte[] data = Data((string)asked[1], (byte)(0x01 | (verified ? 0x04 : 0)), [], writer => writer.WriteByteString(answer));
        return [Ok, .. Written(writer =>
        {
            writer.WriteStartMap(3);
            writer.WriteInt32(1);
            writer.WriteStartMap(2);
            writer.WriteTextString("id");
            writer.WriteByteString(id);
            writer.WriteTextString("type");
            writer.WriteTextString("public-key");
            writer.WriteEndMap();
            writer.WriteInt32(2);
            writer.WriteByteString(data);
            writer.WriteInt32(3);
            writer.WriteByteString(new byte[70]); // a signature, which nobody here verifies
            writer.WriteEndMap();
        })];
    }

    private byte[] ClientPin(Dictionary<int, object> asked)
    {
        switch ((int)asked[2])
        {
            case 2: // its half of a shared secret
                return [Ok, .. Written(writer =>
                {
                    writer.WriteStartMap(1);
                    writer.WriteInt32(1);
                    PublicKey(writer, agreement.ExportParameters(false).Q, -25);
                    writer.WriteEndMap();
                })];
            case 5: // a token for whoever knows the PIN
                byte[] shared = Shared((Dictionary<int, object>)asked[3]);
                if (pin is null || !Cipher(shared, (byte[])asked[6], back: true).AsSpan().SequenceEqual(SHA256.HashData(Encoding.UTF8.GetBytes(pin)).AsSpan(0, 16)))
                    return [PinInvalid];
                byte[] token = Cipher(shared, pinToken, back: false);
                return [Ok, .. Written(writer =>
                {
                    writer.WriteStartMap(1);
                    writer.WriteInt32(2);
                    writer.WriteByteString(token);
                    writer.WriteEndMap();
                })];
            default:
                return [NotKnown];
        }
    }

    // False where there is a proof of the PIN and it is wrong.
    private bool IsVerified(Dictionary<int, object> asked, int hash, int proof, out bool verified)
    {
        verified = asked.TryGetValue(proof, out object? given);
        return !verified || HMACSHA256.HashData(pinToken, (byte[])asked[hash]).AsSpan(0, 16).SequenceEqual((byte[])given!);
    }

    // sha256(party), flags with "extensions follow", a counter, the credential where one was made, the extensions.
    private static byte[] Data(string party, byte flags, byte[] credential, Action<CborWriter> secret) =>
    [
        .. SHA256.HashData(Encoding.UTF8.GetBytes(party)), (byte)(flags | 0x80), 0, 0, 0, 1, .. credential,
        .. Written(writer =>
        {
            writer.WriteStartMap(1);
            writer.WriteTextString("hmac-secret");
            secret(writer);
            writer.WriteEndMap();
        }),
    ];

    private byte[] Shared(Dictionary<int, object> theirs)
    {
        using ECDiffieHellman other = ECDiffieHellman.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = new ECPoint { X = (byte[])theirs[-2], Y = (byte[])theirs[-3] } });
        return agreement.DeriveKeyFromHash(other.PublicKey, HashAlgorithmName.SHA256);
    }

    private static byte[] Cipher(byte[] key, byte[] bytes, bool back)
    {
        using Aes aes = Aes.Create();
        aes.Key = key;
        return back ? aes.DecryptCbc(bytes, new byte[16], PaddingMode.None) : aes.EncryptCbc(bytes, new byte[16], PaddingMode.None);
    }

    private static void PublicKey(CborWriter writer, ECPoint point, int algorithm)
    {
        writer.WriteStartMap(5);
        foreach ((int key, int value) in new[] { (1, 2), (3, algorithm), (-1, 1) })
        {
            writer.WriteInt32(key);
            writer.WriteInt32(value);
        }

        writer.WriteInt32(-2);
        writer.WriteByteString(point.X!);
        writer.WriteInt32(-3);
        writer.WriteByteString(point.Y!);
        writer.WriteEndMap();
    }

    private static void Texts(CborWriter writer, string only)
    {
        writer.WriteStartArray(1);
        writer.WriteTextString(only);
        writer.WriteEndArray();
    }

    private static byte[] Written(Action<CborWriter> write)
    {
        var writer = new CborWriter(CborConformanceMode.Ctap2Canonical);
        write(writer);
        return writer.Encode();
    }

    private static Dictionary<int, object> Numbered(CborReader reader) => (Dictionary<int, object>)Value(reader);

    private static object Value(CborReader reader)
    {
        switch (reader.PeekState())
        {
            case CborReaderState.UnsignedInteger or CborReaderState.NegativeInteger:
                return reader.ReadInt32();
            case CborReaderState.ByteString:
                return reader.ReadByteString();
            case CborReaderState.TextString:
                return reader.ReadTextString();
            case CborReaderState.Boolean:
                return reader.ReadBoolean();
            case CborReaderState.StartArray:
                var list = new List<object>();
                for (reader.ReadStartArray(); reader.PeekState() != CborReaderState.EndArray;)
                    list.Add(Value(reader));
                reader.ReadEndArray();
                return list;
            default:
                var numbered = new Dictionary<int, object>();
                var named = new Dictionary<string, object>(StringComparer.Ordinal);
                for (reader.ReadStartMap(); reader.PeekState() != CborReaderState.EndMap;)
                {
                    object key = Value(reader), value = Value(reader);
                    if (key is int number)
                        numbered[number] = value;
                    else
                        named[(string)key] = value;
                }

                reader.ReadEndMap();
                return named.Count > 0 ? named : numbered;
        }
    }
}
