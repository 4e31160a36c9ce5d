using System.Buffers.Binary;
using System.Text;
using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>What the kernel was seen doing.</summary>
public enum KernelAct
{
    /// <summary>Never sent; a record that holds it is no record.</summary>
    None,
    /// <summary>mount(2) succeeded.</summary>
    Mount,
    /// <summary>umount2(2) succeeded.</summary>
    Unmount,
    /// <summary>move_mount(2) succeeded: something was attached or moved.</summary>
    MoveMount,
    /// <summary>mount_setattr(2) succeeded.</summary>
    SetAttributes,
    /// <summary>fsconfig(2) changed a mounted file system's superblock.</summary>
    Reconfigure,
    /// <summary>fsmount(2) made a mount that is not attached anywhere yet.</summary>
    NewMount,
    /// <summary>pivot_root(2) succeeded.</summary>
    PivotRoot,
    /// <summary>A mount namespace was made, as a copy of the caller's.</summary>
    NewNamespace,
    /// <summary>setns(2) entered another mount namespace.</summary>
    EnterNamespace,
    /// <summary>A file got a set-user-id or set-group-id bit.</summary>
    SetUserId,
    /// <summary>A file was made with such a bit.</summary>
    CreateSetUserId,
    /// <summary>A file got capabilities.</summary>
    SetCapabilities,
    /// <summary>A block device was opened for writing.</summary>
    OpenDevice,
    /// <summary>A file is read to be loaded as a kernel module.</summary>
    ReadModule,
    /// <summary>A module is to be loaded, or a kernel to be started, from memory.</summary>
    LoadFromMemory,
    /// <summary>A kernel module was loaded.</summary>
    LoadModule,
    /// <summary>The sentinel was sent a signal that stops or ends it.</summary>
    Signal,
    /// <summary>A program took hold of another one's memory, or of what it has open.</summary>
    Trace,
    /// <summary>A program went by a link in /proc (root, cwd, fd) to what is in another mount namespace.</summary>
    FollowLink,
    /// <summary>A BPF program was put into the kernel.</summary>
    LoadProgram,
    /// <summary>A setting of the kernel, below /proc/sys, was written.</summary>
    WriteSetting,
}

/// <summary>Where things lie in a record that an eye writes; all numbers as the machine has them, little-endian.</summary>
internal static class EyeRecord
{
    public const int Kind = 0;
    public const int Namespace = 4;
    public const int Time = 8;
    public const int Thread = 16;
    public const int User = 24;
    public const int ControlGroup = 32;
    public const int Result = 40;
    public const int Arguments = 48;
    /// <summary>The argument whose place the mode of a file takes, in records about files.</summary>
    public const int ModeArgument = 5;
    public const int Name = 96;
    public const int NameSize = 16;
    public const int ProgramInode = 112;
    public const int ProgramDevice = 120;
    public const int LoginUser = 124;
    public const int Parent = 128;
    public const int ObjectDevice = 132;
    public const int ObjectInode = 136;
    public const int ProgramPath = 144;
    public const int ProgramDepth = 12;
    public const int ObjectPath = ProgramPath + (ProgramDepth * ComponentSize);
    public const int ObjectDepth = 20; // drivers lie 13 deep: usr lib modules VERSION kernel drivers net ethernet ...
    public const int ComponentSize = 40;
    public const int FirstText = ObjectPath;
    public const int FirstTextSize = 256;
    public const int SecondText = FirstText + FirstTextSize;
    public const int SecondTextSize = 144;
    /// <summary>Behind the texts: what a descriptor that a call was given, or answered with, leads to.</summary>
    public const int DescriptorPath = SecondText + SecondTextSize;
    public const int DescriptorDepth = 10;
    public const int Size = ObjectPath + (ObjectDepth * ComponentSize);
}

/// <summary>One thing that the kernel was seen doing, and for whom.</summary>
/// <param name="Act">What it was.</param>
/// <param name="Nanoseconds">When, on the clock CLOCK_MONOTONIC.</param>
/// <param name="Namespace">The caller's mount namespace, afterwards: the number in <c>mnt:[…]</c>.</param>
/// <param name="Result">What the call answered.</param>
/// <param name="Arguments">The call's six arguments, as numbers.</param>
/// <param name="Caller">Who called.</param>
public sealed record KernelEvent(
    KernelAct Act, long Nanoseconds, uint Namespace, long Result, IReadOnlyList<ulong> Arguments, Caller Caller)
{
    /// <summary>The first path or name that the call was given, as its caller wrote it; empty where there is none.</summary>
    public string Text { get; init; } = "";

    /// <summary>The second one.</summary>
    public string SecondText { get; init; } = "";

    /// <summary>The bytes of the structure that the call was given; only of <see cref="KernelAct.SetAttributes"/>.</summary>
    public ReadOnlyMemory<byte> Structure { get; init; }

    /// <summary>The device of the file or mount, or the device that was opened, by the kernel's inner number (major &lt;&lt; 20 | minor).</summary>
    public uint ObjectDevice { get; init; }

    /// <summary>The inode of the file.</summary>
    public ulong ObjectInode { get; init; }

    /// <summary>The file's path from the root of its file system; its beginning may be cut off (<c>…/</c>). Of a mount that a call was given by a descriptor: its root's.</summary>
    public string ObjectPath { get; init; } = "";

    /// <summary>Reads a record.</summary>
    /// <param name="record">Its bytes; borrowed.</param>
    /// <returns>Null for a record that is not one of ours.</returns>
    internal static KernelEvent? Read(ReadOnlySpan<byte> record)
    {
        if (record.Length < EyeRecord.Size)
            return null;
        var act = (KernelAct)Word(record, EyeRecord.Kind);
        if (act is KernelAct.None or > KernelAct.WriteSetting)
            return null;
        var arguments = new ulong[6];
        for (int at = 0; at < arguments.Length; at++)
            arguments[at] = Long(record, EyeRecord.Arguments + (at * 8));
        ulong thread = Long(record, EyeRecord.Thread);
        var caller = new Caller((int)(thread >> 32), (uint)Long(record, EyeRecord.User))
        {
            Thread = (int)(uint)thread,
            Name = Text0(record.Slice(EyeRecord.Name, EyeRecord.NameSize)),
            LoginUser = Word(record, EyeRecord.LoginUser),
            Parent = (int)Word(record, EyeRecord.Parent),
            ControlGroup = Long(record, EyeRecord.ControlGroup),
            ProgramDevice = Word(record, EyeRecord.ProgramDevice),
            ProgramInode = Long(record, EyeRecord.ProgramInode),
            ProgramPath = Path(record.Slice(EyeRecord.ProgramPath, EyeRecord.ProgramDepth * EyeRecord.ComponentSize)),
        };
        bool named = act is KernelAct.SetUserId or KernelAct.CreateSetUserId or KernelAct.SetCapabilities or KernelAct.ReadModule or KernelAct.OpenDevice or KernelAct.WriteSetting;
        bool descriptor = act is KernelAct.SetAttributes or KernelAct.NewMount;
        return new KernelEvent(act, (long)Long(record, EyeRecord.Time), Word(record, EyeRecord.Namespace), (long)Long(record, EyeRecord.Result), arguments, caller)
        {
            ObjectDevice = Word(record, EyeRecord.ObjectDevice),
            ObjectInode = Long(record, EyeRecord.ObjectInode),
            ObjectPath = named ? Path(record.Slice(EyeRecord.ObjectPath, EyeRecord.ObjectDepth * EyeRecord.ComponentSize))
                : descriptor ? Path(record.Slice(EyeRecord.DescriptorPath, EyeRecord.DescriptorDepth * EyeRecord.ComponentSize)) : "",
            Text = named ? "" : Text0(record.Slice(EyeRecord.FirstText, EyeRecord.FirstTextSize)),
            SecondText = named || act == KernelAct.SetAttributes ? "" : Text0(record.Slice(EyeRecord.SecondText, EyeRecord.SecondTextSize)),
            Structure = act == KernelAct.SetAttributes ? record.Slice(EyeRecord.SecondText, 32).ToArray() : default,
        };
    }

    // Components come innermost first; the root's is "/", and an empty one ends a path that was not followed to its root.
    private static string Path(ReadOnlySpan<byte> components)
    {
        var parts = new List<string>();
        bool whole = false;
        for (; !components.IsEmpty && components[0] != 0; components = components[EyeRecord.ComponentSize..])
        {
            string part = Text0(components[..EyeRecord.ComponentSize]);
            whole = part == "/";
            if (whole)
                break;
            parts.Add(part.Length == EyeRecord.ComponentSize - 1 ? $"{part}…" : part);
        }

        if (parts.Count == 0)
            return whole ? "/" : "";
        parts.Reverse();
        return $"{(whole ? "/" : "…/")}{string.Join('/', parts)}";
    }

    private static string Text0(ReadOnlySpan<byte> bytes)
    {
        int end = bytes.IndexOf((byte)0);
        return FileName.FromBytes(end < 0 ? bytes : bytes[..end]);
    }

    private static uint Word(ReadOnlySpan<byte> record, int at) => BinaryPrimitives.ReadUInt32LittleEndian(record[at..]);

    private static ulong Long(ReadOnlySpan<byte> record, int at) => BinaryPrimitives.ReadUInt64LittleEndian(record[at..]);
}

/// <summary>Who called the kernel, as the kernel itself knew it at that moment.</summary>
/// <param name="Process">The process.</param>
/// <param name="User">The user that it acts as.</param>
public sealed record Caller(int Process, uint User)
{
    /// <summary>Nobody logged in: <see cref="LoginUser"/> of services.</summary>
    public const uint NoLogin = uint.MaxValue;

    /// <summary>The thread.</summary>
    public int Thread { get; init; }

    /// <summary>The thread's own name, 15 bytes at most, which it may choose.</summary>
    public string Name { get; init; } = "";

    /// <summary>The user who logged in, whatever su and sudo made of them since; <see cref="NoLogin"/> for services.</summary>
    public uint LoginUser { get; init; } = NoLogin;

    /// <summary>The process that started it.</summary>
    public int Parent { get; init; }

    /// <summary>The control group's number: the inode of its directory.</summary>
    public ulong ControlGroup { get; init; }

    /// <summary>The device that its program is on, by the kernel's inner number.</summary>
    public uint ProgramDevice { get; init; }

    /// <summary>The inode of its program.</summary>
    public ulong ProgramInode { get; init; }

    /// <summary>The program's path from the root of its file system; its beginning may be cut off.</summary>
    public string ProgramPath { get; init; } = "";
}
