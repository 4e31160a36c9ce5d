using System.Globalization;
using CsCheck;
using Sbox.Codecs.Gpt;
using Sbox.Judges;

namespace Sbox.Codecs.Tests;

public sealed class GuidPartitionTableTests : IDisposable
{
    private const long Sectors = 256 * GuidPartitionTable.SectorsInMebibyte;
    private static readonly Guid Linux = new("4f68bce3-e8cd-4db1-96e7-fbcaf984b709"), Esp = new("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
    private static readonly Judge Sfdisk = Judge.OnPath("sfdisk");
    private readonly string disk = Path.GetTempFileName();

    public void Dispose() => File.Delete(disk);

    [Fact]
    public void Sfdisk_reads_what_is_written_and_finds_nothing_wrong_with_it()
    {
        GuidPartitionTable table = Written(GuidPartitionTable.Empty(Guid.NewGuid(), Sectors)
            .With(0, new GptPartition(Esp, Guid.NewGuid(), 2048, 67583, 0, "ESP"))
            .With(1, new GptPartition(Linux, Guid.NewGuid(), 67584, 200703, 0x8000000000000000, "sbox-root")));
        Assert.Contains("No errors", Sfdisk.Run("--verify", disk), StringComparison.Ordinal);
        string dump = Sfdisk.Run("--dump", disk);
        Assert.Contains($"label-id: {table.DiskId}".ToUpperInvariant(), dump.ToUpperInvariant(), StringComparison.Ordinal);
        Assert.Contains($"start=       67584, size=      133120, type={Linux}, uuid={table.Slots[1]!.Id}, name=\"sbox-root\", attrs=\"GUID:63\"".ToUpperInvariant(), dump.ToUpperInvariant(), StringComparison.Ordinal);
    }

    [Fact]
    public void What_sfdisk_writes_reads_back_and_is_written_as_it_was()
    {
        using (FileStream file = File.Create(disk))
            file.SetLength(Sectors * GuidPartitionTable.SectorSize);
        Sfdisk.Ask(null, $"label: gpt\nfirst-lba: 2048\n\nsize=32MiB, type={Esp}, name=\"ESP\"\ntype={Linux}, name=\"a name with ümläuts\"\n", ["--quiet", disk]);
        byte[] bytes = File.ReadAllBytes(disk);
        GuidPartitionTable table = GuidPartitionTable.Parse(bytes.AsSpan(0, GuidPartitionTable.HeadBytes));
        Assert.Equal((Sectors, "ESP", "a name with ümläuts"), (table.DiskSectors, table.Slots[0]!.Name, table.Slots[1]!.Name));

        Written(table, keep: true);
        Assert.Contains("No errors", Sfdisk.Run("--verify", disk), StringComparison.Ordinal);
        Assert.Equal(bytes.AsSpan(1024, 16384), File.ReadAllBytes(disk).AsSpan(1024, 16384));
    }

    [Fact]
    public void On_a_larger_disk_the_last_partition_takes_all_of_it()
    {
        GuidPartitionTable small = GuidPartitionTable.Empty(Guid.NewGuid(), Sectors)
            .With(0, new GptPartition(Esp, Guid.NewGuid(), 2048, 67583, 0, "ESP")).With(1, new GptPartition(Linux, Guid.NewGuid(), 67584, 200703, 0, "root"));
        GuidPartitionTable large = small.On(4 * Sectors);
        Assert.Equal(67583, large.RoomFor(0));
        long last = large.RoomFor(1);
        Assert.Equal((4 * Sectors) - GuidPartitionTable.SectorsInMebibyte - 1, last);
        Written(large.With(1, large.Slots[1]! with { Last = last }));
        Assert.Contains("No errors", Sfdisk.Run("--verify", disk), StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => small.On(100_000));
    }

    [Fact]
    public void A_copy_of_a_disk_is_no_other_disks_double()
    {
        GuidPartitionTable one = GuidPartitionTable.Empty(Guid.NewGuid(), Sectors).With(0, new GptPartition(Esp, Guid.NewGuid(), 2048, 67583, 0, "ESP")), two = one.WithNewIds();
        Assert.NotEqual((one.DiskId, one.Slots[0]!.Id), (two.DiskId, two.Slots[0]!.Id));
        Assert.Equal(one.Slots[0]! with { Id = default }, two.Slots[0]! with { Id = default });
    }

    [Fact]
    public void Whichever_bit_is_changed_it_is_no_table_any_more()
    {
        byte[] head = Head(GuidPartitionTable.Empty(Guid.NewGuid(), Sectors).With(0, new GptPartition(Esp, Guid.NewGuid(), 2048, 67583, 0, "ESP")));
        Gen.Int[0, 91].Select(Gen.Int[0, 7]).Sample((at, bit) =>
        {
            byte[] changed = [.. head];
            changed[512 + at] ^= (byte)(1 << bit);
            Assert.Throws<MalformedException>(() => GuidPartitionTable.Parse(changed));
        });
    }

    [Fact]
    public void Any_bytes_are_a_table_or_refused_and_nothing_else_happens() => Gen.Byte.Array[0, 2 * GuidPartitionTable.HeadBytes].Sample(static bytes =>
    {
        Assert.Throws<MalformedException>(() => GuidPartitionTable.Parse(bytes));
    }, iter: 200);

    private static byte[] Head(GuidPartitionTable table) => [.. table.ToProtectiveRecord(new byte[512]), .. table.ToFirstCopy()];

    private GuidPartitionTable Written(GuidPartitionTable table, bool keep = false)
    {
        using FileStream file = File.Open(disk, keep ? FileMode.Open : FileMode.Create);
        file.SetLength(table.DiskSectors * GuidPartitionTable.SectorSize);
        file.Write(Head(table));
        file.Position = file.Length - GuidPartitionTable.CopyBytes;
        file.Write(table.ToSecondCopy());
        return table;
    }
}
