using Sbox.Linux;

namespace Sbox.Boot;

/// <summary>Loads the kernel modules of an initrd: those that a device asks for by its modalias, and those asked for by name.</summary>
/// <param name="arguments">The kernel command line: <c>MODULE.PARAMETER=VALUE</c> and <c>modprobe.blacklist=</c> are modprobe's to heed, and here is none.</param>
/// <param name="initrd">Where the initrd's files are.</param>
/// <param name="sys">Where sysfs is.</param>
internal sealed class Drivers(KernelArguments arguments, string initrd = "/", string sys = "/sys")
{
    private readonly ModuleIndex index = Read(initrd);
    private readonly HashSet<string> unwanted = [.. arguments.GetAll("modprobe.blacklist")
        .SelectMany(static list => (list ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries)).Select(Normal)];
    private readonly HashSet<string> asked = new(StringComparer.Ordinal), loaded = new(StringComparer.Ordinal);

    /// <summary>What could not be loaded, and why; a disk that stays away may be due to it.</summary>
    public List<string> Refused { get; } = [];

    /// <summary>Loads a module and what it needs; nothing when the kernel has it built in.</summary>
    public void Load(string module)
    {
        foreach (string name in index.LoadOrder(module))
        {
            if (!loaded.Add(name))
                continue;
            try
            {
                using Dir files = Dir.Open(initrd);
                KernelModules.Load(files.ReadAll(ModuleIndex.FileInInitrd(name)), name, Parameters(name));
            }
            catch (LinuxException refused)
            {
                Refused.Add(refused.Message);
            }
        }
    }

    /// <summary>Loads drivers for devices that came since the last call. A bus's driver makes new devices, so call it until the disk is there.</summary>
    public void LoadForNewDevices()
    {
        foreach (string modalias in Modaliases().Where(asked.Add).ToList())
        {
            foreach (string module in index.For(modalias).Where(module => !unwanted.Contains(module)))
                Load(module);
        }
    }

    /// <summary>What the command line sets of a module: <c>nvme_core.io_timeout=30</c> gives <c>io_timeout=30</c>.</summary>
    internal string Parameters(string module) => string.Join(' ', arguments
        .Where(argument => argument.Key.IndexOf('.', StringComparison.Ordinal) is > 0 and var dot && Normal(argument.Key[..dot]) == module)
        .Select(static argument => argument.ToString()[(argument.Key.IndexOf('.', StringComparison.Ordinal) + 1)..]));

    private static string Normal(string name) => name.Replace('-', '_');

    private IEnumerable<string> Modaliases()
    {
        foreach (string bus in Directory.Exists($"{sys}/bus") ? Directory.GetDirectories($"{sys}/bus") : [])
        {
            if (!Directory.Exists($"{bus}/devices"))
                continue;
            foreach (string device in Directory.GetFileSystemEntries($"{bus}/devices"))
            {
                string? modalias = null;
                try
                {
                    modalias = File.Exists($"{device}/modalias") ? File.ReadAllText($"{device}/modalias").TrimEnd('\n') : null;
                }
                catch (IOException gone) // the device left while we looked
                {
                    Refused.Add(gone.Message);
                }

                if (!string.IsNullOrEmpty(modalias))
                    yield return modalias;
            }
        }
    }

    private static ModuleIndex Read(string initrd)
    {
        string path = Path.Combine(initrd, ModuleIndex.PathInInitrd);
        return ModuleIndex.Parse(File.Exists(path) ? File.ReadAllText(path) : "");
    }
}
