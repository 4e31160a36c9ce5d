using System.Runtime.InteropServices;
using Sbox.Codecs.Bpf;
using Sbox.Linux;

namespace Sbox.Integrity;

/// <summary>One eye: the function it looks at, from before or after, and what it writes down.</summary>
/// <param name="Function">The function, or a tracepoint's type.</param>
/// <param name="Attach">How it is attached.</param>
/// <param name="Act">What its records say.</param>
/// <param name="Write">Writes its program.</param>
/// <param name="Instead">Another way to see the same, where this one is refused.</param>
internal sealed record Sight(string Function, BpfAttach Attach, KernelAct Act, Func<EyeProgram, byte[]> Write, Sight? Instead = null)
{
    /// <summary>
    /// The tracepoint at the end of every system call. A look at each costs all programs some nanoseconds a call, so it serves only where
    /// single functions cannot be traced.
    /// </summary>
    public const string EveryCall = "btf_trace_sys_exit";
}

/// <summary>All that the sentinel looks at in the kernel.</summary>
internal static class Sights
{
    private const int SetIdBits = 0xC00;
    private const int WriteMode = 2;
    private const int AttachMode = 2;
    private const int NewMountNamespace = 0x20000;
    private const int Reconfigure = 7; // FSCONFIG_CMD_RECONFIGURE; the other commands only prepare

    public static IEnumerable<Sight> All() => [.. Mounting(), .. Namespaces(), .. Files(), .. Modules(), .. AboutMe(Environment.ProcessId)];

    private static IEnumerable<Sight> Mounting() =>
    [
        Call("mount", (165, 40), KernelAct.Mount, static eye => eye, static eye => eye.UserText(1).UserText(0, second: true)),
        Call("umount", (166, 39), KernelAct.Unmount, static eye => eye, static eye => eye.UserText(0)),
        Call("move_mount", (429, 429), KernelAct.MoveMount, static eye => eye, static eye => eye.UserText(3).UserText(1, second: true)),
        Call("mount_setattr", (442, 442), KernelAct.SetAttributes, static eye => eye, static eye => eye.UserText(1).UserStructure(3).Descriptor(0)),
        Call("fsmount", (432, 432), KernelAct.NewMount, static eye => eye, static eye => eye.Descriptor(null)),
        Call("pivot_root", (155, 41), KernelAct.PivotRoot, static eye => eye, static eye => eye.UserText(0).UserText(1, second: true)),
        Call("fsconfig", (431, 431), KernelAct.Reconfigure, static eye => eye.OnlyCall(1, When.Equal, Reconfigure), static eye => eye),
    ];

    // One function makes them all; without it, the calls that lead to it.
    private static IEnumerable<Sight> Namespaces()
    {
        yield return Call("setns", (308, 268), KernelAct.EnterNamespace, static eye => eye, static eye => eye);
        yield return After("copy_mnt_ns", KernelAct.NewNamespace, static eye =>
            eye.OnlyBits(0, NewMountNamespace).OnlyPointer(4).Open(KernelAct.NewNamespace).NewNamespace(4)) with
        {
            Instead = EveryCall((272, 97), KernelAct.NewNamespace, static eye => eye.OnlyCall(0, When.AnyBit, NewMountNamespace), static eye => eye),
        };
        // clone(2) tells of a namespace only where copy_mnt_ns cannot be looked at; then the child has to be asked for its number.
        yield return new Sight("copy_mnt_ns", BpfAttach.Exit, KernelAct.NewNamespace, static eye => eye.Nothing(),
            EveryCall((56, 220), KernelAct.NewNamespace, static eye => eye.OnlyCall(0, When.AnyBit, NewMountNamespace), static eye => eye));
        yield return new Sight("copy_mnt_ns", BpfAttach.Exit, KernelAct.NewNamespace, static eye => eye.Nothing(),
            EveryCall((435, 435), KernelAct.NewNamespace, static eye => eye.OnlyUserBits(0, NewMountNamespace), static eye => eye));
    }

    private static IEnumerable<Sight> Files() =>
    [
        After("chmod_common", KernelAct.SetUserId,
            static eye => eye.OnlyBits(1, SetIdBits).OnlySuccess(2).Open(KernelAct.SetUserId).Argument(1).Entry(0, isPath: true)),
        After("security_inode_create", KernelAct.CreateSetUserId,
            static eye => eye.OnlyBits(2, SetIdBits).OnlySuccess(3).Open(KernelAct.CreateSetUserId).Argument(2).InDirectory(0).Entry(1, isPath: false)),
        After("security_inode_setxattr", KernelAct.SetCapabilities,
            static eye => eye.OnlySuccess(6).OnlyText(2, 9, "capabili"u8).Open(KernelAct.SetCapabilities).Entry(1, isPath: false)),
        After("blkdev_open", KernelAct.OpenDevice,
            static eye => eye.OnlySuccess(2).OnlyField(1, "file.f_mode", When.AnyBit, WriteMode).Open(KernelAct.OpenDevice).File(1, deviceNode: true)),
        // Memory of the machine, of the kernel, and the processor's ports: 1:1, 1:2, 1:4.
        After("chrdev_open", KernelAct.OpenDevice,
            static eye => eye.OnlySuccess(2).OnlyField(1, "file.f_mode", When.AnyBit, WriteMode).OnlyNodes(1, 0x100001, 0x100002, 0x100004).Open(KernelAct.OpenDevice).File(1, deviceNode: true)),
        After("bdev_file_open_by_dev", KernelAct.OpenDevice,
            static eye => eye.OnlyPointer(4).OnlyBits(1, WriteMode).Open(KernelAct.OpenDevice).Device(0)),
    ];

    private static IEnumerable<Sight> Modules() =>
    [
        After("security_kernel_read_file", KernelAct.ReadModule, static eye => eye.OnlySuccess(3).Open(KernelAct.ReadModule).Argument(1).File(0)),
        After("security_kernel_load_data", KernelAct.LoadFromMemory, static eye => eye.OnlySuccess(2).Open(KernelAct.LoadFromMemory).Argument(0)),
        new Sight("btf_trace_module_load", BpfAttach.Tracepoint, KernelAct.LoadModule,
            static eye => eye.Open(KernelAct.LoadModule).KernelText(0, "module.name").Close()),
        // Asked for every descriptor of a program, new ones first of all.
        After("security_bpf_prog", KernelAct.LoadProgram, static eye => eye.OnlySuccess(1).Open(KernelAct.LoadProgram).BpfProgram(0)),
        After("proc_sys_write", KernelAct.WriteSetting, static eye => eye.OnlySuccess(2).Open(KernelAct.WriteSetting).File(0, within: "kiocb.ki_filp")),
    ];

    private static IEnumerable<Sight> AboutMe(int self) =>
    [
        new Sight("btf_trace_signal_generate", BpfAttach.Tracepoint, KernelAct.Signal,
            eye => eye.OnlyField(2, "task_struct.tgid", When.Equal, self).Open(KernelAct.Signal).Argument(0).Close()),
        // Also for /proc/PID/mem, process_vm_writev(2) and pidfd_getfd(2).
        After("security_ptrace_access_check", KernelAct.Trace,
            static eye => eye.OnlySuccess(2).OnlyBits(1, AttachMode).Open(KernelAct.Trace).Process(0)),
        After("nd_jump_link", KernelAct.FollowLink,
            static eye => eye.OnlySuccess(1).OnlyOtherNamespace(0).Open(KernelAct.FollowLink).OtherNamespace()),
    ];

    private static Sight After(string function, KernelAct act, Func<EyeProgram, EyeProgram> write) =>
        new(function, BpfAttach.Exit, act, eye => write(eye).Close());

    private static Sight Call(string name, (int X64, int Arm64) numbers, KernelAct act, Func<EyeProgram, EyeProgram> filter, Func<EyeProgram, EyeProgram> copy) =>
        new(KernelTypes.SystemCall(name), BpfAttach.Exit, act,
            eye => copy(filter(eye.OnlySuccess(1)).Open(act).Arguments()).Close(),
            EveryCall(numbers, act, filter, copy));

    private static Sight EveryCall((int X64, int Arm64) numbers, KernelAct act, Func<EyeProgram, EyeProgram> filter, Func<EyeProgram, EyeProgram> copy)
    {
        int number = RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? numbers.Arm64 : numbers.X64;
        return new Sight(Sight.EveryCall, BpfAttach.Tracepoint, act,
            eye => copy(filter(eye.OnlyCallNumber(number).OnlySuccess(1)).Open(act).Arguments()).Close());
    }
}
