namespace Sbox.Linux;

/// <summary>Calls by which a process becomes something else.</summary>
public static unsafe class ThisProcess
{
    /// <summary>Replaces this process by a program; never returns.</summary>
    /// <param name="path">The program.</param>
    /// <param name="arguments">Its arguments, argv[0] first.</param>
    /// <param name="environment">Its environment, <c>NAME=value</c> each.</param>
    /// <remarks>Descriptors opened by this room close themselves (O_CLOEXEC); the calling thread's namespaces are kept.</remarks>
    /// <exception cref="LinuxException">The program cannot be executed.</exception>
    public static void Execute(string path, IReadOnlyList<string> arguments, IReadOnlyList<string> environment)
    {
        using var argv = new CStringArray(arguments);
        using var envp = new CStringArray(environment);
        fixed (byte* program = CString.Of(path))
            Answer.Check(LibC.execve(program, argv.Pointer, envp.Pointer), "execve", path);
    }

    /// <summary>No core dump of this process: it holds secrets from here on.</summary>
    /// <remarks>Not by PR_SET_DUMPABLE: then a user's own /proc/self/fd is root's, and attributes of files are read through it.</remarks>
    public static void ForbidDumps()
    {
        LibC.ResourceLimit none = default;
        Answer.Check(LibC.setrlimit(LibC.RLIMIT_CORE, &none), "setrlimit", "RLIMIT_CORE");
    }

    // execve(2) wants arrays of pointers that stay where they are: native memory, freed only when the exec failed.
    private readonly ref struct CStringArray
    {
        private readonly int count;

        public CStringArray(IReadOnlyList<string> strings)
        {
            count = strings.Count;
            Pointer = (byte**)System.Runtime.InteropServices.NativeMemory.AllocZeroed((nuint)count + 1, (nuint)sizeof(byte*));
            for (int at = 0; at < count; at++)
            {
                byte[] text = CString.Of(strings[at]);
                Pointer[at] = (byte*)System.Runtime.InteropServices.NativeMemory.Alloc((nuint)text.Length);
                text.CopyTo(new Span<byte>(Pointer[at], text.Length));
            }
        }

        public byte** Pointer { get; }

        public void Dispose()
        {
            for (int at = 0; at < count; at++)
                System.Runtime.InteropServices.NativeMemory.Free(Pointer[at]);
            System.Runtime.InteropServices.NativeMemory.Free(Pointer);
        }
    }
}
