using Sbox.Linux;

namespace Sbox.Sysroot.Tests;

/// <summary>A directory of the test's own, gone with all below it when the test ends.</summary>
internal sealed class TempDir : IDisposable
{
    /// <param name="inMemory">On tmpfs, for tests that sync often: what others write at the time is then not waited for.</param>
    public TempDir(bool inMemory = false)
    {
        Path = inMemory ? $"/dev/shm/sbox-sysroot-{Guid.NewGuid():N}" : Directory.CreateTempSubdirectory("sbox-sysroot-").FullName;
        Directory.CreateDirectory(Path);
    }

    public string Path { get; }

    public string Of(string relative) => System.IO.Path.Combine(Path, relative);

    public Dir Open(string relative = ".") => Dir.Open(Of(relative));

    public string Write(string relative, string text, uint mode = 0x1A4)
    {
        string path = Of(relative);
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
        Chmod(relative, mode);
        return path;
    }

    public void Chmod(string relative, uint mode)
    {
        using Dir root = Open();
        root.ChangeMode(relative, mode);
    }

    public string Read(string relative) => File.ReadAllText(Of(relative));

    public void Dispose()
    {
        // Real ostree makes deployment directories immutable, which holds off even root's rm.
        foreach (string stateroot in Directory.Exists(Of("sysroot/ostree/deploy")) ? Directory.GetDirectories(Of("sysroot/ostree/deploy")) : [])
        {
            foreach (string deployment in Directory.GetDirectories($"{stateroot}/deploy"))
            {
                using Dir dir = Dir.Open(deployment);
                InodeFlags.ClearImmutable(dir);
            }
        }

        using Dir parent = Dir.Open(System.IO.Path.GetDirectoryName(Path)!);
        parent.RemoveAll(System.IO.Path.GetFileName(Path));
    }
}
