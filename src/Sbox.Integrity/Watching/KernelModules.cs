namespace Sbox.Integrity;

/// <summary>The modules of the running kernel, as its own list has them.</summary>
internal static class KernelModules
{
    /// <summary>Whether a module of that name belongs to the system.</summary>
    /// <param name="name">As the kernel calls it: with <c>_</c> where the file may have <c>-</c>.</param>
    /// <param name="root">The system's root, as process 1 has it: a service may be kept from seeing its modules.</param>
    public static bool IsOfSystem(string name, string root)
    {
        string kernel = File.ReadAllText("/proc/sys/kernel/osrelease").Trim();
        return Lines(kernel, root).Any(line => NameIn(line) == name);
    }

    /// <summary>The names of all modules that the system has for a kernel; null where it has none.</summary>
    public static IReadOnlySet<string>? NamesOf(string kernel, string root) =>
        Lines(kernel, root).Select(NameIn).ToHashSet(StringComparer.Ordinal) is { Count: > 0 } names ? names : null;

    private static IEnumerable<string> Lines(string kernel, string root) => new[] { "modules.dep", "modules.builtin" }
        .Select(list => $"{root}/usr/lib/modules/{kernel}/{list}")
        .Where(File.Exists)
        .SelectMany(File.ReadLines);

    private static string NameIn(string line)
    {
        string file = Path.GetFileName(line.Split(':')[0]);
        int end = file.IndexOf(".ko", StringComparison.Ordinal);
        return (end < 0 ? file : file[..end]).Replace('-', '_');
    }
}
