namespace Sbox.Boot.Tests;

public sealed class EfiSystemPartitionTests
{
    private static readonly BlockDevice[] Devices =
    [
        new("vda", "254:0", null, new Dictionary<string, string>()),
        Partition("vda1", "254:1", "vda", "11111111-1111-1111-1111-111111111111", EfiSystemPartition.PartitionType),
        Partition("vda2", "254:2", "vda", "22222222-2222-2222-2222-222222222222", "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"),
        Partition("vdb1", "254:17", "vdb", "33333333-3333-3333-3333-333333333333", EfiSystemPartition.PartitionType),
    ];

    [Fact]
    public void The_boot_loaders_word_comes_first() =>
        Assert.Equal("vdb1", EfiSystemPartition.Find(Devices, "33333333-3333-3333-3333-333333333333", "254:2")?.Name);

    [Theory]
    [InlineData(null)]
    [InlineData("44444444-4444-4444-4444-444444444444")] // booted from a stick that is gone
    public void Without_it_the_disk_of_the_root_has_it(string? loader) =>
        Assert.Equal("vda1", EfiSystemPartition.Find(Devices, loader, "254:2")?.Name);

    [Fact]
    public void A_root_on_a_disk_without_one_has_none() => Assert.Null(EfiSystemPartition.Find(Devices[..1], null, "254:0"));

    private static BlockDevice Partition(string name, string number, string disk, string uuid, string type) => new(name, number, disk,
        new Dictionary<string, string> { ["ID_PART_ENTRY_UUID"] = uuid, ["ID_PART_ENTRY_TYPE"] = type });
}
