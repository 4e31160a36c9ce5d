using System.IO.MemoryMappedFiles;

namespace Sbox.Linux.Tests;

public sealed class SharedMapTests
{
    [Theory]
    [InlineData("7f52c0a00000-7f52c0a02000 rw-s 00000000 00:2f 1234                       /home/a b/c (deleted)", "0:47", 1234ul, "/home/a b/c (deleted)", true)]
    [InlineData("7f52c0a00000-7f52c0a02000 -w-s 00001000 fd:01 18446744073709551615 /x", "253:1", 18446744073709551615ul, "/x", false)]
    public void A_line_of_maps_says_device_number_and_path(string line, string device, ulong inode, string path, bool deleted)
    {
        SharedMap map = SharedMap.Parse(line)!;
        Assert.Equal((device, inode, path, deleted), (map.Device, map.Inode, map.Path, map.IsDeleted));
    }

    [Theory]
    [InlineData("")]
    [InlineData("7f52c0a00000-7f52c0a02000 rw-p 00000000 00:2f 1234 /private")]
    [InlineData("7f52c0a00000-7f52c0a02000 r--s 00000000 00:2f 1234 /read-only")]
    [InlineData("7f52c0a00000-7f52c0a02000 rw-s 00000000 00:01 1234")]
    [InlineData("7ffd3f5e0000-7ffd3f601000 rw-p 00000000 00:00 0 [stack]")]
    public void What_is_private_read_only_or_no_file_is_none(string line) => Assert.Null(SharedMap.Parse(line));

    [Fact]
    public void A_file_that_is_mapped_for_writing_is_found_while_it_is()
    {
        string path = Path.GetTempFileName();
        try
        {
            string[] devices = [.. MountTable.Read().Select(static mount => mount.Device)];
            using (MemoryMappedFile file = MemoryMappedFile.CreateFromFile(path, FileMode.Open, null, 4096))
            using (MemoryMappedViewAccessor view = file.CreateViewAccessor())
                Assert.Contains(SharedMap.On(devices), map => map.Path == path);
            Assert.DoesNotContain(SharedMap.On(devices), map => map.Path == path);
        }
        finally
        {
            File.Delete(path);
        }
    }
}
