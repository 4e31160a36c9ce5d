using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace Sbox.Vm;

/// <summary>QEMU's machine protocol: one JSON object a line, an answer for each command, events in between.</summary>
internal sealed class Qmp : IDisposable
{
    private readonly NetworkStream stream;
    private readonly StreamReader reader;

    public Qmp(Socket socket)
    {
        stream = new NetworkStream(socket, ownsSocket: true) { ReadTimeout = 60_000 };
        reader = new StreamReader(stream, Encoding.UTF8);
        _ = reader.ReadLine(); // the greeting
        Execute("qmp_capabilities");
    }

    public JsonElement Execute(string command, object? arguments = null)
    {
        string request = JsonSerializer.Serialize(new { execute = command, arguments = arguments ?? new { } });
        stream.Write(Encoding.UTF8.GetBytes(request + "\n"));
        while (reader.ReadLine() is { } line)
        {
            JsonElement answer = JsonDocument.Parse(line).RootElement;
            if (answer.TryGetProperty("return", out JsonElement value))
                return value;
            if (answer.TryGetProperty("error", out JsonElement error))
                throw new VmException($"QEMU refused {command}: {error}");
        }

        throw new VmException($"QEMU ended before it answered {command}");
    }

    public void Dispose() => reader.Dispose();
}
