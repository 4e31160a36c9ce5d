using Sbox.Codecs.Iso;
using Sbox.Judges;

namespace Sbox.Codecs.Tests;

public sealed class IsoHeaderTests : IDisposable
{
    private readonly string image = Path.GetTempFileName();

    public void Dispose() => File.Delete(image);

    [Fact]
    public void Xorriso_reads_a_volume_that_boots_an_efi_partition()
    {
        using (FileStream file = File.Create(image))
        {
            file.SetLength(64 << 20);
            file.Position = IsoHeader.Offset;
            file.Write(IsoHeader.Make("SBOX", 64 << 20, 1 << 20, DateTimeOffset.UnixEpoch.AddDays(20000)));
        }

        Verdict read = Judge.OnPath("xorriso").Ask("-indev", image, "-toc", "-report_el_torito", "plain", "-lsl", "/", "--");
        Assert.Equal(0, read.ExitCode);
        Assert.Contains("Volume id    : 'SBOX'", read.Output + read.Error, StringComparison.Ordinal);
        Assert.Matches("El Torito boot img : +1 +UEFI +y +none +0x0000 +0x00 +[0-9]+ +512", read.Output);
        Assert.Contains("ISO 9660", Judge.OnPath("file").Run("-b", image), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(40960)]
    public void A_partition_where_the_header_lies_or_between_sectors_is_refused(long offset) =>
        Assert.Throws<ArgumentException>(() => IsoHeader.Make("SBOX", 64 << 20, offset, DateTimeOffset.UnixEpoch));
}
