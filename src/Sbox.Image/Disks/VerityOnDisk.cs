using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Microsoft.Win32.SafeHandles;
using Sbox.Codecs.Verity;
using Sbox.Linux;

namespace Sbox.Image;

/// <summary>
/// fs-verity on files of an ext4 that no kernel has mounted yet. What the kernel would write behind a file's end is written there as
/// part of the file; once mkfs.ext4 has copied it, debugfs takes the end back and sets the flag.
/// </summary>
/// <remarks>docs/formats/fs-verity.md, after the kernel's Documentation/filesystems/ext4/verity.rst.</remarks>
internal static class VerityOnDisk
{
    private const int MetadataAlignment = 64 * 1024;
    private const int BlockSize = RootMeasure.BlockSize;
    private const uint VerityAndExtents = 0x100000 | 0x80000; // EXT4_VERITY_FL, and what every file of ours has: EXT4_EXTENTS_FL

    /// <summary>Makes files longer by their trees.</summary>
    /// <param name="root">The directory that becomes the file system.</param>
    /// <param name="paths">Regular files in it; of several names of one file, one.</param>
    /// <param name="cancel">Looked at between files.</param>
    /// <returns>The sizes they had.</returns>
    public static IReadOnlyList<(string Path, long Size)> Append(string root, IReadOnlyList<string> paths, CancellationToken cancel)
    {
        if (paths.Count == 0)
            return [];
        using Dir dir = Dir.Open(root);
        var sizes = new List<(string, long)>(paths.Count);
        foreach (string path in paths)
        {
            cancel.ThrowIfCancellationRequested();
            using SafeFileHandle file = dir.OpenOrCreateFile(path);
            FileStat stat = Files.Stat(file, dir.Of(path));
            sizes.Add((path, stat.Size));
            Append(file, stat.Size);
            Files.SetModified(file, stat.ModifiedSeconds, stat.ModifiedNanoseconds, dir.Of(path)); // objects have time 0, whatever happens to them
        }

        return sizes;
    }

    /// <summary>Takes the files' ends back, in the image.</summary>
    /// <exception cref="BuildFailedException">debugfs did not do all of it.</exception>
    public static void Finish(string image, long offset, IReadOnlyList<(string Path, long Size)> sizes, StepRunner runner, long timestamp)
    {
        var script = new StringBuilder();
        foreach ((string path, long size) in sizes)
        {
            script.Append(CultureInfo.InvariantCulture, $"set_inode_field \"/{path}\" flags {VerityAndExtents}\n");
            script.Append(CultureInfo.InvariantCulture, $"set_inode_field \"/{path}\" size {size}\n");
        }

        // It ends with 0 whatever happened; what it says beside its prompt is what went wrong.
        var complaints = new List<string>();
        var listening = runner with { Progress = new Lines(complaints) };
        var command = new ChildCommand("debugfs", ["-w", "-f", "-", $"{image}?offset={offset}"])
        {
            Input = script.ToString(),
            Environment = new Dictionary<string, string> { ["E2FSPROGS_FAKE_TIME"] = timestamp.ToString(CultureInfo.InvariantCulture) },
        };
        listening.Run(command);
        complaints.RemoveAll(static line => line.Length == 0 || line.StartsWith("debugfs", StringComparison.Ordinal));
        if (complaints.Count > 0)
            throw new BuildFailedException(runner.Step, new ChildFailedException(command, 1, complaints));
    }

    // From the next 64 KiB on: the tree, the descriptor in a block of its own, and the descriptor's size in that block's last four bytes.
    private static void Append(SafeFileHandle file, long size)
    {
        VerityTree verity;
        using (var content = new FileStream(new SafeFileHandle(file.DangerousGetHandle(), ownsHandle: false), FileAccess.Read))
            verity = VerityTree.Of(content);
        long at = RootMeasure.Ceiling(size, MetadataAlignment) * MetadataAlignment;
        RandomAccess.Write(file, verity.Tree, at);
        var last = new byte[BlockSize];
        verity.Descriptor.CopyTo(last, 0);
        BinaryPrimitives.WriteUInt32LittleEndian(last.AsSpan(BlockSize - sizeof(uint)), (uint)verity.Descriptor.Length);
        RandomAccess.Write(file, last, at + verity.Tree.Length);
    }

    private sealed class Lines(List<string> into) : IProgress<BuildStep>
    {
        public void Report(BuildStep value)
        {
            lock (into)
                into.Add(value.Detail);
        }
    }
}
