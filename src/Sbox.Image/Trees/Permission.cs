namespace Sbox.Image;

/// <summary>Permission bits that a tree's own files get, which C# cannot write in octal.</summary>
internal static class Permission
{
    /// <summary>0644: a file.</summary>
    public const uint File = 0x1A4;

    /// <summary>0755: a program, or a directory.</summary>
    public const uint Program = 0x1ED;

    /// <summary>0444: what only its own writer changes.</summary>
    public const uint ReadOnly = 0x124;

    /// <summary>0700: nobody else's.</summary>
    public const uint Private = 0x1C0;

    /// <summary>0777: what lstat says of every link.</summary>
    public const uint Link = 0x1FF;

    /// <summary>1777: /tmp.</summary>
    public const uint Shared = 0x3FF;

    /// <summary>0111: the bits that make a program.</summary>
    public const uint Execute = 0x49;
}
