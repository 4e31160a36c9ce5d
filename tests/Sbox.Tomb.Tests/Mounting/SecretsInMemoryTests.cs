using System.Globalization;
using System.Text;
using System.Text.Json;
using Sbox.Linux;

namespace Sbox.Tomb.Tests.Mounting;

/// <summary>All memory of the process that serves an open tomb, searched for what must be in no swap and in no core dump.</summary>
public sealed class SecretsInMemoryTests
{
    [Fact]
    public void Keys_are_in_locked_memory_that_no_dump_holds_and_the_password_is_nowhere()
    {
        using var place = new Place();
        HomeTree.Make(place["home"]);
        place.Restic("init");
        place.Restic("backup", place["home"]);
        Directory.CreateDirectory(place["at"]);
        SboxProgram.Tomb(place, "open", "--at", place["at"], "--name", "t", "--run-directory", place["run"]);
        try
        {
            // All of it at work: contents are opened and sealed.
            Listing.Sh(place["at"], "cat plain; echo written > written");
            Assert.Equal(0, SboxProgram.Run(place, "tomb", "save", "--open", "t", "--run-directory", place["run"]).ExitCode);
            int server = Server(place);
            string told = File.ReadAllText($"/proc/{server}/cmdline") + File.ReadAllText($"/proc/{server}/environ");
            Assert.DoesNotContain(Place.Password, told, StringComparison.Ordinal);
            JsonElement master = JsonDocument.Parse(place.Restic("cat", "masterkey")).RootElement;
            byte[] encrypt = master.GetProperty("encrypt").GetBytesFromBase64(), nonces = master.GetProperty("mac").GetProperty("k").GetBytesFromBase64();
            IReadOnlyList<(bool IsGuarded, string Area, byte[] Found)> found = Search(server, [encrypt, nonces, Encoding.UTF8.GetBytes(Place.Password), Encoding.Unicode.GetBytes(Place.Password)]);
            Assert.Contains(found, static each => each.Found.Length == 32); // the search finds what is there
            Assert.DoesNotContain(found, each => !each.IsGuarded);
            Assert.DoesNotContain(found, each => each.Found.Length != 32 && each.Found != nonces);
        }
        finally
        {
            SboxProgram.Run(place, "tomb", "close", "--run-directory", place["run"]);
            if (MountTable.At(place["at"]) is not null)
                SboxProgram.Run(place, "tomb", "slam", "--all", "--run-directory", place["run"]);
        }
    }

    private static int Server(Place place) => Directory.EnumerateDirectories("/proc").Select(static path => int.TryParse(Path.GetFileName(path), out int id) ? id : 0)
        .Single(id => id > 0 && id != Environment.ProcessId && CommandOf(id) is var words && words.Contains("open") && words.Contains(place["at"]));

    private static string[] CommandOf(int process)
    {
        try
        {
            return File.ReadAllText($"/proc/{process}/cmdline").Split('\0');
        }
        catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    // An area is guarded when the kernel says of it both lo (locked) and dd (not dumped).
    private static List<(bool IsGuarded, string Area, byte[] Found)> Search(int process, byte[][] needles)
    {
        var found = new List<(bool, string, byte[])>();
        using FileStream memory = File.OpenRead($"/proc/{process}/mem");
        string head = "";
        foreach (string line in File.ReadLines($"/proc/{process}/smaps"))
        {
            if (line.Length > 0 && char.IsAsciiHexDigitLower(line[0]))
                head = line;
            if (!line.StartsWith("VmFlags:", StringComparison.Ordinal) || head.Split(' ') is not [var range, ['r', ..], ..] || head.EndsWith("[vvar]", StringComparison.Ordinal) || head.EndsWith("[vvar_vclock]", StringComparison.Ordinal) || head.EndsWith("[vsyscall]", StringComparison.Ordinal))
                continue;
            string[] flags = line.Split(' ');
            long[] ends = [.. range.Split('-').Select(static end => long.Parse(end, NumberStyles.HexNumber, CultureInfo.InvariantCulture))];
            foreach (byte[] needle in needles.Where(needle => Holds(memory, ends[0], ends[1], needle)))
                found.Add((flags.Contains("lo") && flags.Contains("dd"), head, needle));
        }

        return found;
    }

    private static bool Holds(FileStream memory, long from, long to, byte[] needle)
    {
        var piece = new byte[(4 << 20) + needle.Length];
        for (long at = from; at < to; at += 4 << 20)
        {
            int wanted = (int)Math.Min(piece.Length, to - at);
            if (IsResident(memory, piece.AsSpan(0, wanted), at) && piece.AsSpan(0, wanted).IndexOf(needle) >= 0)
                return true;
        }

        return false;
    }

    // What was reserved and never touched cannot be read.
    private static bool IsResident(FileStream memory, Span<byte> into, long at)
    {
        into.Clear();
        try
        {
            for (int read = 0; read < into.Length;)
                read += RandomAccess.Read(memory.SafeFileHandle, into[read..], at + read) is > 0 and var got ? got : into.Length;
            return true;
        }
        catch (IOException)
        {
            return true; // as far as it could be read
        }
    }
}
