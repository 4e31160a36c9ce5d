using Microsoft.Win32.SafeHandles;
using Sbox.Codecs;
using Sbox.Linux;

namespace Sbox.Tomb;

/// <summary>
/// A file that is being restored. It has no name until it is whole, or one that says so where the file system knows no unnamed files:
/// whatever ends the restore, nothing half-written stands where a file belongs, and what stood there before stands there still.
/// </summary>
/// <param name="node">What it becomes.</param>
/// <param name="below">Its directory, below the target.</param>
/// <param name="replaces">Whether what has its name now is replaced.</param>
internal sealed class PendingFile(Node node, string below, bool replaces) : IDisposable
{
    private string? temporary;

    public Node Node { get; } = node;

    public string Below { get; } = below;

    public string Name => Below.Length == 0 ? Node.Name : $"{Below}/{Node.Name}";

    public SafeFileHandle? Handle { get; private set; }

    public long Length { get; set; }

    public string? Failure { get; private set; }

    public static string TemporaryName() => $".sbox-restore-{Guid.NewGuid():N}";

    public void Fail(string reason) => Failure ??= reason;

    public void Create(Dir dir)
    {
        try
        {
            Handle = dir.CreateUnnamed(0x180 /* 0600 */);
        }
        catch (LinuxException unknown) when (unknown.Errno is Errno.EOPNOTSUPP or Errno.EISDIR or Errno.EINVAL or Errno.ENOENT)
        {
            temporary = TemporaryName();
            Handle = dir.CreateFile(temporary, 0x180 /* 0600 */);
        }
    }

    /// <summary>Gives it its name; false when something has that name and is not to be replaced.</summary>
    public bool Appear(Dir dir)
    {
        if (temporary is null && !replaces)
            return dir.TryLink(Handle!, Node.Name);
        if (temporary is null)
        {
            string name = TemporaryName();
            if (!dir.TryLink(Handle!, name))
                return false;
            temporary = name;
        }

        if (!replaces && !dir.TryRename(temporary, dir, Node.Name))
            return false;
        if (replaces)
            dir.Rename(temporary, dir, Node.Name);
        temporary = null;
        return true;
    }

    /// <summary>Takes its temporary name away, where it has one.</summary>
    public void Discard(Dir dir)
    {
        if (temporary is { } name)
            dir.TryUnlink(name);
        temporary = null;
    }

    public bool HasTemporaryName => temporary is not null;

    public void Dispose() => Handle?.Dispose();
}
