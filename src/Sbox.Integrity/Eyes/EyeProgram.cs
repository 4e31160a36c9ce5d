using Sbox.Codecs.Bpf;
using static Sbox.Codecs.Bpf.Reg;

namespace Sbox.Integrity;

/// <summary>
/// One eye's program, put together from steps: filters first, then <see cref="Open"/> (a record, with who called), what to copy, and
/// <see cref="Close"/>. r6 is the arguments, r7 the record, r8 and r9 what is being followed.
/// </summary>
internal sealed class EyeProgram(KernelTypes types, int ring, int lost)
{
    private const int MapLookup = 1;
    private const int Now = 5;
    private const int ThisThread = 14;
    private const int ThisUser = 15;
    private const int ThisName = 16;
    private const int ThisControlGroup = 80;
    private const int ReadUser = 112;
    private const int ReadKernel = 113;
    private const int ReadUserText = 114;
    private const int ReadKernelText = 115;
    private const int Reserve = 131;
    private const int Submit = 132;
    private const int ThisTask = 158;

    private readonly BpfAssembler code = new();
    private BpfLabel end;
    private bool begun;

    /// <summary>Goes on only if an argument of the traced function (its answer comes after its last one) is no error number.</summary>
    public EyeProgram OnlySuccess(int answer)
    {
        Begin();
        code.Load(R1, R6, answer * 8).SignExtend(R1).Jump(end, When.Negative, R1, 0);
        return this;
    }

    /// <summary>As <see cref="OnlySuccess"/>, for a function that answers with a pointer or an error number.</summary>
    public EyeProgram OnlyPointer(int answer)
    {
        Begin();
        code.Load(R1, R6, answer * 8).Jump(end, When.Above, R1, -4096);
        return this;
    }

    /// <summary>Goes on only if an argument is a certain number.</summary>
    public EyeProgram OnlyEqual(int argument, int number)
    {
        Begin();
        code.Load(R1, R6, argument * 8).And(R1, int.MaxValue).Jump(end, When.Differs, R1, number);
        return this;
    }

    /// <summary>Goes on only if an argument has one of the bits.</summary>
    public EyeProgram OnlyBits(int argument, int bits)
    {
        Begin();
        BpfLabel on = code.NewLabel();
        code.Load(R1, R6, argument * 8).Jump(on, When.AnyBit, R1, bits).Jump(end).Place(on);
        return this;
    }

    /// <summary>Goes on only if an argument of the system call is a certain number, or has the bits.</summary>
    public EyeProgram OnlyCall(int argument, When when, int number)
    {
        Begin();
        BpfLabel on = code.NewLabel();
        code.Load(R2, R6, 0).Load(R1, R2, types.Argument(argument)).Jump(on, when, R1, number).Jump(end).Place(on);
        return this;
    }

    /// <summary>Goes on only in a certain system call, where all of them are looked at.</summary>
    public EyeProgram OnlyCallNumber(int number)
    {
        Begin();
        code.Load(R2, R6, 0).Load(R1, R2, types.CallNumber, Width.Word).Jump(end, When.Differs, R1, number);
        return this;
    }

    /// <summary>Goes on only if the eight bytes behind a user's pointer, an argument of the system call, have one of the bits.</summary>
    public EyeProgram OnlyUserBits(int argument, int bits)
    {
        Begin();
        BpfLabel on = code.NewLabel();
        code.Store(R10, -8, 0, Width.Long)
            .Load(R2, R6, 0).Load(R3, R2, types.Argument(argument)).Move(R1, R10).Add(R1, -8).Move(R2, 8).Call(ReadUser)
            .Load(R1, R10, -8).Jump(on, When.AnyBit, R1, bits).Jump(end).Place(on);
        return this;
    }

    /// <summary>A program that writes nothing down: it only finds out whether its function can be looked at.</summary>
    public byte[] Nothing() => code.Move(R0, 0).Exit().ToBytes();

    /// <summary>Goes on only if a field of four bytes, behind a pointer that is an argument, is a certain number or has the bits.</summary>
    public EyeProgram OnlyField(int argument, string field, When when, int number)
    {
        Begin();
        BpfLabel on = code.NewLabel();
        code.Load(R2, R6, argument * 8).Load(R1, R2, types[field], Width.Word).Jump(on, when, R1, number).Jump(end).Place(on);
        return this;
    }

    /// <summary>Goes on only if the text behind a kernel pointer goes on with these eight letters at an offset.</summary>
    public EyeProgram OnlyText(int argument, int offset, ReadOnlySpan<byte> eight)
    {
        Begin();
        BpfLabel on = code.NewLabel();
        code.Store(R10, -8, 0, Width.Long)
            .Load(R3, R6, argument * 8).Add(R3, offset)
            .Move(R1, R10).Add(R1, -16).Move(R2, 16).Call(ReadKernelText)
            .Load(R1, R10, -16).Move(R2, System.Buffers.Binary.BinaryPrimitives.ReadUInt64LittleEndian(eight))
            .JumpEqual(on, R1, R2).Jump(end).Place(on);
        return this;
    }

    /// <summary>Goes on only if the device node behind a file, an argument, is one of these, by the kernel's inner numbers.</summary>
    public EyeProgram OnlyNodes(int argument, params ReadOnlySpan<int> devices)
    {
        Begin();
        BpfLabel on = code.NewLabel();
        code.Load(R1, R6, argument * 8).Load(R1, R1, types["file.f_inode"]).Load(R1, R1, types["inode.i_rdev"], Width.Word);
        foreach (int device in devices)
            code.Jump(on, When.Equal, R1, device);
        code.Jump(end).Place(on);
        return this;
    }

    /// <summary>Goes on only if a struct path, an argument, leads into another mount namespace than the caller's; <see cref="OtherNamespace"/> writes down which.</summary>
    public EyeProgram OnlyOtherNamespace(int argument)
    {
        Begin();
        code.Store(R10, -8, 0, Width.Long).Store(R10, -16, 0, Width.Long)
            // struct mount lies around the struct vfsmount that the path has. A kernel's own mount is in none, and cannot be read.
            .Load(R1, R6, argument * 8).Load(R3, R1, types["path.mnt"]).Add(R3, types["mount.mnt_ns"] - types["mount.mnt"])
            .Move(R1, R10).Add(R1, -8).Move(R2, 8).Call(ReadKernel)
            .Load(R3, R10, -8).Add(R3, types["mnt_namespace.ns"] + types["ns_common.inum"])
            .Move(R1, R10).Add(R1, -16).Move(R2, 4).Call(ReadKernel)
            .Load(R9, R10, -16, Width.Word).Jump(end, When.Equal, R9, 0)
            .Call(ThisTask).Load(R1, R0, types["task_struct.nsproxy"]).Load(R1, R1, types["nsproxy.mnt_ns"])
            .Load(R1, R1, types["mnt_namespace.ns"] + types["ns_common.inum"], Width.Word).JumpEqual(end, R1, R9);
        return this;
    }

    /// <summary>Begins the record: what, when, and who.</summary>
    public EyeProgram Open(KernelAct act)
    {
        Begin();
        BpfLabel room = code.NewLabel();
        code.LoadMap(R1, ring).Move(R2, EyeRecord.Size).Move(R3, 0).Call(Reserve).Jump(room, When.Differs, R0, 0);
        CountLost();
        code.Jump(end).Place(room)
            .Move(R7, R0)
            .Store(R7, EyeRecord.Kind, (int)act, Width.Word)
            .Store(R7, EyeRecord.Result, 0, Width.Long)
            .Store(R7, EyeRecord.ObjectDevice, 0, Width.Word).Store(R7, EyeRecord.ObjectInode, 0, Width.Long)
            .Store(R7, EyeRecord.FirstText, 0, Width.Word).Store(R7, EyeRecord.SecondText, 0, Width.Word);
        for (int number = 0; number < 6; number++)
            code.Store(R7, EyeRecord.Arguments + (number * 8), 0, Width.Long);
        for (int component = 0; component < EyeRecord.ProgramDepth; component++)
            code.Store(R7, EyeRecord.ProgramPath + (component * EyeRecord.ComponentSize), 0, Width.Word);
        code.Call(Now).Store(R7, EyeRecord.Time, R0)
            .Call(ThisThread).Store(R7, EyeRecord.Thread, R0)
            .Call(ThisUser).Store(R7, EyeRecord.User, R0)
            .Call(ThisControlGroup).Store(R7, EyeRecord.ControlGroup, R0)
            .Move(R1, R7).Add(R1, EyeRecord.Name).Move(R2, EyeRecord.NameSize).Call(ThisName);
        Task();
        return this;
    }

    /// <summary>Copies the system call's arguments.</summary>
    public EyeProgram Arguments()
    {
        code.Load(R8, R6, 0);
        for (int number = 0; number < 6; number++)
            code.Load(R1, R8, types.Argument(number)).Store(R7, EyeRecord.Arguments + (number * 8), R1);
        code.Load(R1, R6, 8).Store(R7, EyeRecord.Result, R1);
        return this;
    }

    /// <summary>Copies a text that a system call was given.</summary>
    public EyeProgram UserText(int argument, bool second = false)
    {
        (int at, int size) = second ? (EyeRecord.SecondText, EyeRecord.SecondTextSize) : (EyeRecord.FirstText, EyeRecord.FirstTextSize);
        code.Load(R8, R6, 0).Load(R3, R8, types.Argument(argument)).Move(R1, R7).Add(R1, at).Move(R2, size).Call(ReadUserText);
        return this;
    }

    /// <summary>Copies the structure that mount_setattr(2) was given.</summary>
    public EyeProgram UserStructure(int argument)
    {
        code.Load(R8, R6, 0).Load(R3, R8, types.Argument(argument)).Move(R1, R7).Add(R1, EyeRecord.SecondText).Move(R2, 32).Call(ReadUser);
        return this;
    }

    /// <summary>Follows a descriptor that the system call was given, or answered with, to the root of the mount that it leads to; none where it is not one.</summary>
    /// <param name="argument">The argument that it is; null for the answer.</param>
    public EyeProgram Descriptor(int? argument)
    {
        BpfLabel none = code.NewLabel();
        for (int component = 0; component < EyeRecord.DescriptorDepth; component++)
            code.Store(R7, EyeRecord.DescriptorPath + (component * EyeRecord.ComponentSize), 0, Width.Word);
        code.Load(R8, R7, argument is { } number ? EyeRecord.Arguments + (number * 8) : EyeRecord.Result).SignExtend(R8).Jump(none, When.Negative, R8, 0).ShiftLeft(R8, 3)
            .Call(ThisTask).Load(R1, R0, types["task_struct.files"]).Load(R1, R1, types["files_struct.fdt"]).Load(R1, R1, types["fdtable.fd"]).Add(R8, R1);
        // The kernel's checker does not know what a place in the table points to: from here on everything is read as bytes.
        Follow(R8, R8, 0);
        Follow(R9, R8, types["file.f_inode"]);
        Follow(R9, R9, types["inode.i_sb"]);
        Follow(R9, R9, types["super_block.s_dev"]);
        code.Store(R7, EyeRecord.ObjectDevice, R9, Width.Word);
        Follow(R9, R8, types["file.f_path"] + types["path.dentry"]);
        for (int component = 0; component < EyeRecord.DescriptorDepth; component++)
        {
            Follow(R8, R9, types["dentry.d_name"] + types["qstr.name"]);
            code.Move(R3, R8).Move(R1, R7).Add(R1, EyeRecord.DescriptorPath + (component * EyeRecord.ComponentSize)).Move(R2, EyeRecord.ComponentSize).Call(ReadKernelText);
            Follow(R8, R9, types["dentry.d_parent"]);
            code.JumpEqual(none, R8, R9).Move(R9, R8);
        }

        code.Place(none);
        return this;
    }

    /// <summary>Copies the text in a field behind a pointer that is an argument.</summary>
    public EyeProgram KernelText(int argument, string field)
    {
        code.Load(R3, R6, argument * 8).Add(R3, types[field]).Move(R1, R7).Add(R1, EyeRecord.FirstText).Move(R2, 64).Call(ReadKernelText);
        return this;
    }

    /// <summary>Copies a plain argument of the traced function.</summary>
    public EyeProgram Argument(int argument)
    {
        code.Load(R1, R6, argument * 8).Store(R7, EyeRecord.Arguments + (argument * 8), R1);
        return this;
    }

    /// <summary>Copies an argument as the device that it is about.</summary>
    public EyeProgram Device(int argument)
    {
        ObjectPathNone();
        code.Load(R1, R6, argument * 8).Store(R7, EyeRecord.ObjectDevice, R1, Width.Word);
        return this;
    }

    /// <summary>Copies the number of the mount namespace that the function answered with.</summary>
    public EyeProgram NewNamespace(int answer)
    {
        code.Load(R1, R6, answer * 8).Load(R1, R1, types["mnt_namespace.ns"] + types["ns_common.inum"], Width.Word).Store(R7, EyeRecord.ObjectDevice, R1, Width.Word);
        return this;
    }

    /// <summary>Copies the number that <see cref="OnlyOtherNamespace"/> found.</summary>
    public EyeProgram OtherNamespace()
    {
        code.Load(R1, R10, -16, Width.Word).Store(R7, EyeRecord.ObjectDevice, R1, Width.Word);
        return this;
    }

    /// <summary>Copies the process that an argument, a task, belongs to, as the first argument, and the number of its mount namespace.</summary>
    public EyeProgram Process(int argument)
    {
        code.Load(R8, R6, argument * 8).Load(R1, R8, types["task_struct.tgid"], Width.Word).Store(R7, EyeRecord.Arguments, R1)
            .Load(R1, R8, types["task_struct.nsproxy"]).Load(R1, R1, types["nsproxy.mnt_ns"])
            .Load(R1, R1, types["mnt_namespace.ns"] + types["ns_common.inum"], Width.Word).Store(R7, EyeRecord.ObjectDevice, R1, Width.Word);
        return this;
    }

    /// <summary>Copies the kind and the name of a BPF program that is an argument.</summary>
    public EyeProgram BpfProgram(int argument)
    {
        code.Load(R8, R6, argument * 8).Load(R1, R8, types["bpf_prog.type"], Width.Word).Store(R7, EyeRecord.Arguments, R1)
            .Load(R3, R8, types["bpf_prog.aux"]).Add(R3, types["bpf_prog_aux.name"]).Move(R1, R7).Add(R1, EyeRecord.FirstText).Move(R2, 16).Call(ReadKernelText);
        return this;
    }

    /// <summary>Follows a file to its name and inode.</summary>
    /// <param name="argument">The argument that points to it.</param>
    /// <param name="deviceNode">Whether the device that it is a node of is wanted, and not the one that it lies on.</param>
    /// <param name="within">The field by which the argument's structure points to it; null where it is the argument itself.</param>
    public EyeProgram File(int argument, bool deviceNode = false, string? within = null)
    {
        code.Load(R8, R6, argument * 8);
        if (within is not null)
            code.Load(R8, R8, types[within]);
        code.Load(R9, R8, types["file.f_inode"]);
        if (deviceNode)
            code.Load(R1, R9, types["inode.i_rdev"], Width.Word).Store(R7, EyeRecord.ObjectDevice, R1, Width.Word);
        else
            Inode();
        code.Load(R9, R8, types["file.f_path"] + types["path.dentry"]);
        Names(EyeRecord.ObjectPath, EyeRecord.ObjectDepth);
        return this;
    }

    /// <summary>Follows a path, or a name in a directory, to its names and inode.</summary>
    /// <param name="argument">The argument that points to it.</param>
    /// <param name="isPath">Whether it is a struct path; else it is a struct dentry.</param>
    public EyeProgram Entry(int argument, bool isPath)
    {
        code.Load(R8, R6, argument * 8);
        if (isPath)
            code.Load(R8, R8, types["path.dentry"]);
        BpfLabel none = code.NewLabel();
        code.Load(R9, R8, types["dentry.d_inode"]).Jump(none, When.Equal, R9, 0);
        Inode();
        code.Place(none).Move(R9, R8);
        Names(EyeRecord.ObjectPath, EyeRecord.ObjectDepth);
        return this;
    }

    /// <summary>Takes the device from a directory's inode: a name that is only about to be made has none yet.</summary>
    public EyeProgram InDirectory(int argument)
    {
        code.Load(R9, R6, argument * 8);
        Inode();
        return this;
    }

    /// <summary>Hands the record over and ends the program.</summary>
    public byte[] Close() =>
        code.Move(R1, R7).Move(R2, 0).Call(Submit).Place(end).Move(R0, 0).Exit().ToBytes();

    private void Begin()
    {
        if (begun)
            return;
        begun = true;
        end = code.NewLabel();
        code.Move(R6, R1);
    }

    // r9 is an inode.
    private void Inode() =>
        code.Load(R1, R9, types["inode.i_ino"]).Store(R7, EyeRecord.ObjectInode, R1)
            .Load(R1, R9, types["inode.i_mode"], Width.Half).Store(R7, EyeRecord.Arguments + (EyeRecord.ModeArgument * 8), R1)
            .Load(R1, R9, types["inode.i_sb"]).Load(R1, R1, types["super_block.s_dev"], Width.Word).Store(R7, EyeRecord.ObjectDevice, R1, Width.Word);

    private void Task()
    {
        BpfLabel none = code.NewLabel();
        code.Call(ThisTask).Move(R8, R0)
            .Store(R7, EyeRecord.ProgramDevice, 0, Width.Word).Store(R7, EyeRecord.ProgramInode, 0, Width.Long)
            .Load(R1, R8, types["task_struct.loginuid"], Width.Word).Store(R7, EyeRecord.LoginUser, R1, Width.Word)
            .Load(R1, R8, types["task_struct.real_parent"]).Load(R1, R1, types["task_struct.tgid"], Width.Word).Store(R7, EyeRecord.Parent, R1, Width.Word)
            .Load(R1, R8, types["task_struct.nsproxy"]).Load(R1, R1, types["nsproxy.mnt_ns"])
            .Load(R1, R1, types["mnt_namespace.ns"] + types["ns_common.inum"], Width.Word).Store(R7, EyeRecord.Namespace, R1, Width.Word)
            .Load(R1, R8, types["task_struct.mm"]).Jump(none, When.Equal, R1, 0)
            .Load(R8, R1, types["mm_struct.exe_file"]).Jump(none, When.Equal, R8, 0)
            .Load(R9, R8, types["file.f_inode"])
            .Load(R1, R9, types["inode.i_ino"]).Store(R7, EyeRecord.ProgramInode, R1)
            .Load(R1, R9, types["inode.i_sb"]).Load(R1, R1, types["super_block.s_dev"], Width.Word).Store(R7, EyeRecord.ProgramDevice, R1, Width.Word)
            .Load(R9, R8, types["file.f_path"] + types["path.dentry"]);
        Names(EyeRecord.ProgramPath, EyeRecord.ProgramDepth);
        code.Place(none);
    }

    // to = the eight bytes at a kernel address; zeros where nothing can be read.
    private void Follow(Reg to, Reg from, int offset) =>
        code.Store(R10, -24, 0, Width.Long).Move(R3, from).Add(R3, offset).Move(R1, R10).Add(R1, -24).Move(R2, 8).Call(ReadKernel).Load(to, R10, -24);

    // Unrolled: the checker follows straight code fastest. r9 is a dentry, and the root's is its own parent.
    private void Names(int at, int depth)
    {
        if (at == EyeRecord.ObjectPath)
            ObjectPathNone();
        BpfLabel done = code.NewLabel();
        for (int component = 0; component < depth; component++)
        {
            code.Load(R3, R9, types["dentry.d_name"] + types["qstr.name"])
                .Move(R1, R7).Add(R1, at + (component * EyeRecord.ComponentSize)).Move(R2, EyeRecord.ComponentSize).Call(ReadKernelText)
                .Load(R1, R9, types["dentry.d_parent"]).JumpEqual(done, R1, R9).Move(R9, R1);
        }

        code.Place(done);
    }

    private void ObjectPathNone()
    {
        for (int component = 0; component < EyeRecord.ObjectDepth; component++)
            code.Store(R7, EyeRecord.ObjectPath + (component * EyeRecord.ComponentSize), 0, Width.Word);
    }

    // The ring was full: one more that nobody sees, and that has to be said.
    private void CountLost()
    {
        BpfLabel none = code.NewLabel();
        code.Store(R10, -4, 0, Width.Word).LoadMap(R1, lost).Move(R2, R10).Add(R2, -4).Call(MapLookup)
            .Jump(none, When.Equal, R0, 0).Move(R1, 1).AtomicAdd(R0, 0, R1).Place(none);
    }
}
