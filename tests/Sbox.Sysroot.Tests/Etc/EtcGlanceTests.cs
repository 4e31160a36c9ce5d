using Sbox.Judges;
using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>The quick look at an /etc beside the one that reads everything.</summary>
public sealed class EtcGlanceTests
{
    [Fact]
    public void It_tells_what_reading_everything_tells()
    {
        using var box = new TestBox(inMemory: true);
        string place = Directory.CreateDirectory(Path.Combine(box.SysrootPath, "glance")).FullName;
        Judge.OnPath("sh").Run("-ec", $$"""
            cd {{place}}; mkdir -p before/d/e before/gone/in before/kind; cd before
            for f in same size bytes touched mode d/e/deep gone/in/file kind/file; do echo "$f 12" > $f; done; ln -s a link; ln -s a moved; mkdir closed
            cd ..; cp -a before after; cd after
            echo "size is another" > size; touch -r ../before/size size
            echo "BYTES 12" > bytes; touch -d 2001-01-01 bytes touched
            chmod 600 mode; chmod 700 closed; echo more >> d/e/deep; rm -r gone kind; echo file > kind; ln -sfn b moved; mkdir -p own/in; echo mine > own/in/file
            """);
        using Dir before = Dir.Open($"{place}/before"), after = Dir.Open($"{place}/after"), again = Dir.Open($"{place}/before"), mine = Dir.Open($"{place}/after");
        IReadOnlyList<EtcChange> all = EtcDiff.Between(before, after);
        Assert.Equal(["bytes", "closed", "d/e/deep", "kind", "mode", "moved", "size", "gone", "own", "own/in", "own/in/file"], all.Select(static change => change.Path));
        Assert.Equal(all, EtcDiff.Glance(again, mine));
    }
}
