using Sbox.Linux;

namespace Sbox.Store;

/// <summary>Type and permission bits of a file, as <c>st_mode</c> has them; printed octal.</summary>
/// <param name="Bits">All sixteen bits.</param>
public readonly record struct Mode(uint Bits)
{
    private const uint AllBits = 0xFFFF;

    /// <summary>The kind of file.</summary>
    public FileKind Kind => (FileKind)(Bits & 0xF000);

    /// <summary>The twelve permission bits.</summary>
    public uint Permissions => Bits & 0xFFF;

    /// <summary>Whether it is a directory's.</summary>
    public bool IsDirectory => Kind == FileKind.Directory && Bits <= AllBits;

    /// <summary>Whether it is a regular file's.</summary>
    public bool IsRegular => Kind == FileKind.Regular && Bits <= AllBits;

    /// <summary>Whether it is a symbolic link's.</summary>
    public bool IsSymlink => Kind == FileKind.Symlink && Bits <= AllBits;

    /// <summary>The same kind with other permission bits.</summary>
    internal Mode WithPermissions(uint permissions) => new((Bits & ~0xFFFu) | (permissions & 0xFFF));

    /// <summary>Octal, as ls and the format's documents print it: <c>0100644</c>.</summary>
    public override string ToString() => "0" + Convert.ToString(Bits, 8);
}
