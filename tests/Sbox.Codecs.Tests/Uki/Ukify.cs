using Sbox.Codecs.Tests.Composefs;
using Sbox.Judges;

namespace Sbox.Codecs.Tests.Uki;

/// <summary>systemd's ukify, a Python program of the judges' Debian.</summary>
internal static class Ukify
{
    /// <summary>The stub of that Debian; another machine's has another letter behind "linux".</summary>
    public static byte[] Stub => File.ReadAllBytes(Directory.GetFiles(Path.Combine(Judge.Root, "usr/lib/systemd/boot/efi"), "linux*.efi.stub").Single());

    public static Verdict Run(params string[] arguments)
    {
        // The interpreter is started by a loader, so it cannot find its library by its own name.
        string python = Path.Combine(Judge.Root, "usr/bin/python3");
        string[] loader = [.. Directory.GetFiles(Path.Combine(Judge.Root, "usr/lib64"), "ld-linux-*"), .. Directory.GetFiles(Path.Combine(Judge.Root, "usr/lib"), "ld-linux-*")];
        string libraries = Directory.GetDirectories(Path.Combine(Judge.Root, "usr/lib"), "*-linux-gnu").Single();
        Verdict verdict = Judge.OnPath("env").Ask([
            $"PYTHONHOME={Judge.Root}/usr", $"PYTHONPATH={Judge.Root}/usr/lib/python3/dist-packages", "PYTHONDONTWRITEBYTECODE=1",
            loader[0], "--library-path", libraries, python, Path.Combine(Judge.Root, "usr/bin/ukify"), .. arguments]);
        return verdict.ExitCode == 0
            ? verdict
            : throw new InvalidOperationException($"ukify {string.Join(' ', arguments)}: exit status {verdict.ExitCode}\n{verdict.Output}{verdict.Error}");
    }

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
        Run([.. arguments]);
        return File.ReadAllBytes(output);
    }
}
