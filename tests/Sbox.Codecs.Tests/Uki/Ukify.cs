using Sbox.Codecs.Tests.Composefs;
using Sbox.Judges;

namespace Sbox.Codecs.Tests.Uki;

/// <summary>What systemd's ukify makes.</summary>
internal static class Ukify
{
    /// <summary>The stub of that Debian; another machine's has another letter behind "linux".</summary>
    public static byte[] Stub => File.ReadAllBytes(Directory.GetFiles(Path.Combine(Judge.Root, "usr/lib/systemd/boot/efi"), "linux*.efi.stub").Single());

    /// <summary>What <c>ukify build</c> makes of the same parts.</summary>
    public static byte[] Build(byte[] stub, byte[] kernel, string commandLine, string osRelease, string? release, params byte[][] initrds)
    {
        using var scratch = new Scratch();
        string output = Path.Combine(scratch.Path, "uki.efi");
        List<string> arguments =
        [
            "build", $"--stub={scratch.File("stub", stub)}", $"--linux={scratch.File("linux", kernel)}", $"--output={output}",
            $"--cmdline=@{scratch.File("cmdline", System.Text.Encoding.UTF8.GetBytes(commandLine))}",
            $"--os-release=@{scratch.File("osrel", System.Text.Encoding.UTF8.GetBytes(osRelease))}", "--hwids=",
        ];
        if (release is not null)
            arguments.Add($"--uname={release}");
        for (int i = 0; i < initrds.Length; i++)
            arguments.Add($"--initrd={scratch.File($"initrd{i}", initrds[i])}");
        Judge.Ukify.Run([.. arguments]);
        return File.ReadAllBytes(output);
    }
}
