using System.CommandLine;
using System.Globalization;
using Sbox.Cli.Help;
using Sbox.Cli.StoreCommands;
using Sbox.Cli.Terminal;
using Sbox.Tomb;

namespace Sbox.Cli.TombCommands;

/// <summary><c>sbox tomb bench</c>: what to expect of a place.</summary>
internal static class BenchCommand
{
    public static Command Make() => new DocumentedCommand("bench", "Measure how quick the tomb's place and this machine are")
    {
        Details = [$"A pack of {TombBench.PackSize >> 20} MiB of random bytes is written into the tomb, read back, compared, and deleted again. It holds nothing; killed in between, the next prune takes it."],
        Examples = [new Example("Whether a place is quick enough for an open home", "sbox tomb --tomb sftp:me@host:/srv/tomb bench")],
    }.OnTomb(static async (_, session, cancel) =>
    {
        await using TombLock held = await TombLock.Take(session.Repository, exclusive: false, TimeProvider.System, cancel);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel, held.Lost);
        TombSpeed speed = await TombBench.Run(session.Repository, stop.Token);
        session.Speaker.Answer(
            string.Create(
                CultureInfo.InvariantCulture,
                $"{session.Backend.Location}: a round trip {speed.RoundTrip.TotalMilliseconds:0.0} ms, 4 KiB read in {speed.SmallRead.TotalMilliseconds:0.0} ms; "
                + $"written {Amount.OfBytes((long)speed.WrittenPerSecond)}/s, read {Amount.OfBytes((long)speed.ReadPerSecond)}/s; sealed {Amount.OfBytes((long)speed.SealedPerSecond)}/s by one processor"),
            json =>
            {
                json.WriteNumber("round_trip_ms", speed.RoundTrip.TotalMilliseconds);
                json.WriteNumber("small_read_ms", speed.SmallRead.TotalMilliseconds);
                json.WriteNumber("written_bytes_per_second", speed.WrittenPerSecond);
                json.WriteNumber("read_bytes_per_second", speed.ReadPerSecond);
                json.WriteNumber("sealed_bytes_per_second", speed.SealedPerSecond);
            });
        return 0;
    });
}
