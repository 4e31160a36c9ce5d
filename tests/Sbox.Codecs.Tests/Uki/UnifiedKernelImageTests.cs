using System.Text;
using Sbox.Codecs.Tests.Composefs;
using Sbox.Codecs.Uki;
using Sbox.Judges;

namespace Sbox.Codecs.Tests.Uki;

public class UnifiedKernelImageTests
{
    private const string OsRelease = "ID=debian\nVERSION_ID=13\nPRETTY_NAME=\"Debian\"\n";
    private const string CommandLine = "root=LABEL=sbox-root quiet composefs=abc";

    [Fact]
    public void Real()
    {
        byte[] kernel = File.ReadAllBytes(Directory.GetFiles("/root/.cache/sbox/tree-try/v1/usr/lib/modules", "vmlinuz", SearchOption.AllDirectories).Single());
        byte[] initrd = File.ReadAllBytes(Directory.GetFiles("/root/.cache/sbox/tree-try/v1/usr/lib/modules", "initramfs.img", SearchOption.AllDirectories).Single());
        foreach (byte[] stub in new[] { Ukify.Stub, File.ReadAllBytes("/root/.cache/sbox/tree-try/v1/usr/lib/systemd/boot/efi/linuxx64.efi.stub"), File.ReadAllBytes("/tmp/codecs/stub/usr/lib/systemd/boot/efi/linuxx64.efi.stub") })
        {
            try
            {
                byte[] theirs = Ukify.Build(stub, kernel, CommandLine, OsRelease, "6.12", initrd);
                Images.AssertSame(theirs, Ours(stub, kernel, CommandLine, OsRelease, "6.12", initrd), static () => "one");
                byte[] theirs2 = Ukify.Build(stub, kernel, CommandLine, OsRelease, null + "x", initrd, [1, 2, 3]);
                Images.AssertSame(theirs2, Ours(stub, kernel, CommandLine, OsRelease, "x", initrd, [1, 2, 3]), static () => "two");
                Console.WriteLine("same " + theirs.Length);
                File.WriteAllBytes("/tmp/codecs/uki.efi", theirs);
            }
            catch (Exception e) { Console.WriteLine(e.Message); }
        }
    }

    private static byte[] Ours(byte[] stub, byte[] kernel, string commandLine, string osRelease, string? release, params byte[][] initrds)
    {
        using var output = new MemoryStream();
        var parts = new UkiParts(kernel, commandLine, Encoding.UTF8.GetBytes(osRelease))
        {
            KernelRelease = release,
            Initrds = [.. initrds.Select(static initrd => new MemoryStream(initrd))],
        };
        UnifiedKernelImage.Build(stub, parts, output);
        return output.ToArray();
    }
}
