using System.Runtime.InteropServices;
using Sbox.Codecs.Bpf;

namespace Sbox.Integrity;

/// <summary>This kernel lacks what an eye needs: which one, and what is missing.</summary>
/// <param name="message">Both.</param>
internal sealed class BlindException(string message) : Exception(message);

/// <summary>Where the eyes find what they copy, on the kernel that runs.</summary>
internal sealed class KernelTypes
{
    private readonly Dictionary<string, int> offsets = [];
    private readonly Dictionary<string, int> targets = [];

    // Structure.field, in the order of kernel/sched.h, fs.h and module.h. All of them are older than ten years.
    private static readonly string[] Fields =
    [
        "task_struct.nsproxy", "task_struct.mm", "task_struct.loginuid", "task_struct.real_parent", "task_struct.tgid",
        "nsproxy.mnt_ns", "mnt_namespace.ns", "ns_common.inum", "mm_struct.exe_file",
        "file.f_inode", "file.f_path", "file.f_mode", "path.dentry",
        "inode.i_ino", "inode.i_sb", "inode.i_rdev", "inode.i_mode", "super_block.s_dev",
        "dentry.d_name", "dentry.d_parent", "dentry.d_inode", "qstr.name", "module.name",
        "task_struct.files", "files_struct.fdt", "fdtable.fd", "path.mnt", "mount.mnt", "mount.mnt_ns", "kiocb.ki_filp", "bpf_prog.type", "bpf_prog.aux", "bpf_prog_aux.name",
    ];

    private KernelTypes()
    {
    }

    /// <summary>Looks up all that the eyes need.</summary>
    /// <param name="bytes">/sys/kernel/btf/vmlinux.</param>
    /// <param name="functions">Functions and tracepoints (as <c>btf_trace_NAME</c>) to be found.</param>
    public static KernelTypes Of(ReadOnlySpan<byte> bytes, IEnumerable<string> functions)
    {
        BtfTypes types = BtfTypes.Parse(bytes);
        var found = new KernelTypes();
        foreach (string field in Fields.Concat(Registers()))
        {
            string[] names = field.Split('.');
            int structure = types.Find(BtfKind.Structure, Ascii(names[0]));
            if (types.OffsetOf(structure, Ascii(names[1])) is { } offset)
                found.offsets[field] = offset;
        }

        foreach (string function in functions)
        {
            BtfKind kind = function.StartsWith("btf_trace_", StringComparison.Ordinal) ? BtfKind.Alias : BtfKind.Function;
            if (types.Find(kind, Ascii(function)) is var id and not 0)
                found.targets[function] = id;
        }

        return found;
    }

    /// <summary>The byte at which a field lies.</summary>
    /// <exception cref="BlindException">This kernel has no such field.</exception>
    public int this[string field] => offsets.TryGetValue(field, out int offset) ? offset : throw new BlindException($"this kernel has no {field}");

    /// <summary>The id to attach to.</summary>
    /// <exception cref="BlindException">This kernel has no such function, or it cannot be traced.</exception>
    public int Target(string function) => targets.TryGetValue(function, out int id) ? id : throw new BlindException($"this kernel has no {function} to look at");

    /// <summary>Where the n-th argument of a system call lies in the saved registers.</summary>
    public int Argument(int number) => RuntimeInformation.ProcessArchitecture == Architecture.Arm64
        ? this["pt_regs.regs"] + (8 * number)
        : this[Registers()[number]];

    /// <summary>Where the number of the system call lies in the saved registers.</summary>
    public int CallNumber => this[RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? "pt_regs.syscallno" : "pt_regs.orig_ax"];

    /// <summary>The function behind a system call of a 64-bit program.</summary>
    public static string SystemCall(string name) =>
        $"{(RuntimeInformation.ProcessArchitecture == Architecture.Arm64 ? "__arm64" : "__x64")}_sys_{name}";

    private static string[] Registers() => RuntimeInformation.ProcessArchitecture == Architecture.Arm64
        ? ["pt_regs.regs", "pt_regs.syscallno"]
        : ["pt_regs.di", "pt_regs.si", "pt_regs.dx", "pt_regs.r10", "pt_regs.r8", "pt_regs.r9", "pt_regs.orig_ax"];

    private static byte[] Ascii(string text) => System.Text.Encoding.ASCII.GetBytes(text);
}
