using System.Text;
using Sbox.Codecs.Cpio;
using Sbox.Judges;

namespace Sbox.Codecs.Tests.Cpio;

public sealed class CpioWriterTests : IDisposable
{
    private readonly string directory = Directory.CreateTempSubdirectory("sbox-cpio-").FullName;

    [Fact]
    public void The_real_cpio_unpacks_what_was_put_in()
    {
        byte[] odd = [.. Enumerable.Range(0, 4097).Select(static at => (byte)(at * 7))];
        File.WriteAllBytes($"{directory}/archive", Archive(cpio =>
        {
            cpio.Directory("dev");
            cpio.File("usr/lib/a file", odd);
            cpio.File("init", "#!"u8);
            cpio.Link("lib", "usr/lib");
        }));
        Judge.OnPath("sh").Run("-c", $"mkdir '{directory}/out' && cd '{directory}/out' && cpio -idm --quiet < ../archive");
        Assert.Equal(odd, File.ReadAllBytes($"{directory}/out/usr/lib/a file"));
        Assert.Equal("#!", File.ReadAllText($"{directory}/out/init"));
        Assert.Equal("usr/lib", new FileInfo($"{directory}/out/lib").LinkTarget);
        Assert.True(Directory.Exists($"{directory}/out/dev"));
    }

    [Fact]
    public void The_bytes_are_those_that_cpio_itself_writes_of_the_same_entries()
    {
        byte[] ours = Archive(static cpio =>
        {
            cpio.Directory("d");
            cpio.File("d/f", "hello\n"u8);
            cpio.Link("l", "d/f");
        });
        string tree = $"{directory}/tree";
        Directory.CreateDirectory($"{tree}/d");
        File.WriteAllText($"{tree}/d/f", "hello\n");
        File.CreateSymbolicLink($"{tree}/l", "d/f");
        Judge.OnPath("sh").Run("-c", $"cd '{tree}' && chmod 0755 d d/f && touch -h -d @0 d/f d l && printf 'd\\nd/f\\nl\\n' | cpio -o -H newc --reproducible --ignore-devno --renumber-inodes -R 0:0 --quiet > ../theirs");
        byte[] theirs = File.ReadAllBytes($"{directory}/theirs");

        Assert.Equal(Text(theirs), Text(ours));
    }

    [Fact]
    public void The_same_entries_give_the_same_bytes() => Assert.Equal(
        Archive(static cpio => cpio.File("a/b/c", "x"u8)), Archive(static cpio => cpio.File("a/b/c", "x"u8)));

    public void Dispose() => Directory.Delete(directory, recursive: true);

    private static byte[] Archive(Action<CpioWriter> fill)
    {
        using var output = new MemoryStream();
        var cpio = new CpioWriter(output);
        fill(cpio);
        cpio.Finish();
        return output.ToArray();
    }

    private static string Text(byte[] bytes) => Encoding.Latin1.GetString(bytes);
}
