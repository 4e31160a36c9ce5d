using System.Runtime.InteropServices;
using Sbox.Boot;
using Sbox.Cli.Terminal;
using Sbox.Linux;
using Sbox.Sysroot;

namespace Sbox.Cli.Commands;

/// <summary>Looks after a ghost for as long as it runs: whether its memory fills, and whether the disk is still there that it runs from.</summary>
internal static class GhostWatch
{
    private const int PartOfMemory = 16;
    private static readonly TimeSpan Glance = TimeSpan.FromSeconds(1);
    private const int GlancesOfMemory = 5;

    public static int Run(CancellationToken cancel)
    {
        var alarm = new GhostMemoryAlarm(GhostSettings.Read(GhostSettings.Files).MemoryWarning);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        using PosixSignalRegistration terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, signal =>
        {
            signal.Cancel = true;
            stop.Cancel();
        });
        (GhostMedium? medium, IReadOnlyList<HeldFile> held, IReadOnlyList<string> packed) = Prepare();
        int glance = 0;
        do
        {
            if (medium is { IsThere: false } gone)
            {
                medium = null;
                TellTerminals(Words(gone, packed));
            }

            if (glance++ % GlancesOfMemory == 0 && GhostMemory.Look() is var memory && alarm.Look(memory.Fullest) is not null)
                GhostCommand.Tell($"The memory of this ghost fills: {GhostCommand.Text(memory)}.\nsbox ledger --all shows what takes room; {(MemoryDisk.IsUsed() ? "" : "sbox keep writes to the disk, ")}sbox forget PATH takes back at once. Full, programs can write nothing more, or are ended.");
        }
        while (!stop.Token.WaitHandle.WaitOne(Glance));
        GC.KeepAlive(held);
        return 0;
    }

    // Whatever fails of it, the memory is looked after all the same: by a service that is started again it would fail again.
    private static (GhostMedium? Medium, IReadOnlyList<HeldFile> Held, IReadOnlyList<string> Packed) Prepare()
    {
        GhostMedium? medium = null;
        IReadOnlyList<HeldFile> held = [];
        try
        {
            medium = GhostMedium.Find();
            if (medium is not { IsCopied: false })
                return (medium, held, []);
            long room = GhostMemory.Look().Machine / PartOfMemory;
            held = GhostKit.Hold(room);
            (long copied, IReadOnlyList<string> packed) = GhostKit.Pack(GhostKit.Place, room, medium);
            Console.Error.WriteLine($"<6>{held.Count} files ({Amount.OfBytes(held.Sum(static file => file.Bytes))}) stay in memory, and {GhostKit.Place} has copies ({Amount.OfBytes(copied)}), for when {medium.Name} is taken out");
            return (medium, held, packed);
        }
        catch (Exception failed) when (failed is IOException or UnauthorizedAccessException)
        {
            Console.Error.WriteLine($"<4>There are no copies in memory for when {medium?.Name ?? "the disk"} is taken out: {failed.Message}");
            return (medium, held, []);
        }
    }

    /// <summary>What people are told of a disk that is gone.</summary>
    /// <param name="gone">The disk.</param>
    /// <param name="packed">What has a copy in memory.</param>
    internal static string Words(GhostMedium gone, IReadOnlyList<string> packed) => gone.IsCopied
        ? $"{gone.Name} was taken out. Nothing is lost: this ghost runs from its copy in memory, and needs it no more. What you changed is in memory only, as before."
        : $"""
            {gone.Name} was taken out, and this ghost runs from it.
            What you changed is in memory and still there. What runs goes on until it wants something of the disk; no program starts any more: "Input/output error", "Bus error". To put it in again does not help this session.
            {(packed.Count == 0 ? "There was no room for copies of programs: what runs now is all there is. To switch off, hold the power button; that wipes nothing of the memory." : OfTheKit(packed))}
            The disk itself is whole: it boots again, and what "sbox keep" had written is there.
            """;

    private static string OfTheKit(IReadOnlyList<string> packed) =>
        $"""
        Type in a shell (bash) that is open:  . {GhostKit.Place}/env
        Then these work again: {string.Join(' ', packed)}.{(packed.Contains("sbox") ? " An open tomb that lies elsewhere: sbox tomb save" : "")}
        To switch off and wipe the memory, as root: off    (All that runs is ended; umount first what you mounted. To hold the power button wipes nothing.)
        """;

    // Not by wall(1): it lies on the disk. To the journal as critical: what is an emergency it tells all terminals itself, line by line.
    private static void TellTerminals(string text)
    {
        Console.Error.WriteLine($"<2>{text.ReplaceLineEndings("\n<2>")}");
        Terminals.TellAll(Terminals.All(), $"\n\asbox: {text}\n");
    }
}
