using Sbox.Judges;

namespace Sbox.Image.Tests;

/// <summary>A file that is a disk to the kernel, partitions and all.</summary>
internal sealed class LoopDisk : IDisposable
{
    private readonly List<string> mounted = [];

    public LoopDisk(string file, long mebibytes)
    {
        using (FileStream made = File.Create(file))
            made.SetLength(mebibytes << 20);
        Path = Judge.OnPath("losetup").Run("--find", "--show", "--partscan", file).Trim();
    }

    public string Path { get; }

    public string Partition(int number) => $"{Path}p{number}";

    /// <summary>Mounts its root.</summary>
    public string Mount(string at, string options = "rw")
    {
        Directory.CreateDirectory(at);
        if (mounted.Count == 0)
            Unmounting.AwaitUnused(Partition(2));
        Judge.OnPath("mount").Run("-o", options, Partition(2), at);
        mounted.Add(at);
        return at;
    }

    /// <summary>Unmounts it; whoever reads the disk afterwards has it alone.</summary>
    public void Unmount(string at)
    {
        Unmounting.Unmount(at);
        mounted.Remove(at);
        if (mounted.Count == 0)
            Unmounting.AwaitUnused(Partition(2));
    }

    public void Dispose()
    {
        foreach (string at in mounted.ToArray())
            Unmount(at);
        Judge.OnPath("losetup").Run("--detach", Path);
    }
}
