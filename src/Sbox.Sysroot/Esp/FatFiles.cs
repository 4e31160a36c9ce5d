using Microsoft.Win32.SafeHandles;
using Sbox.Linux;

namespace Sbox.Sysroot;

/// <summary>
/// Changes files on a FAT in an order of which every part may be the last. The kernel keeps a file's length and its first cluster with the file and writes them into the name's entry when the
/// file is synced, never when the directory is; and it frees the clusters of a removed file when the last descriptor is closed. So a name is durable before clusters move on.
/// </summary>
/// <remarks>docs/decisions/0016 has the cuts that each step leaves. On other file systems the same calls do no harm.</remarks>
internal static class FatFiles
{
    /// <summary>What ends the name of a file that is being written; it begins with a dot, and is nothing to systemd-boot.</summary>
    internal const string Temporary = ".tmp";

    /// <summary>Replaces a file as a whole, or makes it. After a cut the name leads to the old bytes or to the new; of a file that is made, to none or to the new.</summary>
    /// <param name="dir">Where.</param>
    /// <param name="name">The name.</param>
    /// <param name="write">Writes the new bytes.</param>
    /// <param name="step">Told of each step before it is done.</param>
    /// <exception cref="LinuxException">Any step was refused.</exception>
    public static void Replace(Dir dir, string name, Action<Stream> write, Action<string> step)
    {
        string temporary = $".{name}{Temporary}";
        step($"write {dir.Of(temporary)}");
        Remove(dir, [temporary]);
        using SafeFileHandle file = dir.CreateFile(temporary);
        using var output = new FileStream(file, FileAccess.ReadWrite, bufferSize: 1 << 16);
        write(output);
        output.Flush();
        Durable.Sync(file, dir.Of(temporary));

        // Until the new entry is on the disk the old one leads to the old clusters: they are nobody else's as long as this is open.
        using SafeFileHandle? replaced = dir.TryOpenFile(name);
        step($"rename it to {name}");
        dir.Rename(temporary, dir, name);
        // First the temporary name goes, then the other one gets the clusters: the other way round a cut could leave both with them, and whoever removed the first would free them under the second.
        step($"sync {dir.Path}");
        Durable.Sync(dir);
        step($"sync {dir.Of(name)}");
        Durable.Sync(file, dir.Of(name));
    }

    /// <summary>Removes files, those that are not there excepted. After a cut a name is there with all of its bytes, or it is not there.</summary>
    /// <exception cref="LinuxException">One cannot be removed; those before it are gone.</exception>
    public static void Remove(Dir dir, IReadOnlyList<string> names)
    {
        var held = new List<SafeFileHandle>();
        try
        {
            foreach (string name in names)
            {
                if (dir.TryOpenFile(name) is not { } file)
                    continue;
                held.Add(file);
                dir.Unlink(name);
            }

            if (held.Count > 0)
                Durable.Sync(dir);
        }
        finally
        {
            held.ForEach(static file => file.Dispose()); // now their clusters are free
        }
    }
}
